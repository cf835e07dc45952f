"""L2 in Redis or Valkey: entries as checked frames, versions, leases and streams. One server, its primary; no cluster.

Every call is one round trip, bounded by a timeout and refused at once by a breaker while the server fails. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random as _random
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from sparecall.errors import InvalidArgument
from sparecall.store import scripts
from sparecall.store.breaker import Breaker, State
from sparecall.store.coherence import Hearing
from sparecall.store.connections import Address, Argument
from sparecall.store.entries import digest, digests, dump, entry_digests, life, load
from sparecall.store.hearers import Hearers
from sparecall.store.link import Link
from sparecall.store.protocol import Entry, Lease, Listener
from sparecall.store.verdicts import word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_LOG = logging.getLogger("sparecall.store")
_RECORD = b"r"
_TRACKED = 100_000
# Larger entries are read in a thread: they would hold the event loop for more than a millisecond.
_INLINE_BYTES = 256 * 1024


class RedisStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the store was made."""

    hits: int = 0
    misses: int = 0
    junk: int = 0
    """What stood under a key of ours and was no entry, or another's; misses too."""
    unavailable: int = 0
    """Calls that nothing answered, or not in time, or that were refused for the credentials or a cluster's sake."""
    refused: int = 0
    """Calls that the server answered with an error, such as a write while it is out of memory."""
    left_alone: int = 0
    """Calls not made while the breaker was open."""
    opened: int = 0
    """How often the breaker opened."""
    lost: int = 0
    """How often listeners were told to trust nothing."""
    connections: int = 0
    """Connections made."""


class RedisStore:
    """A `Store` in the Redis, 6 or newer, or Valkey at ``url``: ``redis://``, ``rediss://`` or ``unix://``.

    ``prefix``: before all keys and the channel; stores that differ in it share nothing. ``timeout``: seconds for the replies of a
    call; ``connect_timeout``: for making a connection besides. ``connections``: the most at a time, one more for listening.
    ``coherence``: how listeners hear of entries written elsewhere: ``"pubsub"`` by the message that each store sends along, one's
    own left out; ``"tracking"`` by Redis itself besides, which tells of writes by anyone, expiry and eviction too, and of one's own.
    ``interval``: seconds between checks of the listening connection; `staleness` is twice that. ``longest``: the most seconds
    that an entry is kept. ``most_names``: so many invalidated names are told apart; then all are invalidated at once.
    ``clock`` is the wall clock, ``monotonic`` the breaker's; ``random`` jitters pauses.

    The server keeps: one string an entry, under a digest; one hash with all versions; one string a lease; streams. Names of tags
    and scopes are digests there, too; entries and messages hold scope and key in clear. Raises `InvalidArgument`.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "sparecall:",
        timeout: float = 0.05,
        connect_timeout: float = 0.25,
        connections: int = 32,
        coherence: Literal["pubsub", "tracking"] = "pubsub",
        interval: float = 1.0,
        longest: float = 30 * 86_400.0,
        most_names: int = 1_000_000,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        times = {"timeout": timeout, "connect_timeout": connect_timeout, "interval": interval, "longest": longest}
        for name, value in times.items():
            if not 0 < value < math.inf:
                raise InvalidArgument(f"{name} is {value}; give seconds above 0")
        if connections < 1 or most_names < 1:
            raise InvalidArgument(f"connections is {connections} and most_names {most_names}; give 1 or more")
        if coherence not in {"pubsub", "tracking"}:
            raise InvalidArgument(f"coherence is {coherence!r}; give pubsub or tracking")
        self._address = Address(url)
        self._prefix, self._longest, self._most_names = prefix, longest, most_names
        self._interval, self._clock, self._tracking = interval, clock, coherence == "tracking"
        self._entries, self._names = f"{prefix}entry:", f"{prefix}versions"
        self._channel = f"{prefix}changes:{self._address.database}"  # channels know no databases
        self._link = Link(
            self._address,
            timeout=timeout,
            connect_timeout=connect_timeout,
            limit=connections,
            breaker=Breaker(self._address, random=random, clock=monotonic),
            greeting=self._question,
            on_greeted=self._checked,
        )
        self._hearers = Hearers(tracked=_TRACKED if self._tracking else 0)
        self._hearing = Hearing(
            self._link.connections.open,
            channel=self._channel,
            prefix=self._entries if self._tracking else self._names,
            interval=interval,
            question=self._question,
            on_message=self._message,
            on_keys=self._keys_changed,
            on_checked=self._checked,
            on_state=self._hearing_changed,
            random=random,
        )
        self._task: asyncio.Task[None] | None = None  # that of hearing
        self._closed = False
        self._epoch = b""
        self._hits = self._misses = self._junk = 0

    def __repr__(self) -> str:
        return f"RedisStore({self._address.shown!r}, prefix={self._prefix!r}, {self.state}, coherent={self.coherent})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def coherent(self) -> bool:
        """Whether listeners hear what other processes change."""
        return self._hearing.heard

    @property
    def staleness(self) -> float:
        """Twice the interval: a question may just have been answered when the connection dies, and the next one waits as long."""
        return 2 * self._interval

    @property
    def state(self) -> State:
        """The breaker's state: closed, open or half_open."""
        return self._link.state

    def stats(self) -> RedisStats:
        """What has happened so far."""
        link = self._link
        return RedisStats(
            hits=self._hits, misses=self._misses, junk=self._junk + self._hearers.junk, unavailable=link.unavailable, refused=link.refused,
            left_alone=link.left_alone, opened=link.opened, lost=self._hearers.lost_count, connections=link.connections.made,
        )  # fmt: skip

    async def get_many(self, keys: Sequence[str], *, scope: str) -> list[Entry | None]:
        """The entries under `keys`, None for a miss."""
        if not keys:
            return []
        names = entry_digests(scope, keys)
        command = ("MGET", *[self._entries + name for name in names])
        entries: list[Entry | None] = [None] * len(keys)
        for _ in range(2):
            self._hearers.track(names, scope, keys)
            then = self._hearers.now()
            (found,) = await self._call(command)
            if sum(map(len, filter(None, found))) > _INLINE_BYTES:
                loaded = await asyncio.to_thread(self._load, found, scope, keys)
            else:
                loaded = self._load(found, scope, keys)
            # What was changed while its old value was on the way here is not to be kept by who has heard of the change before.
            if self._hearers.same_since(then, names):
                entries = loaded
                break
        hits = len(entries) - entries.count(None)
        self._hits += hits
        self._misses += len(entries) - hits
        return entries

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """Write all, each kept until its `dead` or for `longest`; those that are dead already are not written.

        Raises `FrameError` where a value cannot be packed, and `InvalidArgument` for a life that is no number: nothing is written.
        """
        now = self._clock()
        commands: list[Sequence[Argument]] = []
        written: dict[str, list[str]] = {}
        for entry in entries:
            if (seconds := life(entry, now=now, longest=self._longest)) > 0:
                (name,) = entry_digests(entry.scope, (entry.key,))
                self._hearers.track([name], entry.scope, [entry.key])
                commands.append(("SET", self._entries + name, dump(entry), "PX", math.ceil(seconds * 1000)))
                written.setdefault(entry.scope, []).append(entry.key)
        if commands:
            await self._write(commands, written)

    async def delete_many(self, keys: Sequence[str], *, scope: str) -> None:
        """Remove what stands under `keys`, at once for all."""
        if keys:
            command = ("UNLINK", *[self._entries + name for name in entry_digests(scope, keys)])
            await self._write([command], {scope: list(keys)})

    async def versions(self, names: Sequence[str]) -> tuple[int, ...]:
        """The current version of each name; a second round trip where Redis has lost them all."""
        if not names:
            return ()
        epoch, *found = (await self._call(("HMGET", self._names, "epoch", *digests("name", "", names))))[0]
        if epoch is None:
            epoch, found = (await self._call(self._question()))[0], [None] * len(names)
        self._checked(epoch)
        versions = tuple(int(epoch if version is None else version) for version in found)
        self._hearers.saw(*versions)
        return versions

    async def bump(self, names: Sequence[str]) -> tuple[int, ...]:
        """Give the names one new version between them."""
        if not names:
            return ()
        message = self._hearers.bumped(names)
        arguments: tuple[Argument, ...] = (
            self._hearers.seen,
            self._most_names,
            self._channel,
            message,
            *digests("name", "", names),
        )
        epoch, version = (await self._call(("EVAL", scripts.BUMP, 1, self._names, *arguments)))[0]
        self._checked(epoch)
        self._hearers.saw(int(version))
        return (int(version),) * len(names)

    async def acquire(self, name: str, *, seconds: float) -> Lease | None:
        """The lease of `name` for `seconds`, or None while another has it."""
        if not 0 < seconds < math.inf:
            raise InvalidArgument(f"seconds is {seconds}; give a lease a length above 0")
        lease = Lease(name=name, token=secrets.token_hex(16))
        reply = (await self._call(("SET", self._lease(name), lease.token, "NX", "PX", math.ceil(seconds * 1000))))[0]
        return None if reply is None else lease

    async def release(self, lease: Lease) -> None:
        """Give the lease back, if it is still this one."""
        await self._call(("EVAL", scripts.RELEASE, 1, self._lease(lease.name), lease.token))

    async def append(self, stream: str, record: bytes, *, keep: int) -> str:
        """Add a record; the stream keeps about the newest `keep`."""
        command = ("XADD", self._stream(stream), "MAXLEN", "~", keep, "*", _RECORD, record)
        position: bytes = (await self._call(command))[0]
        return position.decode()

    async def read(self, stream: str, *, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Up to `limit` records behind `after`; an entry of the stream that is no record is left out."""
        name = self._stream(stream)
        reply = (await self._call(("XREAD", "COUNT", limit, "STREAMS", name, after or "0")))[0]
        found = reply[name.encode()] if isinstance(reply, dict) else dict(reply or ()).get(name.encode(), ())
        return [(position.decode(), fields[1]) for position, fields in found if fields[:1] == [_RECORD]]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of changes made elsewhere until the returned function is called.

        Listening begins with the first call made on an event loop, this one where it is; `lost` is called once it has.
        """
        remove = self._hearers.add(listener)
        with contextlib.suppress(RuntimeError):  # no event loop yet: the first call begins it
            self._hear()
        return remove

    async def close(self) -> None:
        """Close all connections; later calls raise `StoreUnavailable`."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._link.close()

    async def _call(self, *commands: Sequence[Argument]) -> list[Any]:
        if self._task is None and len(self._hearers):
            self._hear()
        return await self._link.call(*commands)

    async def _write(self, commands: list[Sequence[Argument]], written: dict[str, list[str]]) -> None:
        """Send commands and, with them or not at all, what tells the others."""
        try:
            encoded = [self._hearers.written(scope, keys) for scope, keys in written.items()]
            messages = [("PUBLISH", self._channel, b"0 " + message) for message in encoded]
            await self._call(("MULTI",), *commands, *messages, ("EXEC",))
        finally:  # whether it happened or not
            for scope, keys in written.items():
                self._hearers.note(entry_digests(scope, keys))

    def _load(self, found: Sequence[bytes | None], scope: str, keys: Sequence[str]) -> list[Entry | None]:
        now = self._clock()
        entries: list[Entry | None] = []
        for data, key in zip(found, keys, strict=True):
            entry = None if data is None else load(data, scope=scope, key=key)
            self._junk += entry is None and data is not None
            entries.append(entry if entry is not None and now < entry.dead else None)
        return entries

    def _lease(self, name: str) -> str:
        return f"{self._prefix}lease:{digest('lease', name)}"

    def _stream(self, stream: str) -> str:
        return f"{self._prefix}stream:{digest('stream', stream)}"

    def _question(self) -> Sequence[Argument]:
        return ("EVAL", scripts.EPOCH, 1, self._names, self._hearers.seen)

    def _hear(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._hearing.run(), name="sparecall store hearing")

    def _checked(self, epoch: bytes) -> None:
        """Takes the epoch that the server has now: another one than before means that it lost its memory, or may have."""
        known, self._epoch = self._epoch, epoch
        self._hearers.saw(int(epoch))
        if known and known != epoch:
            self._hearers.lost()

    def _message(self, data: bytes) -> None:
        version, _, body = data.partition(b" ")
        self._hearers.message(int(version) if version.isdigit() else 0, body)

    def _keys_changed(self, keys: list[bytes] | None) -> None:
        if keys is None:
            self._hearers.lost()
        elif self._tracking:
            start = len(self._entries)
            self._hearers.dropped_digests([key[start:].decode("ascii", "replace") for key in keys])

    def _hearing_changed(self, heard: bool, reason: BaseException | None) -> None:
        if heard:
            _LOG.info("%s: changes made elsewhere are heard", self._address)
        elif reason is not None:
            _LOG.warning("%s: changes made elsewhere are not heard (%s)", self._address, word(reason))
            # Connections made anew ask again who the server is: after a failover it may be another, or a replica.
            self._link.connections.forget()
        self._hearers.lost()
