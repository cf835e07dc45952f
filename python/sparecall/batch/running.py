"""One batch on its way through the user's function: results to their waiters, failures taken apart, all waiters gone. asyncio, one loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Protocol

from sparecall.batch.events import BatchEvent
from sparecall.batch.waiting import Item
from sparecall.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparecall.batch.policy import Reason

__all__ = ["Running", "Waiter", "is_item_fault"]


class Owner(Protocol):
    """Who is told of callers that leave."""

    def leave(self, waiter: Waiter, /) -> None:
        """`waiter`'s future was done by somebody else."""


class Waiter(Item):
    """An item and the future its caller awaits. Called when that is done by anyone but the batcher: its caller has left."""

    __slots__ = ("batch", "future", "owner")

    def __init__(
        self,
        value: Any,
        tokens: int,
        arrived: float,
        deadline: float | None,
        future: asyncio.Future[Any],
        owner: Owner,
    ) -> None:
        # Not by super(): this runs once an item.
        self.value = value
        self.tokens = tokens
        self.arrived = arrived
        self.deadline = deadline
        self.passed = False
        self.lane = None
        self.future = future
        self.owner = owner
        self.batch: Running | None = None
        future.add_done_callback(self)

    def __call__(self, _future: asyncio.Future[Any]) -> None:
        """The future's done callback."""
        self.owner.leave(self)

    def fail(self, error: BaseException) -> bool:
        """Fails the caller, if it still waits."""
        future = self.future
        if future.done():
            return False
        future.remove_done_callback(self)
        if isinstance(error, StopIteration):  # a future refuses it, as a coroutine does
            error = RuntimeError("the batch function raised StopIteration")
        elif isinstance(error, asyncio.CancelledError):  # only who is cancelled may see one
            error = BatchError("the batch function was cancelled; submit the item again", code="cancelled")
        future.set_exception(error)
        return True


class Running:
    """A batch from its closing to its end."""

    __slots__ = (
        "alive",
        "answered",
        "calls",
        "failed",
        "function",
        "item_fault",
        "reason",
        "started",
        "task",
        "timer",
        "tokens",
        "waiters",
    )

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        reason: Reason,
        waiters: list[Waiter],
        tokens: int,
        started: float,
        item_fault: Callable[[Exception], bool] | None,
    ) -> None:
        self.function = function
        self.reason: Reason = reason
        self.waiters = waiters
        self.tokens = tokens
        self.started = started
        self.item_fault = item_fault
        self.alive = len(waiters)
        self.answered = self.calls = self.failed = 0
        self.task: asyncio.Task[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        for waiter in waiters:
            waiter.batch = self

    @property
    def load(self) -> tuple[float, int, int]:
        """When it started, its items and their tokens."""
        return self.started, len(self.waiters), self.tokens

    def event(self, now: float) -> BatchEvent:
        """What there is to say of it at its end."""
        started, items, tokens = self.load
        return BatchEvent(
            reason=self.reason,
            items=items,
            tokens=tokens,
            waited=started - min(waiter.arrived for waiter in self.waiters),
            seconds=now - started,
            calls=self.calls,
            failed=self.failed,
            left=items - self.alive,
        )

    def leave(self) -> None:
        """One waiter has left; with the last one the work is cancelled."""
        self.alive -= 1
        if not self.alive and self.task is not None:
            self.task.cancel()

    def be_late(self, seconds: float) -> None:
        """It has run for so long that nobody waits any longer."""
        self.give_up(
            BatchError(
                f"the batch function did not return in {seconds} s; raise timeout or submit again", code="timeout"
            )
        )

    def give_up(self, error: BatchError) -> None:
        """Fails all who still wait now, and cancels the work, however long that takes to end."""
        self.fail(self.waiters, error)
        if self.task is not None:
            self.task.cancel()

    def fail(self, waiters: Sequence[Waiter], error: BaseException) -> None:
        """Gives the same error to all of `waiters` who are still there."""
        for waiter in waiters:
            if waiter.fail(error):
                self.answered += 1
                self.failed += 1

    async def drive(self) -> bool:
        """Runs the batch to its end, whatever that is; True if one call of the function over all of it went well."""
        try:
            asked = self._waiting(self.waiters)  # some may have left since the batch was closed
            error = await self._call(asked) if asked else None
            if error is not None:
                await self._isolate(error)
        except asyncio.CancelledError as cancelled:
            # By `leave` or `give_up`, and nobody waits; else by the function or by whoever holds its task.
            self.fail(self.waiters, cancelled)
            return False
        except BaseException as fatal:
            self.fail(self.waiters, fatal)
            raise
        return error is None and len(asked) == len(self.waiters)

    async def _call(self, waiters: list[Waiter]) -> Exception | None:
        """One call of the function for these waiters. Returns its error where nobody was told of it yet."""
        self.calls += 1
        try:
            outcome = self.function([waiter.value for waiter in waiters])
            if hasattr(outcome, "__aiter__"):
                await self._stream(outcome, waiters)
                return None
            if not inspect.isawaitable(outcome):
                raise BatchError(  # noqa: TRY301 - reported as what the function itself raises
                    f"the batch function returned {type(outcome).__name__}; make it async, or let it run in a thread by asyncio.to_thread",
                    code="result",
                )
            self._answer(await outcome, waiters)
        except Exception as error:  # noqa: BLE001 - the user's function raises what it likes; its callers get it
            # Those who left meanwhile, and those a stream has answered, are not asked again.
            return error
        return None

    def _answer(self, results: Any, waiters: list[Waiter]) -> None:
        if not hasattr(results, "__len__") or isinstance(results, (str, bytes, dict, set, frozenset)):
            raise BatchError(
                f"the batch function returned {type(results).__name__} for {len(waiters)} items; return a list",
                code="result",
            )
        if len(results) != len(waiters):
            raise BatchError(
                f"the batch function returned {len(results)} results for {len(waiters)} items; return one each",
                code="result",
            )
        answered = 0
        for waiter, result in zip(waiters, results, strict=True):
            # Not a method of the waiter: this runs once an item.
            future = waiter.future
            if isinstance(result, BaseException):
                self.fail((waiter,), result)
            elif not future.done():
                future.remove_done_callback(waiter)
                future.set_result(result)
                answered += 1
        self.answered += answered

    async def _stream(self, results: Any, waiters: list[Waiter]) -> None:
        """Answers each waiter as soon as its result comes."""
        answered = 0
        async with contextlib.aclosing(results) if hasattr(results, "aclose") else contextlib.nullcontext():
            async for result in results:
                if answered == len(waiters):
                    raise BatchError(
                        f"the batch function gave more than {len(waiters)} results for {len(waiters)} items",
                        code="result",
                    )
                self._answer([result], waiters[answered : answered + 1])
                answered += 1
        if answered < len(waiters):
            raise BatchError(
                f"the batch function gave {answered} results for {len(waiters)} items; give one each", code="result"
            )

    async def _isolate(self, error: Exception) -> None:
        """Halves a failed batch until the items at fault stand alone: a few calls for one of them, never more than a fixed number."""
        parts = [(self._waiting(self.waiters), error)]
        budget = 4 * max(len(self.waiters) - 1, 1).bit_length()
        while parts:
            part, error = parts.pop()
            if len(part) < 2 or budget < 2 or self.item_fault is None or not self.item_fault(error):
                self.fail(part, error)
                continue
            middle = len(part) // 2
            for half in (part[:middle], part[middle:]):
                asked = self._waiting(half)
                if asked:
                    budget -= 1
                    failure = await self._call(asked)
                    if failure is not None:
                        parts.append((self._waiting(asked), failure))

    @staticmethod
    def _waiting(waiters: list[Waiter]) -> list[Waiter]:
        return [waiter for waiter in waiters if not waiter.future.done()]


def is_item_fault(error: Exception) -> bool:
    """Whether an error can be the fault of one item: a wrong value or type, or an HTTP status that blames the request (400, 413, 422)."""
    if isinstance(error, BatchError):
        return False
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in {400, 413, 422}
    return isinstance(error, (ValueError, TypeError, LookupError, ArithmeticError, AssertionError))
