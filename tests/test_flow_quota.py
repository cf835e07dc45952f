"""A rate limit against providers with hidden limits, on a virtual clock: how much of the quota is used, how many calls get a 429."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import virtual_time
from hidden_quota import HiddenQuota, Kind
from sparecall.flow import RateLimit

MINUTES = 10


def played(
    limit_options: dict[str, Any], server: HiddenQuota, *, callers: int = 30, bursts: bool = False, over: float = 1.0
) -> float:
    """More callers than the quota feeds, for some minutes; the share of the quota used, of the limit that binds."""
    dice = random.Random(3)
    seconds = MINUTES * 60.0
    per = server.requests.per

    async def main() -> None:
        limit = RateLimit(clock=virtual_time.clock, wall_clock=virtual_time.wall_clock, **limit_options)
        begin = virtual_time.clock()
        server.requests.at = server.tokens.at = begin

        async def call(tokens: int) -> None:
            async with limit.acquire(int(tokens * over)) as lease:
                await asyncio.sleep(dice.uniform(0.005, 0.05))  # on its way: others may overtake it
                answer = server.ask(tokens, virtual_time.clock())
                await asyncio.sleep(0.05 if answer.status == 429 else dice.uniform(0.2, 3.0))
                lease.sync(answer.headers, status=answer.status)
                lease.settle(tokens if answer.status == 200 else 0)

        async def caller() -> None:
            while virtual_time.clock() < begin + seconds:
                if bursts:
                    await asyncio.sleep(-virtual_time.clock() % 5.0)  # all at once, every five seconds
                await call(dice.randint(300, 3000))

        tasks = [asyncio.create_task(caller()) for _ in range(callers)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    virtual_time.run(main())
    whole = seconds / per
    return max(server.admitted / (server.requests.limit * whole), server.tokens_used / (server.tokens.limit * whole))


@pytest.mark.parametrize("kind", ["refill", "window", "sliding"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize(("wire", "bursts"), [("openai", True), ("anthropic", False)])
def test_a_hidden_quota_is_used_and_not_exceeded(kind: Kind, known: bool, wire: Any, bursts: bool) -> None:
    server = HiddenQuota(kind, requests=200, tokens=200_000, wire=wire, skew=3_600)
    share = played({"requests": 200, "tokens": 200_000} if known else {}, server, bursts=bursts)
    # A log of the last minute, saturated, tells the same as a refill that is empty: what it takes is a little less certain.
    least, most = (0.95, 0.005) if kind == "sliding" else (0.97, 0.001)
    assert share >= least
    assert server.refused <= most * server.admitted


@pytest.mark.parametrize("over", [0.7, 1.5])
@pytest.mark.parametrize("kind", ["refill", "window"])
def test_what_was_reserved_wrongly_is_settled(kind: Kind, over: float) -> None:
    server = HiddenQuota(kind, requests=2000, tokens=200_000)
    share = played({"requests": 2000, "tokens": 200_000}, server, over=over)
    assert share >= 0.97
    assert server.refused <= 0.001 * server.admitted


@pytest.mark.parametrize("kind", ["refill", "window"])
def test_requests_may_be_what_binds(kind: Kind) -> None:
    server = HiddenQuota(kind, requests=200, tokens=2_000_000)
    assert played({}, server) >= 0.97
    assert server.refused <= 0.001 * server.admitted


def test_a_limit_given_too_high_is_the_server_s() -> None:
    server = HiddenQuota("window", requests=200, tokens=200_000)
    assert played({"requests": 6_000, "tokens": 4_000_000}, server) >= 0.97
    # What went out before the first reply came back is what is refused.
    assert server.refused <= 0.02 * server.admitted


@pytest.mark.parametrize("dates", [True, False])
def test_a_clock_that_is_wrong_by_an_hour_stops_nothing(dates: bool) -> None:
    for skew in (-3600.0, 3600.0):
        server = HiddenQuota("refill", requests=200, tokens=200_000, wire="anthropic", skew=skew, dates=dates)
        share = played({"requests": 200, "tokens": 200_000}, server)
        assert share >= 0.97
