"""Processes that read, fill and invalidate while their shared store fails, and a history that finds every wrong value among the reads.

The cache here is the smallest that uses a store rightly: memory before the store, marks compared with versions, `lost` obeyed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sparecall.errors import StoreUnavailable
from sparecall.store import TieredCache
from stores import entry

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = [f"key {n}" for n in range(8)]
_SLACK = 0.5  # for an event loop that is late itself


class History:
    """The truth behind the caches: a number per key that grows, and when its invalidations were acknowledged."""

    def __init__(self) -> None:
        self.value = dict.fromkeys(KEYS, 0)
        self.acknowledged = {key: deque([(-1.0, 0)]) for key in KEYS}
        self.reads = {"memory": 0, "store": 0, "made": 0}
        self.wrong: list[str] = []

    def since(self, key: str, moment: float) -> int:
        """The least number that a read which began at `moment` may give."""
        return max(value for at, value in self.acknowledged[key] if at <= moment)

    def invalidated(self, key: str, value: int) -> None:
        now = time.monotonic()
        times = self.acknowledged[key]
        times.append((now, value))
        while len(times) > 2 and times[1][0] < now - 5:
            times.popleft()

    def read(self, key: str, value: int, source: str, least: int) -> None:
        self.reads[source] += 1
        if value < least:
            self.wrong.append(f"{source} gave {value} for {key}, which had been at least {least}")


class Client:
    """One process's cache over `store`."""

    sources = ("memory", "store")
    """Where its reads are answered from, once all is well."""
    connections = 5
    """The most that three readers and who updates need, and the one that listens."""

    def __init__(self, store: Any, history: History) -> None:
        self.store, self.history = store, history
        self.memory: dict[str, tuple[int, int]] = {}
        self.versions: dict[str, int] = {}
        self.era = 0
        self.refused = deque[float](maxlen=2000)
        """Seconds that each of the last calls to a store that failed took."""
        self.unavailable = 0
        store.listen(self)

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        for name, version in zip(names, versions, strict=True):
            self.versions[name] = max(version, self.versions.get(name, 0))

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.memory.pop(key, None)

    def lost(self) -> None:
        self.era += 1
        self.memory.clear()
        self.versions.clear()

    async def read(self, key: str) -> None:
        history, began = self.history, time.monotonic()
        copy = self.memory.get(key)
        if copy is not None and self.store.coherent and copy[1] == self.versions.get(key):
            history.read(key, copy[0], "memory", history.since(key, began - self.store.staleness - _SLACK))
            return
        least, era = history.since(key, began), self.era
        started = time.perf_counter()
        try:
            (found,) = await self.store.get_many([key], scope="team")
            (version,) = await self.store.versions([key])
        except StoreUnavailable:
            self.refused.append(time.perf_counter() - started)
            self.unavailable += 1
            history.read(key, history.value[key], "made", least)
            return
        if found is not None and found.marks == (version,):
            value = found.value
            history.read(key, value, "store", least)
        else:
            value = history.value[key]
            history.read(key, value, "made", least)
            await asyncio.sleep(random.random() * 0.003)  # making takes a while: it may be invalidated meanwhile
            try:
                await self.store.set_many([entry(key, value, marks=(version,))])
            except StoreUnavailable:
                self.unavailable += 1
                return
        if self.era == era:
            self.changed([key], [version])
            self.memory[key] = (value, version)

    async def update(self, key: str) -> None:
        value = self.history.value[key] = self.history.value[key] + 1
        try:
            await self.store.bump([key])
        except StoreUnavailable:
            self.unavailable += 1
            return
        self.history.invalidated(key, value)

    async def close(self) -> None:
        await self.store.close()


class Tiered:
    """One process's `TieredCache` over `store`: the same reads and updates."""

    sources = ("memory",)
    connections = 16  # it writes beside its callers
    _MAX_STALENESS = 0.5

    def __init__(self, store: Any, history: History) -> None:
        self.store, self.history = store, history
        self.cache = TieredCache(l2=store, max_staleness=self._MAX_STALENESS)

    async def read(self, key: str) -> None:
        history, made = self.history, False
        least = history.since(key, time.monotonic() - self.store.staleness - self._MAX_STALENESS - _SLACK)

        async def factory() -> int:
            nonlocal made
            made = True
            value = history.value[key]
            await asyncio.sleep(random.random() * 0.003)  # it may be invalidated meanwhile
            return value

        value = await self.cache.get_or_set(key, factory, scope="team", ttl=30.0, tags=[key])
        history.read(key, value, "made" if made else "memory", least)

    async def update(self, key: str) -> None:
        value = self.history.value[key] = self.history.value[key] + 1
        if await self.cache.invalidate(tag=key):
            self.history.invalidated(key, value)

    async def close(self) -> None:
        await self.cache.close()
        await self.store.close()


async def load(clients: Sequence[Client | Tiered], stop: asyncio.Event, *, readers: int = 3) -> None:
    """Reads and updates from all clients until `stop`."""
    dice = random.Random(7)

    async def reading(client: Client | Tiered) -> None:
        while not stop.is_set():
            await client.read(dice.choice(KEYS))
            await asyncio.sleep(0.002)

    async def updating(client: Client | Tiered) -> None:
        while not stop.is_set():
            await client.update(dice.choice(KEYS))
            await asyncio.sleep(0.02)

    await asyncio.gather(*[reading(client) for client in clients for _ in range(readers)], *map(updating, clients))
