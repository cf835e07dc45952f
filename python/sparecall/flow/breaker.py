"""When an endpoint is left alone: leases that cannot leak, failures and slow calls over a sliding window, a ramp on the way back.

One event loop, no locks: no step awaits.
"""

from __future__ import annotations

import inspect
import logging
import math
import random as _random
import sys
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from sparecall._core import BreakerGate, Permit, Window
from sparecall.errors import BreakerOpen, InvalidArgument
from sparecall.flow.arguments import count, positive, share
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of, outcome_of_status

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

P = ParamSpec("P")
R = TypeVar("R")
State = Literal["closed", "open", "half_open", "ramping"]

_MONOTONIC = time.monotonic if sys.platform == "linux" else None  # what the compiled core reads itself
_LOG = logging.getLogger("sparecall.flow")
_LONGEST = 10  # times `open_for`: as long as a pause gets by doubling
_SOON = 1.0  # seconds after which to ask again while others find out whether the endpoint is back
_VOID = -2  # the generation of permits whose end was concluded without them
_EPSILON = 1e-9  # 3 of 30 is a tenth, whatever binary fractions say


class Breaker(BreakerGate):
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
        "_classify", "_credit", "_failure_rate", "_failures", "_lease_for", "_leases", "_longest",
        "_minimum", "_on_change", "_open_for", "_pause", "_probes", "_ramp", "_ramp_for", "_ramped_at", "_random", "_running",
        "_slow_after", "_slow_rate", "_state", "_successes", "_until", "_window_seconds",
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
        self._classify, self._on_change, self._random = classify, on_change, random
        self._open_gate(
            Window(self._window_seconds),
            clock=None if clock is _MONOTONIC else clock,
            now=clock(),
            minimum=self._minimum,
            failure_rate=self._failure_rate,
        )
        self._state: State = "closed"
        self._plain = self._slow_rate > 1
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

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function: each of its calls takes a permit."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function!r} is not a coroutine function; use `async with breaker.call()` around the call"
            )

        @wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self.call():
                return await function(*args, **kwargs)

        return guarded

    def _advance(self) -> float:
        """Does what time alone does: ends pauses and ramps, finds slow calls, expires leases. Returns the time."""
        now = self._tick()
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

    @staticmethod
    def _word(outcome: Outcome | int) -> Outcome:
        """What was reported of a call, as a word."""
        if isinstance(outcome, int) and not isinstance(outcome, bool):
            return outcome_of_status(outcome)
        if outcome in OUTCOMES:
            return outcome
        raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")

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
        self._conclude_window(now)

    def _conclude_window(self, now: float) -> None:
        """Opens the breaker where what the window holds says so."""
        window = self._window
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
        self._plain = self._slow_rate > 1
        self._leases.clear()
        self._tell("it answers again")

    def _become(self, state: State, why: str) -> None:
        """A new state in which nothing counts that was let through before."""
        self._state = state
        self._plain = False  # `closed` comes by `_close`
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
