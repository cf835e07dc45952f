"""L1 of a `TieredCache`: the native cache, what it holds for each key, and until when a copy may be served."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.store.versions import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparecall.cache import Cache
    from sparecall.store.protocol import Entry
    from sparecall.store.recovery import Place
    from sparecall.store.route import Route

# XFetch draws below e^-21 once in a billion reads: earlier than that before the end it need not be asked.
_RARELY = 21.0


class Held:
    """One copy in L1. `value` is the very object, or its frame where callers get copies. Times are of the monotonic clock."""

    __slots__ = ("calm", "entry", "until", "value")

    def __init__(self, value: Any, entry: Entry, until: float, calm: float) -> None:
        self.value, self.entry = value, entry
        self.until = until
        """Until then it is served."""
        self.calm = calm
        """Until then it is served without a thought: nothing to refresh, nothing to unpack. `-inf`: nobody has looked yet."""


class Memory:
    """Copies by scope and key. What was invalidated, by tags or by scopes, is gone at once, however many; it never serves the dead.

    `pack` and `unpack`: give each caller a copy of its own. `weigher`: a weight by what is held: the value, or
    its frame; 1 without.
    """

    __slots__ = ("_cache", "_clock", "_pack", "_unpack", "_wall", "_weigher", "look")

    def __init__(
        self,
        cache: Cache[Place, Held],
        *,
        codec: tuple[Callable[[Any], bytes], Callable[[bytes], Any]] | None,
        weigher: Callable[[Any], int] | None,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._cache, self._weigher, self._clock, self._wall = cache, weigher, clock, wall
        self._pack = None if codec is None else codec[0]
        self._unpack = None if codec is None else codec[1]
        self.look = cache.get
        """The copy of `(scope, key)`, or None."""

    @property
    def cache(self) -> Cache[Place, Held]:
        """The native cache."""
        return self._cache

    def packed(self, value: Any) -> Any:
        """What is held of a value."""
        return value if self._pack is None else self._pack(value)

    def open(self, held: Any) -> Any:
        """The value of what is held: the same object, or a new copy."""
        return held if self._unpack is None else self._unpack(held)

    def put(
        self, entry: Entry, held: Any, *, route: Route | None = None, longest: float = math.inf, anew: bool = False
    ) -> None:
        """Hold `held`, the value of `entry`, for its remaining life, at most for `longest` seconds.

        `route`: by which it may be refreshed early; None: that of the first call that finds it. `anew`: it is stale and goes on for
        `longest` seconds nevertheless, if it is not dead before.
        """
        now, wall = self._clock(), self._wall()
        until = now + min((entry.dead if anew else entry.expires) - wall, longest)
        if self._unpack is not None:
            entry = msgspec.structs.replace(entry, value=None)  # the frame is all that is held of it
        copy = Held(held, entry, until, until if anew else -math.inf)
        if route is not None and not anew:
            self.calm(copy, route)
        self._cache.set(
            (entry.scope, entry.key),
            copy,
            ttl=max(0.0, entry.dead - wall),
            weight=None if self._weigher is None else self._weigher(held),
            cost=(entry.dollars, entry.seconds),
            tags=names_of(entry.scope, entry.tags),
        )

    def calm(self, copy: Held, route: Route) -> None:
        """Let a fresh copy be served without a thought until this route may want it refreshed, unless each caller gets a copy."""
        if self._unpack is not None:
            return
        entry = copy.entry
        ends = self._clock() + entry.expires - self._wall()
        copy.calm = min(copy.until, ends - route.beta * entry.seconds * _RARELY)
        if route.eager is not None:
            copy.calm = min(copy.calm, ends - (1.0 - route.eager) * (entry.expires - entry.created))

    def is_due(self, copy: Held, route: Route, random: Callable[[], float]) -> bool:
        """Whether a fresh copy is to be refreshed now: past its eager share, or by the draw of XFetch (Vattani et al., VLDB 2015)."""
        if copy.calm == -math.inf:
            self.calm(copy, route)
        if self._clock() < copy.calm:
            return False
        entry, wall = copy.entry, self._wall()
        if route.eager is not None and wall >= entry.expires - (1.0 - route.eager) * (entry.expires - entry.created):
            return True
        gap = route.beta * entry.seconds
        return gap > 0.0 and wall - gap * math.log(1.0 - random()) >= entry.expires

    def drop(self, scope: str, keys: Iterable[str]) -> None:
        """Forget these keys."""
        self._cache.delete_many([(scope, key) for key in keys])

    def invalidate(self, names: Iterable[str]) -> None:
        """Forget whatever depends on one of these names."""
        for name in names:
            self._cache.invalidate_tag(name)
