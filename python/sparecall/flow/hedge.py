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
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from sparecall.flow.arguments import count, positive, share
from sparecall.flow.quantile import RecentQuantile
from sparecall.flow.race import Contender, Lane, Race, Winner
from sparecall.flow.stream import Relay, begun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine

    from sparecall.flow.stream import Stream

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
    winner: Winner
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
        "_allowed",
        "_budget",
        "_calls",
        "_clock",
        "_credit",
        "_hedges",
        "_lanes",
        "_least",
        "_least",
        "_minimum",
        "_on_event",
        "_quantile",
        "_reserve",
        "_tokens",
        "_won",
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
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._calls = self._hedges = self._won = self._tokens = 0
        self._credit = 0.0

    @property
    def stats(self) -> HedgeStats:
        """What was called, twice called, won and lost."""
        return HedgeStats(self._calls, self._hedges, self._won, self._tokens)

    def delay(self, route: str = "") -> float | None:
        """Seconds after which a call on `route` is made a second time; None while too few are known."""
        lane = self._lanes.get(route)
        return None if lane is None else self._delay(lane)

    def __repr__(self) -> str:
        return f"<Hedge at the quantile {self._quantile:g}: {self._hedges} of {self._calls} calls made twice, {self._won} won>"

    def run(
        self,
        work: Callable[[], Awaitable[R]],
        *,
        idempotent: bool,
        second: Callable[[], Awaitable[R]] | None = None,
        route: str = "",
        tokens: int = 0,
    ) -> Coroutine[Any, Any, R]:
        """What `work()` returns, or `second()` (by default `work()` again) where that is late and it answers first. To be awaited.

        ``idempotent``: whether the work may be done twice; False for what runs tools, sends or stores: it is then called once. ``tokens``:
        the prompt's, for the accounts. An answer of the call that lost is closed, where it has ``aclose``.
        """
        if tokens:
            count("tokens", tokens, least=0)
        again = work if second is None else second
        return self._raced(work, lambda: _called(again), route, tokens, idempotent=idempotent)

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
        if tokens:
            count("tokens", tokens, least=0)
        again = work if second is None else second
        items: Stream[R] | Relay[R] = await self._raced(
            lambda: begun(aiter(work())), lambda: _relayed(again), route, tokens, idempotent=idempotent
        )
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
        work: Callable[[], Awaitable[Any]],
        contend: Callable[[], Contender],
        route: str,
        tokens: int,
        *,
        idempotent: bool,
    ) -> Any:
        self._calls += 1
        self._credit = min(self._credit + self._budget, self._reserve)
        lane = self._lane(route)
        at = self._clock()
        race: Race | None = None
        if idempotent:
            delay = self._delay(lane)
            if delay is not None:
                race = Race(lane, contend, at, delay)
        try:
            value = await work()
        except BaseException as error:
            lane.gave_up(self._clock() - at)
            if race is None or not race.ends():
                raise
            return await race.failed(error, route, tokens)
        lane.seen.add(self._clock() - at)
        if race is not None and race.ends():
            await race.won_by_first(value, route, tokens)
        return value

    def _delay(self, lane: Lane) -> float | None:
        seen = lane.seen
        if seen.seen < self._minimum:
            return None
        return max(seen.value, self._least)

    def _lane(self, route: str) -> Lane:
        lane = self._lanes.get(route)
        if lane is None:
            if len(self._lanes) >= _ROUTES:
                self._lanes.popitem(last=False)
            lane = self._lanes[route] = Lane(RecentQuantile(self._quantile), self._may, self._tell)
        else:
            self._lanes.move_to_end(route)
        return lane

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

    def _tell(self, route: str, delay: float, at: float, winner: Winner, tokens: int) -> None:
        """A call that was made twice, begun at `at`, is over."""
        hedged = Hedged(route, delay, max(0.0, self._clock() - at), winner, tokens)
        self._tokens += tokens
        self._won += winner == "second"
        try:
            self._on_event(hedged)
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            # An answer is there, and shall not suffer for it.
            _LOG.exception("on_event of a hedge failed")


def _called(work: Callable[[], Awaitable[Any]]) -> Contender:
    async def call() -> Any:
        return await work()

    task = asyncio.get_running_loop().create_task(call())
    return Contender(task, task)


def _relayed(work: Callable[[], AsyncIterator[Any]]) -> Contender:
    relay = Relay(work)
    return Contender(relay.task, relay.begun)
