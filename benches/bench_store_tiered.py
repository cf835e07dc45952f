"""store, TieredCache: a hit of L1, a miss, a hit of an embedded L2, an invalidation; runs for calls at once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from sparecall.store import Route, SqliteStore, TieredCache

from .common import Benchmark

if TYPE_CHECKING:
    from collections.abc import Coroutine

CALLS, SCOPE = 1_000, "team/user"


async def make() -> str:
    return "an answer"


class Hits(Benchmark):
    """`CALLS` calls that L1 answers, from a coroutine on either loop."""

    params = (["asyncio", "uvloop"],)
    param_names = ("loop",)

    def setup(self, loop: str) -> None:
        super().setup()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None)
        self.names = [f"{self.random.getrandbits(144):036x}" for _ in range(CALLS)]
        self.cache = self.runner.run(self.filled())

    def teardown(self, _loop: str) -> None:
        self.runner.run(self.cache.close())
        self.runner.close()
        super().teardown()

    async def filled(self) -> TieredCache:
        cache = TieredCache(l1=10_000)
        for name in self.names:
            await cache.get_or_set(name, make, scope=SCOPE, tags=["tag"])
        return cache

    def time_1000_get_or_sets(self, _loop: str) -> None:
        async def gets() -> None:
            for name in self.names:
                await self.cache.get_or_set(name, make, scope=SCOPE)

        self.runner.run(gets())

    def time_1000_gets(self, _loop: str) -> None:
        async def gets() -> None:
            for name in self.names:
                await self.cache.get(name, scope=SCOPE)

        self.runner.run(gets())

    def time_1000_gets_without_a_coroutine(self, _loop: str) -> None:
        for name in self.names:
            self.cache.get_nowait(name, scope=SCOPE)

    def time_1000_hits_that_draw_for_a_refresh(self, _loop: str) -> None:
        route = Route(beta=1.0, eager=0.99)

        async def gets() -> None:
            for name in self.names:
                await self.cache.get_or_set(name, make, scope=SCOPE, route=route)

        self.runner.run(gets())


class Misses(Benchmark):
    """`CALLS` calls, one after the other, that L1 does not answer."""

    def setup(self) -> None:
        super().setup()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.count = 0
        self.names = [str(number) for number in range(CALLS)]
        self.runner.run(self.fill())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)
        super().teardown()

    async def fill(self) -> None:
        self.store = SqliteStore(self.folder / "answers.db", timeout=10.0)
        async with TieredCache(l2=self.store, l2_timeout=10.0) as cache:
            for name in self.names:
                await cache.set(name, "an answer", scope=SCOPE)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    def time_1000_values_made(self) -> None:
        async def work() -> None:
            async with TieredCache() as cache:
                for name in self.names:
                    await cache.get_or_set(name, make, scope=SCOPE, tags=["tag"])

        self.run(work())

    def time_1000_hits_of_sqlite(self) -> None:
        async def work() -> None:
            async with TieredCache(l2=self.store, l2_timeout=10.0) as cache:
                for name in self.names:
                    assert await cache.get(name, scope=SCOPE) is not None

        self.run(work())

    def time_1000_hits_of_sqlite_at_once(self) -> None:
        async def work() -> None:
            async with TieredCache(l2=self.store, l2_timeout=10.0) as cache:
                assert None not in await cache.get_many(self.names, scope=SCOPE)

        self.run(work())

    def time_1000_invalidations(self) -> None:
        async def work() -> None:
            async with TieredCache() as cache:
                for name in self.names:
                    await cache.invalidate(tag=name)

        self.run(work())


class Together(Benchmark):
    """Cold calls for one key at once."""

    def runs(self, calls: int) -> int:
        runs = 0

        async def factory() -> str:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            return "an answer"

        async def together() -> None:
            async with TieredCache() as cache:
                await asyncio.gather(*[cache.get_or_set("key", factory, scope=SCOPE) for _ in range(calls)])

        asyncio.run(together())
        return runs

    def track_runs_for_10000_tasks(self) -> int:
        return self.runs(10_000)

    def time_10000_tasks(self) -> None:
        self.runs(10_000)
