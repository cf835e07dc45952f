"""What the tests of `TieredCache` share: caches in virtual time, and factories that count, wait and fail to order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparecall.cache import Cache
from sparecall.store import TieredCache
from virtual_time import clock, wall_clock

if TYPE_CHECKING:
    from sparecall.store import Making

SCOPE = "team/user"


def tiered(l2: Any = None, **options: Any) -> TieredCache:
    """A `TieredCache` whose time is the loop's and whose chance is always one half."""
    options = {
        "clock": clock,
        "wall_clock": wall_clock,
        "random": lambda: 0.5,
        "l1": Cache(1000, clock=clock),
    } | options
    return TieredCache(l2=l2, **options)


class Factory:
    """Makes "value 1", "value 2", ...; each takes `seconds`. `error`: raised instead; `before_return` is called last."""

    def __init__(self, *, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.calls = self.ended = self.cancelled = 0
        self.seen: list[Making] = []

    async def __call__(self, making: Making) -> str:
        self.calls += 1
        number = self.calls
        self.seen.append(making)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.ended += 1
        return f"value {number}"
