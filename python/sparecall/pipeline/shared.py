"""What `Exact` asks behind its memory: a store that other processes answer from as well. Never in a caller's way for long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sparecall.errors import ConfigError, InvalidArgument, StoreUnavailable
from sparecall.flight import Flight
from sparecall.store import Entry, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparecall.cache import BytesCache
    from sparecall.config import Store as StoreConfig
    from sparecall.store import Store

_MOST_WRITES = 1000


class Shared:
    """Answers of other processes and of earlier ones, copied into `memory` with what is left of their lives.

    What is written elsewhere under a digest leaves `memory`, so that an answer which a client had made anew replaces the old one here,
    too; where that was missed both are answers to the same request. ``ttl``: seconds that an answer is kept; None for no limit but the
    store's. Writes take place beside the request; beyond a thousand at a time they are left out.
    """

    __slots__ = ("_clock", "_flight", "_memory", "_store", "_ttl", "_writes", "dropped_writes")

    def __init__(
        self, store: Store, memory: BytesCache, *, ttl: float | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._memory, self._clock = store, memory, clock
        self._ttl = float("inf") if ttl is None else ttl
        self._flight: Flight[tuple[str, bytes], bytes | None] = Flight()
        self._writes: set[asyncio.Task[None]] = set()
        self.dropped_writes = 0
        store.listen(self)

    async def close(self) -> None:
        """Wait a second for what is being written, and close the store."""
        if self._writes:
            await asyncio.wait(set(self._writes), timeout=1.0)
        for task in self._writes:
            task.cancel()
        await self._store.close()

    async def fetch(self, scope: str, digest: bytes) -> bytes | None:
        """The answer that the store had, which the memory has now; who asks at once for the same asks together."""
        found, _ = await self._flight.run((scope, digest), lambda: self._fetch(scope, digest))
        return found

    def keep(self, scope: str, digest: bytes, value: bytes, cost: tuple[float, float]) -> None:
        """Store an answer, which cost so many dollars and seconds, soon."""
        if len(self._writes) >= _MOST_WRITES or self._ttl <= 0:
            self.dropped_writes += self._ttl > 0
            return
        now = self._clock()
        entry = Entry(
            scope=scope, key=digest.hex(), value=value, created=now, expires=now + self._ttl, dead=now + self._ttl,
            dollars=cost[0], seconds=cost[1],
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(self._write(entry))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        """Nothing here has names."""

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        """Another process stored an answer under these digests."""
        for key in keys:
            try:
                self._memory.delete(bytes.fromhex(key))
            except ValueError:  # no digest: not written by a gateway
                continue

    def lost(self) -> None:
        """An answer stays an answer to its request."""

    async def _fetch(self, scope: str, digest: bytes) -> bytes | None:
        try:
            (entry,) = await self._store.get_many([digest.hex()], scope=scope)
        except StoreUnavailable:
            return None
        now = self._clock()
        if entry is None or not isinstance(entry.value, bytes) or entry.expires <= now:
            return None
        life = None if entry.expires == float("inf") else entry.expires - now
        self._memory.set(digest, entry.value, ttl=life, cost=(entry.dollars, entry.seconds))
        return entry.value

    async def _write(self, entry: Entry) -> None:
        try:
            await self._store.set_many([entry])
        except StoreUnavailable:
            self.dropped_writes += 1


def of_config(config: StoreConfig) -> Store | None:
    """The store of a configuration, None where it names none. Raises `ConfigError`."""
    address = config.address()
    if address is None:
        return None
    kind, _, path = address.partition(":")
    try:
        if kind == "sqlite":
            return SqliteStore(path, max_bytes=config.max_bytes)
        from sparecall.store import RedisStore

        return RedisStore(address, prefix=config.prefix)
    except (InvalidArgument, ImportError) as error:
        raise ConfigError(f"store.url cannot be used: {error}") from None
