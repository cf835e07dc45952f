"""Any schedule of callers who come, leave and are cancelled while batches end well, badly or not at all agrees with a small model."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtual_time
from sparecall.batch import Batcher
from sparecall.errors import BatchError, Overloaded

ENDS = (
    "well",
    "well",
    "well",
    "poison",
    "gone",
    "few",
    "many",
    "none",
    "cancelled",
    "own",
    "stream",
    "short stream",
    "hangs",
)
PRIORITIES = ("critical", "high", "normal", "low")
ITEM = st.tuples(
    st.just("submit"),
    st.sampled_from(PRIORITIES),
    st.integers(1, 6),
    st.sampled_from("ab"),
    st.sampled_from((None, None, 0.5, 3.0)),
)
ACTIONS = st.lists(
    st.one_of(
        ITEM,
        ITEM,
        st.tuples(st.just("ready"), st.sampled_from(PRIORITIES)),
        st.tuples(st.just("cancel"), st.integers(0, 60)),
        st.tuples(st.just("ends"), st.sampled_from(ENDS)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
        st.tuples(st.just("sleep"), st.sampled_from((0.05, 0.3, 2.0))),
    ),
    max_size=60,
)
OPTIONS = st.fixed_dictionaries(
    {
        "max_items": st.sampled_from((1, 3, 8)),
        "max_tokens": st.sampled_from((6, 10)),
        "max_concurrent": st.sampled_from((1, 2)),
        "max_waiting": st.sampled_from((2, 5, 100)),
        "overflow": st.sampled_from(("wait", "reject", "drop")),
        "timeout": st.sampled_from((None, 1.0)),
    }
)


@dataclass(frozen=True)
class Thing:
    number: int
    tokens: int
    key: str


@dataclass
class World:
    """The batcher under test, what was asked of it and of the function behind it."""

    options: dict[str, Any]
    ends: list[str] = field(default_factory=list)
    callers: list[tuple[Thing, asyncio.Future[Any]]] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    refused: int = 0
    running: int = 0
    numbers: int = 0

    def __post_init__(self) -> None:
        self.batcher: Batcher[Thing, Any] = Batcher(
            self.serve,
            size_of=lambda thing: thing.tokens,
            key_of=lambda thing: thing.key,
            clock=asyncio.get_running_loop().time,
            **self.options,
        )

    def serve(self, things: list[Thing]) -> Any:
        assert 1 <= len(things) <= self.options["max_items"]
        assert sum(thing.tokens for thing in things) <= self.options["max_tokens"]
        assert len({thing.key for thing in things}) == 1
        assert not self.cancelled & {thing.number for thing in things}, "who has left is not served"
        end = self.ends.pop() if self.ends else "well"
        return self.stream(things, end) if "stream" in end else self.whole(things, end)

    async def whole(self, things: list[Thing], end: str) -> Any:
        self.running += 1
        assert self.running <= self.options["max_concurrent"]
        try:
            await asyncio.sleep(0.2)
            if end == "hangs":
                await asyncio.sleep(50)
        finally:
            self.running -= 1
        match end:
            case "poison" if any(thing.number % 3 == 0 for thing in things):
                raise ValueError("poison")
            case "gone":
                raise ConnectionError("gone")
            case "cancelled":
                raise asyncio.CancelledError
            case "none":
                return None
        results: list[Any] = [thing.number for thing in things]
        if end == "own":
            results = [LookupError(number) if number % 2 else number for number in results]
        return results[:-1] if end == "few" else [*results, 0] if end == "many" else results

    async def stream(self, things: list[Thing], end: str) -> Any:
        for thing in things[: 1 if end == "short stream" else None]:
            await asyncio.sleep(0.1)
            yield thing.number

    def submit(self, priority: Any, tokens: int, key: str, within: float | None) -> None:
        self.numbers += 1
        thing = Thing(self.numbers, tokens, key)
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        try:
            self.callers.append((thing, self.batcher.submit(thing, priority=priority, deadline=deadline)))
        except Overloaded as error:
            self.refused += error.retry_after > 0

    async def produce(self, priority: Any) -> None:
        await self.batcher.ready()
        assert self.batcher.stats().waiting < self.options["max_waiting"]
        self.submit(priority, 1, "a", None)

    def cancel(self, index: int) -> None:
        known = len(self.callers) + len(self.tasks)
        if not known:
            return
        index %= known
        if index < len(self.callers):
            thing, future = self.callers[index]
            if future.cancel():
                self.cancelled.add(thing.number)
        else:
            self.tasks[index - len(self.callers)].cancel()


@given(ACTIONS, OPTIONS)
def test_every_schedule_answers_everybody_and_leaves_nothing(actions: list[Any], options: dict[str, Any]) -> None:
    virtual_time.run(scenario(actions, options))


async def scenario(actions: list[Any], options: dict[str, Any]) -> None:
    world = World(options)
    for action, *arguments in actions:
        match action:
            case "submit":
                world.submit(*arguments)
            case "ready":
                world.tasks.append(asyncio.ensure_future(world.produce(*arguments)))
            case "cancel":
                world.cancel(*arguments)
            case "ends":
                world.ends.append(*arguments)
            case "turn":
                for _ in range(*arguments):
                    await asyncio.sleep(0)
            case "sleep":
                await asyncio.sleep(*arguments)
    await finish(world)


async def finish(world: World) -> None:
    for _ in range(len(world.tasks) + 2):
        await asyncio.sleep(20)
    ready = await asyncio.gather(*world.tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in ready), ready
    await world.batcher.close()
    answered = failed = 0
    for thing, future in world.callers:
        assert future.done(), "a hung waiter"
        if future.cancelled():
            assert thing.number in world.cancelled, "only who was cancelled sees a cancellation"
            continue
        error = future.exception()
        if error is None:
            assert future.result() == thing.number, "another's result"
        elif isinstance(error, Overloaded):
            world.refused += 1
            continue
        else:
            assert isinstance(error, (ValueError, ConnectionError, LookupError, BatchError)), error
            failed += 1
        answered += 1
    stats = world.batcher.stats()
    assert (stats.waiting, stats.running, world.running) == (0, 0, 0)
    assert stats.failed == failed
    assert stats.items == answered
    assert stats.refused == world.refused
    assert stats.left == len(world.cancelled)
    assert world.batcher._permits == world.options["max_concurrent"], "a leaked permit"
    assert (world.batcher._waiting.tokens, world.batcher._waiting.dated) == (0, 0)
    assert world.batcher._timer is None


def storm(rounds: int, seed: int) -> int:
    """Callers who leave at every point of time while functions raise: how many left or were failed."""
    rng = random.Random(seed)

    async def main() -> int:
        world = World(
            {
                "max_items": 8,
                "max_tokens": 24,
                "max_concurrent": 2,
                "max_waiting": 64,
                "overflow": "wait",
                "timeout": 1.0,
            }
        )
        hurt = 0
        while hurt < rounds:
            for _ in range(rng.randint(1, 12)):
                world.submit(rng.choice(PRIORITIES), rng.randint(1, 6), rng.choice("ab"), rng.choice((None, None, 2.0)))
            for _ in range(rng.randint(0, 6)):
                world.cancel(rng.randrange(1 << 30))
            world.ends.append(rng.choice(ENDS))
            for _ in range(rng.choice((0, 0, 1, 2, 3, 4, 5))):
                await asyncio.sleep(0)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.choice((0.05, 0.2, 0.3)))
            if len(world.callers) > 500 or world.batcher.stats().waiting > 200:
                await asyncio.sleep(100)
                hurt += sum(future.cancelled() or future.exception() is not None for _, future in world.callers)
                await finish(world)
                world = World(world.options)
        await finish(world)
        return hurt

    return virtual_time.run(main())


def test_twenty_thousand_cancels_and_errors_lose_nothing() -> None:
    assert storm(20_000, seed=1) >= 20_000


@pytest.mark.soak
def test_a_million_cancels_and_errors_lose_nothing() -> None:
    assert storm(1_000_000, seed=2) >= 1_000_000
