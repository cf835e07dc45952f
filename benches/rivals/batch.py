"""Items through sparecall's batcher, `batched`, async-batcher and aiodataloader, each beside bare futures: one markdown table.

Callers in flight await one item after the other; the function yields to the loop once and returns its items. What a library adds is its time
an item less that of bare futures in the same round. The batch size is the number in flight. `batched` and async-batcher wait for a timer where fewer than
a batch wait at the moment they look; for `batched` that is after each batch, before its callers have come again, so it stands there without its timer too.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import batched.aio
import uvloop
from aiodataloader import DataLoader
from async_batcher.batcher import AsyncBatcher

import sparecall
from sparecall.batch import Batcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Ask = Callable[[int], Awaitable[int]]

ROUNDS, ITEMS = 9, 20_000
logging.getLogger("async_batcher").setLevel(logging.CRITICAL)


async def serve(items: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return items


def ours(most: int) -> Ask:
    return Batcher(serve, max_items=most).submit


def mixedbread(most: int) -> Ask:
    return batched.aio.dynamically(serve, batch_size=most)  # type: ignore[no-any-return]


def without_timer(most: int) -> Ask:
    return batched.aio.dynamically(serve, batch_size=most, timeout_ms=0)  # type: ignore[no-any-return]


def async_batcher(most: int) -> Ask:
    class Served(AsyncBatcher[int, int]):
        async def process_batch(self, batch: list[int]) -> list[int]:
            return await serve(batch)

    return Served(max_batch_size=most).process


def dataloader(most: int) -> Ask:
    return DataLoader(serve, max_batch_size=most, cache=False).load


def bare(_most: int) -> Ask:
    """A future an item, and one task that resolves what waits."""
    waiting: list[tuple[int, asyncio.Future[int]]] = []
    running: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    async def pump() -> None:
        while waiting:
            batch, waiting[:] = waiting[:], []
            for (_, future), result in zip(batch, await serve([item for item, _ in batch]), strict=True):
                future.set_result(result)
            await asyncio.sleep(0)
        running.clear()

    def ask(item: int) -> asyncio.Future[int]:
        future = loop.create_future()
        waiting.append((item, future))
        if not running:
            running.append(loop.create_task(pump()))
        return future

    return ask


WAYS: dict[str, Callable[[int], Ask]] = {
    "sparecall": ours,
    "batched": mixedbread,
    "batched, timeout_ms=0: polls": without_timer,
    "async-batcher": async_batcher,
    "aiodataloader": dataloader,
}


async def spent(way: Callable[[int], Ask], in_flight: int) -> float:
    """Microseconds an item."""
    ask: Any = way(in_flight)
    await ask(0)

    async def caller() -> None:
        for number in range(ITEMS // in_flight):
            await ask(number)

    gc.collect()
    gc.disable()
    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    seconds = time.perf_counter() - start
    gc.enable()
    return seconds * 1e6 / ITEMS


async def alone(way: Callable[[int], Ask]) -> float:
    """Milliseconds of an item that comes alone."""
    ask: Any = way(32)
    times = []
    waits = random.Random(0)  # whoever polls is met at any point of its sleep
    for number in range(30):
        await asyncio.sleep(waits.uniform(0.02, 0.03))
        start = time.perf_counter()
        await ask(number)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


async def poisoned(way: Callable[[int], Ask]) -> str:
    """How many of 8 callers get their result when one item makes the function raise."""

    async def raises(items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        if 3 in items:
            raise ValueError(3)
        return items

    global serve  # the ways look it up when they are called
    usual, serve = serve, raises
    try:
        ask: Any = way(8)
        results = await asyncio.gather(
            *(asyncio.ensure_future(ask(number)) for number in range(8)), return_exceptions=True
        )
    finally:
        serve = usual
    return f"{sum(isinstance(result, int) for result in results)} of 7"


async def measure(loop: str, in_flight: int) -> dict[str, tuple[float, float]]:
    """For each way: the median of what it adds to bare futures, and the least."""
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        these = {"bare": await spent(bare, in_flight)}
        for name, way in WAYS.items():
            these[name] = await spent(way, in_flight)
        rounds.append(these)
    least = min(each["bare"] for each in rounds)
    return {
        name: (
            statistics.median(each[name] - each["bare"] for each in rounds),
            min(each[name] for each in rounds) - least,
        )
        for name in WAYS
    }


def main() -> None:
    """Prints the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    cells: dict[str, list[str]] = {name: [] for name in WAYS}
    heads = []
    for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
        for in_flight in (32, 1_024):
            heads.append(f"{loop}, {in_flight} in flight")
            added = run(measure(loop, in_flight))
            for name, (median, least) in added.items():
                ratio = median / added["sparecall"][0]
                cells[name].append(f"{median:.1f} (least {least:.1f}; {ratio:.1f}x)")
    for name, way in WAYS.items():
        cells[name] += [f"{uvloop.run(alone(way)):.2f} ms", uvloop.run(poisoned(way))]
    print(
        "us an item above a bare future, median of rounds; in brackets the least, and the multiple of sparecall's median\n"
    )
    print("| | " + " | ".join([*heads, "an item alone", "one item raises: others answered"]) + " |")
    print("|" + "---|" * (len(heads) + 3))
    for name, row in cells.items():
        print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
