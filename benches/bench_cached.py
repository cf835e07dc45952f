"""cached: a hit through the decorator beside the cache itself, a miss beside the function, and runs for calls at once."""

from __future__ import annotations

import asyncio
from threading import Barrier, BrokenBarrierError, Thread

from sparecall.cache import BytesCache
from sparecall.cached import cached

from .common import Benchmark

CALLS = 1_000
THREADS = 8


def shorten(name: str) -> bytes:
    return name.encode()


async def shorten_async(name: str) -> bytes:
    return name.encode()


class Hits(Benchmark):
    """`CALLS` calls that the cache answers."""

    def setup(self) -> None:
        super().setup()
        self.names = [f"{self.random.getrandbits(144):036x}" for _ in range(CALLS)]
        self.cache = BytesCache(1_000_000)
        self.sync = cached(self.cache, key=lambda name: name)(shorten)
        self.on_a_loop = cached(self.cache, key=lambda name: name)(shorten_async)
        self.time_1000_calls()

    def time_1000_calls(self) -> None:
        for name in self.names:
            self.sync(name)

    def time_1000_calls_by_keyword(self) -> None:
        for name in self.names:
            self.sync(name=name)

    def time_1000_awaits(self) -> None:
        async def awaits() -> None:
            for name in self.names:
                await self.on_a_loop(name)

        try:
            awaits().send(None)  # a hit never suspends: no loop is needed
        except StopIteration:
            return
        raise AssertionError("a hit has left the step of its caller")

    def time_1000_gets_of_the_cache_itself(self) -> None:
        for name in self.names:
            self.cache.get(name)


class Misses(Benchmark):
    """`CALLS` calls that the cache forgets at once."""

    def setup(self) -> None:
        super().setup()
        self.names = [str(number) for number in range(CALLS)]
        self.sync = cached(BytesCache(0), key=lambda name: name)(shorten)

    def time_1000_calls(self) -> None:
        for name in self.names:
            self.sync(name)

    def time_1000_calls_of_the_function_itself(self) -> None:
        for name in self.names:
            shorten(name)


class Together(Benchmark):
    """Cold calls for one key: how often the function runs. 1 is what everybody wants."""

    def track_runs_for_8_threads(self) -> int:
        runs = 0
        at_once, inside = Barrier(THREADS), Barrier(THREADS)

        @cached(BytesCache(1_000), key=lambda: "key")
        def function() -> bytes:
            nonlocal runs
            runs += 1
            try:
                inside.wait(0.2)  # gives all the others the time to come in too
            except BrokenBarrierError:
                return b""
            return b""

        def thread() -> None:
            at_once.wait()
            function()

        threads = [Thread(target=thread) for _ in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return runs

    def track_runs_for_1000_tasks(self) -> int:
        runs = 0

        @cached(BytesCache(1_000), key=lambda: "key")
        async def function() -> bytes:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            return b""

        async def together() -> None:
            await asyncio.gather(*[function() for _ in range(CALLS)])

        asyncio.run(together())
        return runs
