"""The rate limit on an injected clock: both limits at once, in order, one waiter woken a slot, and nothing lost to a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import virtual_time
from flow_calls import Clock, at_once
from loop_steps import turns
from sparecall.errors import InvalidArgument, LimitExceeded
from sparecall.flow import Lease, RateLimit


def made(**options: Any) -> tuple[RateLimit, Clock]:
    clock = Clock()
    return RateLimit(clock=clock, wall_clock=lambda: 1.7e9 + clock.now, **options), clock


def taken(limit: RateLimit, tokens: int = 0, **options: Any) -> int:
    """How many such calls go at once now."""
    count = 0
    while limit.try_acquire(tokens, **options) is not None:
        count += 1
        assert count < 100_000
    return count


def lease_of(limit: RateLimit, tokens: int = 0, **options: Any) -> Lease:
    lease = limit.try_acquire(tokens, **options)
    assert lease is not None
    return lease


@pytest.mark.parametrize(("per", "pace"), [(60.0, 1.0), (3600.0, 60.0), (1.0, 1 / 60)])
def test_after_a_burst_calls_go_at_the_pace_of_any_period(per: float, pace: float) -> None:
    limit, clock = made(requests=60, per=per, burst=0.1)
    assert taken(limit) == 6
    clock.now += pace * 0.99
    assert taken(limit) == 0
    clock.now += pace * 0.02
    assert taken(limit) == 1
    clock.now += 10 * per
    assert taken(limit) == 6


def test_both_limits_are_taken_or_neither() -> None:
    limit, clock = made(requests=1000, tokens=1000, burst=1.0)
    assert taken(limit, 400) == 2
    assert limit.try_acquire(300) is None
    assert taken(limit) == 998  # the refused one took no request
    clock.now += 6.0
    assert taken(limit, 3) == 100


def test_a_call_larger_than_the_burst_waits_for_all_of_it_and_leaves_a_debt() -> None:
    limit, clock = made(tokens=1000, per=10.0, burst=0.1)
    lease_of(limit, 500)
    clock.now += 4.99
    assert limit.try_acquire(101) is None
    clock.now += 0.02
    lease_of(limit, 101)


def test_what_was_reserved_too_much_comes_back_and_what_is_missing_is_taken() -> None:
    limit, _ = made(tokens=1000, burst=1.0)
    first, second = lease_of(limit, 600), lease_of(limit, 400)
    assert limit.try_acquire(1) is None
    first.settle(100)
    assert repr(first) == "<Lease of 100 tokens>"
    assert taken(limit, 100) == 5
    second.settle(300)
    second.settle(400)  # a stream that went on
    assert limit.try_acquire(1) is None
    first.settle(0)
    assert taken(limit, 100) == 1


def test_a_refund_gives_all_back_once() -> None:
    limit, _ = made(requests=1, tokens=1000, burst=1.0)
    lease = lease_of(limit, 1000)
    assert limit.try_acquire() is None
    lease.refund()
    lease.refund()
    lease_of(limit, 1000)
    assert limit.try_acquire() is None
    with pytest.raises(InvalidArgument, match="refunded"):
        lease.settle(1)


def test_completions_are_reserved_by_what_their_route_had() -> None:
    limit, _ = made(tokens=1e6, burst=1.0)
    assert lease_of(limit, 100, route="chat").tokens == 612
    assert lease_of(limit, 100, route="chat", max_tokens=50).tokens == 150
    for _ in range(100):
        lease = lease_of(limit, 100, route="chat")
        lease.settle(101, final=False)  # a stream that has just begun
        lease.settle(300)
    reserved = lease_of(limit, 100, route="chat").tokens
    assert 300 <= reserved <= 310
    assert lease_of(limit, 100, route="chat", max_tokens=50).tokens == 150
    assert lease_of(limit, 100).tokens == 100
    for number in range(3000):  # bounded
        lease_of(limit, 1, route=str(number)).settle(2)
    assert len(limit._estimates._routes) == 1024


def openai(limit: float, remaining: float, reset: str, name: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(limit),
        f"X-RateLimit-Remaining-{name}": str(remaining),
        f"x-ratelimit-reset-{name}": reset,
    }


def test_never_more_optimistic_than_the_server() -> None:
    limit, clock = made(requests=600, burst=0.5)
    lease = lease_of(limit)
    lease.sync(openai(600, 5, "59.5s"))
    assert taken(limit) == 5
    clock.now += 60
    lease_of(limit).sync(openai(600, 599, "100ms"))
    assert taken(limit) == 299  # nor more than what was asked for


def test_a_window_s_rest_is_all_until_it_ends() -> None:
    limit, clock = made(requests=600, burst=0.1)
    lease_of(limit).sync(openai(600, 10, "30s"))
    assert taken(limit) == 7  # three in a thousand of the limit's calls may have been overtaken
    clock.now += 29
    assert taken(limit) == 0
    clock.now += 1.1
    assert taken(limit) == 60


def test_what_went_out_since_is_not_in_the_server_s_count() -> None:
    limit, clock = made(requests=100, burst=1.0)
    early = lease_of(limit)
    for _ in range(20):
        lease_of(limit)
    late = lease_of(limit)
    late.sync(openai(100, 30, "60s"))
    early.sync(openai(100, 99, "60s"))  # an older count, whenever it comes
    assert taken(limit) == 30
    clock.now += 59
    assert taken(limit) == 0


def test_what_comes_back_of_an_older_call_may_be_in_the_server_s_count_already() -> None:
    limit, _ = made(tokens=1000, burst=1.0)
    older, told, newer = lease_of(limit, 100), lease_of(limit, 100), lease_of(limit, 100)
    told.sync(openai(1000, 400, "60s", "tokens"))  # 100 of which went to the newer, and 5 may have been overtaken
    older.settle(0)
    assert taken(limit, 59) == 5
    newer.settle(41)
    assert taken(limit, 59) == 1


def test_what_comes_back_while_a_count_is_on_its_way_makes_it_no_larger() -> None:
    limit, _ = made(tokens=1000, burst=1.0)
    older, told = lease_of(limit, 600), lease_of(limit, 100)
    older.settle(100)
    told.sync(openai(1000, 300, "60s", "tokens"))
    assert taken(limit, 59) == 5  # of 295, not of 795
    again = lease_of(limit, 0)  # newer than `told`, though less is taken now than then
    again.sync(openai(1000, 700, "60s", "tokens"))
    assert limit._tokens.ceiling - limit._tokens.passed == 695


def test_unknown_limits_are_learned_and_until_then_few_calls_go() -> None:
    limit, clock = made()
    assert (limit.requests, limit.tokens) == (None, None)
    first, second = lease_of(limit, 10), lease_of(limit, 10)
    assert limit.try_acquire() is None
    at_once(first.__aexit__(None, None, None))  # it told nothing: two more
    assert taken(limit) == 2
    second.sync(openai(100, 90, "6s") | openai(2000, 1000, "30s", "tokens"))
    assert (limit.requests, limit.tokens) == (100.0, 2000.0)
    assert taken(limit, 200) == 1
    clock.now += 60
    lease_of(limit).sync(openai(50, 49, "1s"))
    assert limit.requests == 50.0


def test_a_server_that_tells_nothing_is_not_held_back_for_ever() -> None:
    limit, clock = made()
    assert taken(limit) == 2
    clock.now += 61
    assert [limit.try_acquire() is None for _ in range(100)] == [False] * 100


def test_a_429_holds_everybody_up() -> None:
    limit, clock = made(requests=600, burst=0.5)
    lease_of(limit).sync({"Retry-After": "7"}, status=429)
    clock.now += 6.9
    assert taken(limit) == 0
    clock.now += 0.11
    assert taken(limit) == 1  # and then at the pace, not in a burst
    clock.now += 0.1
    assert taken(limit) == 1


def test_429s_that_say_nothing_hold_it_up_for_longer_each_time_but_once_for_each_wave() -> None:
    limit, clock = made(requests=600, burst=0.5)
    for pause in (1, 2, 4):
        wave = [lease_of(limit), *filter(None, (limit.try_acquire() for _ in range(3)))]
        clock.now += 0.5
        for lease in wave:
            lease.sync({}, status=429)
        clock.now += pause - 0.01
        assert limit.try_acquire() is None
        clock.now += 0.02
    lease_of(limit).sync({})
    clock.now += 1
    lease_of(limit).sync({}, status=429)
    clock.now += 1.01
    assert limit.try_acquire() is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "-3", "retry-after": "soon"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-reset-requests": "1e400"},
        {"x-ratelimit-remaining-requests": "nan", "anthropic-ratelimit-requests-reset": "2026-99-99T00:00:00Z"},
        {"x-ratelimit-reset-requests": "9" * 60 + "d", "x-ratelimit-remaining-requests": "1" * 5000},
        {"retry-after": "Thu, 32 Foo 20", "date": "yesterday, at noon", "x-ratelimit-reset-tokens": "5 parsecs"},
        {"retry-after": "1e9", "retry-after-ms": "inf"},
    ],
)
def test_junk_in_headers_changes_nothing(headers: dict[str, str]) -> None:
    limit, _ = made(requests=10, tokens=10, burst=1.0)
    lease_of(limit).sync(headers)
    assert (limit.requests, limit.tokens) == (10.0, 10.0)
    assert taken(limit) == 9


def test_background_calls_slow_down_once_three_quarters_are_spent() -> None:
    limit, clock = made(requests=600, burst=0.5)
    spent: dict[bool, int] = {False: 0, True: 0}
    for _ in range(600):  # half of the pace by others: the background may have the rest
        clock.now += 0.2
        lease_of(limit)
        spent[limit.spent > 0.75] += taken(limit, background=True) > 0
    assert limit.spent < 0.9
    for _ in range(1800):  # all but a little: the background gets little
        clock.now += 0.105
        lease_of(limit)
    assert limit.spent > 0.9
    background = 0
    for _ in range(600):
        clock.now += 0.105
        lease_of(limit)
        background += limit.try_acquire(background=True) is not None
    assert 10 <= background <= 600 * 0.15


def test_waiters_go_in_order_and_a_large_one_is_not_overtaken() -> None:
    order: list[str] = []

    async def main() -> None:
        limit = RateLimit(requests=600, tokens=600, burst=0.1, clock=virtual_time.clock)
        begin = virtual_time.clock()

        async def call(name: str, tokens: int, *, background: bool = False) -> None:
            async with limit.acquire(tokens, background=background):
                order.append(f"{name} at {virtual_time.clock() - begin:.1f}")

        async with asyncio.TaskGroup() as group:
            for name, tokens in (("a", 60), ("b", 30), ("large", 100), ("c", 1), ("d", 1)):
                group.create_task(call(name, tokens, background=name == "b"))
        assert limit.waiting == 0

    virtual_time.run(main())
    # The large one waits for all of the burst (60 at 6 s), and the next for what it took above; the background call comes last.
    assert order == ["a at 0.0", "large at 6.0", "c at 10.1", "d at 10.2", "b at 13.2"]


def test_background_calls_are_not_starved_by_those_that_wait() -> None:
    async def main() -> None:
        limit = RateLimit(requests=600, clock=virtual_time.clock)
        done: list[bool] = []

        async def call(*, background: bool) -> None:
            async with limit.acquire(background=background):
                done.append(background)

        tasks = [asyncio.create_task(call(background=number % 2 == 0)) for number in range(2_000)]
        await asyncio.sleep(60)
        assert 660 <= len(done) <= 662
        later = done[60:]  # the burst goes as it comes
        assert 0.01 <= sum(later) / len(later) <= 0.05
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == 0

    virtual_time.run(main())


@pytest.mark.anyio
async def test_real_loops_wake_everybody_in_order() -> None:
    limit = RateLimit(requests=1000, tokens=1000, per=1.0, burst=0.01)
    order: list[int] = []

    async def call(number: int) -> None:
        async with limit.acquire(1):
            order.append(number)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(call(number))
    assert order == list(range(40))
    assert limit._timer is None


def test_each_slot_wakes_one_waiter() -> None:
    async def main() -> None:
        limit = RateLimit(requests=600, clock=virtual_time.clock, burst=0.001)
        done: list[int] = []

        async def call(number: int) -> None:
            async with limit.acquire():
                done.append(number)

        tasks = [asyncio.create_task(call(number)) for number in range(10_000)]
        await turns(3)
        assert (len(done), limit.waiting) == (1, 9_999)
        ready: list[int] = []
        for _ in range(200):
            before = len(done)
            await asyncio.sleep(0.1)
            ready.append(len(done) - before)
        assert set(ready) <= {0, 1, 2}
        assert sum(ready) in (199, 200, 201)
        assert done == list(range(len(done)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == limit._queued_requests == 0
        assert limit._timer is None

    virtual_time.run(main())


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    async def main() -> None:
        limit = RateLimit(requests=60, tokens=6000, clock=virtual_time.clock, burst=1 / 60)
        lease_of(limit)
        waiting = [asyncio.create_task(limit.acquire(10).__aenter__()) for _ in range(5)]
        await turns(2)
        with pytest.raises(LimitExceeded, match=r"6\.0 s behind 5 others") as caught:
            await limit.acquire(10, max_wait=5.0).__aenter__()
        assert caught.value.retry_after == pytest.approx(6.0)
        async with limit.acquire(10, max_wait=6.5):
            pass
        await asyncio.gather(*waiting)

    virtual_time.run(main())


def test_a_call_that_no_longer_fits_is_told_so() -> None:
    limit, _ = made(tokens=100)
    with pytest.raises(LimitExceeded, match="101 tokens does not fit in the limit of 100") as caught:
        limit.try_acquire(101)
    assert caught.value.retry_after is None

    async def main() -> None:
        limit = RateLimit(tokens=1000, clock=virtual_time.clock)
        lease = lease_of(limit, 1000)
        waiting = asyncio.create_task(limit.acquire(500).__aenter__())
        after = asyncio.create_task(limit.acquire(100).__aenter__())
        await turns(2)
        lease.sync(openai(200, 0, "60s", "tokens"))
        with pytest.raises(LimitExceeded):
            await waiting
        await after
        assert limit.waiting == 0

    virtual_time.run(main())


@pytest.mark.parametrize("step", range(8))
def test_cancelled_at_any_step_it_loses_nothing(step: int) -> None:
    async def main() -> None:
        limit = RateLimit(requests=1, tokens=100, burst=1.0, per=1.0, clock=virtual_time.clock)
        held = lease_of(limit, 100)

        async def call() -> None:
            async with limit.acquire(50) as lease:
                await turns(2)
                lease.refund()

        tasks = [asyncio.create_task(call()) for _ in range(3)]
        await turns(1 + step // 4)
        if step % 2:
            held.refund()
        await turns(step % 4)
        tasks[0].cancel()
        if step >= 6:
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == limit._queued_tokens == limit._queued_requests == 0
        held.refund()
        await asyncio.sleep(2)
        assert lease_of(limit, 100)

    virtual_time.run(main())


def test_cancelled_in_the_moment_it_is_let_through_it_gives_all_back() -> None:
    async def main() -> None:
        limit = RateLimit(requests=1, burst=1.0, per=1000.0, clock=virtual_time.clock)
        held = lease_of(limit)
        waiting = asyncio.create_task(limit.acquire().__aenter__())
        await turns(2)
        held.refund()  # `waiting` is let through here, and resumes in the next turn
        assert limit.waiting == 0
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limit.try_acquire() is not None

    virtual_time.run(main())


@pytest.mark.parametrize(
    "options",
    [{"requests": 0}, {"requests": -1}, {"tokens": float("nan")}, {"per": 0}, {"burst": 0}, {"burst": 1.5}],
)
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        RateLimit(**options)


def test_bad_arguments_take_nothing() -> None:
    limit, _ = made(requests=1, burst=1.0)
    for wrong in (-1, 2.5, "7", True):
        with pytest.raises((InvalidArgument, TypeError), match="tokens"):
            limit.try_acquire(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="max_wait"):
        limit.acquire(max_wait=-1)
    with pytest.raises(InvalidArgument, match="max_tokens"):
        limit.acquire(route="chat", max_tokens=-1)
    lease = lease_of(limit)
    with pytest.raises(InvalidArgument, match="used"):
        lease.settle(-1)
    with pytest.raises(InvalidArgument, match="one call"):
        at_once(lease.__aenter__())
    assert repr(limit.acquire()) == "<Lease not let through>"
    assert repr(limit) == "<RateLimit 1.0 requests each 60 s, None tokens each 60 s: 100% spent, 0 wait>"


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    limit, clock = made(requests=60, burst=0.1)
    assert taken(limit) == 6
    clock.now -= 30
    assert taken(limit) == 0
    clock.now += 30 + 6.01
    assert taken(limit) == 6
