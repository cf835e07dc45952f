"""The breaker on an injected clock: when it opens, who finds out, how it comes back, and that no permit is ever lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import virtual_time
from flow_calls import Clock, enter, leave
from sparecall.errors import BreakerOpen, InvalidArgument
from sparecall.flow import Breaker, Permit


class World:
    """A breaker with its clock and diary."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.changes: list[tuple[str, str]] = []
        options = {"random": lambda: 0.5, "on_change": lambda *change: self.changes.append(change)} | options
        self.breaker = Breaker(clock=self.clock, **options)

    @property
    def states(self) -> list[str]:
        return [state for state, _ in self.changes]

    def enter(self) -> Permit:
        permit: Permit = enter(self.breaker.call())
        return permit

    def calls(self, count: int, error: BaseException | None = None, *, seconds: float = 0.0) -> None:
        for _ in range(count):
            permit = self.enter()
            self.clock.now += seconds
            leave(permit, error)

    def refused(self) -> BreakerOpen:
        with pytest.raises(BreakerOpen) as caught:
            self.enter()
        return caught.value

    def tripped(self) -> World:
        self.calls(self.breaker._minimum, TimeoutError())
        assert self.breaker.state == "open"
        return self


def test_it_opens_at_the_rate_once_there_are_enough_calls() -> None:
    world = World()
    world.calls(9, TimeoutError())
    assert world.breaker.state == "closed"
    world.calls(1)
    assert world.changes == [("open", "9 of 10 calls failed")]
    refusal = world.refused()
    assert refusal.retry_after == 30.0
    assert "another 30.0 s" in str(refusal)
    assert repr(world.breaker) == "<Breaker open: 9 failed, 0 slow of 10 calls>"


def test_a_rate_is_reached_whatever_binary_fractions_say() -> None:
    world = World(failure_rate=0.1, minimum_calls=30)
    world.calls(27)
    world.calls(3, OSError())
    assert world.breaker.state == "open"


def test_what_is_older_than_the_window_counts_no_more() -> None:
    world = World(window=10.0)
    world.calls(9, TimeoutError())
    world.clock.now += 10.5
    world.calls(9, TimeoutError())
    assert world.breaker.state == "closed"
    world.calls(1, TimeoutError())
    assert world.breaker.state == "open"


@pytest.mark.parametrize("seconds", [4.0, 8.9])
def test_the_window_slides(seconds: float) -> None:
    world = World(window=10.0)
    world.calls(5, TimeoutError())
    world.clock.now += seconds
    world.calls(5)
    assert world.breaker.state == "open"


def test_slow_calls_open_it_too() -> None:
    world = World(slow_rate=0.5, slow_after=1.0)
    world.calls(5, seconds=0.1)
    world.calls(5, seconds=1.1)
    assert world.changes == [("open", "5 of 10 calls took longer than 1 s")]


def test_calls_still_running_past_the_limit_are_counted_before_they_end() -> None:
    world = World(slow_rate=0.5, slow_after=1.0)
    running = [world.enter() for _ in range(10)]
    assert world.breaker.state == "closed"
    world.clock.now += 1.01
    assert world.refused().retry_after == pytest.approx(30.0)
    for permit in running:
        leave(permit)  # void: the breaker has concluded
    assert world.states == ["open"]


def test_a_running_call_is_counted_once() -> None:
    world = World(slow_rate=0.6, slow_after=1.0, failure_rate=0.6)
    slow = [world.enter() for _ in range(5)]
    world.clock.now += 1.01
    world.calls(1)
    assert repr(world.breaker) == "<Breaker closed: 0 failed, 5 slow of 6 calls>"
    for permit in slow:
        leave(permit, TimeoutError())
    assert repr(world.breaker) == "<Breaker closed: 5 failed, 5 slow of 6 calls>"


@pytest.mark.parametrize("later", [0.0, 9.5])
def test_a_slow_call_that_ends_well_counts_no_more(later: float) -> None:
    world = World(slow_rate=0.9, slow_after=1.0)
    for how in (None, "success"):
        slow = world.enter()
        world.clock.now += 1.01
        assert world.breaker.state == "closed"  # here it is seen to be slow
        world.clock.now += later
        if how is not None:
            slow.report("success")
        leave(slow)
    assert repr(world.breaker) == f"<Breaker closed: 0 failed, {1 if later else 2} slow of {1 if later else 2} calls>"


def test_a_cancelled_call_counts_only_where_it_was_slow_already() -> None:
    world = World(slow_rate=0.9, slow_after=1.0)
    early, late = world.enter(), world.enter()
    leave(early, asyncio.CancelledError())
    world.clock.now += 2
    leave(late, asyncio.CancelledError())
    assert repr(world.breaker) == "<Breaker closed: 0 failed, 1 slow of 1 calls>"


def test_a_long_answer_that_began_in_time_is_not_slow() -> None:
    world = World(slow_rate=0.1, slow_after=1.0, minimum_calls=1)
    permit = world.enter()
    world.clock.now += 0.5
    permit.answered()
    world.clock.now += 60
    permit.answered()
    leave(permit)
    assert repr(world.breaker) == "<Breaker closed: 0 failed, 0 slow of 1 calls>"


def test_it_comes_back_by_probes_and_a_ramp() -> None:
    world = World().tripped()
    world.clock.now += 29.9
    world.refused()
    world.clock.now += 0.2
    assert world.breaker.state == "half_open"
    probes = [world.enter() for _ in range(3)]
    assert world.breaker.leases == 3
    assert world.refused().retry_after == 1.0
    for probe in probes:
        leave(probe)
    assert world.breaker.state == "ramping"
    assert world.breaker.leases == 0
    for share in (0.1, 0.25, 0.5):
        held = [world.enter() for _ in range(3)]  # as many as the probes, always
        admitted = []
        for _ in range(200):
            try:
                admitted.append(world.enter())
            except BreakerOpen:
                continue
        assert abs(len(admitted) - 200 * share) <= 1
        for permit in held + admitted:
            leave(permit)
        world.clock.now += 5.0
    assert world.breaker.state == "closed"
    assert world.states == ["open", "half_open", "ramping", "closed"]
    world.calls(100)


def test_without_a_ramp_it_closes_at_once() -> None:
    world = World(ramp_for=0, probes=1).tripped()
    world.clock.now += 31
    world.calls(1)
    assert world.states == ["open", "half_open", "closed"]


def test_failed_probes_double_the_pause_up_to_tenfold() -> None:
    world = World(open_for=1.0).tripped()
    for pause in (1, 2, 4, 8, 10, 10):
        world.clock.now += pause - 0.01
        assert world.breaker.state == "open"
        world.clock.now += 0.02
        world.calls(2, TimeoutError())  # of three, at a rate of a half
        assert world.breaker.state == "open"
    world.clock.now += 10.01
    world.calls(3)
    world.clock.now += 15.01
    assert world.breaker.state == "closed"
    world.tripped()
    assert world.refused().retry_after == pytest.approx(1.0)


def test_a_relapse_in_the_ramp_opens_it_for_longer() -> None:
    world = World().tripped()
    world.clock.now += 31
    world.calls(3)
    world.calls(3, ConnectionResetError())
    assert world.states[-1] == "open"
    assert world.refused().retry_after == pytest.approx(60)


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 27.0), (0.999999, 33.0)])
def test_pauses_are_spread_by_a_tenth(dice: float, pause: float) -> None:
    world = World(random=lambda: dice).tripped()
    assert world.refused().retry_after == pytest.approx(pause, rel=1e-4)


def test_lost_probes_expire_as_failures_and_block_nobody() -> None:
    world = World(lease_for=60.0).tripped()
    world.clock.now += 31
    lost = [world.enter() for _ in range(3)]
    world.refused()
    world.clock.now += 60.1
    assert (world.breaker.state, world.breaker.leases) == ("open", 0)
    world.clock.now += 61
    assert world.breaker.state == "half_open"
    world.calls(3)
    assert world.breaker.state == "ramping"
    for permit in lost:
        leave(permit, TimeoutError())
    assert world.breaker.state == "ramping"


def test_a_probe_whose_answer_had_begun_is_not_lost() -> None:
    world = World(probes=1, lease_for=60.0).tripped()
    world.clock.now += 31
    world.enter().answered()
    world.clock.now += 61
    assert world.breaker.state == "ramping"


def test_a_probe_past_the_slow_limit_failed() -> None:
    world = World(slow_rate=0.5, slow_after=2.0, probes=1).tripped()
    world.clock.now += 31
    probe = world.enter()
    world.clock.now += 2.1
    assert (world.breaker.state, world.breaker.leases) == ("open", 0)
    leave(probe)
    assert world.breaker.state == "open"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("my bug"), KeyboardInterrupt()])
def test_a_probe_that_says_nothing_makes_place_for_another(error: BaseException) -> None:
    world = World(probes=1).tripped()
    world.clock.now += 31
    world.calls(50, error)
    assert (world.breaker.state, world.breaker.leases) == ("half_open", 0)
    world.calls(1)
    assert world.breaker.state == "ramping"


def test_results_from_before_a_change_are_void() -> None:
    world = World()
    old = [world.enter() for _ in range(20)]
    world.tripped()
    world.clock.now += 31
    assert world.breaker.state == "half_open"
    for permit in old:
        leave(permit, TimeoutError())
    assert (world.breaker.state, world.breaker.leases) == ("half_open", 0)


def test_reports_stand_for_replies_that_raise_nothing() -> None:
    world = World()
    for status in (503, 500, 504, 529, 408, 502, 503, 503, 503):
        permit = world.enter()
        permit.report(status)
        leave(permit)
    for status in (400, 401, 404, 422, 429):
        permit = world.enter()
        permit.report(status)
        leave(permit, TimeoutError())  # the report counts, not how the block ended
    assert world.breaker.state == "closed"
    permit = world.enter()
    permit.report("failure")
    leave(permit)
    assert world.changes == [("open", "10 of 10 calls failed")]
    with pytest.raises(InvalidArgument, match="'failed'"):
        permit.report("failed")  # type: ignore[arg-type]


def test_code_that_is_not_ours_loses_no_permit() -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("hook")

    world = World(probes=1, classify=broken, on_change=broken)
    for _ in range(10):
        permit = world.enter()
        permit.report("failure")
        leave(permit)
    world.clock.now += 31
    with pytest.raises(RuntimeError, match="hook"):
        leave(world.enter(), TimeoutError())
    assert (world.breaker.state, world.breaker.leases) == ("half_open", 0)
    wordless = World(classify=lambda error: "bad")
    with pytest.raises(InvalidArgument, match="classify gave 'bad'"):
        leave(wordless.enter(), TimeoutError())


def test_a_clock_that_goes_back_stops_time_and_nothing_else() -> None:
    world = World().tripped()
    world.clock.now += 20
    assert world.breaker.state == "open"
    world.clock.now -= 500
    assert world.refused().retry_after == pytest.approx(10)
    world.clock.now += 511
    world.calls(3)
    assert world.breaker.state == "ramping"


def test_a_permit_serves_one_call() -> None:
    world = World()
    permit = world.breaker.call()
    assert repr(permit) == "<Permit out of use>"
    enter(permit)
    assert repr(permit) == "<Permit of generation 0>"
    with pytest.raises(InvalidArgument, match="one call"):
        enter(permit)


@pytest.mark.parametrize(
    "options",
    [
        {"failure_rate": 0},
        {"failure_rate": 1.1},
        {"failure_rate": float("nan")},
        {"slow_rate": 0.5},
        {"slow_after": 1.0},
        {"slow_rate": 0.5, "slow_after": 0},
        {"window": 0},
        {"window": float("inf")},
        {"minimum_calls": 0},
        {"open_for": -1},
        {"probes": 0},
        {"ramp": (0.5, 1.5)},
        {"ramp_for": -1},
        {"lease_for": 0},
    ],
)
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options)).split("_")[0]):
        Breaker(**options)


@pytest.mark.parametrize("options", [{"failure_rate": "half"}, {"minimum_calls": 2.5}, {"window": True}])
def test_options_of_the_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        Breaker(**options)


def test_it_decorates_coroutine_functions() -> None:
    world = World(minimum_calls=1)
    runs = 0

    @world.breaker
    async def ask(question: str, *, loudly: bool = False) -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(1)
        if loudly:
            raise TimeoutError
        return question.upper()

    async def main() -> None:
        assert await ask("a") == "A"
        with pytest.raises(TimeoutError):
            await ask("b", loudly=True)
        with pytest.raises(TimeoutError):
            await ask("c", loudly=True)  # one of two, then two of three: at the second it opens
        with pytest.raises(BreakerOpen):
            await ask("d")

    world.breaker._minimum = 3
    virtual_time.run(main())
    assert (ask.__name__, runs) == ("ask", 3)
    with pytest.raises(TypeError, match="coroutine function"):
        world.breaker(lambda: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(("inside", "failed"), [(True, 1), (False, 0)])
def test_a_timeout_inside_is_a_failure_and_one_around_a_cancellation(inside: bool, failed: int) -> None:
    async def main() -> None:
        breaker = Breaker(clock=virtual_time.clock)

        async def call() -> None:
            async with breaker.call(), asyncio.timeout(1 if inside else None):
                await asyncio.sleep(9)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(), 2)
        assert breaker._window.failed == failed

    virtual_time.run(main())


def healthy(calls: int) -> None:
    """Calls at 10 a second, of which one in a hundred fails at random."""
    dice = random.Random(7)
    world = World()
    for _ in range(calls):
        world.clock.now += 0.1
        permit = world.enter()
        leave(permit, TimeoutError() if dice.random() < 0.01 else None)
    assert world.changes == []


def test_no_false_trip_at_one_error_in_a_hundred() -> None:
    healthy(50_000)


@pytest.mark.soak
def test_no_false_trip_in_a_million_calls() -> None:
    healthy(1_000_000)


def cancels(calls: int) -> None:
    """Calls that are cancelled, fail, hang and end in every state; bodies never run while the breaker is open."""
    dice = random.Random(11)
    seen: set[str] = set()

    async def main() -> None:
        breaker = Breaker(
            open_for=0.5, window=1.0, ramp_for=0.5, slow_rate=0.5, slow_after=0.4, lease_for=2.0, clock=virtual_time.clock
        )  # fmt: skip
        bad = False

        async def call() -> None:
            async with breaker.call():
                state = breaker._state
                assert state != "open"
                seen.add(state)
                await asyncio.sleep(dice.choice((0, 0.01, 0.1, 1.0 if bad else 0.05)))
                if dice.random() < (0.7 if bad else 0.01):
                    raise TimeoutError

        tasks: list[asyncio.Task[None]] = []
        for number in range(calls):
            bad = number % 2000 > 1500
            tasks.append(asyncio.create_task(call()))
            if dice.random() < 0.7:
                dice.choice(tasks[-20:]).cancel()
            await asyncio.sleep(dice.choice((0, 0, 0.01)))
            if len(tasks) > 200:
                await asyncio.gather(*tasks[:100], return_exceptions=True)
                del tasks[:100]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert breaker.leases == len(breaker._running) == 0
        seen.add(breaker.state)
        await asyncio.sleep(10)
        while breaker.state != "closed":
            async with breaker.call():
                await asyncio.sleep(0.1)

    virtual_time.run(main())
    assert seen >= {"closed", "half_open", "ramping"}


def test_no_lease_is_lost_to_random_cancels() -> None:
    cancels(20_000)


@pytest.mark.soak
def test_no_lease_is_lost_to_a_million_random_cancels() -> None:
    cancels(1_000_000)
