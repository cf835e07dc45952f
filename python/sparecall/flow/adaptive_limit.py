"""How many calls an endpoint is given at once, learned from them: permits that cannot leak, classes that borrow, the lowest shed first.

One event loop, no locks: every step between two awaits is atomic.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections import OrderedDict
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args

import msgspec

from sparecall._core import AdaptivePermit, LimitGate
from sparecall.errors import BreakerOpen, InvalidArgument, LimitExceeded, UpstreamError
from sparecall.flow.arguments import count, positive
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of, outcome_of_status, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sparecall.flow.system import SystemSignals

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["light", "standard", "heavy"]

_KINDS: tuple[Kind, ...] = get_args(Kind)  # the first is shed last
_MONOTONIC = time.monotonic if sys.platform == "linux" else None  # what the compiled core reads itself
_LOG = logging.getLogger("sparecall.flow")
_AT_A_TIME = 256  # waiters let through before the loop gets its turn
_REFUSALS = frozenset({429, 503, 529})  # statuses of an endpoint that has no room
_TIMEOUTS = frozenset({408, 504})
_SHRINKING = 0.9  # of what the limit was lately
_UNKNOWN = 1.0  # seconds after which to come again, before any call has ended


class LimitEvent(msgspec.Struct, frozen=True):
    """What an `AdaptiveLimit` did: what its ``on_event`` is called with."""

    what: Literal["limit", "refused", "dropped", "lost"]
    """The limit moved; a call was refused, or dropped for one of a higher class; a permit was not heard of for too long."""
    limit: int
    in_flight: int
    waiting: int
    kind: Kind | None = None
    """Of the call, where there is one."""


class AdaptiveLimit(LimitGate):
    """As many calls at once as an endpoint takes without making them wait, between ``least`` and ``most``, beginning with ``initial``.

    The limit follows how much longer calls take than they should, for their tokens; refusals (429, 503) and timeouts make
    it smaller, other errors do not. While calls wait, `light`, `standard` and `heavy` ones share it as ``weights`` has it; what a
    class does not use, others have, until the next call ends. At most ``max_waiting`` wait; one more is refused with
    `LimitExceeded`, or one of the lowest class is, where that is lower. A permit not heard of for ``lease_for`` seconds is taken back.

    ``signals`` lower the limit while the machine itself is short of something. ``classify`` gives an exception's outcome
    (`outcome_of`). ``on_event`` is told what happens; what it raises is logged. ``clock``: monotonic seconds. All steps are O(1),
    amortised: once in a few calls the limit is set anew, in about 0.2 ms. Belongs to one event loop.
    """

    __slots__ = ("_classify", "_max_waiting", "_on_event", "_timer", "_waiting", "_weights")

    def __init__(
        self,
        *,
        initial: int = 20,
        least: int = 1,
        most: int = 1000,
        weights: tuple[float, float, float] = (25.0, 10.0, 3.0),
        max_waiting: int = 1000,
        lease_for: float = 600.0,
        signals: SystemSignals | None = None,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_event: Callable[[LimitEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        count("least", least)
        count("initial", initial, least=least)
        count("most", most, least=initial)
        if len(weights) != len(_KINDS):
            raise InvalidArgument(f"weights are {weights}; give one for each of {', '.join(_KINDS)}")
        self._weights = {kind: positive("a weight", weight) for kind, weight in zip(_KINDS, weights, strict=True)}
        self._max_waiting = count("max_waiting", max_waiting, least=0)
        self._classify, self._on_event = classify, on_event
        self._open_gate(
            initial=initial,
            least=least,
            most=most,
            lease_for=positive("lease_for", lease_for),
            clock=None if clock is _MONOTONIC else clock,
            signals=signals,
        )
        self._waiting: dict[Kind, OrderedDict[AdaptivePermit, asyncio.Future[None]]] = {
            kind: OrderedDict() for kind in _KINDS
        }
        self._timer: asyncio.TimerHandle | None = None

    @property
    def load(self) -> float:
        """Calls under way and waiting, as a share of the limit: above 1 they wait."""
        return (self.in_flight + self._waiters) / self.limit

    @property
    def shrinking(self) -> bool:
        """Whether the limit is well below what it was lately: no time for calls that could be left out."""
        return self.limit < _SHRINKING * self._lately

    def __repr__(self) -> str:
        return f"<AdaptiveLimit of {self.limit}: {self.in_flight} in flight, {self._waiters} wait>"

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function: each of its calls takes a permit of a standard call."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function!r} is not a coroutine function; use `async with limit.acquire()` around the call"
            )

        @wraps(function)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self.acquire():
                return await function(*args, **kwargs)

        return limited

    async def _wait_for(self, permit: AdaptivePermit) -> AdaptivePermit:
        """What entering a permit is that cannot go at once."""
        ahead = self._ahead(permit._kind)
        if permit._max_wait is not None and ahead > permit._max_wait:
            raise self._refusal(
                permit._kind, f"the call would wait for {ahead:.1f} s; max_wait is {permit._max_wait:g} s", ahead
            )
        if self._waiters >= self._max_waiting and not self._drop_lower(permit._kind):
            raise self._refusal(
                permit._kind, f"{self._waiters} calls wait already; max_waiting is {self._max_waiting}", ahead
            )
        loop = asyncio.get_running_loop()
        future = self._waiting[permit._kind][permit] = loop.create_future()
        self._waiters += 1
        late = None if permit._max_wait is None else loop.call_later(permit._max_wait, self._late, permit)
        try:
            self._wake()
            await future
        except BaseException:
            if permit._running:
                self._ended(permit, "ignored")  # let through and cancelled in the same moment
            else:
                self._remove(permit)
                self._wake()
            raise
        finally:
            if late is not None:
                late.cancel()
        return permit

    def _late(self, permit: AdaptivePermit) -> None:
        self._turn_away(permit, f"the call waited for {permit._max_wait:g} s, which is its max_wait", "refused")

    def _drop_lower(self, kind: Kind) -> bool:
        """Turns the newest of the lowest class away that waits, where that is lower than `kind`."""
        for lower in reversed(_KINDS[_KINDS.index(kind) + 1 :]):
            if self._waiting[lower]:
                permit = next(reversed(self._waiting[lower]))
                return self._turn_away(
                    permit, f"the queue is full, and a {kind} call goes before a {lower} one", "dropped"
                )
        return False

    def _turn_away(self, permit: AdaptivePermit, why: str, what: Literal["refused", "dropped"]) -> bool:
        future = self._remove(permit)
        if future is None:
            return False
        if not future.done():
            future.set_exception(self._refusal(permit._kind, why, self._ahead(permit._kind), what))
        return True

    def _remove(self, permit: AdaptivePermit) -> asyncio.Future[None] | None:
        """Takes it out of its queue; what it waits for, where it did."""
        future = self._waiting[permit._kind].pop(permit, None)
        if future is None:
            return None
        self._waiters -= 1
        if not self._waiters and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return future

    def _ahead(self, kind: Kind) -> float:
        """Seconds that one more call of that class would wait, by how long calls take and what its class gets of the limit."""
        waiting = sum(self._weights[other] for other, queue in self._waiting.items() if queue or other == kind)
        share = self._weights[kind] / waiting
        turns = (len(self._waiting[kind]) + 1) / (self.limit * share)
        return turns * (self._duration or _UNKNOWN)

    def _refusal(
        self, kind: Kind, why: str, ahead: float, what: Literal["refused", "dropped"] = "refused"
    ) -> LimitExceeded:
        self._tell(what, kind)
        return LimitExceeded(f"{why}; {self.in_flight} of {self.limit} are in flight", retry_after=ahead)

    def _wake(self) -> None:
        """Lets through as many as there is room for: of each class by its share, in the order they came."""
        if not self._waiters:
            return
        now = self._now()
        left = _AT_A_TIME
        while self._waiters and left and (self.in_flight < self.limit or self._reclaim(now)):
            left -= 1
            running, weights = dict(zip(_KINDS, self._kinds, strict=True)), self._weights
            kind = min(
                (kind for kind in _KINDS if self._waiting[kind]), key=lambda kind: (running[kind] + 1) / weights[kind]
            )
            permit = next(iter(self._waiting[kind]))
            future = self._remove(permit)
            if future is not None and not future.done():
                self._grant(permit, now)
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiters:
            delay = 0.0
            if left and (lost_at := self._lost_at()) is not None:
                delay = max(lost_at - now, 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _end(self, permit: AdaptivePermit, error: BaseException | None) -> None:
        """Ends a call that failed, or of which something was reported."""
        how = "ignored"
        try:
            how = self._judged(permit, error)
        finally:
            # Whatever happens in code that is not ours, the permit comes back.
            self._ended(permit, how)

    def _judged(self, permit: AdaptivePermit, error: BaseException | None) -> str:
        """``success``, or ``refused`` or ``timeout`` for want of room, or ``ignored``."""
        outcome = permit._outcome
        status = outcome if isinstance(outcome, int) else None
        if status is not None:
            outcome = outcome_of_status(status)
        elif outcome is None:
            outcome = self._classify(error)
            if outcome not in OUTCOMES:
                raise InvalidArgument(f"classify gave {outcome!r}; it must give one of {sorted(OUTCOMES)}")
            status = None if error is None else status_of(error)
        if outcome in ("success", "ignored"):
            return outcome
        if isinstance(error, BreakerOpen | LimitExceeded):
            return "ignored"
        if outcome == "limited" or status in _REFUSALS:
            return "refused"
        return "timeout" if status in _TIMEOUTS or _is_timeout(error) else "ignored"

    @staticmethod
    def _check(outcome: Outcome | int) -> None:
        """Raises where that cannot be reported of a call."""
        if outcome not in OUTCOMES and (isinstance(outcome, bool) or not isinstance(outcome, int)):
            raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")

    def _moved(self) -> None:
        self._tell("limit", None)

    def _tell(self, what: Literal["limit", "refused", "dropped", "lost"], kind: Kind | None) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(LimitEvent(what, self.limit, self.in_flight, self._waiters, kind))
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            # It runs between a caller and its permit, and neither may suffer for it.
            _LOG.exception("on_event of an adaptive limit failed")


def _is_timeout(error: BaseException | None) -> bool:
    """Whether a call ended for taking too long. SDKs and HTTP clients have classes of their own for that, named so."""
    if isinstance(error, UpstreamError):
        return error.code == "timeout"
    return isinstance(error, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(error).__mro__)
