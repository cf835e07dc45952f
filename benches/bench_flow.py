"""flow: what each pattern costs a call, beside a context manager that does nothing; a choice of a router; and a wake among many waiters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparecall.flow import (
    AdaptiveLimit,
    Breaker,
    Endpoint,
    Fallback,
    Features,
    Hedge,
    RateLimit,
    Retry,
    Router,
    Rule,
    Timeout,
    room,
)
from sparecall.prices import Price, Prices

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

    params = (
        [
            "nothing",
            "breaker",
            "breaker, slow calls too",
            "rate limit",
            "adaptive limit",
            "timeout",
            "asyncio.timeout",
            "router",
        ],
    )
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
            "timeout": Timeout().call,
            "asyncio.timeout": lambda: asyncio.timeout(100),
            "router": routers()["10 endpoints"].route,
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

    params = (["itself", "retry", "fallback", "hedge"],)
    param_names = ("pattern",)

    def setup(self, pattern: str) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        retry, fallback, hedge = Retry(), Fallback({"one": self.work}), Hedge(minimum_calls=1)
        ways: dict[str, Callable[[], Any]] = {
            "itself": self.work,
            "retry": lambda: retry.run(self.work),
            "fallback": fallback.run,
            "hedge": lambda: hedge.run(self.work, idempotent=True),
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


def routers() -> dict[str, Router]:
    """One model at ten endpoints, alone, behind breakers, behind rate limits too; and three models under a budget, behind breakers."""

    def breakers(count: int) -> list[Endpoint | str]:
        return [Endpoint(name=str(number), room=room(Breaker())) for number in range(count)]

    both: list[Endpoint | str] = [
        Endpoint(name=str(number), room=room(Breaker(), RateLimit(requests=1e12, tokens=1e12))) for number in range(10)
    ]
    return {
        "10 endpoints": Router({"m": [str(number) for number in range(10)]}),
        "10, breakers": Router({"m": breakers(10)}),
        "10, breakers and limits": Router({"m": both}),
        "3 models at 3, a rule, a budget": Router(
            {model: breakers(3) for model in "abc"},
            rules=[Rule(name="short and urgent", models=("a",), tokens_at_most=100, priorities=("urgent",))],
            budget=1e6,
            prices=Prices({"a": Price(1, 2), "b": Price(2, 3), "c": Price(3, 4)}),
        ),
    }


class Choices(Benchmark):
    """1,000 choices of a router that knows its endpoints' latencies: the decision alone, without entering and leaving."""

    params = (["10 endpoints", "10, breakers", "10, breakers and limits", "3 models at 3, a rule, a budget"],)
    param_names = ("router",)

    def setup(self, router: str) -> None:
        super().setup()
        self.router = routers()[router]
        for loads in self.router._loads.values():
            for load in loads:
                load.began(load, 0.0)
                load.answered(load, 1.0)
                load.ended(load, 1.0, failed=False, usual=1.0)

    def time_1000_choices(self, router: str) -> None:
        choose, features = self.router._choose, Features(tokens=500)
        for number in range(CALLS):
            choose(features, (), 2.0 + number / CALLS)


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
