"""Mixed traffic, a failing provider and callers who leave: every whole answer is the right one, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from gateway.crowd import BODIES, CLIENTS, Crowd
from gateway.site import gateway_before, until
from simulated import INSTANT
from sparecall import simulate
from sparecall.pipeline import Coalesce, Exact

pytestmark = pytest.mark.anyio

MAX_BYTES = 200_000  # a part of what is asked: answers come and go
STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")
SUITE = 12_000  # about a quarter of a minute on each loop
SOAK = 600_000  # about a quarter of an hour on each loop


def resident() -> int:
    """Bytes of this process in memory, or 0 where the system does not say."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


def open_files() -> int:
    """Descriptors of this process, or 0 where the system does not say."""
    return len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.exists() else 0


@pytest.mark.parametrize("requests", [SUITE, pytest.param(SOAK, marks=pytest.mark.soak)])
async def test_a_crowd_leaves_nothing_behind_and_gets_no_wrong_answer(requests: int) -> None:
    latency = simulate.Latency(first_token=0.002, per_token=0.0001) if requests == SOAK else INSTANT
    provider = simulate.Provider(latency=latency, wall_clock=lambda: 1_750_000_000.0)
    async with (
        simulate.serve(provider) as upstream,
        gateway_before(upstream, anthropic={"url": upstream}, cache={"max_bytes": MAX_BYTES}) as site,
    ):
        crowd = Crowd(site, seed=requests)
        sizes = []
        for _ in range(4):
            await crowd.run(requests // 4)
            sizes.append((resident(), open_files()))
        print(f"\n{requests:,} requests: {dict(crowd.whole)} whole, {crowd.left} left, {crowd.failed} failed; {sizes}")
        exact, coalesce = site.gateway.pipeline.stage(Exact), site.gateway.pipeline.stage(Coalesce)
        await until(lambda: provider.in_flight == len(coalesce) == 0)
        assert 0 < exact.cache.stats().weight <= MAX_BYTES
        assert exact.cache.stats().evictions["size"] > 0
        await until(lambda: len(asyncio.all_tasks()) <= 2 * CLIENTS)  # those of kept connections
        (before, files), *_, (after, files_after) = sizes
        assert after - before < 8_000_000
        assert files_after - files <= 2 * CLIENTS  # both ends of connections kept for the next call
        assert min(crowd.left, crowd.failed) > requests / 200
        assert crowd.whole.total() > requests / 2
        assert all(crowd.whole[path] > requests / 50 for path in BODIES)
        assert provider.calls.total() < requests
        lines = (await site.metrics()).splitlines()
        assert len([line for line in lines if not line.startswith("#")]) < 300
