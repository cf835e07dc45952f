"""What this process has heard of invalidations, and in which order. Pure: no store, no loop; events are numbered.

Whoever makes or reads a value notes the number of the last event first, and asks at the end whether any of its names moved
since. Names are those of `version_names`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sparecall.store.protocol import version_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@lru_cache(maxsize=8192)
def names_of(scope: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """What `version_names` says, remembered: a read asks several times over, and scopes and tags are few."""
    return version_names(scope, tags)


class _Known:
    """A name's version, None where it has to be asked for, and of which age it is; the version that this process has acted upon.

    And the last events that moved the name and that made its version known.
    """

    __slots__ = ("acted", "age", "learned", "moved", "version")

    def __init__(self) -> None:
        self.version: int | None = None
        self.acted, self.moved, self.learned, self.age = -1, 0, 0, -1


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

    @property
    def age(self) -> int:
        """How often messages were lost."""
        return self._age

    def moved(self, names: Iterable[str], since: int, *, surely: bool = False) -> bool:
        """Whether any of the names moved after event `since`, or may have, unless only what is sure counts."""
        if since >= self.now:
            return False
        if since < self._floor and not surely:
            return True
        return any(known is not None and known.moved > since for known in map(self._known.get, names))

    def changed(self, names: Sequence[str], versions: Sequence[int] | None = None) -> list[str]:
        """These names moved; to these versions, if another process says so. Returns those of which that is news."""
        self.now += 1
        news = []
        for place, name in enumerate(names):
            known = self._known.get(name) or _Known()
            if versions is None:
                known.version = None
            else:
                if known.age == self._age and versions[place] <= known.acted:
                    continue
                # A message from before a loss may come after it: only what was asked for since can be built on.
                if known.age != self._age:
                    known.version = None
                elif known.version is not None:
                    known.version = max(known.version, versions[place])
                known.acted, known.learned = versions[place], self.now
            known.age, known.moved = self._age, self.now
            self._known.pop(name, None)
            self._known[name] = known
            news.append(name)
        self._trim()
        return news

    def lost(self) -> None:
        """Events may have been missed: nothing known is relied on, and whatever is being made or read may be old."""
        self.now += 1
        self._floor = self.now
        self._age += 1

    def learn(self, names: Sequence[str], versions: Sequence[int], *, asked: int, mine: bool = False) -> list[str]:
        """The store gave these versions, asked for after event `asked`. Returns the names that moved without a message.

        `mine`: by an invalidation of this process, which has acted upon it already.
        """
        if asked < self._floor:
            return []  # what was lost since may have moved them
        self.now += 1
        untold = []
        for name, version in zip(names, versions, strict=True):
            known = self._known.setdefault(name, _Known())
            if known.age != self._age:
                known.age, known.version, known.acted = self._age, None, -1
            before = known.version
            if before is not None and version <= before:
                continue  # an answer may come later than the news that overtook it
            known.version, known.learned = version, self.now
            if mine:
                known.acted = version
            elif before is not None:
                known.acted, known.moved = version, self.now
                untold.append(name)
        self._trim()
        return untold

    def known(self, name: str) -> int | None:
        """The version of `name`, or None where the store has to be asked."""
        known = self._known.get(name)
        return None if known is None or known.age != self._age or not self._coherent() else known.version

    def agree(self, names: Sequence[str], marks: Sequence[int]) -> bool:
        """Whether all these versions are known, and are these marks."""
        if not self._coherent():
            return False
        age, get = self._age, self._known.get
        for name, mark in zip(names, marks, strict=True):
            known = get(name)
            if known is None or known.version != mark or known.age != age:
                return False
        return True

    def newest(self, name: str, version: int) -> int:
        """The version of `name` that the store gave, or the one heard of meanwhile that has overtaken it."""
        known = self._known.get(name)
        if known is None or known.age != self._age or known.version is None:
            return version
        return max(version, known.version)

    def known_at(self, name: str, event: int) -> int | None:
        """The version of `name` that was known at event `event` already, if it is still relied on."""
        known = self._known.get(name)
        return None if known is None or known.learned > event else self.known(name)

    def _trim(self) -> None:
        while len(self._known) > self._max_names:
            oldest = next(iter(self._known))
            self._floor = max(self._floor, self._known.pop(oldest).moved)
