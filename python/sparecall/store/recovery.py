"""Invalidations that have not reached the store yet: what they forbid meanwhile, and their replay once it answers again."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from sparecall.errors import SparecallError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    Place = tuple[str, str]


class Recovery:
    """At most `limit` names and as many places (scope and key) wait here; what goes beyond stands for more than was asked.

    Until a name has its new version in the store, no entry that depends on it may be read from there, nor written.
    """

    __slots__ = ("_limit", "_names", "_numbers", "_places", "_push", "_random", "_replays", "_wake")

    def __init__(
        self,
        push: Callable[[list[str], list[Place]], Coroutine[Any, Any, None]],
        *,
        random: Callable[[], float],
        limit: int = 10_000,
    ) -> None:
        self._push, self._random, self._limit = push, random, limit
        self._names: dict[str, int] = {}
        self._places: dict[Place, int] = {}
        self._numbers = itertools.count()
        self._replays: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many names and places wait."""
        return len(self._names) + len(self._places)

    def forbids(self, names: Iterable[str], place: Place) -> bool:
        """Whether the store's entry of `place`, which depends on `names`, is older than an invalidation that waits here."""
        if not self._names and not self._places:
            return False
        return place in self._places or not self._names.keys().isdisjoint(names)

    async def send(self, names: Iterable[str] = (), places: Iterable[Place] = ()) -> bool:
        """Tell the store, now if possible and else later, and say whether it knows. Cancelled, it is told later."""
        number = next(self._numbers)
        self._names |= dict.fromkeys(names, number)
        self._places |= dict.fromkeys(places, number)
        self._bound(number)
        told = False
        try:
            told = await self._try(number)
        finally:
            if not told and self._replays is None and len(self):
                self._replays = asyncio.get_running_loop().create_task(self._replay())
        return told

    def wake(self) -> None:
        """The store answers again: what waits is told at once."""
        self._wake.set()

    async def close(self) -> None:
        """Stop replaying. What waits is forgotten with this object."""
        if self._replays is not None:
            self._replays.cancel()
            await asyncio.wait({self._replays})
            self._replays = None

    async def _try(self, number: int | None = None) -> bool:
        """Tell what came with `number`, or all; whatever came again meanwhile stays for its own turn."""
        names = {name: at for name, at in self._names.items() if number is None or at == number}
        places = {place: at for place, at in self._places.items() if number is None or at == number}
        try:
            await self._push(list(names), list(places))
        except SparecallError:
            return False
        for name, at in names.items():
            if self._names.get(name) == at:
                del self._names[name]
        for place, at in places.items():
            if self._places.get(place) == at:
                del self._places[place]
        return True

    async def _replay(self) -> None:
        pause = 0.5
        try:
            while len(self):
                self._wake.clear()
                try:
                    async with asyncio.timeout(pause * (0.5 + self._random())):
                        await self._wake.wait()
                except TimeoutError:
                    pause = min(2 * pause, 30.0)
                await self._try()
        finally:
            self._replays = None

    def _bound(self, number: int) -> None:
        if len(self._places) > self._limit:
            self._names |= {f"scope:{scope}": number for scope, _ in self._places}
            self._places.clear()
        if len(self._names) > self._limit:
            self._names = {"all": number}
            self._places.clear()
