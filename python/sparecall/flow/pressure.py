"""Caches that give way while memory is short and come back when it is not. Bounds alone are set here: who leaves is the cache's own choice."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_AT_ONCE = 500  # evictions between two turns of the event loop: well below a millisecond
_LEAST = 1 / 16  # of its own bound that a cache is left with
_GROWTH = 0.05  # of its own bound that it gets back with each reading


def give_back() -> None:
    """Has the allocator return freed memory to the system: glibc's keeps what lies between entries that stayed. Some 10 ms for 50 MB; for a thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


class Sized(Protocol):
    """What `Cache.stats` gives, as far as it is needed here."""

    @property
    def weight(self) -> int:
        """What is held."""

    @property
    def max_weight(self) -> int:
        """The most that may be."""


class Resizable(Protocol):
    """A `Cache` or a `BytesCache`."""

    def resize(self, bound: int, /, *, limit: int) -> bool:
        """Another bound, as far as `limit` evictions go; says whether it is reached."""

    def stats(self) -> Sized:
        """What is held, and may be."""


class Pressure:
    """Bounds for `caches`, told the share of the memory that is too much at each reading. The bound that a cache has now is its own."""

    __slots__ = ("_bounds", "_caches", "_own", "freed")

    def __init__(self, caches: Iterable[Resizable]) -> None:
        self._caches = tuple(caches)
        self._own = [cache.stats().max_weight for cache in self._caches]
        self._bounds = list(self._own)
        self.freed = False
        """Whether entries left since somebody set it back."""

    def told(self, excess: float) -> None:
        """``excess``: the share of the memory that is too much; 0 while it is not short. What it comes to is `step`'s to do."""
        for number, (cache, own) in enumerate(zip(self._caches, self._own, strict=True)):
            if excess > 0:
                held = min(cache.stats().weight, self._bounds[number])
                self._bounds[number] = max(int(held * (1 - excess)), int(own * _LEAST))
            else:
                self._bounds[number] = min(own, self._bounds[number] + int(own * _GROWTH) + 1)

    def step(self) -> bool:
        """Goes on towards the bounds, for less than a millisecond; says whether they are reached."""
        for cache, bound in zip(self._caches, self._bounds, strict=True):
            stats = cache.stats()
            if stats.max_weight == bound:
                continue
            self.freed = self.freed or stats.weight > bound
            if not cache.resize(bound, limit=_AT_ONCE):
                return False
        return True
