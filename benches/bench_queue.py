"""queue: results of a thread for awaiting coroutines, the queue by itself, and the workers."""

from __future__ import annotations

import asyncio
import threading
import time

import uvloop

from sparecall import queue
from sparecall._core import _queue_pause
from sparecall.queue import Queue

from .common import Benchmark

IN_FLIGHT = 1_024


class OnLoops(Benchmark):
    params = (["asyncio", "uvloop"],)
    param_names = ("loop",)

    def setup(self, loop: str) -> None:
        super().setup()
        self.loop = uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()

    def teardown(self, loop: str) -> None:
        self.loop.close()
        super().teardown()


async def resolved(*, natively: bool) -> float:
    """Microseconds a future, 1,024 of them awaited by a coroutine each and resolved by another thread."""
    port, loop = queue.port(), asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(IN_FLIGHT)]

    async def waits(future: asyncio.Future[None]) -> float:
        await future
        return time.perf_counter()

    tasks = [asyncio.ensure_future(waits(future)) for future in futures]
    await asyncio.sleep(0)
    start = time.perf_counter()
    if natively:
        port._resolve_natively(futures, None)
    else:
        threading.Thread(target=lambda: [port.resolve(future, None) for future in futures]).start()
    return (max(await asyncio.gather(*tasks)) - start) * 1e6 / IN_FLIGHT


class Results(OnLoops):
    unit = "us a future"

    def track_a_native_thread(self, loop: str) -> float:
        return min(self.loop.run_until_complete(resolved(natively=True)) for _ in range(20))

    def track_a_python_thread(self, loop: str) -> float:
        return min(self.loop.run_until_complete(resolved(natively=False)) for _ in range(20))


class Workers(OnLoops):
    def time_one_piece_of_work_that_does_nothing(self, loop: str) -> None:
        self.loop.run_until_complete(queue.run(_queue_pause(0.0, None)))


class Items(Benchmark):
    params = ([1, IN_FLIGHT],)
    param_names = ("waiting",)

    def setup(self, waiting: int) -> None:
        super().setup()
        self.queue: Queue[None] = Queue(10 * IN_FLIGHT)
        for _ in range(waiting - 1):
            self.queue.put(None)

    def time_put_and_take(self, waiting: int) -> None:
        self.queue.put(None)
        self.queue.take()

    def time_put_and_cancel(self, waiting: int) -> None:
        self.queue.put(None).cancel()
