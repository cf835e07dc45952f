"""How often each key is asked for, now and at this hour of the day: decayed counts of a bounded number of keys. Pure."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.store.recovery import Place

HOUR, DAY = 3600.0, 86400.0
_RECENT, _DAYS = HOUR, 7.0  # half-lives: of what was asked just now in seconds, of an hour of the day in days
_FADES = 0.5 ** (1.0 / _DAYS)
_SAMPLE = 8


class _Use:
    """The uses of one key. `hours`: by hour of the day, decayed as of `day`; `recent`: decayed as of `at`."""

    __slots__ = ("at", "cost", "day", "hours", "place", "recent", "since")

    def __init__(self, place: int, now: float) -> None:
        self.place, self.since, self.at, self.recent = place, now, now, 0.0
        self.day, self.hours = int(now // DAY), array("f", bytes(4 * 24))
        self.cost: tuple[float, float, float] | None = None


class Popularity:
    """Counts the uses of `limit` keys; a new one takes the place of the least used of eight drawn by chance. O(1) a use."""

    __slots__ = ("_clock", "_limit", "_order", "_random", "_uses")

    def __init__(self, limit: int, *, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self._limit, self._clock, self._random = limit, clock, random
        self._uses: dict[Place, _Use] = {}
        self._order: list[Place] = []

    def __len__(self) -> int:
        """How many keys are counted."""
        return len(self._uses)

    def places(self) -> list[Place]:
        """All keys that are counted."""
        return list(self._order)

    def used(self, place: Place) -> None:
        """Count one use."""
        now = self._clock()
        use = self._uses.get(place)
        if use is None:
            use = self._uses[place] = _Use(self._room(place), now)
        self._fade(use, now)
        use.recent += 1.0
        use.hours[int(now % DAY // HOUR)] += 1.0

    def rate(self, place: Place) -> float:
        """Uses a second to be expected now: the greater of what the last hour and what this hour of other days say; 0 if unknown."""
        use = self._uses.get(place)
        if use is None:
            return 0.0
        now = self._clock()
        self._fade(use, now)
        recent = use.recent * math.log(2.0) / _RECENT
        days = math.floor((now - use.since) / DAY)  # whole ones: today's hour may have only begun
        seen = (1.0 - _FADES ** max(days, 1)) / (1.0 - _FADES)
        return max(recent, use.hours[int(now % DAY // HOUR)] / seen / HOUR if days else 0.0)

    def learn(self, place: Place, dollars: float, seconds: float, life: float) -> None:
        """Remember what a value of this key costs and how long it lives."""
        use = self._uses.get(place)
        if use is not None:
            use.cost = (dollars, seconds, life)

    def cost(self, place: Place) -> tuple[float, float, float] | None:
        """Dollars, seconds and life of a value of this key, where they are known."""
        use = self._uses.get(place)
        return None if use is None else use.cost

    def _fade(self, use: _Use, now: float) -> None:
        use.recent *= 0.5 ** (max(0.0, now - use.at) / _RECENT)
        use.at = now
        day = int(now // DAY)
        if day > use.day:
            share = _FADES ** (day - use.day)
            use.hours = array("f", [count * share for count in use.hours])
            use.day = day

    def _room(self, place: Place) -> int:
        """The place in the order for a new key, someone else's if there is no room."""
        if len(self._order) < self._limit:
            self._order.append(place)
            return len(self._order) - 1
        drawn = [self._order[int(self._random() * len(self._order))] for _ in range(_SAMPLE)]
        least = min(drawn, key=lambda one: (self.rate(one), self._uses[one].at))
        at = self._uses.pop(least).place
        self._order[at] = place
        return at
