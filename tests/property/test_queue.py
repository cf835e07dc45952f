"""`Queue` gives things out exactly as `sparecall.batch` would, one at a time: two spellings of one rule."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sparecall.batch.waiting import PRIORITIES, WEIGHTS, Item, Waiting
from sparecall.queue import Queue, QueueTicket

SECONDS = st.integers(0, 40).map(lambda eighths: eighths / 8)


class SameOrder(RuleBasedStateMachine):
    """A native queue and batch's `Waiting`, given and asked the same."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.native: Queue[int] = Queue(10_000, clock=lambda: self.now)
        self.plain = Waiting()
        self.items: list[tuple[Item, QueueTicket[int]]] = []

    @rule(
        priority=st.sampled_from(PRIORITIES),
        tokens=st.integers(1, 60),
        due=st.none() | SECONDS,
        many=st.integers(1, 6),
    )
    def put(self, priority: Any, tokens: int, due: float | None, many: int) -> None:
        deadline = None if due is None else self.now + due
        for _ in range(many):
            item = Item(len(self.items), tokens, self.now, deadline)
            self.plain.add(item, self.plain.lane(PRIORITIES.index(priority), None))
            ticket = self.native.put(item.value, priority=priority, tokens=tokens, deadline=deadline)
            self.items.append((item, ticket))

    @rule(many=st.integers(1, 12))
    def take(self, many: int) -> None:
        for _ in range(many):
            taken = self.native.take()
            if not self.plain.items:
                assert taken is None
                return
            assert taken == (self.plain.take(1, None)[0][0].value,)

    @rule(which=st.integers(0, 10_000), many=st.integers(1, 5))
    def cancel(self, which: int, many: int) -> None:
        for item, ticket in self.items[which % (len(self.items) + 1) :][:many]:
            assert ticket.cancel() == self.plain.cancel(item)

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        assert sorted(self.native.expired()) == sorted(item.value for item in self.plain.expired(self.now))

    @invariant()
    def holds_the_same(self) -> None:
        assert (len(self.native), self.native.tokens) == (self.plain.items, self.plain.tokens)


SameOrder.TestCase.settings = settings(stateful_step_count=40)
TestSameOrder = SameOrder.TestCase


def test_the_weights_are_the_same() -> None:
    """Under load each class gets its weight in tokens."""
    queue: Queue[str] = Queue(100_000, clock=lambda: 0.0)
    for priority in PRIORITIES:
        for _ in range(3_000):
            queue.put(priority, priority=priority, tokens=1)  # type: ignore[arg-type]
    taken = [queue.take() for _ in range(3_000)]
    for priority, weight in WEIGHTS.items():
        assert abs(taken.count((priority,)) - 3_000 * weight / 15) <= 1
