"""Refresh-ahead: what is asked for most is made before it ends, within a budget, where the chance of its use is worth the price."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import random as _random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sparecall.errors import InvalidArgument
from sparecall.store.popularity import Popularity
from sparecall.store.route import check_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sparecall.store.making import Making
    from sparecall.store.recovery import Place
    from sparecall.store.route import Route
    from sparecall.store.tiered import TieredCache

T = TypeVar("T")
_SLICE = 256  # keys looked at between two turns of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingReport:
    """What warming did: one moment, frozen. Shares are 0 where nothing happened yet."""

    warmed: int = 0
    """Values made ahead of their use."""
    used: int = 0
    """Of those, the ones that were asked for before they ended."""
    wasted: int = 0
    """Of those, the ones that ended unasked."""
    misses: int = 0
    """Calls that had to wait for the loader all the same."""
    dollars: float = 0.0
    """What the values made ahead cost."""
    wasted_dollars: float = 0.0
    over_budget: int = 0
    """Values not made for want of budget."""
    not_worth: int = 0
    """Values not made because their use was too unlikely for their price."""
    failed: int = 0

    @property
    def precision(self) -> float:
        """The share of decided values that were used."""
        return self.used / (self.used + self.wasted) if self.used + self.wasted else 0.0

    @property
    def coverage(self) -> float:
        """The share of uses without a copy that warming saw coming."""
        return self.used / (self.used + self.misses) if self.used + self.misses else 0.0


class Budget:
    """So many dollars an hour and so many calls a minute; both fill up evenly, up to one hour's and one minute's worth."""

    __slots__ = ("_calls", "_clock", "_dollars", "_filled", "calls_per_minute", "dollars_per_hour")

    def __init__(self, *, dollars_per_hour: float, calls_per_minute: float, clock: Callable[[], float]) -> None:
        for name, value in (("dollars_per_hour", dollars_per_hour), ("calls_per_minute", calls_per_minute)):
            if not value >= 0:
                raise InvalidArgument(f"{name} is {value}; give at least 0")
        self.dollars_per_hour, self.calls_per_minute, self._clock = dollars_per_hour, calls_per_minute, clock
        self._dollars, self._calls, self._filled = dollars_per_hour, calls_per_minute, clock()

    def take(self, dollars: float) -> bool:
        """Take a call of about so many dollars, if there is room for it."""
        now = self._clock()
        passed, self._filled = max(0.0, now - self._filled), now
        self._dollars = min(self.dollars_per_hour, self._dollars + passed * self.dollars_per_hour / 3600)
        self._calls = min(self.calls_per_minute, self._calls + passed * self.calls_per_minute / 60)
        if self._calls < 1.0 or self._dollars < dollars:
            return False
        self._calls -= 1.0
        self._dollars -= dollars
        return True

    def settle(self, estimated: float, dollars: float) -> None:
        """Correct what was taken by what the call cost; it may leave a debt."""
        self._dollars += estimated - dollars


class Warmer:
    """Keeps the most popular keys of a `TieredCache` warm. Ask through `get`; run `step` now and then, or `run` in the background.

    ``loader``: makes the value of a key in a scope; its second argument is the `Making`, whose ``dollars`` it should set.
    ``top``: so many keys with the most uses to come are considered in each step; ``tracked``: so many are counted.
    ``ahead``: a value is made anew where less than this share of its life is left, or none.
    ``dollars_per_hour``, ``calls_per_minute``: the budget. ``second_price``: dollars that a second of waiting is worth.
    ``price_share``: what a value made ahead costs, as a share of its price on demand: less than 1 where a batch is cheaper.
    A value is made ahead if P(use before its end) * (dollars + seconds * second_price) > dollars * price_share.
    ``clock``: Unix seconds.

    What was made ahead enters L1 like any new key: with the policy ``"adaptive"`` into its window, where wrong guesses push out
    nothing proven.
    """

    __slots__ = (
        "_ahead", "_budget", "_cache", "_clock", "_counts", "_loader", "_options", "_popularity", "_price_share", "_probation",
        "_second_price", "_top",
    )  # fmt: skip

    def __init__(
        self,
        cache: TieredCache,
        loader: Callable[[str, str, Making], Awaitable[T]],
        *,
        top: int = 100,
        tracked: int = 10_000,
        ahead: float = 0.1,
        dollars_per_hour: float = 1.0,
        calls_per_minute: float = 60.0,
        second_price: float = 0.001,
        price_share: float = 1.0,
        route: str | Route | None = None,
        tags: Callable[[Any], Iterable[str]] | Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if top < 1 or tracked < top:
            raise InvalidArgument(
                f"top is {top} and tracked {tracked}; give 1 or more, and track no fewer than the top"
            )
        if not 0 < ahead <= 1:
            raise InvalidArgument(f"ahead is {ahead}; it is a share above 0, up to 1")
        self._second_price, self._price_share = check_seconds("second_price", second_price), check_seconds("price_share", price_share)  # fmt: skip
        self._cache, self._loader, self._top, self._ahead, self._clock = cache, loader, top, ahead, clock
        self._options: dict[str, Any] = {"route": route, "tags": tags}
        self._popularity = Popularity(tracked, clock=clock, random=random)
        self._budget = Budget(dollars_per_hour=dollars_per_hour, calls_per_minute=calls_per_minute, clock=clock)
        self._probation: dict[Place, tuple[float, float]] = {}  # what was made ahead and not asked for: dollars, end
        self._counts: dict[str, Any] = dict.fromkeys(WarmingReport.__dataclass_fields__, 0)

    async def get(self, key: str, *, scope: str) -> Any:
        """Return the value of a key, and count its use."""
        place, missed = (scope, key), False

        async def factory(making: Making) -> Any:
            nonlocal missed
            missed = True
            return await self._loader(key, scope, making)

        value = await self._cache.get_or_set(key, factory, scope=scope, **self._options)
        self._popularity.used(place)
        if missed or self._popularity.cost(place) is None:
            self._learn(place)
        guess = self._probation.pop(place, None)
        if guess is not None and not missed:
            self._counts["used"] += 1
        elif guess is not None:
            self._wasted(guess[0])
        self._counts["misses"] += missed
        return value

    async def step(self) -> int:
        """Look at the most popular keys once, begin to make what is due, wait for that, and return how many were made."""
        now = self._clock()
        for place, (dollars, ends) in list(self._probation.items()):
            if now >= ends:
                del self._probation[place]
                self._wasted(dollars)
        scored: list[tuple[float, Place]] = []
        places = self._popularity.places()
        for start in range(0, len(places), _SLICE):
            part = [(self._popularity.rate(place), place) for place in places[start : start + _SLICE]]
            scored = heapq.nlargest(self._top, scored + part)
            await asyncio.sleep(0)
        made = [self._make(place, rate) for rate, place in scored if rate > 0.0]
        return sum(await asyncio.gather(*[one for one in made if one is not None]))

    async def run(self, *, every: float = 60.0) -> None:
        """Do `step` every so many seconds until cancelled."""
        if not every > 0:
            raise InvalidArgument(f"every is {every}; give more than 0 seconds")
        while True:
            await self.step()
            await asyncio.sleep(every)

    def report(self) -> WarmingReport:
        """Return what happened so far."""
        return WarmingReport(**self._counts)

    def _make(self, place: Place, rate: float) -> Awaitable[bool] | None:
        """The refresh of one key, if it is due, worth its price and within the budget."""
        entry = self._cache.entry(place[1], scope=place[0])
        now = self._clock()
        if entry is not None and entry.expires - now > self._ahead * (entry.expires - entry.created):
            return None
        self._learn(place)
        known = self._popularity.cost(place)
        if known is None:
            return None  # never made under these eyes: its price is not known
        dollars, seconds, life = known
        chance = 1.0 - math.exp(-rate * min(life, 1e9))
        if chance * (dollars + seconds * self._second_price) <= dollars * self._price_share:
            self._counts["not_worth"] += 1
            return None
        if not self._budget.take(dollars * self._price_share):
            self._counts["over_budget"] += 1
            return None
        return self._refreshed(place, dollars * self._price_share)

    async def _refreshed(self, place: Place, estimated: float) -> bool:
        cost = 0.0
        began = made = False

        async def factory(making: Making) -> Any:
            nonlocal cost, began, made
            began = True
            value = await self._loader(place[1], place[0], making)
            cost, made = making.dollars * self._price_share, True
            return value

        with contextlib.suppress(Exception):  # the loader's, counted below; whoever asks for the value gets it
            await self._cache.refresh(place[1], factory, scope=place[0], **self._options)
        self._budget.settle(estimated, cost)
        self._counts["failed"] += began and not made
        if not made:
            return False
        entry = self._cache.entry(place[1], scope=place[0])
        self._probation[place] = (cost, self._clock() if entry is None else entry.expires)
        self._counts["warmed"] += 1
        self._counts["dollars"] += cost
        return True

    def _learn(self, place: Place) -> None:
        entry = self._cache.entry(place[1], scope=place[0])
        if entry is not None:
            self._popularity.learn(place, entry.dollars, entry.seconds, entry.expires - entry.created)

    def _wasted(self, dollars: float) -> None:
        self._counts["wasted"] += 1
        self._counts["wasted_dollars"] += dollars
