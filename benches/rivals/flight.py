"""Cold calls merged by sparecall's flight, async-lru, aiocache and the shared task people write by hand: one markdown table.

Each key is new, so only the merging is measured: nobody answers from a memory. The last columns are one try each.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import statistics
import time
from typing import TYPE_CHECKING, Any

import aiocache
import uvloop
from async_lru import alru_cache

import sparecall
from sparecall.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Work = Callable[[int], Awaitable[str]]

ROUNDS, CALLS = 15, 2_000
logging.getLogger("aiocache").setLevel(logging.CRITICAL)


def flight(work: Work) -> Work:
    one: Flight[int, str] = Flight()

    async def call(key: int) -> str:
        value, _ = await one.run(key, lambda: work(key))
        return value

    return call


def lru(work: Work) -> Work:
    return alru_cache(maxsize=100_000)(work)


def stampede(work: Work) -> Work:
    return aiocache.cached_stampede(lease=2, key_builder=lambda _, key: str(key))(work)


def by_hand(work: Work) -> Work:
    tasks: dict[int, asyncio.Task[str]] = {}

    async def call(key: int) -> str:
        task = tasks.get(key)
        if task is None:
            task = tasks[key] = asyncio.ensure_future(work(key))
            task.add_done_callback(lambda _: tasks.pop(key))
        return await asyncio.shield(task)

    return call


WAYS: dict[str, Callable[[Work], Work]] = {
    "sparecall": flight,
    "shared task, by hand": by_hand,
    "async-lru": lru,
    "aiocache, cached_stampede": stampede,
}


async def quick(key: int) -> str:
    await asyncio.sleep(0)
    return "value"


async def leader_leaves(way: Callable[[Work], Work]) -> str:
    """Whether the others are answered, and by how many runs, when the first caller is cancelled."""
    runs = 0

    async def work(key: int) -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.02)
        return "value"

    call = way(work)
    callers = [asyncio.ensure_future(call(-1)) for _ in range(4)]
    await asyncio.sleep(0.005)
    callers[0].cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    answered = sum(answer == "value" for answer in answers)
    return f"{answered} of 3 answered, {runs} run{'s' * (runs > 1)}"


async def everybody_leaves(way: Callable[[Work], Work]) -> str:
    """Whether the work goes on when nobody waits for it."""
    ended = False

    async def work(key: int) -> str:
        nonlocal ended
        await asyncio.sleep(0.02)
        ended = True
        return "value"

    call = way(work)
    callers = [asyncio.ensure_future(call(-2)) for _ in range(2)]
    await asyncio.sleep(0.005)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.sleep(0.05)
    return "runs on" if ended else "stopped"


async def asks_for_itself(way: Callable[[Work], Work]) -> str:
    """Whether a work that asks for its own key comes to an end."""
    depth = 0

    async def work(key: int) -> str:
        nonlocal depth
        depth += 1
        return "inner" if depth > 1 else await call(key)

    call: Any = way(work)
    try:
        return "ends" if await asyncio.wait_for(call(-3), 0.5) == "inner" else "wrong"
    except TimeoutError:
        return "waits for ever"
    except RuntimeError as error:
        return type(error).__name__


async def main() -> None:
    """Prints the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    keys = itertools.count()
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for together in (1, 100):
            for name, way in WAYS.items():
                call = way(quick)
                first = next(keys) * CALLS
                gc.collect()
                start = time.perf_counter_ns()
                await asyncio.gather(*[call(first + number // together) for number in range(CALLS)])
                times.setdefault((name, together), []).append((time.perf_counter_ns() - start) / CALLS / 1000)
    ours = {together: statistics.median(times["sparecall", together]) for together in (1, 100)}
    print("us a caller; in brackets the multiple of sparecall's time\n")
    print("| | alone | 100 together | the first of 4 leaves | all leave | a work that asks for its own key |")
    print("|---|---|---|---|---|---|")
    for name, way in WAYS.items():
        cells = []
        for together in (1, 100):
            median = statistics.median(times[name, together])
            cells.append(f"{median:.1f} ({median / ours[together]:.1f}x)")
        cells += [await leader_leaves(way), await everybody_leaves(way), await asks_for_itself(way)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    uvloop.run(main())
