"""How a missing value comes to be: lower tiers, the lease, the factory and its time limits, the stale value where it fails."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sparecall.errors import FactoryTimeout
from sparecall.store.lower import NEVER, Lower
from sparecall.store.making import MISSING, Made, Making, Stale, call, check_tags
from sparecall.store.protocol import Entry, Lease
from sparecall.store.versions import names_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from sparecall.store.asks import Asks
    from sparecall.store.making import Ask
    from sparecall.store.memory import Memory
    from sparecall.store.versions import Versions

# Between looks for a value that another process makes, where no message comes: from a hundredth of a second to a quarter.
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.25


class Origin(Protocol):
    """A tier below the shared store that can be read, such as an object store: an L3."""

    async def fetch(self, key: str, *, scope: str) -> Entry | None:
        """The entry under `key`, or None."""


class Maker:
    """Answers the asks of one `TieredCache`."""

    __slots__ = (
        "_asks",
        "_clock",
        "_counts",
        "_longest",
        "_lower",
        "_memory",
        "_origin",
        "_random",
        "_versions",
        "_wall",
    )

    def __init__(
        self,
        memory: Memory,
        lower: Lower | None,
        origin: Origin | None,
        versions: Versions,
        asks: Asks,
        *,
        counts: Counter[str],
        longest: Callable[[], float],
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._memory, self._lower, self._origin, self._versions, self._asks = memory, lower, origin, versions, asks
        self._counts, self._longest, self._clock, self._wall, self._random = counts, longest, clock, wall, random

    async def find(self, ask: Ask) -> Made:
        """The value of a lower tier, or else of the factory, if there is one."""
        stale = self._stale_copy(ask)
        entry = await self._below(ask)
        if entry is not None:
            if self._is_news(entry, ask):
                return self._keep(ask, entry, self._memory.packed(entry.value), ask.began)
            if stale is None or entry.created > stale.entry.created:
                stale = Stale(entry, self._memory.packed(entry.value), ask.began)
        if ask.factory is None:
            return Made(MISSING, ask.began, ask.names)
        return await self._make(ask, ask.factory, stale)

    def _stale_copy(self, ask: Ask) -> Stale | None:
        held = self._memory.look(ask.place)
        if held is None or self._wall() >= held.entry.dead:
            return None
        return Stale(held.entry, held.value, self._versions.now)

    async def _below(self, ask: Ask) -> Entry | None:
        """The entry of a lower tier, fresh or stale."""
        scope, key = ask.place
        ask.began = self._versions.now
        if self._lower is not None:
            entry = (await self._lower.read([key], scope=scope))[0]
            if entry is not None:
                return entry
        if self._origin is None:
            return None
        try:
            entry = await self._origin.fetch(key, scope=scope)
        except Exception:  # noqa: BLE001 - a tier that fails is a miss
            self._counts["l3_faults"] += 1
            return None
        if entry is None or (entry.scope, entry.key) != ask.place or self._wall() >= entry.dead:
            return None
        self._counts["l3_hits"] += 1
        return entry

    def _is_news(self, entry: Entry, ask: Ask) -> bool:
        return self._wall() < entry.expires and (ask.early is None or entry.created > ask.early.created)

    def _keep(self, ask: Ask, entry: Entry, held: Any, began: int) -> Made:
        """Fill L1, unless the entry was overtaken since event `began`."""
        names = names_of(entry.scope, entry.tags)
        if ask.touched > began or self._versions.moved(names, began):
            self._counts["late"] += 1
        else:
            self._memory.put(entry, held, route=ask.route if ask.factory else None, longest=self._longest())
        return Made(held, began, names)

    # --- the factory -----------------------------------------------------------------------------

    async def _make(self, ask: Ask, factory: Callable[..., Any], stale: Stale | None) -> Made:
        begins = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ask.route.background_timeout if ask.early else None) as ask.limit:
                self._watch(ask, stale, begins)
                if ask.lease and self._lower is not None:
                    found = await self._lead(ask, self._lower)
                    if found is not None:
                        return found
                    if ask.held_lease is None and ask.early is not None and stale is not None:
                        return Made(stale.held, stale.since, stale.names)  # another process refreshes it
                return await self._called(ask, factory, stale)
        except Exception as error:
            late = isinstance(error, TimeoutError) and ask.limit is not None and ask.limit.expired()
            self._counts["late_factories" if late else "failed_factories"] += 1
            served = self._serve(ask, stale)
            if served is not None:
                return served
            if late:
                raise _timeout(ask) from error
            raise
        finally:
            if ask.held_lease is not None and self._lower is not None:
                self._asks.spawn(_release(self._lower, ask.held_lease, ask.sharing))

    def _watch(self, ask: Ask, stale: Stale | None, begins: float) -> None:
        """Look again when the callers have waited for as long as they may."""
        soft, hard = ask.route.soft_timeout, ask.route.hard_timeout
        limits = [limit for limit in (soft if stale is not None else None, hard) if limit is not None]
        if limits and min(limits) < math.inf:
            loop = asyncio.get_running_loop()
            ask.timer = loop.call_later(min(limits), self._overdue, ask, stale, begins)

    def _overdue(self, ask: Ask, stale: Stale | None, begins: float) -> None:
        """Send those who wait away with the stale value or a timeout; the factory goes on, or is cancelled if it must not."""
        loop, route, limit = asyncio.get_running_loop(), ask.route, ask.limit
        assert limit is not None  # noqa: S101 - the timer was set under it
        outcome: Made | FactoryTimeout | None = self._serve(ask, stale)
        if outcome is None:
            left = begins + (math.inf if route.hard_timeout is None else route.hard_timeout) - loop.time()
            if left > 0.001:  # only the soft limit is over, and the stale value has ended meanwhile
                ask.timer = None if left == math.inf else loop.call_later(left, self._overdue, ask, None, begins)
                return
            if not route.background:
                limit.reschedule(loop.time())
                return
            outcome = _timeout(ask)
        if limit.when() is None:
            limit.reschedule(loop.time() + route.background_timeout)
        self._asks.part(ask, outcome)
        self._watch(ask, stale, begins)  # for those who come now

    def _serve(self, ask: Ask, stale: Stale | None) -> Made | None:
        """The stale value, if it may still be served; then for a while without asking again."""
        if stale is None or self._wall() >= stale.entry.dead:
            return None
        if ask.touched > stale.since or self._versions.moved(stale.names, stale.since):
            return None
        self._counts["stale"] += 1
        if self._wall() >= stale.entry.expires:
            longest = min(ask.route.throttle, self._longest())
            self._memory.put(stale.entry, stale.held, longest=longest, anew=True)
        return Made(stale.held, stale.since, stale.names)

    async def _lead(self, ask: Ask, lower: Lower) -> Made | None:
        """Get the lease of this key, or the value that its holder makes. Without either after a while: each for himself."""
        scope, key = ask.place
        name, pause, ends = f"{len(scope)}:{scope}/{key}", _FIRST_LOOK, self._clock() + 2.0 * ask.lease
        while self._clock() < ends:
            lease = await lower.acquire(name, seconds=ask.lease)
            if lease is True:
                return None
            ask.held_lease = lease or None
            ask.waker = asyncio.get_running_loop().create_future()  # before looking, so that no news falls between
            began = self._versions.now
            entry = (await lower.read([key], scope=scope))[0]
            if entry is not None and self._is_news(entry, ask):
                self._counts["waited"] += 1
                return self._keep(ask, entry, self._memory.packed(entry.value), began)
            if ask.held_lease is not None or ask.early is not None:
                return None
            try:
                async with asyncio.timeout(pause * (0.5 + self._random())):
                    await ask.waker
            except TimeoutError:
                pause = min(2.0 * pause, _LAST_LOOK)
        return None

    async def _called(self, ask: Ask, factory: Callable[..., Any], stale: Stale | None) -> Made:
        began = ask.began = self._versions.now
        marks = {} if self._lower is None else await self._lower.marks(ask.names)
        making = Making(
            None if stale is None else self._memory.open(stale.held),
            None if stale is None else stale.entry,
            tags=ask.known_tags,
        )
        self._counts["made"] += 1
        starts = self._clock()
        value = await call(factory, making)
        seconds = self._clock() - starts
        if callable(ask.tags):
            making.tags.extend(check_tags(ask.tags(value)))
        tags = check_tags(making.tags)
        names = names_of(ask.place[0], tags)
        life = ask.life(value, making) * (1.0 - ask.route.jitter * self._random())
        held = self._memory.packed(value)
        if not making.store or life <= 0.0:
            if not making.store or value is not None:
                self._counts["unkept"] += 1
            return Made(held, began, names)
        now = self._wall()
        entry = Entry(
            scope=ask.place[0], key=ask.place[1], value=value, created=now, expires=now + life,
            dead=now + life + ask.route.stale, seconds=seconds, dollars=making.dollars, tags=tags, validator=making.validator,
        )  # fmt: skip
        made = self._keep(ask, entry, held, began)
        if self._lower is not None and marks is not None and not ask.touched > began:
            ask.sharing = self._asks.spawn(self._share(self._lower, entry, names, marks, began))
        return made

    async def _share(
        self, lower: Lower, entry: Entry, names: tuple[str, ...], marks: dict[str, int], began: int
    ) -> None:
        """Write what was made to L2, marked with the versions from before it was made."""
        late = [name for name in names if name not in marks]
        if late:
            known = {name: self._versions.known_at(name, began) for name in late}
            now = await lower.marks(late)
            for name, version in known.items():
                if version is None and now is not None and now[name] == marks[NEVER]:
                    version = marks[NEVER]
                if version is None:
                    self._counts["unmarked"] += 1
                    return
                marks[name] = version
        marked = msgspec.structs.replace(entry, marks=tuple(marks[name] for name in names))
        await asyncio.wait({lower.write(marked, began=began)})


async def _release(lower: Lower, lease: Lease, sharing: asyncio.Task[None] | None) -> None:
    if sharing is not None:  # whoever gets the lease next shall find the value
        await asyncio.wait({sharing})
    await lower.release(lease)


def _timeout(ask: Ask) -> FactoryTimeout:
    return FactoryTimeout(
        f"a value was not made in {ask.route.hard_timeout or ask.route.background_timeout} s, and no stale one stands by; "
        "give its route a longer hard_timeout, or a time to be served stale"
    )
