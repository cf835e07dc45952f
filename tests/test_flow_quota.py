"""A rate limit against providers with hidden limits, on a virtual clock: how much of the quota is used, how many calls get a 429."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import virtual_time
from hidden_quota import HiddenQuota, Kind
from sparecall.flow import RateLimit

told: list[RateLimit] = []
"""The limits of the last play."""


def limit_of(**options: Any) -> RateLimit:
    return RateLimit(clock=virtual_time.clock, wall_clock=virtual_time.wall_clock, **options)


def played(
    limit_options: dict[str, Any],
    server: HiddenQuota,
    *,
    callers: int = 30,
    bursts: bool = False,
    over: float = 1.0,
    seconds: float = 600.0,
    limits: int = 1,
    others: float = 0.0,
) -> float:
    """More callers than the quota feeds; the share of the quota used, of the limit that binds.

    They have so many `limits` in equal parts. Beside them somebody else asks for the share `others` of the tokens, evenly.
    """
    dice = random.Random(3)
    per = server.requests.per

    async def main() -> None:
        each = [limit_of(share=1 / limits, **limit_options) for _ in range(limits)]
        begin = virtual_time.clock()
        server.requests.at = server.tokens.at = begin

        async def call(tokens: int, limit: RateLimit) -> None:
            async with limit.acquire(int(tokens * over)) as lease:
                await asyncio.sleep(dice.uniform(0.005, 0.05))  # on its way: others may overtake it
                answer = server.ask(tokens, virtual_time.clock())
                await asyncio.sleep(0.05 if answer.status == 429 else dice.uniform(0.2, 3.0))
                lease.sync(answer.headers, status=answer.status)
                lease.settle(tokens if answer.status == 200 else 0)

        async def caller(limit: RateLimit) -> None:
            while virtual_time.clock() < begin + seconds:
                if bursts:
                    await asyncio.sleep(-virtual_time.clock() % 5.0)  # all at once, every five seconds
                await call(dice.randint(300, 3000), limit)

        async def other() -> None:
            while True:
                await asyncio.sleep(per / (server.tokens.limit * others / 1000))
                if server.ask(1000, virtual_time.clock()).status == 429:
                    server.refused -= 1  # not us

        tasks = [asyncio.create_task(caller(each[number % limits])) for number in range(callers)]
        if others:
            tasks.append(asyncio.create_task(other()))
        await asyncio.sleep(seconds)
        told.extend(each)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    told.clear()
    virtual_time.run(main())
    whole = seconds / per
    return max(server.admitted / (server.requests.limit * whole), server.tokens_used / (server.tokens.limit * whole))


@pytest.mark.parametrize("kind", ["refill", "window", "sliding"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize(("wire", "bursts"), [("openai", True), ("anthropic", False)])
def test_a_hidden_quota_is_used_and_not_exceeded(kind: Kind, known: bool, wire: Any, bursts: bool) -> None:
    server = HiddenQuota(kind, requests=200, tokens=200_000, wire=wire, skew=3_600)
    share = played({"requests": 200, "tokens": 200_000} if known else {}, server, bursts=bursts)
    assert share >= 0.97
    assert server.refused <= 0.001 * server.admitted


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


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", ["refill", "window", "sliding"])
@pytest.mark.parametrize("per", [60.0, 3600.0, 86400.0], ids=["minute", "hour", "day"])
def test_a_period_that_nobody_gave_is_learned(per: float, kind: Kind, wire: Any) -> None:
    server = HiddenQuota(kind, requests=60, tokens=200_000, wire=wire, skew=3_600, per=per)
    share = played({}, server, seconds=8 * per)
    assert (told[0].requests, told[0].requests_per) == (60, per)
    assert share >= 0.97
    assert server.refused <= 1


@pytest.mark.parametrize(("kind", "least"), [("refill", 0.97), ("window", 0.9), ("sliding", 0.97)])
def test_so_is_one_that_is_not_usual(kind: Kind, least: float) -> None:
    server = HiddenQuota(kind, requests=60, tokens=200_000, per=300.0)
    share = played({}, server, seconds=3000.0)  # of a window, the first is spent on finding out
    assert told[0].requests_per == pytest.approx(300, rel=0.01)
    assert share >= least
    assert server.refused <= 1


@pytest.mark.parametrize("tells", ["pauses", "nothing"])
@pytest.mark.parametrize(("kind", "most"), [("window", 0.01), ("sliding", 0.01), ("refill", 0.05)])
def test_a_limit_that_nobody_tells_is_found_out_by_its_refusals(kind: Kind, most: float, tells: Any) -> None:
    server = HiddenQuota(kind, requests=200, tokens=2_000_000, tells=tells)
    share = played({}, server, seconds=1800.0)
    found = told[0]
    assert found.requests is not None
    if kind == "refill":  # at any period, the same pace
        assert found.requests / found.requests_per == pytest.approx(200 / 60, rel=0.1)
    else:
        assert found.requests == pytest.approx(200, rel=0.03)
        assert found.requests_per == 60
    assert share >= 0.94
    assert server.refused <= most * server.admitted


def test_what_others_have_in_a_server_s_log_is_left_to_them() -> None:
    server = HiddenQuota("sliding", requests=2000, tokens=200_000)
    assert played({}, server, others=0.5) >= 0.97
    assert server.refused <= 0.02 * server.admitted


@pytest.mark.parametrize("kind", ["refill", "window", "sliding"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_several_processes_share_a_quota(kind: Kind, known: bool) -> None:
    server = HiddenQuota(kind, requests=200, tokens=200_000)
    share = played({"requests": 200, "tokens": 200_000} if known else {}, server, limits=2)
    assert share >= 0.9
    assert server.refused <= 0.005 * server.admitted
