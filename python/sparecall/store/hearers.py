"""Who hears of changes, what has changed lately, and which keys the digests stand for that Redis names. No sockets, no clock."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import TYPE_CHECKING

from sparecall.store.entries import entry_digests
from sparecall.store.messages import Message, encode, read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sparecall.store.protocol import Listener

_RECENT = 4096


class Hearers:
    """Passes changes on to listeners, and knows whether an entry changed while it was being read.

    `seen` is the greatest version that this process was ever given. ``tracked``: of so many entries, those read or written last,
    the keys are known by digest; before one is forgotten listeners are told that it was dropped. 0 where messages name keys.
    """

    __slots__ = (
        "_listeners", "_lost_at", "_names", "_now", "_recent", "_sender", "_tracked", "junk", "lost_count", "seen",
    )  # fmt: skip

    def __init__(self, *, tracked: int = 0) -> None:
        self._listeners: dict[object, Listener] = {}
        self._sender = secrets.token_hex(8)
        self.seen = 0
        self.junk = 0
        self._tracked = tracked
        self._names: dict[str, tuple[str, str]] = {}  # digest: scope and key, the least recently used first
        self._recent: dict[str, int] = {}  # digest: when it changed, counted in changes
        self._now = 0
        self._lost_at = 0
        self.lost_count = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` too, until the returned function is called; calling it again does nothing."""
        ticket = object()
        self._listeners[ticket] = listener

        def remove() -> None:
            self._listeners.pop(ticket, None)

        return remove

    def now(self) -> int:
        """A point in time, for `same_since`."""
        return self._now

    def same_since(self, then: int, digests: Iterable[str]) -> bool:
        """Whether no change of any of these entries was heard of since `then`."""
        if then == self._now:
            return True
        return then >= self._lost_at and all(self._recent.get(each, 0) <= then for each in digests)

    def note(self, digests: Iterable[str]) -> None:
        """These entries changed; tells no one."""
        self._now += 1
        if len(self._recent) > _RECENT:
            self._recent.clear()
            self._lost_at = self._now
        self._recent.update(dict.fromkeys(digests, self._now))

    def track(self, digests: Sequence[str], scope: str, keys: Sequence[str]) -> None:
        """A copy of these entries may be kept from now on."""
        if not self._tracked:
            return
        for name, key in zip(digests, keys, strict=True):
            self._names.pop(name, None)
            self._names[name] = (scope, key)
        over = len(self._names) - self._tracked
        if over > 0:
            self.dropped_digests(list(islice(self._names, over)))

    def saw(self, *versions: int) -> None:
        """The store gave these versions."""
        self.seen = max(self.seen, *versions)

    def written(self, scope: str, keys: Sequence[str]) -> bytes:
        """The message that says that these entries were written or deleted here."""
        return encode(Message(self._sender, scope, list(keys)))

    def bumped(self, names: Sequence[str]) -> bytes:
        """The message that goes with a new version of these names."""
        return encode(Message(self._sender, None, list(names)))

    def message(self, version: int, data: bytes) -> None:
        """Pass on what another process, or this one, said; what cannot be read may have said anything."""
        message = read_message(data)
        if message is None or (message.scope is None and version <= 0):
            self.junk += 1
            self.lost()
        elif message.scope is None:
            self.saw(version)
            self.changed(message.names, version)
        elif message.sender != self._sender:
            self.dropped(message.scope, message.names)

    def changed(self, names: Sequence[str], version: int) -> None:
        """These names have this version now."""
        for listener in self._all():
            listener.changed(names, (version,) * len(names))

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        """These entries were changed elsewhere."""
        self.note(entry_digests(scope, keys))
        for listener in self._all():
            listener.dropped(scope, keys)

    def dropped_digests(self, digests: Sequence[str]) -> None:
        """The entries of these digests were changed by someone, perhaps here."""
        self.note(digests)
        by_scope: dict[str, list[str]] = {}
        for name in digests:
            if name in self._names:
                scope, key = self._names.pop(name)
                by_scope.setdefault(scope, []).append(key)
        for scope, keys in by_scope.items():
            for listener in self._all():
                listener.dropped(scope, keys)

    def lost(self) -> None:
        """Anything may have changed."""
        self._now += 1
        self._lost_at = self._now
        self._recent.clear()
        self._names.clear()
        self.lost_count += 1
        for listener in self._all():
            listener.lost()

    def _all(self) -> list[Listener]:
        return list(self._listeners.values())
