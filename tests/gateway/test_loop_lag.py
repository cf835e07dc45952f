"""The loop's lag is in /metrics."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.site import simulated_site
from gateway.test_metrics import scrape, value
from sparecall.gateway.lag import watched

pytestmark = pytest.mark.anyio


async def test_what_holds_the_loop_up_is_observed_once() -> None:
    ticks = iter([0.0, 0.010, 0.050, 0.061])
    lags: list[float] = []
    enough = asyncio.Event()

    def observe(lag: float) -> None:
        lags.append(lag)
        if len(lags) == 3:
            enough.set()

    # The clock says: a call in time, one 30 ms late, one that the loop has rounded up by a millisecond.
    with watched(observe, interval=0.010, clock=lambda: next(ticks, 1.0)):
        await asyncio.wait_for(enough.wait(), 10)
    assert [round(lag, 6) for lag in lags] == [0.0, 0.030, 0.001]


async def test_a_timer_that_comes_early_is_not_late() -> None:
    ticks = iter([0.0, 0.009])
    lags: asyncio.Queue[float] = asyncio.Queue()
    with watched(lags.put_nowait, interval=0.010, clock=lambda: next(ticks, 1.0)):
        assert await lags.get() == 0.0


async def test_nothing_is_observed_after_the_end() -> None:
    lags: list[float] = []
    with watched(lags.append, interval=0.001):
        pass
    await asyncio.sleep(0.02)
    assert lags == []


async def test_a_held_loop_shows_in_the_metrics() -> None:
    async with simulated_site() as (site, _):
        await asyncio.sleep(0.01)
        time.sleep(0.3)  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(0.01)
        samples = await scrape(site)
        assert value(samples, "sparecall_loop_lag_seconds_sum") > 0.15
