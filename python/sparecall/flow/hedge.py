"""A second call where the first is late: whichever answers first wins, the other is closed. Within a budget, and only while all is calm.

One event loop, no locks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import OrderedDict
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar

import msgspec

from sparecall.flow.arguments import count, positive, share
from sparecall.flow.quantile import RecentQuantile
from sparecall.flow.stream import Relay, begun, closed, ended

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")

_LOG = logging.getLogger("sparecall.flow")
_ROUTES = 1_024  # remembered; the one longest unused is forgotten


class Hedged(msgspec.Struct, frozen=True):
    """One call that was made twice: what `on_event` is called with, once it is over."""

    route: str
    delay: float
    """Seconds after which the second call was made."""
    seconds: float
    """What the answer took in all."""
    winner: Literal["first", "second", "none"]
    """Who answered; ``none`` where both failed, or the caller was cancelled."""
    tokens: int
    """What the call that lost costs at least: the prompt, as told by `tokens`."""


class HedgeStats(NamedTuple):
    """Counts since the beginning."""

    calls: int
    hedges: int
    """Calls that were made twice: at most the budget's share of all."""
    won: int
    """Those that the second call answered."""
    tokens: int
    """What the calls that lost cost at least."""


class Hedge:
    """Makes a call a second time where the first has not answered after the time that ``quantile`` of its route's calls take.

    The first answer wins, of a stream the first item; the other call is cancelled, its stream closed, and its end waited for. An error
    before the second call is made is the caller's at once; after it, the other call is waited for, and where both failed the first's is
    raised. The time is learned from first calls, with a route's last few hundred counting; until it has seen ``minimum_calls`` there are no second
    calls, and none comes sooner than ``least`` seconds. Each call adds ``budget`` second calls to what may be made, at most ``reserve``:
    they are never more than that share of the calls. None is made while ``allowed()`` is false, as `calm` makes it of breakers and limits.

    A second call repeats what the first does, so only `idempotent` work is called twice. ``on_event`` is told of each; what it or ``allowed``
    raises is logged. ``clock``: monotonic seconds. A call costs O(1). Belongs to one event loop; safe to cancel anywhere.
    """

    __slots__ = (
        "_allowed", "_budget", "_calls", "_clock", "_credit", "_hedges", "_least", "_minimum", "_on_event", "_quantile", "_reserve", "_routes",
        "_tokens", "_won",
    )  # fmt: skip

    def __init__(
        self,
        *,
        quantile: float = 0.95,
        budget: float = 0.05,
        reserve: int = 10,
        least: float = 0.01,
        minimum_calls: int = 50,
        allowed: Callable[[], bool] = lambda: True,
        on_event: Callable[[Hedged], None] = lambda hedged: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quantile = share("quantile", quantile)
        self._budget = share("budget", budget)
        self._reserve = count("reserve", reserve)
        self._least = positive("least", least, zero=True)
        self._minimum = count("minimum_calls", minimum_calls)
        self._allowed, self._on_event, self._clock = allowed, on_event, clock
        self._routes: OrderedDict[str, RecentQuantile] = OrderedDict()
        self._calls = self._hedges = self._won = self._tokens = 0
        self._credit = 0.0

    @property
    def stats(self) -> HedgeStats:
        """What was called, twice called, won and lost."""
        return HedgeStats(self._calls, self._hedges, self._won, self._tokens)

    def delay(self, route: str = "") -> float | None:
        """Seconds after which a call on `route` is made a second time; None while too few are known."""
        seen = self._routes.get(route)
        return None if seen is None or seen.seen < self._minimum else max(seen.value, self._least)

    def __repr__(self) -> str:
        return f"<Hedge at the quantile {self._quantile:g}: {self._hedges} of {self._calls} calls made twice, {self._won} won>"

    async def run(
        self,
        work: Callable[[], Awaitable[R]],
        *,
        idempotent: bool,
        second: Callable[[], Awaitable[R]] | None = None,
        route: str = "",
        tokens: int = 0,
    ) -> R:
        """What `work()` returns, or `second()` (by default `work()` again) where that is late and it answers first.

        ``idempotent``: whether the work may be done twice; False for what runs tools, sends or stores: it is then called once. ``tokens``:
        the prompt's, for the accounts. An answer of the call that lost is closed, where it has ``aclose``.
        """
        again = work if second is None else second

        def contend() -> _Contender[R]:
            task = asyncio.get_running_loop().create_task(_called(again))
            return _Contender(task, task)

        return await self._raced(work, contend, route, tokens, idempotent=idempotent)

    async def stream(
        self,
        work: Callable[[], AsyncIterator[R]],
        *,
        idempotent: bool,
        second: Callable[[], AsyncIterator[R]] | None = None,
        route: str = "",
        tokens: int = 0,
    ) -> AsyncGenerator[R, None]:
        """The items of `work()`, or of `second()` where the first item is late and it has one first. Arguments: `run`.

        A second stream that won goes on in a task of its own, which is asked for little more than what is read.
        """
        again = work if second is None else second

        def contend() -> _Contender[Any]:
            relay = Relay(again)
            return _Contender(relay.task, relay.begun)

        items: Any = await self._raced(lambda: begun(aiter(work())), contend, route, tokens, idempotent=idempotent)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function that may be called twice: to decorate it is to say so."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is not a coroutine function; use `hedge.run` or `hedge.stream`")

        @wraps(function)
        async def hedged(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.run(lambda: function(*args, **kwargs), idempotent=True, route=function.__qualname__)

        return hedged

    async def _raced(
        self,
        work: Callable[[], Awaitable[R]],
        contend: Callable[[], _Contender[R]],
        route: str,
        tokens: int,
        *,
        idempotent: bool,
    ) -> R:
        self._calls += 1
        self._credit = min(self._credit + self._budget, self._reserve)
        delay = self.delay(route) if idempotent else None
        race = _Race(self, contend, route, tokens, delay)
        try:
            value = await work()
        except BaseException as error:
            if race.ends() is None:
                race.lost()
                raise
            return await race.failed(error)
        rival = race.ends()
        race.took(race.elapsed())
        if rival is not None:
            await race.won_by_first(value)
        return value

    def _may(self) -> bool:
        """Whether a second call may be made now; if so it is counted."""
        if self._credit < 1:
            return False
        try:
            allowed = self._allowed()
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            _LOG.exception("allowed() of a hedge failed; there is no second call")
            return False
        if allowed:
            self._credit -= 1
            self._hedges += 1
        return allowed

    def _seen(self, route: str) -> RecentQuantile:
        seen = self._routes.get(route)
        if seen is None:
            if len(self._routes) >= _ROUTES:
                self._routes.popitem(last=False)
            seen = self._routes[route] = RecentQuantile(self._quantile)
        else:
            self._routes.move_to_end(route)
        return seen

    def _tell(self, hedged: Hedged) -> None:
        self._tokens += hedged.tokens
        self._won += hedged.winner == "second"
        try:
            self._on_event(hedged)
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            # An answer is there, and shall not suffer for it.
            _LOG.exception("on_event of a hedge failed")


class _Contender(NamedTuple, Generic[R]):
    """A second call under way: its task, and what is done once it has answered, which may be sooner."""

    task: asyncio.Task[Any]
    answer: asyncio.Future[Any]


class _Race(Generic[R]):
    """One call, which runs in its caller's task, and perhaps a second in one of its own.

    The first is cancelled by cancelling the caller, and taking that back, as `asyncio.timeout` does.
    """

    __slots__ = (
        "_at",
        "_cancelling",
        "_contend",
        "_delay",
        "_hedge",
        "_overtaken",
        "_rival",
        "_route",
        "_running",
        "_task",
        "_timer",
        "_tokens",
    )

    def __init__(
        self, hedge: Hedge, contend: Callable[[], _Contender[R]], route: str, tokens: int, delay: float | None
    ) -> None:
        self._hedge, self._contend, self._route, self._tokens = hedge, contend, route, tokens
        self._rival: _Contender[R] | None = None
        self._overtaken = False
        self._running = True
        self._timer: asyncio.TimerHandle | None = None
        self._at = hedge._clock()
        if delay is not None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a hedge needs to run in a task")
            self._task, self._cancelling, self._delay = task, task.cancelling(), delay
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def elapsed(self) -> float:
        return max(0.0, self._hedge._clock() - self._at)

    def ends(self) -> _Contender[R] | None:
        """The first call has ended: there will be no second one any more. The one there is, if any."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        return self._rival

    def took(self, seconds: float) -> None:
        self._hedge._seen(self._route).add(seconds)

    def lost(self) -> None:
        """The first call ended without an answer: it counts where it had taken longer than the quantile, for which any such number is as good."""
        elapsed, seen = self.elapsed(), self._hedge._seen(self._route)
        if seen.seen and elapsed > seen.value:
            seen.add(elapsed)

    async def failed(self, error: BaseException) -> R:
        """The first call raised, and there is a second: its answer, or the error."""
        self.lost()
        assert self._rival is not None  # noqa: S101 - for mypy; the caller has checked
        if self._overtaken:
            if self._task.uncancel() <= self._cancelling:
                return self._won_by_second()
        elif isinstance(error, Exception):
            try:
                await asyncio.wait([self._rival.answer])
            except BaseException:
                await self._abandoned()
                raise
            if _answered(self._rival.answer):
                return self._won_by_second()
        await self._abandoned()
        raise error

    async def won_by_first(self, value: R) -> None:
        """The first call answered, and there is a second: it is closed."""
        if self._overtaken:  # and the first did not mind being cancelled
            self._task.uncancel()
        try:
            await self._close()
        except BaseException:
            self._tell("none")
            await closed(value)
            raise
        self._tell("first")

    def _fire(self) -> None:
        if self._hedge._may():
            self._rival = self._contend()
            self._rival.answer.add_done_callback(self._second_ended)

    def _second_ended(self, answer: asyncio.Future[Any]) -> None:
        if _answered(answer) and self._running:
            self._overtaken = True
            self._task.cancel()

    def _won_by_second(self) -> R:
        assert self._rival is not None  # noqa: S101 - for mypy; the callers have checked
        self._tell("second")
        value: R = self._rival.answer.result()
        return value

    async def _abandoned(self) -> None:
        try:
            await self._close()
        finally:
            self._tell("none")

    async def _close(self) -> None:
        """Ends the second call, and closes the answer that it may have given all the same."""
        assert self._rival is not None  # noqa: S101 - for mypy; the callers have checked
        try:
            await ended(self._rival.task)
        finally:
            if _answered(self._rival.answer):
                try:
                    await closed(self._rival.answer.result())
                except Exception:  # noqa: BLE001 - a loser's error is nobody's
                    _LOG.debug("closing the answer of a call that lost failed", exc_info=True)

    def _tell(self, winner: Literal["first", "second", "none"]) -> None:
        self._hedge._tell(Hedged(self._route, self._delay, self.elapsed(), winner, self._tokens))


def _answered(answer: asyncio.Future[Any]) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None


async def _called(work: Callable[[], Awaitable[R]]) -> R:
    return await work()
