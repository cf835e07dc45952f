"""Hits of memory from asyncio, and cold calls at once: TieredCache beside cashews, aiocache, async-lru and a dict: two markdown tables.

Nanoseconds an awaited hit, the loop's own overhead taken off; the median of interleaved rounds, keys equal copies of those stored.
Each cache has a bound and a life for its entries where it can have them; TieredCache checks scope, life, tags and early refresh besides.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import aiocache
import uvloop
from async_lru import alru_cache
from cashews import Cache as Cashews

import sparecall
from sparecall.store import TieredCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAMES, ROUNDS, WAITERS = 1_000, 31, 10_000
SCOPE = "team/user"


async def make(name: str) -> str:
    return f"answer to {name}"


def ways() -> dict[str, tuple[Callable[[str], Awaitable[Any]], bool]]:
    """By title: a call that remembers, and whether it may be asked for one cold key by many."""
    tiered = TieredCache(l1=100_000)
    cashews = Cashews()
    cashews.setup("mem://", size=100_000)
    known: dict[str, str] = {}
    plain = aiocache.SimpleMemoryCache()

    async def by_tiered(name: str) -> Any:
        return await tiered.get_or_set(name, lambda: make(name), scope=SCOPE, ttl=3600, tags=("tag",))

    async def by_get(name: str) -> Any:
        return await tiered.get(name, scope=SCOPE) or await by_tiered(name)

    async def by_nowait(name: str) -> Any:
        return tiered.get_nowait(name, scope=SCOPE) or await by_tiered(name)

    async def by_dict(name: str) -> Any:
        value = known.get(name)
        if value is None:
            value = known[name] = await make(name)
        return value

    async def by_aiocache(name: str) -> Any:
        value = await plain.get(name)
        if value is None:
            value = await make(name)
            await plain.set(name, value, ttl=3600)
        return value

    @cashews(ttl=3600, key="made:{name}")
    async def by_cashews(name: str) -> Any:
        return await make(name)

    @cashews(ttl=3600, key="locked:{name}", lock=True)
    async def by_locked_cashews(name: str) -> Any:
        return await make(name)

    async def by_cashews_get(name: str) -> Any:
        value = await cashews.get(name)
        if value is None:
            value = await make(name)
            await cashews.set(name, value, expire=3600)
        return value

    by_lru = alru_cache(maxsize=100_000, ttl=3600)(make)
    return {
        "sparecall, `get_or_set`": (by_tiered, True),
        "sparecall, `get`": (by_get, False),
        "sparecall, `get_nowait`": (by_nowait, False),
        "a dict": (by_dict, True),
        "async-lru": (by_lru, True),
        "aiocache, memory": (by_aiocache, True),
        "cashews, memory, `get`": (by_cashews_get, False),
        "cashews, memory, decorator": (by_cashews, True),
        "cashews, memory, decorator, `lock=True`": (by_locked_cashews, True),
    }


async def hits() -> None:
    """Print the table of hits."""
    seeded = random.Random(0)
    names = [f"{seeded.getrandbits(144):036x}" for _ in range(NAMES)]
    asked = ["".join(list(name)) for name in names]
    calls = {title: call for title, (call, _) in ways().items()}

    async def nothing(name: str) -> Any:
        return name

    calls[""] = nothing
    for call in calls.values():
        for name in names:
            await call(name)
        assert await call(asked[0]) in (f"answer to {names[0]}", names[0])
    times: dict[str, list[float]] = {title: [] for title in calls}
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for title, call in seeded.sample(list(calls.items()), len(calls)):  # nobody always follows the same one
            start = time.perf_counter_ns()
            for name in asked:
                await call(name)
            times[title].append((time.perf_counter_ns() - start) / NAMES)
    gc.enable()
    overhead = statistics.median(times.pop(""))
    print("| | ns a hit |")
    print("|---|---|")
    for title, rounds in times.items():
        print(f"| {title} | {statistics.median(rounds) - overhead:.0f} |")


async def together() -> None:
    """Print the table of cold calls at once."""
    print(f"\n| {WAITERS:,} tasks, one cold key, 0.2 s to make it | runs | ms beyond that |")
    print("|---|---|---|")
    global make
    quick, runs = make, 0

    async def slow(name: str) -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.2)
        return await quick(name)

    make = slow
    for title, (call, merged) in ways().items():
        if not merged:
            continue
        runs = 0
        start = time.perf_counter()
        await asyncio.gather(*[call("cold") for _ in range(WAITERS)])
        print(f"| {title} | {runs:,} | {(time.perf_counter() - start - 0.2) * 1000:.0f} |")
    make = quick


if __name__ == "__main__":
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    print(f"Python {sys.version.split()[0]}, an awaited hit by one key of 36 characters, {NAMES} of them\n")
    for loop, run in (("uvloop", uvloop.run), ("asyncio", asyncio.run)):
        print(f"\n{loop}\n")
        run(hits())
        run(together())
