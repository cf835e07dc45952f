"""When an endpoint is left alone: leases that cannot leak, failures and slow calls over a sliding window, a ramp on the way back.

One event loop, no locks: no step awaits.
"""

from __future__ import annotations

import inspect
import logging
import math
import random as _random
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from sparecall.errors import BreakerOpen, InvalidArgument
from sparecall.flow.arguments import count, positive, share
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of, outcome_of_status
from sparecall.flow.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")
State = Literal["closed", "open", "half_open", "ramping"]

_LOG = logging.getLogger("sparecall.flow")
_LONGEST = 10  # times `open_for`: as long as a pause gets by doubling
_SOON = 1.0  # seconds after which to ask again while others find out whether the endpoint is back
_NEW, _VOID = -1, -2  # generations of permits not yet entered, and of those whose end was concluded without them
_EPSILON = 1e-9  # 3 of 30 is a tenth, whatever binary fractions say


class Permit:
    """The right to make one call through a breaker, for the length of an ``async with``.

    How the block ends is the outcome, unless `report` named another. One that never ends, is cancelled, or ends after the
    breaker has changed its mind leaks nothing: it is a lease of one generation.
    """

    __slots__ = ("_answered", "_breaker", "_generation", "_outcome", "_slow_at", "_started")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._generation = _NEW
        self._started = 0.0
        self._answered: float | None = None
        self._slow_at: float | None = None
        self._outcome: Outcome | None = None

    async def __aenter__(self) -> Self:
        if self._generation != _NEW:
            raise InvalidArgument("a permit serves one call; ask breaker.call() for another")
        self._breaker._enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._breaker._exit(self, error)

    def report(self, outcome: Outcome | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""
        if isinstance(outcome, int) and not isinstance(outcome, bool):
            self._outcome = outcome_of_status(outcome)
        elif outcome in OUTCOMES:
            self._outcome = outcome
        else:
            raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")

    def answered(self) -> None:
        """Say that the answer begins: from here on a long answer is not a slow one."""
        if self._answered is None:
            self._answered = self._breaker._answer(self)

    def __repr__(self) -> str:
        return f"<Permit of generation {self._generation}>" if self._generation >= 0 else "<Permit out of use>"


class Breaker:
    """Lets calls through until too many of them fail or take too long; then none for a while, then a few, then a growing share.

    Closed, it opens where at least ``minimum_calls`` ended within the last ``window`` seconds and the share of failures reached
    ``failure_rate``, or the share of those that took longer than ``slow_after`` seconds reached ``slow_rate``; a call still
    running counts as slow as soon as it is. Open, it refuses every call with `BreakerOpen` for about ``open_for`` seconds (a
    tenth more or less; doubled, up to tenfold, each time the endpoint turns out to be still bad). Half open, it lets ``probes``
    calls through; where fewer than ``failure_rate`` of them failed or were slow, it is ramping: for ``ramp_for`` seconds in all
    it admits one call in ten, then one in four, then one in two, and always as many as ``probes`` at once. Then it is closed.

    A call let through half open or ramping is leased for ``lease_for`` seconds: one that has not been heard of by then failed,
    unless its answer had begun. ``classify`` gives an exception's outcome (`outcome_of`); ``limited`` and ``ignored`` ones are
    not counted. ``on_change`` is told of each new state and why; what it raises is logged. ``clock``: monotonic seconds; should
    it go back, time stands still. Every step is O(1) and awaits nothing. Belongs to one event loop.
    """

    __slots__ = (
        "_classify", "_clock", "_credit", "_failure_rate", "_failures", "_generation", "_lease_for", "_leases", "_longest",
        "_minimum", "_now", "_on_change", "_open_for", "_pause", "_probes", "_ramp", "_ramp_for", "_ramped_at", "_random", "_running",
        "_slow_after", "_slow_rate", "_state", "_successes", "_until", "_window", "_window_seconds",
    )  # fmt: skip

    def __init__(
        self,
        *,
        failure_rate: float = 0.5,
        slow_rate: float | None = None,
        slow_after: float | None = None,
        window: float = 10.0,
        minimum_calls: int = 10,
        open_for: float = 30.0,
        probes: int = 3,
        ramp: Sequence[float] = (0.1, 0.25, 0.5),
        ramp_for: float = 15.0,
        lease_for: float = 60.0,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_change: Callable[[State, str], None] = lambda state, why: None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if (slow_rate is None) != (slow_after is None):
            raise InvalidArgument(f"slow_rate is {slow_rate} and slow_after is {slow_after}; give both or neither")
        self._failure_rate = share("failure_rate", failure_rate)
        self._slow_rate = math.inf if slow_rate is None else share("slow_rate", slow_rate)
        self._slow_after = math.inf if slow_after is None else positive("slow_after", slow_after)
        self._window_seconds = positive("window", window)
        self._minimum = count("minimum_calls", minimum_calls)
        self._open_for = self._pause = positive("open_for", open_for)
        self._longest = _LONGEST * self._open_for
        self._probes = count("probes", probes)
        self._ramp = tuple(share("a share of ramp", part) for part in ramp)
        self._ramp_for = positive("ramp_for", ramp_for, zero=True)
        self._lease_for = positive("lease_for", lease_for)
        self._classify, self._on_change, self._clock, self._random = classify, on_change, clock, random
        self._window = Window(self._window_seconds)
        self._state: State = "closed"
        self._generation = 0
        self._now = clock()
        self._until = 0.0
        self._ramped_at = 0.0
        self._credit = 0.0
        self._successes = self._failures = 0  # of the probes
        self._leases: dict[Permit, None] = {}  # oldest first, as is the next
        self._running: dict[Permit, None] = {}  # those that may yet become slow

    @property
    def state(self) -> State:
        """``closed``, ``open``, ``half_open`` (also once a pause is over, before anybody called) or ``ramping``."""
        self._advance()
        return self._state

    @property
    def leases(self) -> int:
        """How many calls are under way that were let through half open or ramping; 0 in the other states."""
        self._advance()
        return len(self._leases)

    @property
    def calm(self) -> bool:
        """Whether it is closed: no time for calls that could be done without, such as hedges, where it is not."""
        return self.state == "closed"

    @property
    def admits(self) -> float:
        """The share of calls that it lets through now: 1 closed or while a probe is wanted, 0 open, and the step's while ramping."""
        if self._state == "closed":  # what time alone may have changed, the next call finds out
            return 1.0
        return self._admitted(self._advance())

    def __repr__(self) -> str:
        window = self._window
        return f"<Breaker {self.state}: {window.failed} failed, {window.slow} slow of {window.calls} calls>"

    def call(self) -> Permit:
        """A permit, to be used by ``async with``. Entering it raises `BreakerOpen` where no call may be made now."""
        return Permit(self)

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function: each of its calls takes a permit."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function!r} is not a coroutine function; use `async with breaker.call()` around the call"
            )

        @wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            async with Permit(self):
                return await function(*args, **kwargs)

        return guarded

    def _advance(self) -> float:
        """Does what time alone does: ends pauses and ramps, finds slow calls, expires leases. Returns the time."""
        now = self._clock()
        if now > self._now:
            self._now = now
        else:
            now = self._now
        while self._running:
            permit = next(iter(self._running))
            if now - permit._started <= self._slow_after:
                break
            del self._running[permit]
            permit._slow_at = now
            if self._state == "half_open":
                self._conclude(permit, now, failed=True)
            else:
                self._count(now, calls=1, failed=False, slow=True)
        while self._leases:
            permit = next(iter(self._leases))
            if now - permit._started <= self._lease_for:
                break
            self._conclude(permit, now, failed=permit._answered is None)
        if self._state == "open" and now >= self._until:
            self._window.clear()
            self._successes = self._failures = 0
            self._become("half_open", f"the pause is over; {self._probes} calls find out")
        elif self._state == "ramping" and now >= self._ramped_at + self._ramp_for:
            self._close()
        return now

    def _conclude(self, permit: Permit, now: float, *, failed: bool) -> None:
        """Counts a call that is still running, and lets it count no more."""
        del self._leases[permit]
        permit._generation = _VOID
        self._judge(now, failed=failed, slow=False, calls=permit._slow_at is None)

    def _enter(self, permit: Permit) -> None:
        now = self._advance() if self._state != "closed" or self._running else self._tick()
        if self._state == "open":
            wait = self._until - now
            raise BreakerOpen(
                f"the endpoint failed lately and is left alone for another {wait:.1f} s", retry_after=wait
            )
        if self._state != "closed":
            self._lease(permit, now)
        permit._started = now
        permit._generation = self._generation
        if self._slow_rate <= 1:
            self._running[permit] = None

    def _tick(self) -> float:
        now = self._clock()
        if now > self._now:
            self._now = now
        return self._now

    def _lease(self, permit: Permit, now: float) -> None:
        if self._state == "half_open":
            if self._successes + self._failures + len(self._leases) >= self._probes:
                raise BreakerOpen(
                    f"whether the endpoint is back is being found out by {len(self._leases)} calls", retry_after=_SOON
                )
        elif len(self._leases) >= self._probes:
            admitted = self._step(now)
            self._credit += admitted
            if self._credit < 1:
                raise BreakerOpen(
                    f"the endpoint is coming back and takes {admitted:.0%} of the calls", retry_after=_SOON
                )
            self._credit -= 1
        self._leases[permit] = None

    def _admitted(self, now: float) -> float:
        if self._state == "half_open":
            return float(self._successes + self._failures + len(self._leases) < self._probes)
        if self._state == "ramping" and len(self._leases) >= self._probes:
            return self._step(now)
        return float(self._state != "open")

    def _step(self, now: float) -> float:
        """The share of calls that the ramp admits."""
        step = int((now - self._ramped_at) / self._ramp_for * len(self._ramp))
        return self._ramp[min(step, len(self._ramp) - 1)]

    def _exit(self, permit: Permit, error: BaseException | None) -> None:
        outcome = permit._outcome
        if error is None and outcome is None and self._state == "closed" and not self._running:
            # The common case, without the steps that have nothing to do in it.
            if permit._generation == self._generation and permit._slow_at is None:
                self._count(self._tick(), calls=1, failed=False, slow=False)
            return
        try:
            if outcome is None:
                outcome = "success" if error is None else self._classify(error)
                if outcome not in OUTCOMES:
                    raise InvalidArgument(f"classify gave {outcome!r}; it must give one of {sorted(OUTCOMES)}")
        finally:
            # Whatever happens in code that is not ours, the lease comes back.
            self._settle(permit, outcome if outcome in OUTCOMES else "ignored")

    def _settle(self, permit: Permit, outcome: Outcome | None) -> None:
        now = self._advance() if self._state != "closed" or self._running else self._tick()
        if permit._generation != self._generation:
            return
        self._running.pop(permit, None)
        self._leases.pop(permit, None)
        if outcome == "failure" or (outcome == "success" and permit._slow_at is None):
            answered = now if permit._answered is None else permit._answered
            slow = permit._slow_at is None and answered - permit._started > self._slow_after
            known = permit._slow_at is not None and now - permit._slow_at < self._window_seconds * 0.9
            self._judge(now, failed=outcome == "failure", slow=slow, calls=not known)

    def _answer(self, permit: Permit) -> float:
        now = self._advance()
        self._running.pop(permit, None)
        return now

    def _judge(self, now: float, *, failed: bool, slow: bool, calls: bool) -> None:
        """Counts one call's end, and concludes."""
        if self._state == "half_open":
            if failed or slow:
                self._failures += 1
            else:
                self._successes += 1
            if self._failures >= self._failure_rate * self._probes - _EPSILON:
                self._open(now, f"{self._failures} of {self._probes} calls that were to find out failed")
            elif self._successes + self._failures >= self._probes:
                self._ramped_at, self._credit = now, 0.0
                if self._ramp_for and self._ramp:
                    self._become(
                        "ramping", f"{self._successes} of {self._probes} calls that were to find out succeeded"
                    )
                else:
                    self._close()
        else:
            self._count(now, calls=int(calls), failed=failed, slow=slow)

    def _count(self, now: float, *, calls: int, failed: bool, slow: bool) -> None:
        window = self._window
        window.add(now, calls=calls, failed=failed, slow=slow)
        if not (window.failed or window.slow) or self._state not in ("closed", "ramping"):
            return
        if window.calls < (self._minimum if self._state == "closed" else min(self._minimum, self._probes)):
            return
        if window.failed >= self._failure_rate * window.calls - _EPSILON:
            self._open(now, f"{window.failed} of {window.calls} calls failed")
        elif window.slow >= self._slow_rate * window.calls - _EPSILON:
            self._open(now, f"{window.slow} of {window.calls} calls took longer than {self._slow_after:g} s")

    def _open(self, now: float, why: str) -> None:
        if self._state == "closed":
            self._pause = self._open_for
        else:
            self._pause = min(2 * self._pause, self._longest)
        self._until = now + self._pause * (0.9 + 0.2 * self._random())
        self._become("open", why)

    def _close(self) -> None:
        self._state = "closed"
        self._leases.clear()
        self._tell("it answers again")

    def _become(self, state: State, why: str) -> None:
        """A new state in which nothing counts that was let through before."""
        self._state = state
        self._generation += 1
        self._leases.clear()
        self._running.clear()
        self._tell(why)

    def _tell(self, why: str) -> None:
        try:
            self._on_change(self._state, why)
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            # It runs between a caller and its permit, and neither may suffer for it.
            _LOG.exception("on_change of a breaker failed")
