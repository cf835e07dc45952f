"""Single flight between the tasks of an event loop: `Flight`, one for each loop that a function is called on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparecall.cached.results import Run
from sparecall.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


class _LoopFlight:
    """The runs under way on one loop. They are merged by key and `Run`: after a delete, the next caller begins another."""

    __slots__ = ("flight", "runs")

    def __init__(self) -> None:
        self.flight: Flight[tuple[Hashable, Run], Any] = Flight()
        self.runs: dict[Hashable, Run] = {}


class TaskFlight:
    """Computes what a coroutine function's cache does not have, once for all tasks of a loop that ask at the same time."""

    __slots__ = ("_function", "_loops", "_store")

    def __init__(self, function: Callable[..., Awaitable[Any]], store: Callable[[Hashable, Any, Run], None]) -> None:
        self._function, self._store = function, store
        # No loop is kept after its end: a flight refers to its loop only by the tasks under way, and what a loop that was
        # closed in the middle of things left behind goes when the next one comes.
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopFlight] = WeakKeyDictionary()

    async def missed(self, key: Hashable, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the value for `key`, which the cache did not have in this very step of the loop."""
        here = self._here()
        run = here.runs.setdefault(key, Run())

        async def work() -> Any:
            value = await self._function(*args, **kwargs)
            self._store(key, value, run)
            return value

        try:
            value, _ = await here.flight.run((key, run), work)
            return value
        finally:
            if (key, run) not in here.flight and here.runs.get(key) is run:
                here.runs.pop(key, None)  # another thread may be deleting it

    def deleted(self, key: Hashable) -> None:
        """Lets the runs of `key` under way, on whatever loop, end for those who wait already, unstored."""
        for reference in self._loops.keyrefs():
            loop = reference()
            there = None if loop is None else self._loops.get(loop)
            run = None if there is None else there.runs.pop(key, None)
            if run is not None:
                run.deleted = True

    def _here(self) -> _LoopFlight:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            for reference in self._loops.keyrefs():
                other = reference()
                if other is not None and other.is_closed():
                    self._loops.pop(other, None)
            here = self._loops[loop] = _LoopFlight()
        return here
