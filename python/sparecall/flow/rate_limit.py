"""Requests and tokens an endpoint takes: both reserved in one step, settled by what was used, held to what the server tells.

One event loop, no locks: every step between two awaits is atomic.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from sparecall.errors import InvalidArgument, LimitExceeded
from sparecall.flow import headers as _headers
from sparecall.flow.arguments import count, positive, share
from sparecall.flow.completion import CompletionEstimates
from sparecall.flow.gcra import Gcra, is_due

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_AT_A_TIME = 256  # waiters let through before the loop gets its turn
_BACKGROUND_FROM = 0.75  # of the limit spent: from there on background calls are let through more slowly
_BACKGROUND_LEAST = 1 / 20  # of the limit's pace, however much is spent; and of the turns, however many others wait
_FIRST_CALLS = 2  # of a server whose limits are unknown; each that comes back makes room for as many


class Lease:
    """What one call has reserved. The holder of an ``async with limit.acquire(...)``, or what `RateLimit.try_acquire` gave.

    Its end gives nothing back: what was sent counts at the server, however it ended. `settle` says what it came to, and
    `refund` that it was never sent.
    """

    __slots__ = (
        "_at", "_background", "_future", "_limit", "_mark_requests", "_mark_tokens", "_max_wait", "_prompt", "_route", "tokens",
    )  # fmt: skip

    def __init__(self, limit: RateLimit, tokens: int, prompt: int, route: str | None, *, background: bool) -> None:
        self._limit = limit
        self.tokens: float = tokens
        """Tokens now reserved for the call; once settled, those it used."""
        self._prompt, self._route, self._background = prompt, route, background
        self._at: float | None = None  # when it was let through; None before, and once refunded
        self._mark_requests = self._mark_tokens = 0.0
        self._max_wait: float | None = None
        self._future: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        if self._at is not None or self._future is not None:
            raise InvalidArgument("a lease serves one call; ask limit.acquire() for another")
        limit = self._limit
        now = limit._clock()
        if not limit._go(self, now):
            await limit._wait(self, now)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._limit._learning:
            self._limit._came_back()

    def settle(self, used: int, *, final: bool = True) -> None:
        """Say how many tokens the call used in all, prompt and completion: what was reserved above that is given back, what is missing taken.

        It may be said again, also after the ``async with`` has ended. ``final=False`` while a stream's count still grows: then the
        route's completions do not learn from it.
        """
        count("used", used, least=0)
        if self._at is None:
            raise InvalidArgument("the lease was never let through, or was refunded: there is nothing to settle")
        limit = self._limit
        if final and self._route is not None:
            limit._estimates.observe(self._route, max(0, used - self._prompt))
        if used < self.tokens:
            limit._tokens.give_back(self.tokens - used, self._mark_tokens)
        else:
            limit._tokens.take(used - self.tokens, limit._clock())
        self.tokens = used
        limit._wake()

    def refund(self) -> None:
        """Say that the call was never sent: all of it is given back. Once refunded, again is nothing."""
        if self._at is not None:
            self._at = None
            self._limit._requests.give_back(1, self._mark_requests)
            self._limit._tokens.give_back(self.tokens, self._mark_tokens)
            self._limit._wake()

    def sync(self, headers: Mapping[str, str], *, status: int = 200) -> None:
        """Take over what the reply to this call tells of the limits; a status of 429 makes every caller wait. O(headers)."""
        self._limit._sync(headers, status, self)

    def __repr__(self) -> str:
        return f"<Lease of {self.tokens:g} tokens>" if self._at is not None else "<Lease not let through>"


class RateLimit:
    """At most ``requests`` requests and ``tokens`` tokens each ``per`` seconds; None: as many as the server tells, once it does.

    Both are reserved in one step, or neither. After a pause the share ``burst`` of the limits may go at once; then calls go
    at the limit's pace, first come, first served, and one is woken for each that may go. `Lease.sync` keeps it no more
    optimistic than the server; a 429 holds everybody up. Background calls are let through more slowly once three
    quarters of a limit are spent, and no sooner than others that wait, but for one turn in twenty.

    ``clock``: monotonic seconds; should it go back, calls wait that much longer. ``wall_clock``: Unix seconds, for headers
    that give dates. All steps are O(1). Belongs to one event loop.
    """

    __slots__ = (
        "_background", "_background_at", "_backoff", "_clock", "_estimates", "_foreground", "_held_at", "_held_until", "_learning",
        "_per", "_queued_requests", "_queued_tokens", "_requests", "_timer", "_tokens", "_turns", "_waiters", "_wall_clock",
    )  # fmt: skip

    def __init__(
        self,
        *,
        requests: float | None = None,
        tokens: float | None = None,
        per: float = 60.0,
        burst: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._per = positive("per", per)
        share("burst", burst)
        requests = None if requests is None else positive("requests", requests)
        tokens = None if tokens is None else positive("tokens", tokens)
        self._clock, self._wall_clock = clock, wall_clock
        now = clock()
        self._requests = Gcra(requests, per=per, burst=burst, now=now)
        self._tokens = Gcra(tokens, per=per, burst=burst, now=now)
        self._learning = requests is None and tokens is None
        self._estimates = CompletionEstimates()
        self._held_until = -math.inf  # by a 429
        self._held_at = -math.inf
        self._backoff = 1.0
        self._background_at = -math.inf
        self._turns = 0  # let through since a background call was
        self._foreground: OrderedDict[Lease, None] = OrderedDict()
        self._background: OrderedDict[Lease, None] = OrderedDict()
        self._waiters = 0
        self._queued_requests = self._queued_tokens = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiters

    @property
    def requests(self) -> float | None:
        """Requests a period, given or learned; None while unknown."""
        return None if self._requests.limit == math.inf else self._requests.limit

    @property
    def tokens(self) -> float | None:
        """Tokens a period, given or learned; None while unknown."""
        return None if self._tokens.limit == math.inf else self._tokens.limit

    @property
    def spent(self) -> float:
        """The share spent of the limit that is nearer to its end, over about the last period."""
        now = self._clock()
        return max(self._requests.spent(now), self._tokens.spent(now))

    def __repr__(self) -> str:
        return f"<RateLimit {self.requests} requests, {self.tokens} tokens each {self._per:g} s: {self.spent:.0%} spent, {self._waiters} wait>"

    def try_acquire(
        self, tokens: int = 0, *, route: str | None = None, max_tokens: int | None = None, background: bool = False
    ) -> Lease | None:
        """A lease if the call may go now, else None. Never before one that waits. Arguments and errors: `acquire`."""
        lease = self.acquire(tokens, route=route, max_tokens=max_tokens, background=background)
        return lease if self._go(lease, self._clock()) else None

    def acquire(
        self,
        tokens: int = 0,
        *,
        route: str | None = None,
        max_tokens: int | None = None,
        background: bool = False,
        max_wait: float | None = None,
    ) -> Lease:
        """A lease of one request and `tokens` tokens; ``async with`` waits until it may go.

        With a ``route``, `tokens` are the prompt's, and what answers on that route had lately is reserved on top, at most
        ``max_tokens``. Raises `LimitExceeded` where the call is larger than a whole limit; entering raises it at once
        where the call would wait for longer than ``max_wait`` seconds, as far as can be told now.
        """
        if type(tokens) is not int or tokens < 0:
            count("tokens", tokens, least=0)
        reserved = tokens
        if route is not None:
            reserved += self._estimates.estimate(
                route, None if max_tokens is None else count("max_tokens", max_tokens, least=0)
            )
        if reserved > self._tokens.limit:
            raise self._too_large(reserved)
        lease = Lease(self, reserved, tokens, route, background=background)
        if max_wait is not None:
            lease._max_wait = positive("max_wait", max_wait, zero=True)
        return lease

    def sync(self, headers: Mapping[str, str], *, status: int = 200) -> None:
        """Take over what a reply tells of the limits where no lease is known that it belongs to."""
        self._sync(headers, status, None)

    def _go(self, lease: Lease, now: float) -> bool:
        """Lets the call through where it may go now, and nobody waits before it."""
        if self._waiters and self._in_line(lease, now):
            return False
        if not is_due(self._ready_at(lease, now), now):
            return False
        self._grant(lease, now)
        return True

    def _ready_at(self, lease: Lease, now: float) -> float:
        at = self._requests.ready_at(1, now)
        tokens = self._tokens.ready_at(lease.tokens, now)
        if tokens > at:
            at = tokens
        if self._held_until > at:
            at = self._held_until
        if lease._background and self._background_at > at:
            at = self._background_at
        return at

    def _grant(self, lease: Lease, now: float) -> None:
        requests, tokens = self._requests, self._tokens
        if self._learning and not requests.passed:
            requests.ceiling, requests.ceiling_until = _FIRST_CALLS, now + self._per
        requests.take(1, now)
        tokens.take(lease.tokens, now)
        lease._at, lease._mark_requests, lease._mark_tokens = now, requests.passed, tokens.passed
        if not lease._background:
            self._turns += 1
            return
        self._turns = 0
        left = 1 - self.spent
        if left < 1 - _BACKGROUND_FROM:
            pace = max(left / (1 - _BACKGROUND_FROM), _BACKGROUND_LEAST)
            self._background_at = now + max(requests.interval, lease.tokens * tokens.interval) / pace

    async def _wait(self, lease: Lease, now: float) -> None:
        self._refuse_if_long(lease, now)
        future = lease._future = asyncio.get_running_loop().create_future()
        self._queue(lease)[lease] = None
        self._waiters += 1
        self._queued_requests += 1
        self._queued_tokens += lease.tokens
        try:
            self._wake()
            await future
        except BaseException:
            if lease._at is not None:
                lease.refund()  # let through and cancelled in the same moment
            else:
                self._remove(lease)
                self._wake()
            raise

    def _refuse_if_long(self, lease: Lease, now: float) -> None:
        if lease._max_wait is None:
            return
        ahead = max(
            self._tokens.ready_at(lease.tokens, now) + self._queued_tokens * self._tokens.interval,
            self._requests.ready_at(1, now) + self._queued_requests * self._requests.interval,
            self._ready_at(lease, now),
        )
        if ahead - now > lease._max_wait:
            raise LimitExceeded(
                f"the call would wait for {ahead - now:.1f} s behind {self._waiters} others; max_wait is {lease._max_wait:g} s",
                retry_after=ahead - now,
            )

    def _queue(self, lease: Lease) -> OrderedDict[Lease, None]:
        return self._background if lease._background else self._foreground

    def _remove(self, lease: Lease) -> None:
        queue = self._queue(lease)
        if lease not in queue:
            return
        del queue[lease]
        self._waiters -= 1
        self._queued_requests -= 1
        self._queued_tokens -= lease.tokens

    def _in_line(self, lease: Lease, now: float) -> bool:
        """Whether others that wait go before `lease`."""
        if lease._background or self._foreground:
            return True
        return self._turns >= 1 / _BACKGROUND_LEAST and self._background_at <= now

    def _next(self, now: float) -> Lease | None:
        """Whose turn it is."""
        if not self._background:
            return next(iter(self._foreground), None)
        if self._foreground and (self._turns < 1 / _BACKGROUND_LEAST or self._background_at > now):
            return next(iter(self._foreground))
        return next(iter(self._background))

    def _wake(self) -> None:
        """Lets through all who may go now, and sets the timer for the next."""
        if not self._waiters:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        delay = 0.0
        for _ in range(_AT_A_TIME):
            lease = self._next(now)
            if lease is None:
                return
            future = lease._future
            assert future is not None  # noqa: S101 - for mypy: who waits has one
            if lease.tokens > self._tokens.limit:  # the server told of a smaller limit meanwhile
                self._remove(lease)
                if not future.done():
                    future.set_exception(self._too_large(lease.tokens))
                continue
            if future.done():  # cancelled, and not yet resumed
                self._remove(lease)
                continue
            at = self._ready_at(lease, now)
            if not is_due(at, now):
                delay = at - now
                break
            self._remove(lease)
            self._grant(lease, now)
            future.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _came_back(self) -> None:
        """A call to a server whose limits are unknown ended: as many again and as many more may go."""
        self._requests.ceiling += _FIRST_CALLS
        self._wake()

    def _too_large(self, tokens: float) -> LimitExceeded:
        return LimitExceeded(
            f"a call of {tokens:g} tokens does not fit in the limit of {self._tokens.limit:g} tokens each {self._per:g} s",
            retry_after=None,
        )

    def _sync(self, headers: Mapping[str, str], status: int, lease: Lease | None) -> None:
        now = self._clock()
        told = _headers.read(headers, wall=self._wall_clock())
        requests, tokens = self._requests, self._tokens
        marks = (lease._mark_requests, lease._mark_tokens) if lease is not None else (requests.passed, tokens.passed)
        for gcra, limit, mark in ((requests, told.requests, marks[0]), (tokens, told.tokens, marks[1])):
            if limit is not None:
                self._learning = False
                gcra.told(limit=limit.limit, remaining=limit.remaining, reset=limit.reset, mark=mark, now=now)
        if status == 429:
            self._hold(told.retry_after, now, None if lease is None else lease._at)
        elif status < 400:
            self._backoff = 1.0
        self._wake()

    def _hold(self, retry_after: float | None, now: float, sent: float | None) -> None:
        """Everybody waits: until the server said, or for longer with each 429 that says nothing."""
        if retry_after is None:
            if sent is not None and sent <= self._held_at:
                return  # it went out before the last 429 came back, and is no further news
            retry_after = min(self._backoff, self._per)
            self._backoff *= 2
        self._held_at = now
        self._held_until = max(self._held_until, now + retry_after)
        self._requests.hold(self._held_until)
        self._tokens.hold(self._held_until)
