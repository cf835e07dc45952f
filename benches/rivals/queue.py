"""Results of another thread for awaiting coroutines: sparecall's port, ``call_soon_threadsafe``, executors, and the queues between threads and loops.

Each of 1,024 coroutines awaits a future; a thread resolves them, one by one. Then a thread fills a queue of 1,024 that a coroutine empties. What
ways take turns, round after round, by the same loop. The first way resolves on the loop
itself: what of each is the loop's own.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import culsans
import janus
import uvloop

import sparecall
from sparecall import queue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IN_FLIGHT, ROUNDS = 1_024, 25


async def native(futures: list[asyncio.Future[None]]) -> None:
    queue.port()._resolve_natively(futures, None)


async def python_thread(futures: list[asyncio.Future[None]]) -> None:
    port = queue.port()

    def resolve() -> None:
        for future in futures:
            port.resolve(future, None)

    threading.Thread(target=resolve).start()


def settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def call_soon_threadsafe(futures: list[asyncio.Future[None]]) -> None:
    loop = asyncio.get_running_loop()

    def resolve() -> None:
        for future in futures:
            loop.call_soon_threadsafe(settle, future)

    threading.Thread(target=resolve).start()


async def bare(futures: list[asyncio.Future[None]]) -> None:
    asyncio.get_running_loop().call_soon(lambda: [settle(future) for future in futures])


WAYS: dict[str, Callable[[list[asyncio.Future[None]]], Awaitable[None]]] = {
    "the loop itself": bare,
    "sparecall's port, a native thread": native,
    "sparecall's port, a Python thread": python_thread,
    "call_soon_threadsafe, a Python thread": call_soon_threadsafe,
}


async def resolved(way: Callable[[list[asyncio.Future[None]]], Awaitable[None]]) -> float:
    """Microseconds a future, from the thread's start until the last coroutine has its result."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(IN_FLIGHT)]
    left = IN_FLIGHT
    last = loop.create_future()

    async def waits(future: asyncio.Future[None]) -> None:
        nonlocal left
        await future
        left -= 1
        if not left:
            last.set_result(time.perf_counter())

    tasks = [asyncio.ensure_future(waits(future)) for future in futures]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.disable()
    start = time.perf_counter()
    await way(futures)
    seconds = await last - start
    gc.enable()
    await asyncio.gather(*tasks)
    return float(seconds) * 1e6 / IN_FLIGHT


POOL = ThreadPoolExecutor(1)


def nothing() -> None:
    pass


async def executor() -> float:
    """Microseconds a call that does nothing, 1,024 at once in an executor of one thread."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    await asyncio.gather(*(loop.run_in_executor(POOL, nothing) for _ in range(IN_FLIGHT)))
    return (time.perf_counter() - start) * 1e6 / IN_FLIGHT


async def workers() -> float:
    """The same on sparecall's workers."""
    loop, port = asyncio.get_running_loop(), queue.port()
    pause = sparecall._core._queue_pause
    start = time.perf_counter()
    futures = [loop.create_future() for _ in range(IN_FLIGHT)]
    for future in futures:
        port.submit(pause(0.0, None), future, "normal")
    await asyncio.gather(*futures)
    return (time.perf_counter() - start) * 1e6 / IN_FLIGHT


async def through_ours() -> float:
    between: queue.Queue[int] = queue.Queue(IN_FLIGHT)
    return await emptied(between.put, between.get)


async def through_janus() -> float:
    between: Any = janus.Queue(IN_FLIGHT)
    taken = await emptied(between.sync_q.put, between.async_q.get)
    await between.aclose()
    return taken


async def through_culsans() -> float:
    between: Any = culsans.Queue(IN_FLIGHT)
    return await emptied(between.sync_q.put, between.async_q.get)


async def emptied(put: Callable[[int], Any], get: Callable[[], Awaitable[int]]) -> float:
    def fill() -> None:
        for number in range(IN_FLIGHT):
            put(number)

    start = time.perf_counter()
    thread = threading.Thread(target=fill)
    thread.start()
    for number in range(IN_FLIGHT):
        assert await get() == number
    seconds = time.perf_counter() - start
    thread.join()
    return seconds * 1e6 / IN_FLIGHT


WHOLE: dict[str, Callable[[], Awaitable[float]]] = {
    "sparecall's workers: work that does nothing": workers,
    "run_in_executor, one thread": executor,
    "sparecall's Queue: put by a thread, awaited": through_ours,
    "janus: put by a thread, awaited": through_janus,
    "culsans: put by a thread, awaited": through_culsans,
}


async def measure() -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in (*WAYS, *WHOLE)}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            times[name].append(await resolved(way))
        for name, whole in WHOLE.items():
            times[name].append(await whole())
    return times


def main() -> None:
    """Prints the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    columns = [asyncio.run(measure()), uvloop.run(measure())]
    print("us a future or item, median of rounds and in brackets the least\n")
    print("| | asyncio | uvloop |\n|---|---|---|")
    for name in columns[0]:
        cells = [f"{statistics.median(times[name]):.2f} ({min(times[name]):.2f})" for times in columns]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
