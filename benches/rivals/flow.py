"""What flow control costs a call: sparecall beside aiolimiter, throttled-py, pyrate-limiter, pybreaker and tenacity, as markdown tables.

All of them let every call through: only their own work is measured. The last table is what each does in an outage, counted and not timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING, Any

import aiolimiter
import pybreaker
import pyrate_limiter
import tenacity
import throttled.asyncio
import uvloop

import sparecall
from sparecall.flow import AdaptiveLimit, Breaker, Fallback, RateLimit, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Way = Callable[[int], Awaitable[None]]

ROUNDS, CALLS, PLENTY = 25, 2_000, 1_000_000_000
logging.disable(logging.CRITICAL)


class Nothing:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


async def work() -> None:
    return None


def entered(make: Callable[[], Any]) -> Way:
    async def calls(count: int) -> None:
        for _ in range(count):
            async with make():
                pass

    return calls


def awaited(call: Callable[[], Awaitable[Any]]) -> Way:
    async def calls(count: int) -> None:
        for _ in range(count):
            await call()

    return calls


def called(call: Callable[[], object]) -> Way:
    async def calls(count: int) -> None:
        for _ in range(count):
            call()

    return calls


def limits() -> dict[str, Way]:
    ours = RateLimit(requests=PLENTY, tokens=PLENTY)
    leaky = aiolimiter.AsyncLimiter(PLENTY, 60)
    gcra = throttled.asyncio.Throttled(
        using="gcra", quota=throttled.asyncio.per_min(PLENTY), store=throttled.asyncio.MemoryStore(), key="key"
    )
    pyrate = pyrate_limiter.Limiter(pyrate_limiter.Rate(PLENTY, pyrate_limiter.Duration.MINUTE))
    return {
        "`async with` that does nothing": entered(Nothing),
        "sparecall, requests and tokens, `try_acquire`": called(lambda: ours.try_acquire(10)),
        "sparecall, requests and tokens, `async with`": entered(lambda: ours.acquire(10)),
        "aiolimiter, `async with`": entered(lambda: leaky),
        "throttled-py, GCRA, `await limit`": awaited(gcra.limit),
        "pyrate-limiter, `try_acquire`": called(lambda: pyrate.try_acquire("key", blocking=False)),
    }


def breakers() -> dict[str, Way]:
    ours, slow = Breaker(), Breaker(slow_rate=0.5, slow_after=1.0)
    theirs = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)

    async def calling() -> None:
        with theirs.calling():
            await work()

    async def through(breaker: Breaker) -> None:
        async with breaker.call():
            await work()

    return {
        "a coroutine that does nothing": awaited(work),
        "sparecall": awaited(lambda: through(ours)),
        "sparecall, slow calls too": awaited(lambda: through(slow)),
        "pybreaker, failures in a row": awaited(calling),
    }


def adaptive() -> dict[str, Way]:
    ours = AdaptiveLimit()
    return {
        "`async with` that does nothing": entered(Nothing),
        "sparecall, `async with`": entered(lambda: ours.acquire()),
        "asyncio.Semaphore, a fixed limit": entered(lambda: semaphore),
    }


semaphore = asyncio.Semaphore(20)


def retries() -> dict[str, Way]:
    ours = Retry()

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_random_exponential(0.5))
    async def theirs() -> None:
        return None

    return {
        "a coroutine that does nothing": awaited(work),
        "sparecall, with budget": awaited(lambda: ours.run(work)),
        "tenacity": awaited(theirs),
    }


def together() -> dict[str, Way]:
    limit, breaker, retry = RateLimit(requests=PLENTY, tokens=PLENTY), Breaker(), Retry()
    calls = AdaptiveLimit()
    leaky, theirs = aiolimiter.AsyncLimiter(PLENTY, 60), pybreaker.CircuitBreaker()

    async def our_call() -> None:
        async with limit.acquire(10) as lease, breaker.call():
            await work()
            lease.settle(8)

    async def all_layers() -> None:
        async with limit.acquire(10) as lease, calls.acquire() as permit, breaker.call():
            await work()
            permit.settle(3)
            lease.settle(8)

    fallback = Fallback({"one": lambda: retry.run(all_layers)})

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_random_exponential(0.5))
    async def their_call() -> None:
        async with leaky:
            with theirs.calling():
                await work()

    return {
        "a coroutine that does nothing": awaited(work),
        "sparecall: retry, rate limit settled, breaker": awaited(lambda: retry.run(our_call)),
        "sparecall: those, an adaptive limit and a fallback": awaited(fallback.run),
        "tenacity + aiolimiter + pybreaker": awaited(their_call),
    }


async def measured(ways: dict[str, Way]) -> dict[str, float]:
    """Microseconds a call: the best of interleaved rounds, as other work on the machine only ever adds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            gc.collect()
            start = time.perf_counter_ns()
            await way(CALLS)
            times[name].append((time.perf_counter_ns() - start) / CALLS / 1000)
    return {name: min(values) for name, values in times.items()}


async def outage() -> dict[str, int]:
    """Calls that reach a provider that is down, of 200 asked for at 3 attempts each, without pauses: with the budget and the breaker, and with theirs."""
    reached = 0

    async def down() -> None:
        nonlocal reached
        reached += 1
        raise ConnectionError

    breaker, retry = Breaker(), Retry(base=0.0, patience=0.0)
    theirs = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)

    async def ours() -> None:
        async with breaker.call():
            await down()

    async def guarded() -> None:
        with theirs.calling():
            await down()

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "sparecall, retry": lambda: Retry(base=0.0).run(down),
        "sparecall, retry with one budget": lambda: retry.run(down),
        "sparecall, retry and breaker": lambda: Retry(base=0.0, patience=0.0).run(ours),
        "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(down),
        "tenacity + pybreaker": tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(guarded),
    }
    found: dict[str, int] = {}
    for name, way in ways.items():
        reached = 0
        for _ in range(200):
            with contextlib.suppress(Exception):
                await way()
        found[name] = reached
    return found


async def main() -> None:
    """Prints the tables."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    tables = {
        "rate limit": limits,
        "adaptive limit": adaptive,
        "breaker": breakers,
        "retry": retries,
        "all together": together,
    }
    for title, ways in tables.items():
        found = await measured(ways())
        ours = next(value for name, value in found.items() if name.startswith("sparecall"))
        print(f"\n| {title} | us a call | of sparecall's |\n|---|---|---|")
        for name, value in found.items():
            print(f"| {name} | {value:.2f} | {value / ours:.1f}x |")
    print("\n| down: calls that reach the provider, of 200 asked for | |\n|---|---|")
    for name, reached in (await outage()).items():
        print(f"| {name} | {reached} |")


if __name__ == "__main__":
    uvloop.run(main())
