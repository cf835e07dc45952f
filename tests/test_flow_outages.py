"""A breaker through the outages of a provider, on a virtual clock: how much still reaches it, how soon it is left alone and found again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

import virtual_time
from sparecall.errors import BreakerOpen
from sparecall.flow import Breaker

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN, END, STOP, EVERY = 30.0, 150.0, 300.0, 0.05


@dataclass
class Tally:
    """What happened: the times of calls asked for, of those made, and of the changes of state."""

    asked: list[float] = field(default_factory=list)
    made: list[float] = field(default_factory=list)
    changes: list[tuple[float, str]] = field(default_factory=list)

    def within(self, times: list[float], begin: float, end: float) -> int:
        return sum(begin <= when < end for when in times)


def played(trouble: Callable[[float, random.Random], tuple[float, bool]], *, seed: int = 1) -> Tally:
    """Twenty calls a second, each given up after 5 seconds; ``trouble`` says how long one takes and whether it fails."""
    tally = Tally()
    dice = random.Random(seed)

    async def main() -> None:
        begin = virtual_time.clock()

        def now() -> float:
            return virtual_time.clock() - begin

        breaker = Breaker(
            slow_rate=0.5,
            slow_after=2.0,
            clock=virtual_time.clock,
            random=dice.random,
            on_change=lambda state, why: tally.changes.append((now(), state)),
        )

        async def call() -> None:
            tally.asked.append(now())
            with contextlib.suppress(BreakerOpen, TimeoutError):
                async with breaker.call(), asyncio.timeout(5.0):
                    tally.made.append(now())
                    seconds, fails = trouble(now(), dice)
                    await asyncio.sleep(seconds)
                    if fails:
                        raise TimeoutError

        async with asyncio.TaskGroup() as group:
            while now() < STOP:
                group.create_task(call())
                await asyncio.sleep(EVERY)
        assert breaker.leases == 0

    virtual_time.run(main())
    return tally


def bad(now: float) -> bool:
    return BEGIN <= now < END


@pytest.mark.parametrize(
    ("trouble", "opens_within"),
    [
        (lambda now, dice: (0.2, bad(now)), 8.0),  # all fail at once: half the window's calls
        (lambda now, dice: (60.0 if bad(now) else 0.2, False), 9.0),  # a black hole: seen at 2 s, not when calls give up at 5
        (lambda now, dice: (0.3 * (10 if bad(now) else 1), False), 9.0),  # ten times slower
        (lambda now, dice: (0.2, bad(now) and dice.random() < 0.8), 12.0),
    ],
    ids=["down", "black hole", "slow", "most fail"],
)  # fmt: skip
def test_an_outage_is_left_alone_and_its_end_is_found(
    trouble: Callable[[float, random.Random], tuple[float, bool]], opens_within: float
) -> None:
    tally = played(trouble)
    opened = next(when for when, state in tally.changes if state == "open")
    assert BEGIN < opened < BEGIN + opens_within
    # Once open, what still reaches it until it is well again are probes.
    assert tally.within(tally.made, opened, END) <= 0.02 * tally.within(tally.asked, opened, END)
    closed = next(when for when, state in tally.changes if state == "closed")
    assert END < closed < END + 2 * 4 * 30.0 * 1.1
    assert [state for when, state in tally.changes if when > closed] == []
    assert tally.within(tally.made, closed, STOP) == tally.within(tally.asked, closed, STOP)


def test_a_third_that_fails_is_not_reason_enough_at_a_rate_of_a_half() -> None:
    tally = played(lambda now, dice: (0.2, bad(now) and dice.random() < 0.3))
    assert tally.changes == []
    assert tally.made == tally.asked


def test_flapping_never_brings_the_whole_load_back_at_once() -> None:
    tally = played(lambda now, dice: (0.1, bad(now) and int(now / 10) % 2 == 0))
    first = next(when for when, state in tally.changes if state == "open")
    share = tally.within(tally.made, first, END) / tally.within(tally.asked, first, END)
    assert share < 0.35
