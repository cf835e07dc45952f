"""`TieredCache`: the process's memory before a store that several processes share. Each part is elsewhere; here is the order of things."""

from __future__ import annotations

import asyncio
import importlib
import math
import random as _random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from sparecall.cache import Cache
from sparecall.errors import InvalidArgument, UnknownName
from sparecall.store.asks import Asks
from sparecall.store.guard import Guard
from sparecall.store.invalidation import Subscribers
from sparecall.store.listening import Listening
from sparecall.store.lower import Lower
from sparecall.store.maker import Maker
from sparecall.store.making import MISSING, Ask, check_tags
from sparecall.store.memory import Memory
from sparecall.store.protocol import Entry
from sparecall.store.route import ROUTES, Route, check_scope, check_seconds
from sparecall.store.stats import TieredStats
from sparecall.store.versions import Versions, names_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from sparecall.store.cdn import Purger
    from sparecall.store.invalidation import Effect, Invalidation
    from sparecall.store.maker import Origin
    from sparecall.store.making import Making
    from sparecall.store.protocol import Store

T = TypeVar("T")
_LEASE = 30.0


class TieredCache:
    """A cache in tiers: this process's memory (L1), a store that processes share (L2), a CDN or an origin (L3). For one event loop.

    ``l1``: how many entries the memory holds, or a `sparecall.cache.Cache` that nobody else uses. ``l2``: a `RedisStore`, a
    `SqliteStore`, or any `Store`. ``l3``: has ``purge(names)``, ``fetch(key, *, scope)``, or both; see `Purger` and `Origin`.
    ``routes``: rules by name; ``route``: which of them holds where a call names none. ``copy``: each caller gets a value of its
    own, unpacked anew; without, all callers of a process get the same object, which nobody may change.
    ``codec``: what ``copy`` packs and unpacks with; `sparecall.frame` by default.
    ``weigher``: an entry's weight in L1 by its value (by its frame, with ``copy``); 1 without.
    ``events``: what `on` invalidates, by the event's name.
    ``l2_timeout``: seconds after which a call of L2 is given up; a miss makes at most four. ``l2_pause``: seconds for which an L2
    that failed thrice in a row is left alone.
    ``max_staleness``: while L2 cannot tell what other processes invalidate, copies are served for at most so many seconds.
    ``clock``, ``wall_clock``, ``random``: monotonic seconds, Unix seconds and draws from [0, 1), for tests.

    Every call takes the scope whose data it is; two scopes never share an entry. An L2 that fails or hangs raises nothing.
    A value that was made before an invalidation this process knows of is never returned to a call that came after.
    Raises `InvalidArgument` for a value outside its range.
    """

    __slots__ = (
        "_asks", "_clock", "_counts", "_events", "_has_origin", "_l2", "_listening", "_look", "_lower", "_memory", "_random", "_route", "_routes",
        "_stop_listening", "_subscribers", "_versions", "_wall", "closed",
    )  # fmt: skip

    def __init__(
        self,
        *,
        l1: int | Cache[Any, Any] = 10_000,
        l2: Store | None = None,
        l3: Purger | Origin | None = None,
        routes: Mapping[str, Route] = ROUTES,
        route: str | Route = "default",
        copy: bool = False,
        codec: tuple[Callable[[Any], bytes], Callable[[bytes], Any]] | None = None,
        weigher: Callable[[Any], int] | None = None,
        events: Mapping[str, Effect] | None = None,
        l2_timeout: float = 0.25,
        l2_pause: float = 1.0,
        max_staleness: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not 0 < check_seconds("l2_timeout", l2_timeout) < math.inf:
            raise InvalidArgument(f"l2_timeout is {l2_timeout}; give more than 0 seconds, and an end")
        check_seconds("l2_pause", l2_pause)
        self._routes = dict(routes)
        self._events = dict(events or {})
        self._clock, self._wall, self._random = clock, wall_clock, random
        self._counts: Counter[str] = Counter()
        self._memory = Memory(
            Cache(l1) if isinstance(l1, int) else l1,
            codec=(codec or _frames()) if copy else None, weigher=weigher, clock=clock, wall=wall_clock,
        )  # fmt: skip
        self._look = self._memory.look
        self._l2 = l2
        self._lower: Lower | None = None
        self._versions = Versions(coherent=lambda: l2 is None or l2.coherent)
        purger = cast("Purger | None", l3 if hasattr(l3, "purge") else None)
        origin = cast("Origin | None", l3 if hasattr(l3, "fetch") else None)
        self._subscribers = Subscribers(purger, random=random, counts=self._counts)
        self._listening = Listening(
            l2, self._memory, self._versions, self._subscribers,
            max_staleness=check_seconds("max_staleness", max_staleness), counts=self._counts,
        )  # fmt: skip
        if l2 is not None:
            guard = Guard("L2", timeout=l2_timeout, pause=l2_pause, clock=clock, random=random)
            self._lower = Lower(
                l2, guard, self._versions,
                counts=self._counts, untold=self._listening.untold, random=random, wall=wall_clock,
            )  # fmt: skip
        self._has_origin = origin is not None
        self._asks = Asks(self._memory, self._versions, counts=self._counts)
        maker = Maker(
            self._memory, self._lower, origin, self._versions, self._asks,
            counts=self._counts, longest=self._listening.longest, clock=clock, wall=wall_clock, random=random,
        )  # fmt: skip
        self._asks.find = maker.find
        self._listening.touched = self._asks.touched
        if self._lower is not None:
            self._lower.touched, self._lower.touched_since = self._asks.touched, self._asks.touched_since
        self._route = self._rules(route)
        self._stop_listening = None if l2 is None else l2.listen(self._listening)
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<TieredCache of {len(self._memory.cache)} entries before {type(self._l2).__name__ if self._l2 else 'nothing'}>"

    # --- reading ---------------------------------------------------------------------------------

    def get_nowait(self, key: str, *, scope: str, default: Any = None) -> Any:
        """Return the value that L1 holds, or `default`. Asks nobody; O(1)."""
        held = self._look((scope, key))
        if held is None or self._clock() >= held.until:
            return default
        return self._memory.open(held.value)

    async def get(self, key: str, *, scope: str, default: Any = None) -> Any:
        """Return the value of the highest tier that has a fresh one, or `default`; it then stands in L1 for the life it has left."""
        held = self._look((scope, key))
        if held is not None and self._clock() < held.until:
            return self._memory.open(held.value)
        place = self._place(key, scope)
        if self._lower is None and not self._has_origin:
            return default
        value = await self._asks.look(place, lambda: Ask(place, None, route=self._route))
        return default if value is MISSING else value

    async def get_many(self, keys: Sequence[str], *, scope: str) -> list[Any]:
        """Do `get` for every key, with one call of L2 for all that L1 does not have. None for a miss."""
        found = {key: self.get_nowait(self._place(key, scope)[1], scope=scope, default=MISSING) for key in keys}
        missing = [key for key, value in found.items() if value is MISSING]
        if missing and self._lower is not None:
            began = self._versions.now
            for entry in await self._lower.read(missing, scope=scope):
                if entry is None or self._wall() >= entry.expires:
                    continue
                held = self._memory.packed(entry.value)
                moved = self._versions.moved(names_of(scope, entry.tags), began)
                if not moved and not self._asks.touched_since((scope, entry.key), began):
                    self._memory.put(entry, held, longest=self._listening.longest())
                found[entry.key] = self._memory.open(held)
        return [None if found[key] is MISSING else found[key] for key in keys]

    async def get_or_set(
        self,
        key: str,
        factory: Callable[[], Awaitable[T] | T] | Callable[[Making], Awaitable[T] | T],
        *,
        scope: str,
        ttl: float | Callable[[T], float] | None = None,
        tags: Iterable[str] | Callable[[T], Iterable[str]] = (),
        route: str | Route | None = None,
        lease: bool | float | None = None,
    ) -> T:
        """Return the value under `key`, made by `factory` where no tier has it: once, for all who ask in this process at a time.

        `factory`: a function or coroutine function; one that takes an argument gets a `Making`, through which it may set life, tags
        and cost of its value. `ttl`: the value's life in seconds, or a function of the value; None: the route's, and 0: not kept.
        `tags`: what the value depends on, or a function of the value. `route`: the rules, by name or as they are.
        `lease`: whether, or for how many seconds, one process makes the value while the others wait for it; None: the route's.

        An L1 hit is O(1) and never leaves its caller's step. Cancelled, the factory is too once nobody waits for its value.
        Raises what the factory raises, where no stale value may be served instead; `FactoryTimeout`; `InvalidArgument`;
        `UnknownName` for a route that is not in the table.
        """
        held = self._look((scope, key))
        if held is not None and self._clock() < held.calm:
            return held.value  # type: ignore[no-any-return]
        rules = self._rules(route)
        if held is not None and self._clock() < held.until:
            if self._memory.is_due(held, rules, self._random):
                held.calm = min(held.until, self._clock() + rules.throttle)
                early = self._ask(key, factory, scope, rules, ttl, tags, lease, early=held.entry)
                self._counts["early"] += self._asks.refresh(early)
            return self._memory.open(held.value)  # type: ignore[no-any-return]
        return await self._asks.answer(  # type: ignore[no-any-return]
            (scope, key), lambda: self._ask(key, factory, scope, rules, ttl, tags, lease)
        )

    async def refresh(
        self,
        key: str,
        factory: Callable[[], Awaitable[T] | T] | Callable[[Making], Awaitable[T] | T],
        *,
        scope: str,
        ttl: float | Callable[[T], float] | None = None,
        tags: Iterable[str] | Callable[[T], Iterable[str]] = (),
        route: str | Route | None = None,
        lease: bool | float | None = None,
    ) -> T:
        """Make the value anew though one may stand, or get the one that is being made, here or under another process's lease.

        Calls of `get_or_set` are served what stands meanwhile. Options and errors as there.
        """
        held = self._look((scope, key))
        early = None if held is None or self._wall() >= held.entry.expires else held.entry
        rules = self._rules(route)
        return await self._asks.answer(  # type: ignore[no-any-return]
            (scope, key), lambda: self._ask(key, factory, scope, rules, ttl, tags, lease, early=early)
        )

    def entry(self, key: str, *, scope: str) -> Entry | None:
        """Return what L1 holds under `key`, fresh or stale: its life, cost, tags. With ``copy`` its value is None."""
        held = self._look((scope, key))
        return None if held is None else held.entry

    # --- writing ---------------------------------------------------------------------------------

    async def set(
        self,
        key: str,
        value: Any,
        *,
        scope: str,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        route: str | Route | None = None,
        seconds: float = 0.0,
        dollars: float = 0.0,
        validator: str | None = None,
    ) -> bool:
        """Store a value in every tier, and say whether L2, if there is one, has it too. Values on their way are overtaken by it.

        `seconds`, `dollars`: what it cost. From its first step on this process reads the new value; where L2 cannot be told, what
        stands there is removed once it answers again. Cancelled, the write goes on. Raises `FrameError` for a value that no frame
        can hold, `InvalidArgument`, `UnknownName`.
        """
        place, rules = self._place(key, scope), self._rules(route)
        life = (rules.ttl if ttl is None else check_seconds("ttl", ttl)) * (1.0 - rules.jitter * self._random())
        if life == 0.0:
            await self.delete(key, scope=scope)
            return False
        now = self._wall()
        entry = Entry(
            scope=scope, key=key, value=value, created=now, expires=now + life, dead=now + life + rules.stale,
            seconds=check_seconds("seconds", seconds), dollars=check_seconds("dollars", dollars), tags=check_tags(tags),
            validator=validator,
        )  # fmt: skip
        held = self._memory.packed(value)
        self._asks.touched(place)
        self._memory.put(entry, held, longest=self._listening.longest())
        if self._lower is None:
            return True
        return await _whatever_happens(self._lower.write(entry, replaces=True))

    async def delete(self, key: str, *, scope: str) -> bool:
        """Remove a key from every tier and say whether L2, if there is one, was told; if not, it will be. Cancelled, it goes on.

        A value that another process is making right now may still come to stand in L2: where that matters, invalidate a tag.
        """
        return await _whatever_happens(self._remove(self._place(key, scope)))

    async def invalidate(
        self,
        *,
        tag: str | None = None,
        tags: Iterable[str] = (),
        prefix: str | None = None,
        key: str | None = None,
        scope: str | None = None,
    ) -> bool:
        """Invalidate what carries a tag, what is in a scope or below it (`prefix`), or one `key` of a `scope`, in every tier.

        O(1), however many entries. This process returns none of them any more, nor what is made of older data right now; others
        from when they hear of it. Says whether L2, if there is one, was told; if not, it will be, and until then nothing that this
        concerns is read from it. Cancelled, it goes on. Raises `InvalidArgument` where nothing is given.
        """
        wanted = check_tags([*tags, *([] if tag is None else [tag])])
        names = [f"tag:{one}" for one in wanted]
        if prefix is not None:
            check_scope(prefix)
            names.append("scope:" + prefix.rstrip("/"))
        if key is not None and scope is None:
            raise InvalidArgument("key is given without scope; name whose key it is")
        if key is None and not names:
            raise InvalidArgument("invalidate was told nothing; give a tag, tags, a prefix, or a key and its scope")
        tasks = [self._remove(self._place(key, scope))] if key is not None and scope is not None else []
        return await _whatever_happens(*tasks, *([self._invalidate(names)] if names else []))

    async def clear(self) -> bool:
        """Invalidate everything, in every tier and every scope."""
        return await _whatever_happens(self._invalidate(["all"]))

    async def on(self, event: str, /, *args: object, **named: object) -> bool:
        """Invalidate what the event rules say: ``on("knowledge_updated", 7)`` with ``Effect(tags=("doc:{0}",))`` the tag ``doc:7``."""
        effect = self._events.get(event)
        if effect is None:
            raise UnknownName(f"no rule for the event {event!r}; there are {', '.join(sorted(self._events)) or 'none'}")
        return await _whatever_happens(self._invalidate(effect.names(*args, **named)))

    def on_invalidate(self, callback: Callable[[Invalidation], None]) -> Callable[[], None]:
        """Call `callback` of what is invalidated, here or elsewhere, until the returned function is called. It must not block."""
        return self._subscribers.add(callback)

    # --- the rest --------------------------------------------------------------------------------

    def stats(self) -> TieredStats:
        """Return what happened since the cache was made, and what waits."""
        pending = 0 if self._lower is None else len(self._lower.recovery)
        faults = 0 if self._lower is None else self._lower.faults
        return TieredStats.of(self._memory.cache.stats(), self._counts, pending=pending, l2_faults=faults)

    async def close(self) -> None:
        """End factories in the background, let writes under way end, and stop listening. L2 is its maker's to close."""
        if self.closed:
            return
        self.closed = True
        if self._stop_listening is not None:
            self._stop_listening()
        self._listening.close()
        await self._asks.close()
        if self._lower is not None:
            await self._lower.close()
        await self._subscribers.close()

    def _invalidate(self, names: list[str]) -> asyncio.Future[bool] | None:
        self._listening.invalidated(names)
        return None if self._lower is None else asyncio.ensure_future(self._lower.recovery.send(names=names))

    def _remove(self, place: tuple[str, str]) -> asyncio.Future[bool] | None:
        self._listening.removed(place)
        return None if self._lower is None else self._lower.remove(place)

    def _ask(
        self,
        key: str,
        factory: Any,
        scope: str,
        rules: Route,
        ttl: Any,
        tags: Any,
        lease: Any,
        early: Entry | None = None,
    ) -> Ask:
        seconds = rules.lease if lease is None else _LEASE * lease if isinstance(lease, bool) else lease
        if ttl is not None and not callable(ttl):
            check_seconds("ttl", ttl)
        return Ask(
            self._place(key, scope), factory, route=rules, ttl=ttl, tags=tags, lease=check_seconds("lease", seconds), early=early
        )  # fmt: skip

    def _rules(self, route: str | Route | None) -> Route:
        if route is None:
            return self._route
        if isinstance(route, Route):
            return route
        rules = self._routes.get(route)
        if rules is None:
            raise UnknownName(f"no route {route!r}; there are {', '.join(sorted(self._routes))}")
        return rules

    @staticmethod
    def _place(key: str, scope: str) -> tuple[str, str]:
        check_scope(scope)
        if not isinstance(key, str) or not key:
            raise InvalidArgument(f"key is {'empty' if key == '' else f'a {type(key).__name__}'}; give a text")
        return scope, key


async def _whatever_happens(*tasks: asyncio.Future[bool] | None) -> bool:
    """Whether all tasks succeed. They go on if the caller is cancelled."""
    begun = [task for task in tasks if task is not None]
    if begun:
        await asyncio.wait(begun)
    return all(task.result() for task in begun)


def _frames() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    frame: Any = importlib.import_module("sparecall.frame")  # only for those who ask for copies
    return frame.pack, frame.unpack
