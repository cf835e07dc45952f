"""What a shared tier is: the entry it keeps and the calls that `TieredCache` makes of it. Types only; no sockets, no clock.

A `Store` is L2: Redis, Valkey, or a SQLite file. It may lose any entry at any time and may be away altogether; what it
must never do is give one key's value for another's, or one scope's for another's: `Entry` carries both, and both are
checked on read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=1):
    """One stored value and what is needed to serve it rightly. Times are seconds of the wall clock, as Unix time.

    Stored as its fields in their order, behind the number of that form: a field that is added goes to the end, with a default.
    """

    scope: str
    key: str
    value: object
    """Anything `sparecall.frame.pack` takes."""
    created: float
    expires: float
    """From here on the value is stale: served only while its factory fails or runs late. `inf`: never."""
    dead: float
    """From here on the value is not served at all; at or after `expires`."""
    seconds: float = 0.0
    """What the value took to make: the cost that early refresh weighs."""
    dollars: float = 0.0
    tags: tuple[str, ...] = ()
    marks: tuple[int, ...] = ()
    """What `versions` gave for the entry's `version_names` *before* the value was made. Where one of them differs from what it
    is now, whichever is greater, the entry is a miss: after a flush or a failover the versions are others altogether."""
    validator: str | None = None
    """An ETag or the like, handed to the factory for a conditional refresh."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right of one process to make one value; it ends by itself."""

    name: str
    token: str


class Listener(Protocol):
    """Who hears what other processes changed. Called on the store's event loop; must not block or raise."""

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        """Versions of these names moved: whatever was marked with an older one is a miss."""

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        """These entries were written or deleted elsewhere: a copy of them may be old. May also name some that were not."""

    def lost(self) -> None:
        """Messages may have been missed (a connection ended or began, a flush): no copy can be trusted, and no known version."""


class Store(Protocol):
    """A tier that several processes share, used from one event loop.

    Every coroutine may raise `sparecall.errors.StoreUnavailable`; a write that raised it, or was cancelled, may have happened.
    """

    @property
    def coherent(self) -> bool:
        """Whether listeners hear now, within `staleness`, what other processes change.

        While they do not, copies grow old unseen: keep none for longer than one would serve a wrong answer.
        """

    @property
    def staleness(self) -> float:
        """Seconds after which, at the latest, a change made elsewhere was heard, or `lost` was called in its stead."""

    async def get_many(self, keys: Sequence[str], *, scope: str) -> list[Entry | None]:
        """The entries under `keys`, in order, None for a miss; one round trip. Junk under a key is a counted miss."""

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """Write all, each kept until its `dead`; one round trip."""

    async def delete_many(self, keys: Sequence[str], *, scope: str) -> None:
        """Remove what stands under `keys` and tell the listeners of other processes."""

    async def versions(self, names: Sequence[str]) -> tuple[int, ...]:
        """The current version of each name, in order; one round trip.

        Names that were never invalidated share a version of the store's own, above 0. Asked anew it is the same, unless the store
        lost its memory or may have: then it is one that nothing was ever marked with.
        """

    async def bump(self, names: Sequence[str]) -> tuple[int, ...]:
        """Give each name a new version, never one it had before, and tell every listener, those of this process too."""

    async def acquire(self, name: str, *, seconds: float) -> Lease | None:
        """The lease of `name` for `seconds`, or None while another process holds it."""

    async def release(self, lease: Lease) -> None:
        """Give a lease back; one that has ended or passed to another is left alone."""

    async def append(self, stream: str, record: bytes, *, keep: int) -> str:
        """Add a record to a stream that keeps about the newest `keep`; its position."""

    async def read(self, stream: str, *, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Up to `limit` records behind position `after` ("" from the oldest kept), oldest first."""

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of changes made elsewhere until the returned function is called."""

    async def close(self) -> None:
        """Let go of connections and threads; calling again does nothing."""


def version_names(scope: str, tags: Sequence[str]) -> tuple[str, ...]:
    """The names whose versions an entry depends on: its tags, then each prefix of its scope, then the whole store."""
    parts = scope.split("/")
    prefixes = ("scope:" + "/".join(parts[: count + 1]) for count in range(len(parts)))
    return (*(f"tag:{tag}" for tag in tags), *prefixes, "all")
