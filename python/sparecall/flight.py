"""Single flight: concurrent calls for one key become one. The only such code of the project; cache, gateway and store use it.

asyncio only, one loop, no locks: every step between two awaits is atomic.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class _Call(Generic[V]):
    """One piece of work under way, the callers who wait for it, and the calls it waits for itself."""

    __slots__ = ("awaits", "kept", "led", "task", "waiters")

    def __init__(self) -> None:
        self.waiters: dict[asyncio.Future[V], None] = {}
        self.awaits: list[_Call[Any]] = []  # one entry for each wait: work may wait for a call more than once at a time
        self.task: asyncio.Task[None] | None = None  # None before and after: a call and its task form a circle
        self.led = False
        self.kept = False  # whether it goes on when nobody waits for it

    def leads_to(self, other: _Call[Any]) -> bool:
        """Whether this call is, or waits through any chain for, `other`."""
        seen: set[_Call[Any]] = set()
        rest: list[_Call[Any]] = [self]
        while rest:
            call = rest.pop()
            if call is other:
                return True
            if call not in seen:
                seen.add(call)
                rest.extend(call.awaits)
        return False

    def succeed(self, value: V) -> None:
        for future in self.waiters:
            if not future.done():
                future.set_result(value)

    def fail(self, error: BaseException) -> None:
        for future in self.waiters:
            if not future.done():
                future.set_exception(error)

    def cancel(self) -> None:
        for future in self.waiters:
            future.cancel()


# Shared by all flights: a circle of waits may lead through several of them.
_current: ContextVar[_Call[Any] | None] = ContextVar("sparecall_flight", default=None)


class Flight(Generic[K, V]):
    """Merges concurrent calls for the same key into one run of the work.

    The work runs in a task of its own, so a caller who is cancelled leaves without failing the others; when the last
    one leaves, the work is cancelled. Keys are held only while their work runs: results are handed out, never kept.
    A work that asks for its own key again, directly or through a circle of other keys, runs that inner call
    by itself where waiting would never end.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[K, _Call[V]] = {}

    def __len__(self) -> int:
        """How many keys have work under way."""
        return len(self._calls)

    def __contains__(self, key: object) -> bool:
        return key in self._calls

    def __repr__(self) -> str:
        return f"<Flight of {len(self._calls)} keys>"

    async def run(
        self, key: K, work: Callable[[], Awaitable[V]], *, landed: Callable[[V], None] | None = None
    ) -> tuple[V, bool]:
        """Returns the value of `work()` for `key`, and whether this caller stands for the run.

        Exactly one of the callers that a run answers gets True: the one that started it or, if that one has been
        cancelled, the longest-waiting other. Whoever counts misses or stores results does it there.
        `landed` is called once with the value, after it has been set for every caller and before any of them resumes.
        An exception of `work` is raised in every caller.
        """
        current = _current.get()
        call = self._calls.get(key)
        starts = call is None
        if call is None:
            call = self._calls[key] = _Call()
        elif current is not None and call.leads_to(current):
            return await work(), True
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        call.waiters[future] = None
        if current is not None:
            current.awaits.append(call)
        try:
            if starts:
                # Only now, with a waiter in place: an eager task may finish before `create_task` returns.
                self._begin(key, call, work, landed)
            value = await future
            # Callers resume in the order they came; those cancelled meanwhile do not come here.
            led, call.led = not call.led, True
            return value, led
        finally:
            if current is not None:
                current.awaits.remove(call)
            self._leave(key, call, future)
            del future  # it holds the exception, whose traceback holds this frame

    def start(self, key: K, work: Callable[[], Awaitable[V]]) -> bool:
        """Begin `work` for `key` with nobody waiting for it, and say whether it began: not where some is under way already.

        It goes on whoever comes and leaves. Those who come meanwhile wait for it; an exception with nobody there is dropped.
        """
        if key in self._calls:
            return False
        call = self._calls[key] = _Call()
        call.kept = True
        self._begin(key, call, work, None)
        return True

    def part(self, key: K, outcome: V | Exception) -> bool:
        """Give those who wait for `key` this outcome now, and let the work go on without them; say whether there is any.

        From then on it goes on though nobody waits; whoever comes later waits for its own end.
        """
        call = self._calls.get(key)
        if call is None:
            return False
        call.kept = True
        if isinstance(outcome, Exception):
            call.fail(outcome)
        else:
            call.succeed(outcome)
        return True

    def _begin(
        self, key: K, call: _Call[V], work: Callable[[], Awaitable[V]], landed: Callable[[V], None] | None
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._drive(key, call, work, landed))
        call.task = None if task.done() else task

    def _leave(self, key: K, call: _Call[V], future: asyncio.Future[V]) -> None:
        del call.waiters[future]
        if not call.waiters and not call.kept:
            self._forget(key, call)
            if call.task is not None:
                call.task.cancel()

    def _forget(self, key: K, call: _Call[V]) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]

    async def _drive(
        self, key: K, call: _Call[V], work: Callable[[], Awaitable[V]], landed: Callable[[V], None] | None
    ) -> None:
        _current.set(call)
        try:
            value = await work()
        except asyncio.CancelledError:
            self._forget(key, call)
            call.cancel()
            raise
        except BaseException as error:
            self._forget(key, call)
            # A future refuses StopIteration, as a coroutine does.
            call.fail(RuntimeError("work raised StopIteration") if isinstance(error, StopIteration) else error)
            if not isinstance(error, Exception):
                raise
        else:
            self._forget(key, call)
            call.succeed(value)
            if landed is not None:
                landed(value)
        finally:
            call.task = None
