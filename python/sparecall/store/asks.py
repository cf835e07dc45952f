"""The questions under way in one `TieredCache`: each key's is one run for all who ask, until something overtakes it."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from sparecall.errors import StoreUnavailable
from sparecall.flight import Flight
from sparecall.store.making import MISSING, Ask, Made

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Coroutine

    from sparecall.store.memory import Memory
    from sparecall.store.recovery import Place
    from sparecall.store.versions import Versions

# So many keys that were written lately are remembered one by one.
_RECENT = 4096


class Asks:
    """Merges what is asked at a time, on `Flight`, and knows which keys were written meanwhile. `find` is what answers an ask."""

    __slots__ = (
        "_asks", "_at", "_counts", "_flight", "_forgotten", "_looks", "_memory", "_recent", "_running", "_tasks", "_versions", "find",
    )  # fmt: skip

    def __init__(self, memory: Memory, versions: Versions, *, counts: Counter[str]) -> None:
        self._memory, self._versions, self._counts = memory, versions, counts
        self._flight: Flight[Ask, Made] = Flight()
        self._asks: dict[Place, Ask] = {}
        self._looks: dict[Place, Ask] = {}  # those without a factory, only the first of each place
        self._running: dict[Ask, tuple[Ask, asyncio.Task[Any]]] = {}  # by which ask others wait for it, and its task
        self._at: dict[Place, set[Ask]] = {}  # the same by their places
        self._recent: dict[Place, int] = {}
        self._forgotten = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.find: Callable[[Ask], Awaitable[Made]]

    async def answer(self, place: Place, new_ask: Callable[[], Ask]) -> Any:
        """The value that L1 does not have: that of the ask under way for this key, or of a new one."""
        asked = self._versions.now
        while True:
            there = self._asks.get(place)
            if there is None or self._is_overtaken(there):
                there = self._asks[place] = new_ask()
                there.began = self._versions.now
                work = functools.partial(self._run, there, there)
            else:  # where the factory asks for its own key, the flight runs this; else nobody does
                work = functools.partial(self._run_beside, new_ask, there)
            made, led = await self._flight.run(there, work)
            self._counts["merged"] += not led
            # Who joined late must not get what was made before an invalidation that came before the question.
            if made.began >= asked or not (there.touched > made.began or self._versions.moved(made.names, made.began)):
                return self._memory.open(made.held)

    async def look(self, place: Place, new_ask: Callable[[], Ask]) -> Any:
        """The value of a lower tier, or `MISSING`. The ask has no factory.

        The first to look does so by itself, which takes neither a task nor a future; those who come meanwhile share a second look.
        """
        there = self._looks.get(place)
        if there is None:
            there = self._looks[place] = new_ask()
            there.began = self._versions.now
            try:
                made = await self.find(there)
            finally:
                del self._looks[place]
        else:
            asked = self._versions.now
            made, led = await self._flight.run(there, functools.partial(self._run_beside, new_ask, there))
            self._counts["merged"] += not led
            if made.began < asked and (
                self.touched_since(place, made.began) or self._versions.moved(made.names, made.began)
            ):
                return await self.look(place, new_ask)
        return made.held if made.held is MISSING else self._memory.open(made.held)

    def refresh(self, ask: Ask) -> bool:
        """Ask in the background, where nobody asks for this key already; say whether it began."""
        if ask.place in self._asks:
            return False
        ask.began = self._versions.now
        self._asks[ask.place] = ask
        return self._flight.start(ask, functools.partial(self._run, ask, ask))

    def part(self, ask: Ask, outcome: Made | Exception) -> None:
        """Send those who wait for an ask away with an outcome; it goes on without them."""
        self._flight.part(ask, outcome)

    def touched(self, place: Place) -> None:
        """The key was written or deleted."""
        now = self._versions.now = self._versions.now + 1
        if len(self._recent) >= _RECENT:
            self._recent.clear()
            self._forgotten = now
        self._recent[place] = now
        for ask in (self._asks.get(place), self._looks.get(place), *self._at.get(place, ())):
            if ask is not None:
                ask.touch(now)

    def touched_since(self, place: Place, event: int) -> bool:
        """Whether the key was written or deleted after event `event`, or may have been. For reads, which are short."""
        return event < self._forgotten or self._recent.get(place, 0) > event

    async def close(self) -> None:
        """Cancel what is being made, and let what is made reach L2; whoever waits gets `StoreUnavailable`."""
        for there, task in self._running.values():
            self._flight.part(
                there, StoreUnavailable("the cache was closed while a value was made; ask before close()")
            )
            task.cancel()
        here = asyncio.current_task()
        while rest := {
            task for task in (*(task for _, task in self._running.values()), *self._tasks) if task is not here
        }:
            await asyncio.wait(rest)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work in the background; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _is_overtaken(self, ask: Ask) -> bool:
        return ask.touched > ask.began or self._versions.moved(ask.names, ask.began)

    async def _run_beside(self, new_ask: Callable[[], Ask], there: Ask) -> Made:
        ask = new_ask()
        ask.began = self._versions.now
        return await self._run(ask, there)

    async def _run(self, ask: Ask, there: Ask) -> Made:
        """Answer an ask for those who wait for `there`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a flight's work is in one
        self._running[ask] = there, task
        here = self._at.setdefault(ask.place, set())
        here.add(ask)
        try:
            return await self.find(ask)
        finally:
            del self._running[ask]
            here.discard(ask)
            if not here:
                self._at.pop(ask.place, None)
            if ask.timer is not None:
                ask.timer.cancel()
            if self._asks.get(ask.place) is ask:
                del self._asks[ask.place]
