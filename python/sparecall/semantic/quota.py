"""How many answers one principal may store in a window of time: a bound on what a poisoner can do in a scope it may write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable

# Principals counted at a time; those least lately seen are forgotten.
_PRINCIPALS = 100_000


class Quota:
    """At most `limit` writes of each principal in each window; None for no limit."""

    __slots__ = ("_clock", "_window", "_written", "limit")

    def __init__(self, limit: int | None, *, window: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._window = window
        self._clock = clock
        self._written: Cache[str, int] = Cache(_PRINCIPALS, policy="lru")

    def take(self, principal: str) -> bool:
        """Count a write and say whether it is within the limit."""
        if self.limit is None:
            return True
        window = f"{self._clock() // self._window} {principal}"
        written = self._written.get(window, 0)
        self._written.set(window, written + 1)
        return written < self.limit
