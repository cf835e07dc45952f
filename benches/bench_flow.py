"""flow: what each pattern costs a call, beside a context manager that does nothing; and a wake among many waiters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparecall.flow import AdaptiveLimit, Breaker, Fallback, RateLimit, Retry

from .common import Benchmark

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 1_000


class Nothing:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class Calls(Benchmark):
    """1,000 calls of a body that does nothing, one after the other."""

    params = (["nothing", "breaker", "breaker, slow calls too", "rate limit", "adaptive limit"],)
    param_names = ("pattern",)

    def setup(self, pattern: str) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        ways: dict[str, Callable[[], Any]] = {
            "nothing": Nothing,
            "breaker": Breaker().call,
            "breaker, slow calls too": Breaker(slow_rate=0.5, slow_after=1.0).call,
            "rate limit": RateLimit(requests=1e12, tokens=1e12).acquire,
            "adaptive limit": AdaptiveLimit().acquire,
        }
        self.way = ways[pattern]

    def teardown(self, pattern: str) -> None:
        self.loop.close()
        super().teardown(pattern)

    async def entered(self) -> None:
        way = self.way
        for _ in range(CALLS):
            async with way():
                pass

    def time_1000_calls(self, pattern: str) -> None:
        self.loop.run_until_complete(self.entered())


class Runs(Benchmark):
    """1,000 calls of a coroutine function that returns at once."""

    params = (["itself", "retry", "fallback"],)
    param_names = ("pattern",)

    def setup(self, pattern: str) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        retry, fallback = Retry(), Fallback({"one": self.work})
        ways: dict[str, Callable[[], Any]] = {
            "itself": self.work,
            "retry": lambda: retry.run(self.work),
            "fallback": fallback.run,
        }
        self.way = ways[pattern]

    def teardown(self, pattern: str) -> None:
        self.loop.close()
        super().teardown(pattern)

    async def work(self) -> None:
        return None

    async def awaited(self) -> None:
        way = self.way
        for _ in range(CALLS):
            await way()

    def time_1000_calls(self, pattern: str) -> None:
        self.loop.run_until_complete(self.awaited())


class TryAcquire(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.open = RateLimit(requests=1e12, tokens=1e12)
        self.spent = RateLimit(requests=1, tokens=100)
        self.spent.try_acquire(100)

    def time_1000_granted(self) -> None:
        for _ in range(CALLS):
            self.open.try_acquire(10)

    def time_1000_refused(self) -> None:
        for _ in range(CALLS):
            self.spent.try_acquire(10)


class Wakes(Benchmark):
    """1,000 wakes, one by one, while `waiters` wait: what a wake costs must not grow with them."""

    params = ([1_000, 10_000],)
    param_names = ("waiters",)
    number = 1

    def setup(self, waiters: int) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.limit = RateLimit(requests=1, per=1.0, burst=1.0, clock=lambda: self.now)
        self.woken = 0
        self.limit.try_acquire()
        self.tasks = [self.loop.create_task(self.call()) for _ in range(waiters)]
        self.loop.run_until_complete(asyncio.sleep(0))

    def teardown(self, waiters: int) -> None:
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.close()
        super().teardown(waiters)

    async def call(self) -> None:
        async with self.limit.acquire():
            self.woken += 1

    async def wake(self) -> None:
        for _ in range(CALLS):
            self.now += 1.0
            self.limit.sync({})
            await asyncio.sleep(0)

    def time_1000_wakes(self, waiters: int) -> None:
        self.loop.run_until_complete(self.wake())


class Readings(Benchmark):
    """10,000 calls whose ends an adaptive limit reads, twelve at a time or half a round trip's: what a reading costs in all."""

    number = 1

    def setup(self) -> None:
        super().setup()
        self.now = 0.0
        self.limit = AdaptiveLimit(most=50, clock=lambda: self.now)

    def time_10000_calls(self) -> None:
        for _ in range(10_000 // 20):
            permits = [self.limit.try_acquire() for _ in range(20)]
            self.now += 1.0
            for permit in permits:
                if permit is not None:
                    permit.settle(100)
                    permit.release()
