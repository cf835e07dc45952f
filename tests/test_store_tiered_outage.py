"""A real Redis that is paused, flushed, killed and started anew under load: no call fails, and a history of all reads finds no wrong value."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from redis_servers import SERVER, RedisServer
from sparecall.store import RedisStore, TieredCache
from stores import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS, TAGS = 40, 4


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    if SERVER is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path)
    yield server
    server.stop()


class History:
    """What was made of what: the source of each tag has a state, which grows with each invalidation."""

    def __init__(self) -> None:
        self.states = [0] * TAGS
        self.reads = self.calls = 0

    async def read(self, cache: TieredCache, number: int, heard: list[int]) -> None:
        """Ask one process, and judge its answer by what that process had invalidated itself before."""
        tag = number % TAGS

        async def factory() -> list[int]:
            self.calls += 1
            state = self.states[tag]  # what the source holds as the making begins
            await asyncio.sleep(0.002)
            return [number, state]

        known = heard[tag]
        got, state = await cache.get_or_set(f"key {number}", factory, scope="team", tags=[f"tag {tag}"], ttl=5.0)
        self.reads += 1
        assert got == number, "another key's value"
        assert state >= known, "older than this process's own invalidation"

    async def invalidate(self, cache: TieredCache, tag: int, heard: list[int]) -> None:
        self.states[tag] += 1
        heard[tag] = self.states[tag]
        await cache.invalidate(tag=f"tag {tag}")


@pytest.mark.parametrize("outage", ["pause", "kill", "flush"])
def test_no_call_fails_and_no_value_is_wrong(own_server: RedisServer, outage: str) -> None:
    async def scenario() -> None:
        chance = random.Random(1)
        stores = [RedisStore(own_server.url(), random=lambda: 0.05) for _ in range(2)]  # no long pauses
        caches = [TieredCache(l1=20, l2=store, l2_timeout=0.2, l2_pause=0.05, max_staleness=0.5) for store in stores]
        heard = [[0] * TAGS for _ in caches]
        history = History()
        ends = False

        async def client(process: int) -> None:
            while not ends:
                if chance.random() < 0.05:
                    await history.invalidate(caches[process], chance.randrange(TAGS), heard[process])
                else:
                    await history.read(caches[process], chance.randrange(KEYS), heard[process])
                await asyncio.sleep(0)

        async def all_agree() -> None:
            """Once all is well again, every process knows of every invalidation."""
            await until(lambda: all(store.coherent for store in stores))
            await until(lambda: all(cache.stats().pending == 0 for cache in caches))
            for cache in caches:
                for number in range(KEYS):
                    await history.read(cache, number, list(history.states))

        clients = [asyncio.ensure_future(client(process)) for process in (0, 1) for _ in range(8)]
        await until(lambda: history.reads > 300)
        before = history.reads
        match outage:
            case "pause":
                own_server.admin.client_pause(400)
            case "kill":
                await asyncio.to_thread(own_server.kill)
                await until(lambda: history.reads > before + 200)
                await asyncio.to_thread(own_server.start)
            case _:
                own_server.admin.flushall()
        await until(lambda: history.reads > before + 800)
        ends = True
        await asyncio.gather(*clients)
        await asyncio.sleep(0.05)  # messages on their way
        await all_agree()
        for at in (*caches, *stores):
            await at.close()
        assert history.calls < history.reads

    asyncio.run(scenario())
