"""The adaptive limit on an injected clock: what counts as congestion, who goes first, who is shed, and that no permit is ever lost."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from flow_calls import Clock, at_once, enter, leave
from loop_steps import turns
from sparecall.errors import BreakerOpen, InvalidArgument, LimitExceeded
from sparecall.flow import AdaptiveLimit, AdaptivePermit, Kind, LimitEvent, SystemReading, SystemSignals

if TYPE_CHECKING:
    from collections.abc import Callable


def made(**options: Any) -> tuple[AdaptiveLimit, Clock]:
    clock = Clock()
    return AdaptiveLimit(clock=clock, **options), clock


def permit_of(limit: AdaptiveLimit, kind: Kind = "standard") -> AdaptivePermit:
    permit = limit.try_acquire(kind)
    assert permit is not None
    return permit


def rounds(
    limit: AdaptiveLimit, clock: Clock, count: int, seconds: float = 1.0, error: Exception | None = None
) -> None:
    """So many times as many calls as may go, all of which take that long."""
    for _ in range(count):
        permits = [permit_of(limit) for _ in range(limit.limit - limit.in_flight)]
        clock.now += seconds
        for permit in permits:
            permit.release(error)


def test_no_more_than_the_limit_go_at_once() -> None:
    limit, _ = made(initial=3)
    permits = [permit_of(limit) for _ in range(3)]
    assert limit.try_acquire() is None
    assert (limit.limit, limit.in_flight, limit.waiting, limit.load) == (3, 3, 0, 1.0)
    permits[1].release()
    permits[1].release()  # again is nothing
    assert limit.in_flight == 2
    with_it = permit_of(limit)
    at_once(with_it.__aenter__())
    leave(with_it)
    assert limit.in_flight == 2
    assert repr(limit) == "<AdaptiveLimit of 3: 2 in flight, 0 wait>"
    assert repr(permits[0]) == "<AdaptivePermit for a standard call>"
    assert repr(with_it) == "<AdaptivePermit for a standard call, out of use>"


def test_it_grows_while_calls_take_as_long_as_ever_and_not_beyond_its_most() -> None:
    limit, clock = made(initial=10, most=30)
    rounds(limit, clock, 60)
    assert limit.limit == 30


def test_it_does_not_grow_where_it_is_not_used() -> None:
    limit, clock = made(initial=20)
    for _ in range(200):
        permits = [permit_of(limit) for _ in range(5)]
        clock.now += 1
        for permit in permits:
            permit.release()
    assert limit.limit == 20


@pytest.mark.parametrize("how", ["raised", "reported", "timeout"])
def test_refusals_and_timeouts_make_it_smaller(how: str) -> None:
    limit, clock = made(initial=50)
    rounds(limit, clock, 5)
    before = limit.limit
    for _ in range(4):
        permits = [permit_of(limit) for _ in range(limit.limit)]
        clock.now += 1
        for number, permit in enumerate(permits):
            if number % 2:
                if how == "reported":
                    permit.report(503)
                permit.release({"raised": ConnectionRefused429(), "timeout": TimeoutError()}.get(how))
            else:
                permit.release()
    assert limit.limit < 0.8 * before


class ConnectionRefused429(Exception):
    status_code = 429


@pytest.mark.parametrize(
    "error",
    [ValueError(), KeyError(), ConnectionError(), BreakerOpen("", retry_after=1.0), LimitExceeded("", retry_after=1.0)],
)
def test_errors_that_say_nothing_of_congestion_change_nothing(error: Exception) -> None:
    limit, clock = made(initial=20)
    rounds(limit, clock, 30, error=error)
    assert limit.limit == 20
    limit, clock = made(initial=20)
    for _ in range(30):
        permit = permit_of(limit)
        permit.report(400)
        clock.now += 1
        leave(permit)
    assert limit.limit == 20


def test_it_is_never_below_its_least() -> None:
    limit, clock = made(initial=5, least=2)
    rounds(limit, clock, 60, error=TimeoutError())
    assert limit.limit == 2


def test_long_answers_are_not_slow_ones() -> None:
    dice = random.Random(4)
    for tokens, seconds in ((100, 1.0), (1_000, 10.0)):
        limit, clock = made(initial=20, most=20)
        for step in range(60):
            many = tokens if step > 30 else 100
            permits = [permit_of(limit) for _ in range(limit.limit)]
            clock.now += 0.1 * many / 10
            for permit in permits:
                permit.settle(many + dice.randint(-5, 5))
                permit.release()
        assert limit.limit == 20, (tokens, seconds)


def test_classes_share_it_as_their_weights_have_it_and_borrow_what_others_leave() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(initial=38, most=38, clock=virtual_time.clock)
        running: dict[str, int] = dict.fromkeys(("light", "standard", "heavy"), 0)

        async def call(kind: Kind) -> None:
            async with limit.acquire(kind):
                running[kind] += 1
                await asyncio.sleep(random.Random(running[kind]).uniform(0.5, 1.5))
                running[kind] -= 1

        async def caller(kind: Kind, until: float) -> None:
            while virtual_time.clock() < until:
                await call(kind)

        start = virtual_time.clock()
        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(caller("heavy", start + 30))
            await asyncio.sleep(5)
            assert running["heavy"] == 38  # nobody else is there
            for kind in ("light", "standard"):
                for _ in range(60):
                    group.create_task(caller(kind, start + 30))
            await asyncio.sleep(5)
            assert limit.in_flight == 38
            assert abs(running["light"] - 25) <= 1
            assert abs(running["standard"] - 10) <= 1
            assert abs(running["heavy"] - 3) <= 1
        assert (limit.in_flight, limit.waiting) == (0, 0)

    virtual_time.run(main())


def test_in_a_class_who_came_first_goes_first() -> None:
    order: list[int] = []

    async def main() -> None:
        limit = AdaptiveLimit(initial=1, most=1, clock=virtual_time.clock)

        async def call(number: int) -> None:
            async with limit.acquire():
                order.append(number)
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(call(number))

    virtual_time.run(main())
    assert order == list(range(20))


def test_each_end_wakes_one_waiter() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(initial=2, most=2, max_waiting=100_000, clock=virtual_time.clock)
        held = [permit_of(limit), permit_of(limit)]
        waiting = [asyncio.create_task(limit.acquire().__aenter__()) for _ in range(10_000)]
        await turns(3)
        assert limit.waiting == 10_000
        for gone in range(1, 101):
            held.pop(0).release()
            await turns(2)
            done = [task for task in waiting[: gone + 1] if task.done()]
            assert len(done) == gone
            held.append(done[-1].result())
            assert limit.waiting == 10_000 - gone
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert limit.waiting == 0

    virtual_time.run(main())


def test_the_lowest_class_is_shed_first() -> None:
    events: list[LimitEvent] = []

    async def main() -> None:
        limit = AdaptiveLimit(initial=1, most=1, max_waiting=3, clock=virtual_time.clock, on_event=events.append)
        held = permit_of(limit)
        tasks: dict[str, asyncio.Task[Any]] = {}

        async def come(name: str, kind: Kind) -> None:
            tasks[name] = asyncio.create_task(limit.acquire(kind).__aenter__())
            await turns(3)

        for name, kind in (("h1", "heavy"), ("h2", "heavy"), ("s1", "standard"), ("h3", "heavy"), ("l1", "light")):
            await come(name, kind)  # type: ignore[arg-type]
        for name, why in (("h3", "3 calls wait already"), ("h2", "a light call goes before a heavy one")):
            with pytest.raises(LimitExceeded, match=why) as caught:
                await tasks[name]
            assert caught.value.retry_after is not None
            assert caught.value.retry_after > 0
        await come("l2", "light")  # h1 goes
        await come("l3", "light")  # s1 goes
        await come("s2", "standard")
        assert {name for name, task in tasks.items() if not task.done()} == {"l1", "l2", "l3"}
        assert [(event.what, event.kind) for event in events] == [
            ("refused", "heavy"), ("dropped", "heavy"), ("dropped", "heavy"), ("dropped", "standard"), ("refused", "standard"),
        ]  # fmt: skip
        held.release()
        await turns(3)
        assert tasks["l1"].done()
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    virtual_time.run(main())


def test_who_would_wait_too_long_is_refused_at_once_and_who_did_is_then() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(initial=1, most=1, clock=virtual_time.clock)
        async with limit.acquire():
            await asyncio.sleep(2.0)
        held = permit_of(limit)
        begin = virtual_time.clock()
        with pytest.raises(LimitExceeded, match=r"would wait for 2\.0 s; max_wait is 1 s") as caught:
            await limit.acquire(max_wait=1.0).__aenter__()
        assert virtual_time.clock() == begin
        assert caught.value.retry_after == pytest.approx(2.0)
        with pytest.raises(LimitExceeded, match=r"waited for 2\.5 s, which is its max_wait"):
            await limit.acquire(max_wait=2.5).__aenter__()  # the call before it hangs
        assert virtual_time.clock() == pytest.approx(begin + 2.5)
        assert limit.waiting == 0
        held.release()

    virtual_time.run(main())


def test_a_lost_permit_is_taken_back_and_its_late_end_is_nothing() -> None:
    events: list[LimitEvent] = []

    async def main() -> None:
        limit = AdaptiveLimit(initial=2, most=2, lease_for=30.0, clock=virtual_time.clock, on_event=events.append)
        lost = [permit_of(limit) for _ in range(2)]
        begin = virtual_time.clock()
        async with limit.acquire():  # the timer takes them back, though nobody calls
            assert virtual_time.clock() == pytest.approx(begin + 30)
            assert limit.in_flight == 1
            for permit in lost:
                permit.release()
            assert limit.in_flight == 1
        assert limit.in_flight == 0

    virtual_time.run(main())
    assert [event.what for event in events].count("lost") == 2


@pytest.mark.parametrize("step", range(8))
def test_cancelled_at_any_step_it_loses_nothing(step: int) -> None:
    async def main() -> None:
        limit = AdaptiveLimit(initial=1, most=1, clock=virtual_time.clock)
        held = permit_of(limit)

        async def call() -> None:
            async with limit.acquire():
                await turns(2)

        tasks = [asyncio.create_task(call()) for _ in range(3)]
        await turns(1 + step // 4)
        if step % 2:
            held.release()
        await turns(step % 4)
        tasks[0].cancel()
        if step >= 6:
            tasks[1].cancel()
        held.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (limit.waiting, limit.in_flight, limit._timer) == (0, 0, None)

    virtual_time.run(main())


def cancels(calls: int) -> None:
    """Calls that wait, are turned away, cancelled, fail, are lost and end at any step."""
    dice = random.Random(5)
    kinds: tuple[Kind, ...] = ("light", "standard", "heavy")

    async def main() -> None:
        limit = AdaptiveLimit(initial=20, max_waiting=50, lease_for=5.0, clock=virtual_time.clock)

        async def call() -> None:
            if dice.random() < 0.05:
                permit = limit.try_acquire(dice.choice(kinds))
                if permit is not None and dice.random() < 0.9:  # else it is lost
                    permit.report(dice.choice((200, 400, 429, 503)))
                    permit.release()
                return
            async with limit.acquire(dice.choice(kinds), max_wait=dice.choice((None, 0.5))) as permit:
                if dice.random() < 0.3:
                    permit.answered()
                await asyncio.sleep(dice.choice((0, 0.01, 0.05)))
                permit.settle(dice.randint(0, 100))
                if dice.random() < 0.1:
                    raise dice.choice((TimeoutError, ValueError, ConnectionError))

        tasks: list[asyncio.Task[None]] = []
        for number in range(calls):
            tasks.append(asyncio.create_task(call()))
            if dice.random() < 0.5:
                dice.choice(tasks[-100:]).cancel()
            await asyncio.sleep(dice.choice((0, 0, 0.002)))
            assert limit.in_flight == sum(limit._kinds)
            if number % 1000 == 999:
                await asyncio.gather(*tasks, return_exceptions=True)
                tasks.clear()
                await asyncio.sleep(5.0)  # those that were lost are
                limit._reclaim(virtual_time.clock())
                assert (limit.waiting, limit.in_flight, limit._timer) == (0, 0, None)
                assert not any(limit._waiting.values())

    virtual_time.run(main())


def test_no_permit_is_lost_to_random_cancels() -> None:
    cancels(20_000)


@pytest.mark.soak
def test_no_permit_is_lost_to_a_million_random_cancels() -> None:
    cancels(1_000_000)


def test_a_clock_that_fails_loses_no_permit() -> None:
    limit, clock = made(initial=1, most=1)
    permit = enter(limit.acquire())
    clock.now = "not a time"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        leave(permit)
    assert limit.in_flight == 0
    with pytest.raises(TypeError):
        enter(limit.acquire())
    assert limit.in_flight == 0


def test_code_that_raises_in_classify_or_on_event_loses_nothing() -> None:
    def classify(error: BaseException | None) -> Any:
        return {}["the user's"] if isinstance(error, OverflowError) else "none of them"

    def tell(event: LimitEvent) -> None:
        raise RuntimeError("the user's")

    limit, clock = made(initial=1, most=1, classify=classify, on_event=tell, lease_for=5.0)
    with pytest.raises(KeyError):
        leave(enter(limit.acquire()), OverflowError())
    with pytest.raises(InvalidArgument, match="classify gave 'none of them'"):
        leave(enter(limit.acquire()), OSError())
    assert limit.in_flight == 0
    permit_of(limit)
    clock.now += 5
    assert limit.try_acquire() is not None


def test_the_machine_s_own_shortage_lowers_it() -> None:
    used = 0.0
    clock = Clock()
    signals = SystemSignals(read=lambda: SystemReading(used, 1.0, 0, 0), clock=clock)
    limit = AdaptiveLimit(initial=50, signals=signals, clock=clock)
    for _ in range(20):
        clock.now += 1
        used += 1.0
        signals.update()
    assert (limit.limit, limit.shrinking) == (30, True)


def test_as_a_decorator() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(initial=2, most=2, clock=virtual_time.clock)

        @limit
        async def call() -> int:
            await asyncio.sleep(0.1)
            return limit.in_flight

        assert max(await asyncio.gather(*(call() for _ in range(10)))) == 2

    virtual_time.run(main())
    with pytest.raises(TypeError, match="not a coroutine function"):
        AdaptiveLimit()(lambda: None)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "options",
    [
        {"initial": 0},
        {"least": 0},
        {"most": 5},
        {"weights": (1, 2)},
        {"weights": (1, 0, 1)},
        {"max_waiting": -1},
        {"lease_for": 0},
    ],
)
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="weight" if "weights" in options else next(iter(options))):
        AdaptiveLimit(**options)


def test_bad_arguments_take_nothing() -> None:
    limit, _ = made(initial=1)
    with pytest.raises(InvalidArgument, match="kind is 'urgent'"):
        limit.acquire("urgent")  # type: ignore[arg-type]
    for wrong in (-1, 2.5):
        with pytest.raises((InvalidArgument, TypeError), match="prompt_tokens"):
            limit.try_acquire(prompt_tokens=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="max_wait"):
        limit.acquire(max_wait=-1)
    permit = enter(limit.acquire())
    wrong_calls: list[Callable[[], object]] = [
        lambda: permit.settle(-1),
        lambda: permit.settle(1, prompt_tokens=-1),
        lambda: permit.report("well"),
        lambda: enter(permit),
    ]
    for call in wrong_calls:
        with pytest.raises(InvalidArgument):
            call()
    leave(permit)
    assert limit.in_flight == 0


def test_a_clock_that_goes_back_harms_nothing() -> None:
    limit, clock = made(initial=4, lease_for=10.0)
    permits = [permit_of(limit) for _ in range(4)]
    clock.now -= 100
    for permit in permits:
        permit.answered()
        permit.release()
    rounds(limit, clock, 10)
    assert limit.in_flight == 0
    assert limit.limit >= 4


def test_what_ended_is_not_kept() -> None:
    limit, clock = made(initial=20, most=20)
    rounds(limit, clock, 50)
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is AdaptivePermit and each._limit is limit]
