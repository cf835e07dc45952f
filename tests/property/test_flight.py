"""Any schedule of callers who come, leave and are cancelled while works end well or badly agrees with a small model."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sparecall.flight import Flight

KEYS = ("a", "b")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from(KEYS), st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
        st.tuples(st.just("finish"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("fail"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("turn"), st.integers(1, 4), st.none()),
    ),
    max_size=40,
)


@dataclass
class Run:
    """One run of a work as the model sees it: who waits for it, and how it ended."""

    number: int
    future: asyncio.Future[int]
    cancelled: bool = False


@dataclass
class World:
    """The flight under test and everything that happened."""

    flight: Flight[str, int] = field(default_factory=Flight)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    callers: list[tuple[str, asyncio.Task[tuple[int, bool]]]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    async def work(self, key: str) -> int:
        run = Run(sum(map(len, self.runs.values())), asyncio.get_running_loop().create_future())
        self.runs[key].append(run)
        try:
            return await run.future
        except asyncio.CancelledError:
            run.cancelled = True
            raise

    def end(self, key: str, *, well: bool) -> None:
        for run in self.runs[key]:
            if not run.future.done():
                run.future.set_result(run.number) if well else run.future.set_exception(ValueError(run.number))


@given(ACTIONS)
def test_every_schedule_ends_with_one_leader_per_run_and_nothing_left(actions: list[Any]) -> None:
    asyncio.run(scenario(actions))


async def scenario(actions: list[Any]) -> None:
    world = World()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    for action, what, count in actions:
        match action:
            case "call":
                for _ in range(count):
                    task = asyncio.ensure_future(world.flight.run(what, lambda key=what: world.work(key)))
                    world.callers.append((what, task))
            case "cancel" if world.callers:
                index = what % len(world.callers)
                if not world.callers[index][1].done():
                    world.callers[index][1].cancel()
                    world.cancelled.add(index)
            case "finish" | "fail":
                world.end(what, well=action == "finish")
            case "turn":
                for _ in range(what):
                    await asyncio.sleep(0)
        assert all(sum(not run.future.done() for run in runs) <= 1 for runs in world.runs.values())
    for _ in range(20):  # a call may have been made last: let its work begin, then end it
        await asyncio.sleep(0)
        for key in KEYS:
            world.end(key, well=True)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*[task for _, task in world.callers], return_exceptions=True)
    check(world, outcomes)
    assert complaints == []


def check(world: World, outcomes: list[Any]) -> None:
    numbers = {run.number: key for key, runs in world.runs.items() for run in runs}
    served: dict[int, list[bool]] = defaultdict(list)
    for index, ((key, _), outcome) in enumerate(zip(world.callers, outcomes, strict=True)):
        if isinstance(outcome, asyncio.CancelledError):
            assert index in world.cancelled, "only who was cancelled sees a cancellation"
        elif isinstance(outcome, ValueError):
            assert numbers[outcome.args[0]] == key
        else:
            value, led = outcome
            assert numbers[value] == key
            served[value].append(led)
    for leds in served.values():
        assert leds == [True] + [False] * (len(leds) - 1), "the first in line that is left leads, and nobody else"
    for run in (run for runs in world.runs.values() for run in runs):
        if run.cancelled:
            assert run.number not in served, "a run is cancelled only when nobody waits for it"
    assert len(world.flight) == 0
