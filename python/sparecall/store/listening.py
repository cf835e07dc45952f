"""A `TieredCache`'s `Listener`: what was invalidated, here or elsewhere, leaves L1 and counts for whatever is being made."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from sparecall.store.invalidation import Invalidation

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence

    from sparecall.store.invalidation import Subscribers
    from sparecall.store.memory import Memory
    from sparecall.store.protocol import Store
    from sparecall.store.recovery import Place
    from sparecall.store.versions import Versions


class Listening:
    """Keeps L1 and the versions honest, and says for how long a copy may be served at most.

    `touched` is called with the place of each key that was written or deleted. While `store` cannot tell of changes, copies live for
    at most `max_staleness` seconds.
    """

    __slots__ = ("_counts", "_max_staleness", "_memory", "_store", "_subscribers", "_timer", "touched", "versions")

    def __init__(
        self,
        store: Store | None,
        memory: Memory,
        versions: Versions,
        subscribers: Subscribers,
        *,
        max_staleness: float,
        counts: Counter[str],
    ) -> None:
        self._store, self._memory, self.versions, self._subscribers = store, memory, versions, subscribers
        self._max_staleness, self._counts = max_staleness, counts
        self._timer: asyncio.TimerHandle | None = None
        self.touched: Callable[[Place], None] = lambda _place: None

    @property
    def _coherent(self) -> bool:
        return self._store is None or self._store.coherent

    def longest(self) -> float:
        """For how many seconds a copy that L1 gets now may be served."""
        return math.inf if self._coherent else self._max_staleness

    def invalidated(self, names: Sequence[str]) -> None:
        """These names were invalidated here; their new versions are not known yet."""
        self.versions.changed(names)
        self._gone(names, here=True)

    def untold(self, names: Iterable[str]) -> None:
        """These names turned out to have moved elsewhere."""
        self._gone(names, here=False)

    def removed(self, place: Place) -> None:
        """A key was deleted here."""
        self.touched(place)
        self._memory.drop(place[0], [place[1]])
        self._subscribers.tell(Invalidation(keys=(place,)))

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        """Do what `Listener.changed` says."""
        news = self.versions.changed(names, versions)
        if news:  # else it is the echo of what was done here
            self._gone(news, here=False)

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        """Do what `Listener.dropped` says."""
        self._memory.drop(scope, keys)
        for key in keys:
            self.touched((scope, key))

    def lost(self) -> None:
        """Do what `Listener.lost` says: forget all copies, or in `max_staleness` seconds while the store cannot be heard."""
        self._counts["lost"] += 1
        self.versions.lost()
        if self._coherent:
            self._flush()
        elif self._timer is None and self._max_staleness < math.inf:
            self._timer = asyncio.get_running_loop().call_later(self._max_staleness, self._flush)

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _gone(self, names: Iterable[str], *, here: bool) -> None:
        self._memory.invalidate(names)
        self._subscribers.tell(Invalidation.of(names, here=here))

    def _flush(self) -> None:
        self.close()
        self._memory.invalidate(["all"])
