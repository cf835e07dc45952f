"""What a `TieredCache` counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall.cache import CacheStats


@dataclass(frozen=True, slots=True, kw_only=True)
class TieredStats:
    """What a `TieredCache` has done: one moment, frozen."""

    l1: CacheStats
    """The memory's own: every hit there, stale and fresh."""
    l2_hits: int = 0
    """Entries read from L2 that might be used."""
    l2_misses: int = 0
    l2_writes: int = 0
    l2_faults: int = 0
    """Calls of L2 that failed or ran out of time."""
    l3_hits: int = 0
    l3_faults: int = 0
    made: int = 0
    """Runs of factories."""
    merged: int = 0
    """Callers who got what another caller's question found."""
    waited: int = 0
    """Values that another process made under its lease."""
    early: int = 0
    """Refreshes begun before the end of a life."""
    stale: int = 0
    """Times that a stale value stood in for a factory that failed or was late."""
    failed_factories: int = 0
    late_factories: int = 0
    late: int = 0
    """Values not kept because something they depend on was invalidated, or their key written, after they were begun."""
    unkept: int = 0
    """Values made that were not to be kept."""
    unmarked: int = 0
    """Values not written to L2 because a tag was named after they were made and its version before is not known."""
    unwritten: int = 0
    """Writes that L2 did not take."""
    unpackable: int = 0
    """Values that no frame can hold: they stay in L1."""
    unreleased: int = 0
    invalidated: int = 0
    """Entries found in L2 that something had invalidated."""
    foreign: int = 0
    """Entries from L2 that were of another key or scope, or no entries of ours."""
    lost: int = 0
    """Times that messages of other processes may have been missed."""
    purged: int = 0
    """Names purged from L3."""
    purge_faults: int = 0
    pending: int = 0
    """Invalidations that L2 has not been told of yet."""

    @classmethod
    def of(cls, l1: CacheStats, counts: Mapping[str, int], *, pending: int, l2_faults: int) -> Self:
        """From a mapping of counts, which has only names of these fields."""
        known = {field.name for field in fields(cls)}
        assert counts.keys() <= known, counts.keys() - known  # noqa: S101 - a count that nobody would see
        return cls(l1=l1, pending=pending, l2_faults=l2_faults, **counts)
