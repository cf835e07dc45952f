"""`Batcher`: single items in, batches through one function, single results out. asyncio, one loop, no locks, no polling."""

from __future__ import annotations

import asyncio
import time
import warnings
from asyncio import _get_running_loop as _running_loop
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, cast

from sparecall.batch.admission import Admission, Queue, check
from sparecall.batch.events import BatcherStats, tell
from sparecall.batch.gate import Gate
from sparecall.batch.policy import Policy
from sparecall.batch.running import Running, Waiter, is_item_fault
from sparecall.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from sparecall.batch.events import BatchEvent
    from sparecall.batch.policy import Closed, Reason

__all__ = ["Batcher", "Priority"]

T = TypeVar("T")
R = TypeVar("R")
Priority = Literal["critical", "high", "normal", "low"]


class Batcher(Generic[T, R]):
    """Gathers items that come one by one and runs ``fn`` over many at once, whenever a permit is free and items wait.

    ``fn`` takes a list of items and returns as many results, in order: an awaitable of a list, in which an exception stands for the
    failure of one item, or an async iterator that gives them one by one, so that each caller is answered as soon as it can be.

    ``max_items``: the most of one batch. ``max_tokens``: the most tokens of one batch, by ``size_of(item)``; None sets no limit.
    ``max_concurrent``: batches that run at once, the permits. ``key_of(item)``: only items of equal keys go into one batch. Both callbacks run
    in `submit`, and raise there. ``permit(tokens)``: an async context manager that is entered before a batch closes and left when it has run, such
    as `RateLimit.acquire`; the tokens are those of the batch as it would close now, and what comes until it lets in goes with it. ``max_waiting``: items that may wait; ``overflow``: what then happens to one more: ``wait`` (it is taken,
    and `ready` holds those who ask), ``reject``, or ``drop`` the oldest of the lowest class that is no higher than its own.
    ``timeout``: seconds for one batch, retries of its parts included. ``item_fault(error)``: whether a failed batch is taken apart to find the
    item at fault; None never does. ``hold``: whether a batch may be held while that pays. ``on_event``: called with a `BatchEvent` a batch.
    ``clock``: seconds that never go back; deadlines are in it.

    Belongs to the event loop of its first `submit`; not thread-safe. `submit` takes O(1), with a deadline O(log n).

    Raises `sparecall.errors.InvalidArgument` for limits that cannot be, `TypeError` for what is no function.
    """

    __slots__ = (
        "_admission", "_batches", "_clock", "_closing", "_context", "_create_future", "_drained", "_failed", "_fn", "_gate", "_hook",
        "_item_fault", "_items", "_key_of", "_lane", "_left", "_loop", "_max_waiting", "_overflow", "_permits", "_policy",
        "_pumping", "_queue", "_refused", "_running", "_size_of", "_timeout", "_timer", "_timer_at", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        fn: Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]],
        *,
        max_items: int = 64,
        max_tokens: int | None = None,
        size_of: Callable[[T], int] | None = None,
        key_of: Callable[[T], Hashable] | None = None,
        max_concurrent: int = 1,
        permit: Callable[[int], AbstractAsyncContextManager[Any]] | None = None,
        max_waiting: int = 10_000,
        overflow: Literal["wait", "reject", "drop"] = "wait",
        timeout: float | None = None,
        item_fault: Callable[[Exception], bool] | None = is_item_fault,
        hold: bool = True,
        on_event: Callable[[BatchEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check(fn, permit, max_items, max_tokens, size_of, max_concurrent, max_waiting, overflow, timeout)
        self._fn = fn
        self._policy = Policy(max_items=max_items, max_tokens=max_tokens, max_concurrent=max_concurrent, hold=hold)
        self._size_of, self._key_of = size_of, key_of
        self._admission = Admission(self._policy, size_of, key_of, overflow)
        self._permits = max_concurrent
        self._max_waiting, self._overflow = max_waiting, overflow
        self._timeout, self._item_fault = timeout, item_fault
        self._hook, self._clock = on_event, clock
        self._context = copy_context()  # not that of whoever submits first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._create_future: Callable[[], asyncio.Future[Any]] = _no_loop
        self._waiting = self._policy.waiting
        self._lane = self._waiting.plain
        self._running: set[Running] = set()
        self._queue = Queue()
        self._gate = None if permit is None else Gate(permit, admit=self._admit, deny=self._deny)
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._pumping = self._closing = False
        self._batches: dict[Reason, int] = {}
        self._items = self._failed = self._left = self._refused = 0

    def __repr__(self) -> str:
        return f"<Batcher of {getattr(self._fn, '__qualname__', 'a function')}: {self._waiting.items} waiting, {len(self._running)} running>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def submit(self, item: T, *, priority: Priority = "normal", deadline: float | None = None) -> asyncio.Future[R]:
        """Lets `item` wait for the next batch and returns the future of its result. Cancelling that takes the item back.

        Classes share the work by weight, in tokens (critical 8, high 4, normal 2, low 1), so that none starves. ``deadline`` is a time of the
        batcher's clock: the earliest comes first within its class, and an item that cannot be done by then is refused, now or as soon as that shows.

        Raises `Overloaded` where it would be too late or too much waits, `InvalidArgument` for an item over the token budget, `UnknownName`
        for another priority, `BatchError` (``closed``, ``loop``), and whatever ``size_of`` and ``key_of`` raise. The future raises what ``fn`` raised
        for the item, or `BatchError`, or `Overloaded` (``deadline``, ``dropped``).
        """
        if _running_loop() is not self._loop or self._closing:
            self._enter()
        tokens = 1 if self._size_of is None else self._admission.tokens(item)
        lane = self._lane if priority == "normal" and self._key_of is None else self._admission.lane(item, priority)
        now = self._clock()
        waiting = self._waiting
        if deadline is not None:
            self._admission.in_time(lane, tokens, now, deadline, self._running, self._permits)
        if waiting.items >= self._max_waiting and self._overflow != "wait":
            victim = self._admission.victim(lane, self._permits + len(self._running))
            self._policy.cancel(victim)
            self._refuse(victim, "dropped", "it was dropped for another, as the queue is full")
        future = self._create_future()
        waiting.add(Waiter(item, tokens, now, deadline, future, self), lane)
        if not self._pumping and (self._permits or deadline is not None):
            self._pump_soon()
        return future

    def submit_many(
        self, items: Iterable[T], *, priority: Priority = "normal", deadline: float | None = None
    ) -> list[asyncio.Future[R]]:
        """`submit` for each of `items`: all of them or, where one is refused, none. Returns their futures in order."""
        futures: list[asyncio.Future[R]] = []
        try:
            for item in items:
                futures.append(self.submit(item, priority=priority, deadline=deadline))  # noqa: PERF401 - it may stop midway
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return futures

    async def ready(self) -> None:
        """Waits until fewer than ``max_waiting`` items wait: back-pressure. First come, first served.

        Raises `BatchError` (``closed``) when the batcher is closed.
        """
        if _running_loop() is not self._loop or self._closing:
            self._enter()
        while self._waiting.items >= self._max_waiting:
            await self._queue.wait(self._create_future(), self._room)
            if self._closing:
                raise BatchError("the batcher is closed; make a new one", code="closed")

    async def close(self, *, grace: float | None = None) -> None:
        """Takes no more items, runs what waits and returns when all is done. May be called again.

        After ``grace`` seconds, if given, whoever still waits gets a `BatchError` (``closed``), and the batches that run are cancelled.
        """
        self._closing = True
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        if asyncio.get_running_loop() is not loop:
            raise BatchError("the batcher belongs to another event loop; close it there", code="loop")
        self._queue.go_on(self._room())
        if not self.busy:
            self._set_timer(None)
            return
        self._pump_soon()
        if self._drained is None:
            self._drained = loop.create_future()
        timer = None if grace is None else loop.call_later(grace, self._abandon)
        try:
            await asyncio.shield(self._drained)
        finally:
            if timer is not None:
                timer.cancel()

    @property
    def full(self) -> bool:
        """Whether `ready` would wait: ``max_waiting`` items wait, and ``overflow`` is ``wait``."""
        return self._waiting.items >= self._max_waiting and self._overflow == "wait"

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._waiting.items or self._running)

    def stats(self) -> BatcherStats:
        """The counts so far."""
        return BatcherStats(
            batches=dict(self._batches),
            items=self._items,
            failed=self._failed,
            left=self._left,
            refused=self._refused + self._admission.refused,
            waiting=self._waiting.items,
            running=len(self._running),
            rate=self._policy.rate,
            cost=self._policy.cost.cost,
        )

    def leave(self, waiter: Waiter) -> None:
        """A waiter's caller has left: its place and tokens are free; a batch that nobody waits for is cancelled. O(1)."""
        if self._policy.cancel(waiter):
            self._left += 1
            self._queue.go_on(self._room())
            if self._gate is not None:
                self._pump_soon()  # it may have nothing left to ask for
            self._settle()
        elif waiter.batch is not None:
            self._left += 1
            waiter.batch.leave()

    # What follows runs as callbacks of the loop.

    def _pump_soon(self) -> None:
        if self._loop is not None and not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        """Starts the batches that are to run, and sets the one timer for what is to happen by itself."""
        self._pumping = False
        policy, waiting = self._policy, self._waiting
        now = self._clock()
        self._expire(now)
        until = None
        while self._permits and waiting.items:
            until = None if self._closing else policy.wait_until(now, self._permits)
            if until is not None:
                break
            if self._gate is not None:
                if not self._gate.asking:
                    self._gate.ask(policy.next_tokens())
                break
            self._start(policy.close(now, flush=self._closing), now)
        if self._gate is not None and not waiting.items:
            self._gate.give_up()
        self._set_timer(until)
        if self._queue:
            self._queue.go_on(self._room())
        if self._closing:
            self._settle()

    def _expire(self, now: float) -> None:
        if self._waiting.dated:
            for item in self._policy.expired(now):
                self._refuse(cast("Waiter", item), "deadline", "its deadline passed while it waited")

    def _set_timer(self, until: float | None) -> None:
        if self._waiting.dated and self._waiting.items:
            earliest = self._waiting.earliest()
            if earliest is not None and (until is None or earliest < until):
                until = earliest
        if until == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, until
        if until is not None and self._loop is not None:
            # Not less than a timer can tell: one that fires early would be set again and again.
            delay = max(until - self._clock(), self._policy.resolution)
            self._timer = self._loop.call_later(delay, self._timed, context=self._context)

    def _timed(self) -> None:
        self._timer = self._timer_at = None
        self._pump()

    def _admit(self) -> Running | None:
        """The gate lets a batch in: it closes now, with all that came meanwhile, and runs in the gate's task."""
        now = self._clock()
        self._expire(now)
        if not self._waiting.items:
            return None
        self._pump_soon()
        return self._start(self._policy.close(now, flush=self._closing), now, asyncio.current_task())

    def _deny(self, error: Exception) -> None:
        """The gate refuses a batch: its callers are told why."""
        if self._waiting.items:
            for waiter in cast("list[Waiter]", self._policy.close(self._clock()).items):
                self._refused += waiter.fail(error)
        self._pump_soon()

    def _start(self, closed: Closed, now: float, task: asyncio.Task[Any] | None = None) -> Running:
        waiters = cast("list[Waiter]", closed.items)
        self._permits -= 1
        self._batches[closed.reason] = self._batches.get(closed.reason, 0) + 1
        running = Running(self._fn, closed.reason, waiters, closed.tokens, now, self._item_fault)
        self._running.add(running)
        loop = asyncio.get_running_loop()
        running.task = task = task or loop.create_task(running.drive())
        task.add_done_callback(partial(self._ended, running))
        if self._timeout is not None:
            running.timer = loop.call_later(self._timeout, running.be_late, self._timeout)
        return running

    def _ended(self, running: Running, task: asyncio.Task[Any]) -> None:
        now = self._clock()
        self._permits += 1
        self._running.discard(running)
        running.task = None
        if running.timer is not None:
            running.timer.cancel()
        if task.cancelled():  # before its first step
            running.fail(running.waiters, asyncio.CancelledError())
        elif task.exception() is None and task.result():
            started, items, tokens = running.load
            self._policy.ran(items, tokens, now - started)
        self._items += running.answered
        self._failed += running.failed
        if self._hook is not None:
            tell(self._hook, running.event(now))
        running.waiters = []  # each of them points back: nothing is to wait for the garbage collector
        if not self._pumping:
            self._pump()

    def _room(self) -> int:
        """For so many more there is room; for all when closed, which they are told."""
        return len(self._queue) if self._closing else self._max_waiting - self._waiting.items

    def _settle(self) -> None:
        if self._closing and not self.busy and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _abandon(self) -> None:
        late = BatchError("the batcher was closed before the item's batch ended; submit it to another", code="closed")
        for waiter in cast("list[Waiter]", list(self._waiting)):
            self._policy.cancel(waiter)
            if waiter.fail(late):
                self._refused += 1
            else:
                self._left += 1
        for running in self._running:
            running.give_up(late)
        self._pump_soon()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What follows is away from the plain path of `submit`.

    def _enter(self) -> None:
        """Makes the batcher that of the running loop, or says why it cannot be used."""
        if self._closing:
            raise BatchError("the batcher is closed; make a new one", code="closed")
        loop = _running_loop()
        if loop is None:
            _no_loop()
        if self._loop is not None:
            if not self._loop.is_closed():
                raise BatchError("the batcher belongs to another event loop; make one for each", code="loop")
            self._forget()
        self._loop = loop
        self._create_future = loop.create_future

    def _forget(self) -> None:
        """Begins anew after a loop that was closed with items waiting: their callers went with it."""
        lost = self._waiting.items + sum(running.alive for running in self._running)
        if lost:
            warnings.warn(
                f"{lost} items were lost with their event loop; close the batcher before it",
                ResourceWarning,
                stacklevel=4,
            )
        for item in list(self._waiting):
            self._policy.cancel(item)
        self._left += lost
        self._permits += len(self._running)
        self._running.clear()
        self._queue = Queue()
        if self._gate is not None:
            self._gate.give_up()
        self._drained = self._timer = self._timer_at = None
        self._pumping = False

    def _refuse(self, waiter: Waiter, code: str, why: str) -> None:
        if waiter.fail(self._admission.overloaded(code, why, self._permits + len(self._running))):
            self._refused += 1
        else:
            self._left += 1  # in this very turn of the loop


def _no_loop() -> NoReturn:
    raise BatchError("no event loop runs here; submit from a coroutine", code="loop")
