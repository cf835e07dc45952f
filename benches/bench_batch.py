"""batch: items through a batcher beside a bare future each, and the pure policy."""

from __future__ import annotations

import asyncio
import time

import uvloop

from sparecall.batch import Batcher
from sparecall.batch.policy import Policy
from sparecall.batch.waiting import Item

from .common import Benchmark

ITEMS = 20_000


async def serve(items: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return items


async def through_a_batcher(callers: int, items: int, *, max_items: int) -> float:
    """Microseconds an item, `callers` at once, each one after the other."""
    batcher = Batcher(serve, max_items=max_items)

    async def caller() -> None:
        submit = batcher.submit
        for number in range(items // callers):
            await submit(number)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - start
    await batcher.close()
    return seconds * 1e6 / items


async def bare_futures(callers: int, items: int, *, max_items: int) -> float:
    """The least that can be done: a future an item, resolved by the same function called on whatever waits."""
    loop = asyncio.get_running_loop()
    waiting: list[tuple[int, asyncio.Future[int]]] = []
    done = False

    async def pump() -> None:
        while not done:
            batch, waiting[:] = waiting[:max_items], waiting[max_items:]
            for (_, future), result in zip(batch, await serve([item for item, _ in batch]), strict=True):
                future.set_result(result)
            if not batch:
                await asyncio.sleep(0)

    async def caller() -> None:
        for number in range(items // callers):
            future = loop.create_future()
            waiting.append((number, future))
            await future

    start = time.perf_counter()
    pumping = asyncio.ensure_future(pump())
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - start
    done = True
    await pumping
    return seconds * 1e6 / items


class Items(Benchmark):
    params = (["asyncio", "uvloop"], [32, 1_024])
    param_names = ("loop", "in_flight")

    def setup(self, loop: str, in_flight: int) -> None:
        super().setup()
        self.loop = uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()

    def teardown(self, loop: str, in_flight: int) -> None:
        self.loop.close()
        super().teardown()

    def track_microseconds_over_a_bare_future(self, loop: str, in_flight: int) -> float:
        # Interleaved; the least of each: what disturbs only adds.
        pairs = [
            [
                self.loop.run_until_complete(way(in_flight, ITEMS, max_items=in_flight))
                for way in (through_a_batcher, bare_futures)
            ]
            for _ in range(7)
        ]
        return min(ours for ours, _ in pairs) - min(bare for _, bare in pairs)


class Decisions(Benchmark):
    params = ([1, 32, 1_024],)
    param_names = ("batch",)

    def time_items_added_and_taken(self, batch: int) -> None:
        policy = Policy(max_items=batch)
        lane = policy.waiting.plain
        for now in range(ITEMS // batch):
            for _ in range(batch):
                policy.waiting.add(Item(0, 1, float(now)), lane)
            policy.close(float(now))
