"""L2 in a SQLite file: answers outlive a restart, and the processes of one machine share them. No server.

One thread writes, in batches; another reads, on a connection of its own, and polls for what other processes changed. The event loop is
never held: all that touches the file happens in those threads. Belongs to one event loop.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from sparecall.errors import InvalidArgument
from sparecall.store.entries import digest, digests, dump, entry_digests, life, load
from sparecall.store.hearers import Hearers
from sparecall.store.protocol import Entry, Lease, Listener
from sparecall.store.sqlite_access import Access

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sparecall.store.breaker import State
    from sparecall.store.sqlite_file import File


class SqliteStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the store was made."""

    hits: int = 0
    misses: int = 0
    junk: int = 0
    """What stood under a key of ours and was no entry, or another's; misses too."""
    unavailable: int = 0
    """Calls that the file failed or kept waiting for too long."""
    left_alone: int = 0
    """Calls not made while the breaker was open."""
    evicted: int = 0
    """Entries removed by this process to keep within `max_bytes`."""
    lost: int = 0
    """How often listeners were told to trust nothing."""
    set_aside: int = 0
    """How often the file was damaged, and another begun."""


class SqliteStore:
    """A `Store` in the file at ``path``, which is made where there is none; its folder has to be there.

    ``max_bytes``: what the file may hold; beyond that what is dead goes first, then what was written longest ago, and what
    takes over a quarter of it is not kept at all. A log of up to a few MiB
    stands beside the file. ``timeout``: seconds for a call, waiting for other processes' writes included. ``interval``: seconds
    between looks for what other processes changed, while there are listeners; `staleness` is twice that. ``longest``: the most
    seconds that an entry is kept. ``most_names``: so many invalidated names are told apart; then all are invalidated at once.
    ``clock`` is the wall clock, ``monotonic`` the breaker's.

    A process killed at any moment loses the writes that it was not told of as done. A machine that stops loses some that it was told of,
    but no invalidation and no deletion. A damaged file is set aside as ``<path>.damaged``, and an empty one begun. Another
    program's database is refused with `StoreUnavailable` by every call. Raises `InvalidArgument`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 1024 * 1024 * 1024,
        timeout: float = 1.0,
        interval: float = 0.1,
        longest: float = 30 * 86_400.0,
        most_names: int = 1_000_000,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in {"timeout": timeout, "interval": interval, "longest": longest}.items():
            if not 0 < value < math.inf:
                raise InvalidArgument(f"{name} is {value}; give seconds above 0")
        if max_bytes < 1024 * 1024 or most_names < 1:
            raise InvalidArgument(f"max_bytes is {max_bytes} and most_names {most_names}; give at least 1 MiB and 1")
        self._path, self._interval, self._largest = Path(path), interval, max_bytes // 4
        self._longest, self._most_names, self._clock = longest, most_names, clock
        self._hearers = Hearers()
        self._access = Access(
            self._path,
            self._hearers,
            max_bytes=max_bytes,
            timeout=timeout,
            interval=interval,
            clock=clock,
            monotonic=monotonic,
        )
        self._hits = self._misses = self._junk = 0

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r}, {self.state}, coherent={self.coherent})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def coherent(self) -> bool:
        """Whether listeners hear what other processes change."""
        return self._access.coherent

    @property
    def staleness(self) -> float:
        """Twice the interval."""
        return 2 * self._interval

    @property
    def state(self) -> State:
        """The breaker's state: closed, open or half_open."""
        return self._access.state

    def stats(self) -> SqliteStats:
        """What has happened so far."""
        access = self._access
        return SqliteStats(
            hits=self._hits, misses=self._misses, junk=self._junk + self._hearers.junk, unavailable=access.unavailable,
            left_alone=access.left_alone, evicted=access.evicted, lost=self._hearers.lost_count, set_aside=access.set_aside,
        )  # fmt: skip

    async def get_many(self, keys: Sequence[str], *, scope: str) -> list[Entry | None]:
        """The entries under `keys`, None for a miss."""
        if not keys:
            return []
        places = entry_digests(scope, keys)

        def work(file: File) -> list[Entry | None]:
            found = [file.get(name) for name in places]
            loaded = [
                None if data is None else load(data, scope=scope, key=key)
                for data, key in zip(found, keys, strict=True)
            ]
            self._junk += sum(entry is None and data is not None for entry, data in zip(loaded, found, strict=True))
            return loaded

        entries: list[Entry | None] = [None] * len(keys)
        for _ in range(2):
            then = self._hearers.now()
            loaded = await self._access.read(work)
            # What was changed while its old value was on the way here is not to be kept by who has heard of the change before.
            if self._hearers.same_since(then, places):
                now = self._clock()
                entries = [entry if entry is not None and now < entry.dead else None for entry in loaded]
                break
        hits = sum(entry is not None for entry in entries)
        self._hits += hits
        self._misses += len(entries) - hits
        return entries

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """Write all, each kept until its `dead` or for `longest`; those that are dead already are not written.

        Raises `FrameError` where a value cannot be packed, and `InvalidArgument` for times that are no numbers: nothing is written.
        """
        now = self._clock()
        rows: list[tuple[str, float, bytes]] = []
        written: dict[str, list[str]] = {}
        for entry in entries:
            if (seconds := life(entry, now=now, longest=self._longest)) > 0:
                rows.append((entry_digests(entry.scope, (entry.key,))[0], now + seconds, dump(entry)))
                written.setdefault(entry.scope, []).append(entry.key)
        if not rows:
            return
        messages = [self._hearers.written(scope, keys) for scope, keys in written.items()]

        def work(file: File) -> None:
            for name, dead, data in rows:
                if len(data) <= self._largest:
                    file.set(name, dead, data)
                else:  # it would push out most of the others
                    file.delete(name)
            for message in messages:
                file.tell(0, message)

        await self._change(work, [row[0] for row in rows])

    async def delete_many(self, keys: Sequence[str], *, scope: str) -> None:
        """Remove what stands under `keys`, at once for all."""
        if not keys:
            return
        places = entry_digests(scope, keys)
        message = self._hearers.written(scope, keys)

        def work(file: File) -> None:
            for name in places:
                file.delete(name)
            file.tell(0, message)

        await self._change(work, places, durable=True)

    async def versions(self, names: Sequence[str]) -> tuple[int, ...]:
        """The current version of each name."""
        if not names:
            return ()
        places = digests("name", "", names)
        versions = await self._access.read(lambda file: file.versions(places))
        self._hearers.saw(*versions)
        return tuple(versions)

    async def bump(self, names: Sequence[str]) -> tuple[int, ...]:
        """Give the names one new version between them."""
        if not names:
            return ()
        places = digests("name", "", names)
        message = self._hearers.bumped(names)

        def work(file: File) -> int:
            version = file.bump(places, seen=self._hearers.seen, most=self._most_names)
            file.tell(version, message)
            return version

        version = await self._access.write(work, durable=True)
        self._hearers.saw(version)
        return (version,) * len(names)

    async def acquire(self, name: str, *, seconds: float) -> Lease | None:
        """The lease of `name` for `seconds`, or None while another has it."""
        if not 0 < seconds < math.inf:
            raise InvalidArgument(f"seconds is {seconds}; give a lease a length above 0")
        lease = Lease(name=name, token=secrets.token_hex(16))
        taken = await self._access.write(
            lambda file: file.acquire(digest("lease", name), lease.token, now=self._clock(), seconds=seconds)
        )
        return lease if taken else None

    async def release(self, lease: Lease) -> None:
        """Give the lease back, if it is still this one."""
        await self._access.write(lambda file: file.release(digest("lease", lease.name), lease.token))

    async def append(self, stream: str, record: bytes, *, keep: int) -> str:
        """Add a record; the stream keeps the newest `keep`."""
        name = digest("stream", stream)
        born, number = await self._access.write(lambda file: (file.born, file.append(name, record, keep)))
        return f"{born}-{number}"

    async def read(self, stream: str, *, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Up to `limit` records behind `after`; from the oldest where that is a position in a file of before."""
        name = digest("stream", stream)
        before, _, number = after.partition("-")
        if after and not (before.isdecimal() and number.isdecimal()):
            raise InvalidArgument(
                "after is no position of this store; give one that append or read gave, or an empty string"
            )

        def work(file: File) -> list[tuple[str, bytes]]:
            born = file.born
            first = int(number) if after and int(before) == born else 0
            return [(f"{born}-{position}", record) for position, record in file.read(name, first, limit)]

        return await self._access.read(work)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of changes made elsewhere until the returned function is called.

        Looking for them begins with the first call made on an event loop, this one where it is; `lost` is called once it has.
        """
        remove = self._hearers.add(listener)
        with contextlib.suppress(RuntimeError):  # no event loop yet: the first read begins it
            self._access.listen()
        return remove

    async def close(self) -> None:
        """Finish what was begun, close the file, end the threads; later calls raise `StoreUnavailable`."""
        await self._access.close()

    async def _change(self, work: Callable[[File], None], places: Sequence[str], *, durable: bool = False) -> None:
        try:
            await self._access.write(work, durable=durable)
        finally:  # whether it happened or not
            self._hearers.note(places)
