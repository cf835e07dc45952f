"""What this process has heard of invalidations, and in which order. Pure: no store, no loop; events are numbered.

Whoever makes or reads a value notes the number of the last event first, and asks at the end whether any of its names moved
since. Names are those of `version_names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class _Known:
    """A name's version; the events that moved it and that made its version known; of which age the version is."""

    __slots__ = ("age", "learned", "moved", "version")

    def __init__(self) -> None:
        self.version: int | None = None
        self.moved = self.learned = self.age = 0


class Versions:
    """The versions that this process knows, and the last event of each name. At most `max_names` are held. For one thread.

    A version is relied on as long as `coherent()` says that listeners hear of changes and nothing was lost since.
    """

    __slots__ = ("_age", "_coherent", "_floor", "_known", "_max_names", "now")

    def __init__(self, *, coherent: Callable[[], bool], max_names: int = 65_536) -> None:
        self._coherent, self._max_names = coherent, max_names
        self._known: dict[str, _Known] = {}
        self._floor = 0  # events up to here may be forgotten: whoever began before is told that its names moved
        self._age = 0  # grows with every loss
        self.now = 0
        """The number of the last event."""

    def __len__(self) -> int:
        """How many names are held."""
        return len(self._known)

    def moved(self, names: Iterable[str], since: int) -> bool:
        """Whether any of the names moved after event `since`, or may have."""
        if since >= self.now:
            return False
        if since < self._floor:
            return True
        return any(known is not None and known.moved > since for known in map(self._known.get, names))

    def changed(self, names: Iterable[str], versions: Sequence[int] | None = None) -> None:
        """These names moved; to these versions, where they are known."""
        self.now += 1
        for place, name in enumerate(names):
            known = self._known.pop(name, None) or _Known()
            known.moved = self.now
            if versions is None:
                known.version = None
            else:
                self._update(known, versions[place])
            self._known[name] = known
        self._trim()

    def lost(self) -> None:
        """Events may have been missed: nothing known is relied on, and whatever is being made or read may be old."""
        self.now += 1
        self._floor = self.now
        self._age += 1

    def learn(self, names: Sequence[str], versions: Sequence[int], *, asked: int) -> list[str]:
        """These versions were read from the store, asked for after event `asked`. Returns the names that moved untold."""
        if asked < self._floor:
            return []  # what was lost since may have moved them
        self.now += 1
        untold = []
        for name, version in zip(names, versions, strict=True):
            known = self._known.get(name)
            if known is None:
                known = self._known[name] = _Known()
            before = known.version
            if self._update(known, version) and before is not None:
                known.moved = self.now
                untold.append(name)
        self._trim()
        return untold

    def known(self, name: str) -> int | None:
        """The version of `name`, or None where the store has to be asked."""
        known = self._known.get(name)
        return None if known is None or known.age != self._age or not self._coherent() else known.version

    def known_at(self, name: str, event: int) -> int | None:
        """The version of `name` that was known at event `event` already, if it is still relied on."""
        known = self._known.get(name)
        return None if known is None or known.learned > event else self.known(name)

    def _update(self, known: _Known, version: int) -> bool:
        """Whether that is another version. An answer may come later than the news that overtook it: the greater one is newer."""
        if known.age == self._age and known.version is not None and version <= known.version:
            return False
        differs = version != known.version
        if differs or known.age != self._age:
            known.learned = self.now
        known.version, known.age = version, self._age
        return differs

    def _trim(self) -> None:
        while len(self._known) > self._max_names:
            oldest = next(iter(self._known))
            self._floor = max(self._floor, self._known.pop(oldest).moved)
