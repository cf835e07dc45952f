"""Real processes over real stores: one run of the factory under a lease, one each without; a restart that finds its answers again."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sparecall.store import RedisStore, SqliteStore, TieredCache
from stores import until

if TYPE_CHECKING:
    from redis_servers import RedisServer

SCRIPT = Path(__file__).parent / "tiered_process.py"
PROCESSES, WAITERS = 4, 10_000


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_10_000_callers_in_4_processes(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = f"sqlite:{tmp_path / 'answers.db'}" if kind == "sqlite" else request.getfixturevalue("redis_server").url()
    command = [sys.executable, str(SCRIPT), where, str(WAITERS // PROCESSES)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]

    def said() -> list[str]:
        return [process.stdout.readline() for process in processes if process.stdout is not None]

    try:
        assert said() == ["ready\n"] * PROCESSES
        for runs in (1, PROCESSES):  # under a lease, and without
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            told = [json.loads(line) for line in said()]
            assert sum(one["calls"] for one in told) == runs
            assert len({answer for one in told for answer in one["answers"]}) == runs
        assert [process.wait(30) for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def has_written(cache: TieredCache, count: int) -> bool:
    return cache.stats().l2_writes >= count


@pytest.mark.anyio
async def test_several_caches_agree_over_redis(redis_server: RedisServer) -> None:
    stores = [RedisStore(redis_server.url(), timeout=5.0, connect_timeout=5.0) for _ in range(3)]
    caches = [TieredCache(l2=store, l2_timeout=10.0) for store in stores]
    calls = 0

    async def factory() -> int:
        nonlocal calls
        calls += 1
        return calls

    async def gone(cache: TieredCache) -> None:
        await until(lambda: cache.get_nowait("key", scope="team/user") is None)

    async def all_get() -> list[int]:
        return [await cache.get_or_set("key", factory, scope="team/user", tags=["t"]) for cache in caches]

    try:
        await all_get()
        await until(lambda: all(store.coherent for store in stores))
        for what in ({"tag": "t"}, {"prefix": "team"}, {"key": "key", "scope": "team/user"}):
            await caches[0].clear()
            calls = 0
            for cache in caches:
                await gone(cache)
            written = caches[0].stats().l2_writes + 1
            first = await caches[0].get_or_set("key", factory, scope="team/user", tags=["t"])
            await until(functools.partial(has_written, caches[0], written))
            assert await all_get() == [first] * 3
            assert calls == 1
            await caches[0].invalidate(**what)  # type: ignore[arg-type]
            assert await caches[0].get("key", scope="team/user") is None
            for cache in caches:
                await gone(cache)
                assert await cache.get("key", scope="team/user") is None
    finally:
        for cache in caches:
            await cache.close()
        for store in stores:
            await store.close()


def test_a_restart_finds_the_day_s_answers_again(tmp_path: Path) -> None:
    """A working day of 6,000 questions from a Zipf law, cut in half by a restart: its hit ratio beside that of a day without."""
    chance = random.Random(0)
    weights = [1 / rank for rank in range(1, 601)]
    day = [f"question {number}" for number in chance.choices(range(600), weights, k=6_000)]

    async def ask(cache: TieredCache, questions: list[str]) -> int:
        misses = 0

        async def factory() -> str:
            nonlocal misses
            misses += 1
            return "answer"

        for question in questions:
            await cache.get_or_set(question, factory, scope="team", ttl=86_400)
        return misses

    async def process(questions: list[str], path: Path | None) -> int:
        store = None if path is None else SqliteStore(path)
        async with TieredCache(l2=store, l2_timeout=10.0) as cache:
            misses = await ask(cache, questions)
        if store is not None:
            await store.close()
        return misses

    half = len(day) // 2
    whole = asyncio.run(process(day, None))
    restarted = sum(asyncio.run(process(part, tmp_path / "day.db")) for part in (day[:half], day[half:]))
    cold = sum(asyncio.run(process(part, None)) for part in (day[:half], day[half:]))
    ratio, ratio_restarted, ratio_cold = (1 - misses / len(day) for misses in (whole, restarted, cold))
    assert ratio_restarted >= 0.95 * ratio
    assert restarted == whole, "nothing that was answered before is asked again"
    assert ratio_cold < ratio_restarted, "without an L2 the restart is felt"
