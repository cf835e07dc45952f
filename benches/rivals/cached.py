"""Hits through the caching decorators of sparecall, functools, cachetools, cachebox, async-lru and aiocache: one markdown table.

Nanoseconds a call, loop overhead (an empty loop, measured beside) taken off; the median of interleaved rounds. The arguments
are equal copies of the remembered ones, not the same objects. The last columns are one try each.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import aiocache
import cachebox
import cachetools
from async_lru import alru_cache

import sparecall
from sparecall.cache import BytesCache, Cache
from sparecall.cached import cached

if TYPE_CHECKING:
    from collections.abc import Callable

    Way = Callable[[Callable[..., Any]], Callable[..., Any]]

NAMES, ROUNDS, ROOM = 1_000, 51, 10_000


WAYS: dict[str, tuple[Way, bool, bool]] = {
    "sparecall, `BytesCache`, `key=`": (lambda f: cached(BytesCache(ROOM * 400), key=lambda name: name)(f), True, True),
    "sparecall, `BytesCache`, `key=str`": (lambda f: cached(BytesCache(ROOM * 400), key=str)(f), True, True),
    "sparecall, `Cache`, default key": (lambda f: cached(Cache(ROOM))(f), True, True),
    "functools.lru_cache": (functools.lru_cache(ROOM), True, False),
    "functools.lru_cache, typed": (functools.lru_cache(ROOM, typed=True), True, False),
    "cachetools, LRU, no lock": (lambda f: cachetools.cached(cachetools.LRUCache(ROOM))(f), True, False),
    "cachetools, LRU, condition": (
        lambda f: cachetools.cached(cachetools.LRUCache(ROOM), condition=threading.Condition())(f),
        True,
        False,
    ),
    "cachebox, LRU": (lambda f: cachebox.cached(cachebox.LRUCache(ROOM))(f), True, True),
    "async-lru": (lambda f: alru_cache(ROOM)(f), False, True),
    "aiocache, memory": (lambda f: aiocache.cached(key_builder=lambda f, name: name)(f), False, True),
}


def plain(name: str) -> bytes:
    return name.encode()


async def plain_async(name: str) -> bytes:
    return name.encode()


def by_position(function: Callable[..., Any], names: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for name in names:
            function(name)

    return loop


def by_keyword(function: Callable[..., Any], names: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for name in names:
            function(name=name)

    return loop


def empty(names: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for _name in names:
            pass

    return loop


def awaiting(function: Callable[..., Any], names: list[str]) -> Callable[[], Any]:
    async def loop() -> None:
        for name in names:
            await function(name)

    return loop


def ended(work: Callable[[], Any]) -> str:
    """What a thread of its own makes of the work, or that it is still waiting after a second."""
    outcome: list[str] = []

    def thread() -> None:
        try:
            outcome.append(str(work()))
        except Exception as error:  # noqa: BLE001  # that is the outcome
            outcome.append(type(error).__name__)

    one = threading.Thread(target=thread, daemon=True)
    one.start()
    one.join(1)
    return outcome[0] if outcome else "waits for ever"


def runs_of_threads(way: Way) -> str:
    runs, at_once = 0, threading.Barrier(8)

    def function(name: str) -> bytes:
        nonlocal runs
        runs += 1
        time.sleep(0.05)
        return b""

    call = way(function)

    def thread() -> None:
        at_once.wait()
        call("name")

    threads = [threading.Thread(target=thread) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return str(runs)


def asks_for_itself(way: Way) -> str:
    depth = 0

    def function(name: str) -> bytes:
        nonlocal depth
        depth += 1
        return b"ends" if depth > 1 else call(name)

    call = way(function)
    return ended(lambda: call("name").decode())


async def runs_of_tasks(way: Way) -> str:
    runs = 0

    async def function(name: str) -> bytes:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.01)
        return b""

    call = way(function)
    await asyncio.gather(*[call("name") for _ in range(8)])
    return str(runs)


async def the_first_leaves(way: Way) -> str:
    async def function(name: str) -> bytes:
        await asyncio.sleep(0.02)
        return b""

    call = way(function)
    tasks = [asyncio.ensure_future(call("name")) for _ in range(4)]
    await asyncio.sleep(0.005)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return f"{sum(outcome == b'' for outcome in outcomes)} of 3 answered"


async def asks_for_itself_async(way: Way) -> str:
    depth = 0

    async def function(name: str) -> bytes:
        nonlocal depth
        depth += 1
        return b"ends" if depth > 1 else await call(name)

    call = way(function)
    try:
        return str((await asyncio.wait_for(call("name"), 0.5)).decode())
    except TimeoutError:
        return "waits for ever"
    except RuntimeError as error:
        return type(error).__name__


async def main() -> None:
    """Print the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    seeded = random.Random(0)
    names = [f"{seeded.getrandbits(144):036x}" for _ in range(NAMES)]
    asked = ["".join(list(name)) for name in names]
    for name in asked:
        hash(name)
    loops: dict[tuple[str, str], Callable[[], Any]] = {("", "loop"): empty(asked)}
    for title, (way, sync, on_a_loop) in WAYS.items():
        if sync:
            call = way(plain)
            assert [call(name) for name in names] == [call(name) for name in asked] == [plain(name) for name in names]
            loops[title, "hit"] = by_position(call, asked)
            call = way(plain)
            by_keyword(call, names)()
            loops[title, "by keyword"] = by_keyword(call, asked)
        if on_a_loop:
            call = way(plain_async)
            assert [await call(name) for name in names] == [await call(name) for name in asked]
            loops[title, "awaited"] = awaiting(call, asked)
    times: dict[tuple[str, str], list[float]] = {at: [] for at in loops}
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for at, loop in seeded.sample(list(loops.items()), len(loops)):  # nobody always follows the same one
            start = time.perf_counter_ns()
            waiting = loop()
            if waiting is not None:
                await waiting
            times[at].append((time.perf_counter_ns() - start) / NAMES)
    gc.enable()
    overhead = statistics.median(times.pop(("", "loop")))
    cost = {at: statistics.median(rounds) - overhead for at, rounds in times.items()}
    columns = ["hit", "by keyword", "awaited"]
    tries = ["runs for 8 threads", "asks for its own key"]
    tries += ["runs for 8 tasks", "the first of 4 tasks leaves", "a task asks for its own key"]
    print(f"ns a hit, one str argument of 36 characters, {NAMES} of them\n")
    print("| |", " | ".join(columns + tries), "|")
    print("|---|" + "---|" * len(columns + tries))
    for title, (way, sync, on_a_loop) in WAYS.items():
        cells = [f"{cost[title, column]:.0f}" if (title, column) in cost else "" for column in columns]
        cells += [tried(way) if sync else "" for tried in (runs_of_threads, asks_for_itself)]
        for tried_async in (runs_of_tasks, the_first_leaves, asks_for_itself_async):
            cells.append(await tried_async(way) if on_a_loop else "")
        print(f"| {title} |", " | ".join(cells), "|")


if __name__ == "__main__":
    asyncio.run(main())
