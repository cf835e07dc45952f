"""How many calls an endpoint is given at once, learned from them: permits that cannot leak, classes that borrow, the lowest shed first.

One event loop, no locks: every step between two awaits is atomic.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import OrderedDict
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import msgspec

from sparecall._core import Gradient
from sparecall.errors import BreakerOpen, InvalidArgument, LimitExceeded, UpstreamError
from sparecall.flow.adaptive_permit import KINDS, AdaptivePermit, Kind
from sparecall.flow.arguments import count, positive
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of, outcome_of_status, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sparecall.flow.system import SystemSignals

P = ParamSpec("P")
R = TypeVar("R")

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


class AdaptiveLimit:
    """As many calls at once as an endpoint takes without making them wait, between ``least`` and ``most``, beginning with ``initial``.

    The limit follows how much longer calls take than they should, for their tokens; refusals (429, 503) and timeouts make
    it smaller, other errors do not. While calls wait, `light`, `standard` and `heavy` ones share it as ``weights`` has it; what a
    class does not use, others have, until the next call ends. At most ``max_waiting`` wait; one more is refused with
    `LimitExceeded`, or one of the lowest class is, where that is lower. A permit not heard of for ``lease_for`` seconds is taken back.

    ``signals`` lower the limit while the machine itself is short of something. ``classify`` gives an exception's outcome
    (`outcome_of`). ``on_event`` is told what happens; what it raises is logged. ``clock``: monotonic seconds. All steps are O(1),
    amortised: once in a few calls the limit is set anew, in about 0.2 ms. Belongs to one event loop.
    """

    __slots__ = (
        "_classify",
        "_clock",
        "_estimate",
        "_fits",
        "_kinds",
        "_lately",
        "_lease_for",
        "_least",
        "_max_waiting",
        "_on_event",
        "_running",
        "_signals",
        "_timer",
        "_waiters",
        "_waiting",
        "_weights",
    )  # fmt: skip

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
        if len(weights) != len(KINDS):
            raise InvalidArgument(f"weights are {weights}; give one for each of {', '.join(KINDS)}")
        self._weights = {kind: positive("a weight", weight) for kind, weight in zip(KINDS, weights, strict=True)}
        self._max_waiting = count("max_waiting", max_waiting, least=0)
        self._lease_for = positive("lease_for", lease_for)
        self._signals, self._classify, self._on_event, self._clock = signals, classify, on_event, clock
        self._estimate = Gradient(initial=initial, least=least, most=most)
        self._fits = initial
        self._least = least
        self._lately = float(initial)
        self._running: dict[AdaptivePermit, None] = {}  # oldest first
        self._kinds = dict.fromkeys(KINDS, 0)  # of those
        self._waiting: dict[Kind, OrderedDict[AdaptivePermit, asyncio.Future[None]]] = {
            kind: OrderedDict() for kind in KINDS
        }
        self._waiters = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """Calls that may be in flight at once now."""
        if self._signals is None:
            return self._fits
        return int(max(self._fits * self._signals.share, self._least))

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiters

    @property
    def load(self) -> float:
        """Calls under way and waiting, as a share of the limit: above 1 they wait."""
        return (len(self._running) + self._waiters) / self.limit

    @property
    def shrinking(self) -> bool:
        """Whether the limit is well below what it was lately: no time for calls that could be left out."""
        return self.limit < _SHRINKING * self._lately

    def __repr__(self) -> str:
        return f"<AdaptiveLimit of {self.limit}: {self.in_flight} in flight, {self._waiters} wait>"

    def try_acquire(self, kind: Kind = "standard", *, prompt_tokens: int = 0) -> AdaptivePermit | None:
        """A permit if the call may go now, else None. Never before one that waits. Use it as ``async with``, or `release` it."""
        permit = self.acquire(kind, prompt_tokens=prompt_tokens)
        return permit if self._go(permit, self._clock()) else None

    def acquire(
        self, kind: Kind = "standard", *, max_wait: float | None = None, prompt_tokens: int = 0
    ) -> AdaptivePermit:
        """A permit; ``async with`` waits until the call may go.

        Entering raises `LimitExceeded` where the queue is full, and where the call would wait, or has waited, for longer than
        ``max_wait`` seconds. ``prompt_tokens`` tell a long prompt from a slow endpoint, where `AdaptivePermit.answered` is said.
        """
        if kind not in self._kinds:
            raise InvalidArgument(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        if type(prompt_tokens) is not int or prompt_tokens < 0:
            count("prompt_tokens", prompt_tokens, least=0)
        return AdaptivePermit(
            self, kind, prompt_tokens, None if max_wait is None else positive("max_wait", max_wait, zero=True)
        )

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

    def _go(self, permit: AdaptivePermit, now: float) -> bool:
        """Lets the call through where there is room and nobody waits before it."""
        limit = self._fits if self._signals is None else self.limit
        if self._waiters or (len(self._running) >= limit and not self._reclaim(now)):
            return False
        self._grant(permit, now)
        return True

    def _grant(self, permit: AdaptivePermit, now: float) -> None:
        self._running[permit] = None
        self._kinds[permit._kind] += 1
        permit._began, permit._in_flight = now, len(self._running)

    def _reclaim(self, now: float) -> bool:
        """Takes back permits that were not heard of for too long; whether there is room then."""
        while self._running:
            permit = next(iter(self._running))
            assert permit._began is not None  # noqa: S101 - for mypy: who runs has begun
            if now - permit._began < self._lease_for:
                break
            del self._running[permit]
            self._kinds[permit._kind] -= 1
            self._estimate.dropped(permit._in_flight, self._lease_for, now, False)
            self._tell("lost", permit._kind)
        return len(self._running) < self.limit

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
            if permit in self._running:
                self._forget(permit)  # let through and cancelled in the same moment
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
        for lower in reversed(KINDS[KINDS.index(kind) + 1 :]):
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
        return turns * (self._estimate.duration or _UNKNOWN)

    def _refusal(
        self, kind: Kind, why: str, ahead: float, what: Literal["refused", "dropped"] = "refused"
    ) -> LimitExceeded:
        self._tell(what, kind)
        return LimitExceeded(f"{why}; {len(self._running)} of {self.limit} are in flight", retry_after=ahead)

    def _wake(self) -> None:
        """Lets through as many as there is room for: of each class by its share, in the order they came."""
        if not self._waiters:
            return
        now = self._clock()
        left = _AT_A_TIME
        while self._waiters and left and (len(self._running) < self.limit or self._reclaim(now)):
            left -= 1
            kinds, weights = self._kinds, self._weights
            kind = min(
                (kind for kind in KINDS if self._waiting[kind]), key=lambda kind: (kinds[kind] + 1) / weights[kind]
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
            if left and self._running:
                oldest = next(iter(self._running))._began or 0.0
                delay = max(oldest + self._lease_for - now, 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _answered(self, permit: AdaptivePermit) -> None:
        if permit in self._running and permit._began is not None:
            now = self._clock()
            self._estimate.answered(permit._in_flight, max(now - permit._began, 0.0), permit._prompt, now)

    def _forget(self, permit: AdaptivePermit) -> None:
        del self._running[permit]
        self._kinds[permit._kind] -= 1

    def _end(self, permit: AdaptivePermit, error: BaseException | None) -> None:
        if permit not in self._running:
            return  # taken back, or ended before
        try:
            if error is None and permit._outcome is None:
                self._succeeded(permit)  # the common case, without the steps that have nothing to do in it
            else:
                self._observe(permit, error)
        finally:
            # Whatever happens in code that is not ours, the permit comes back.
            self._forget(permit)
            if self._waiters:
                self._wake()

    def _succeeded(self, permit: AdaptivePermit) -> None:
        now = self._clock()
        took = now - (permit._began or 0.0)
        fits = self._estimate.ended(permit._in_flight, took if took > 0 else 0.0, permit._tokens, now, permit._answered)
        self._lately += (fits - self._lately) / 64
        if int(fits) != self._fits:
            self._move(fits)

    def _move(self, fits: float) -> None:
        self._fits = int(fits)
        self._tell("limit", None)

    def _observe(self, permit: AdaptivePermit, error: BaseException | None) -> None:
        reported = permit._outcome
        status = reported if isinstance(reported, int) else None
        outcome = self._classify(error) if reported is None else reported
        if isinstance(outcome, int):
            outcome = outcome_of_status(outcome)
        elif outcome not in OUTCOMES:
            raise InvalidArgument(f"classify gave {outcome!r}; it must give one of {sorted(OUTCOMES)}")
        if outcome == "success":
            self._succeeded(permit)
        elif outcome != "ignored" and not isinstance(error, BreakerOpen | LimitExceeded):
            if reported is None and error is not None:
                status = status_of(error)
            refused = outcome == "limited" or status in _REFUSALS
            if refused or status in _TIMEOUTS or _is_timeout(error):
                now = self._clock()
                seconds = max(now - (permit._began or 0.0), 0.0)
                self._estimate.dropped(permit._in_flight, seconds, now, refused)
                if int(self._estimate.limit) != self._fits:
                    self._move(self._estimate.limit)

    def _tell(self, what: Literal["limit", "refused", "dropped", "lost"], kind: Kind | None) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(LimitEvent(what, self.limit, len(self._running), self._waiters, kind))
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            # It runs between a caller and its permit, and neither may suffer for it.
            _LOG.exception("on_event of an adaptive limit failed")


def _is_timeout(error: BaseException | None) -> bool:
    """Whether a call ended for taking too long. SDKs and HTTP clients have classes of their own for that, named so."""
    if isinstance(error, UpstreamError):
        return error.code == "timeout"
    return isinstance(error, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(error).__mro__)
