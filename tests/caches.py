"""What the tests of the caches share: a clock that obeys, the policies, the books."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from sparecall.cache import CacheStats

POLICIES = ("lru", "adaptive", "cost")
CLASSES = (Cache, BytesCache)
BIG = 1 << 20
FOREVER = float("inf")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def balance(stats: CacheStats) -> None:
    """Everything that came is here or left for a reason, and the bound holds."""
    assert stats.sets == stats.entries + sum(stats.evictions.values())
    assert stats.weight <= stats.max_weight


def cache_of(entries: int, kind: type[Cache[Any, Any] | BytesCache], **options: Any) -> Cache[Any, Any] | BytesCache:
    """A cache with room for so many entries of `fill`."""
    return kind(entries * (1 if kind is Cache else 64 + 4 + 4), **options)


def fill(cache: Cache[Any, Any] | BytesCache, entries: int) -> None:
    cache.set_many((f"{number:04}", f"{number:04}".encode()) for number in range(entries))
