"""An L2 for tests: one memory, a `Connection` for each process, faults and lost messages by schedule, every call a few turns long."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from sparecall.errors import StoreUnavailable
from sparecall.store.protocol import Lease
from virtual_time import clock, wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparecall.store.protocol import Entry, Listener


class Shared:
    """What all processes share. Versions as Redis gives them here: those never invalidated have the epoch's."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}
        self.numbers = itertools.count(100)
        self.epoch = next(self.numbers)
        self.moved: dict[str, int] = {}
        self.leases: dict[str, tuple[str, float]] = {}
        self.streams: dict[str, list[tuple[str, bytes]]] = {}
        self.connections: list[Connection] = []

    def connect(self, **options: Any) -> Connection:
        connection = Connection(self, **options)
        self.connections.append(connection)
        return connection

    def flush(self) -> None:
        """All is lost, as by FLUSHALL."""
        self.entries.clear()
        self.moved.clear()
        self.leases.clear()
        self.epoch = next(self.numbers)
        for connection in self.connections:
            connection.tell(lambda listener: listener.lost())


class Connection:
    """One process's `Store`. `delay`: seconds a call takes; `broken`: what each call raises; `hangs`: calls never return.

    `deaf`: messages to it are lost; `message_delay`: seconds until they come; `reply_delay`: seconds that found entries are on their way; `fails(method)`: whether this call
    fails; `loses_reply(method)`: whether it is done and then fails.
    """

    def __init__(self, shared: Shared, *, delay: float = 0.001, message_delay: float = 0.001) -> None:
        self.shared, self.delay, self.message_delay = shared, delay, message_delay
        self.broken: Exception | None = None
        self.reply_delay = 0.0
        self.hangs = self.deaf = False
        self.coherent = True
        self.staleness = 1.0
        self.calls: list[str] = []
        self.fails: Callable[[str], bool | Exception] = lambda _method: False
        self.loses_reply: Callable[[str], bool] = lambda _method: False
        self.listeners: list[Listener] = []

    async def _called(self, method: str) -> None:
        self.calls.append(method)
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay)
        failure = self.fails(method)
        if failure:
            raise failure if isinstance(failure, Exception) else StoreUnavailable("this call was to fail")
        if self.broken is not None:
            raise self.broken

    def _answered(self, method: str) -> None:
        if self.loses_reply(method):
            raise StoreUnavailable("it was done, and its answer lost")

    def tell(self, what: Callable[[Listener], None]) -> None:
        if self.deaf:
            return
        for listener in self.listeners:
            asyncio.get_running_loop().call_later(self.message_delay, what, listener)

    def _tell_others(self, what: Callable[[Listener], None], *, mine: bool = False) -> None:
        for connection in self.shared.connections:
            if mine or connection is not self:
                connection.tell(what)

    async def get_many(self, keys: Sequence[str], *, scope: str) -> list[Entry | None]:
        await self._called("get_many")
        found = [self.shared.entries.get((scope, key)) for key in keys]
        await asyncio.sleep(self.reply_delay)
        return found

    async def set_many(self, entries: Sequence[Entry]) -> None:
        await self._called("set_many")
        for entry in entries:
            self.shared.entries[entry.scope, entry.key] = entry
            self._tell_others(lambda listener, entry=entry: listener.dropped(entry.scope, [entry.key]))  # type: ignore[misc]
        self._answered("set_many")

    async def delete_many(self, keys: Sequence[str], *, scope: str) -> None:
        await self._called("delete_many")
        for key in keys:
            self.shared.entries.pop((scope, key), None)
        self._tell_others(lambda listener: listener.dropped(scope, list(keys)))

    async def versions(self, names: Sequence[str]) -> tuple[int, ...]:
        await self._called("versions")
        return tuple(self.shared.moved.get(name, self.shared.epoch) for name in names)

    async def bump(self, names: Sequence[str]) -> tuple[int, ...]:
        await self._called("bump")
        version = next(self.shared.numbers)
        self.shared.moved |= dict.fromkeys(names, version)
        self._tell_others(lambda listener: listener.changed(list(names), [version] * len(names)), mine=True)
        self._answered("bump")
        return (version,) * len(names)

    async def acquire(self, name: str, *, seconds: float) -> Lease | None:
        await self._called("acquire")
        held = self.shared.leases.get(name)
        if held is not None and held[1] > clock():
            return None
        token = str(next(self.shared.numbers))
        self.shared.leases[name] = (token, clock() + seconds)
        self._answered("acquire")
        return Lease(name=name, token=token)

    async def release(self, lease: Lease) -> None:
        await self._called("release")
        held = self.shared.leases.get(lease.name)
        if held is not None and held[0] == lease.token:
            del self.shared.leases[lease.name]

    async def append(self, stream: str, record: bytes, *, keep: int) -> str:
        await self._called("append")
        position = f"{next(self.shared.numbers):09}"
        records = self.shared.streams.setdefault(stream, [])
        records.append((position, record))
        del records[:-keep]
        return position

    async def read(self, stream: str, *, after: str, limit: int) -> list[tuple[str, bytes]]:
        await self._called("read")
        return [record for record in self.shared.streams.get(stream, []) if record[0] > after][:limit]

    def listen(self, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def close(self) -> None:
        self.listeners.clear()


__all__ = ["Connection", "Shared", "clock", "wall_clock"]
