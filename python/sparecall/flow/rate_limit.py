"""Requests and tokens an endpoint takes: both reserved in one step, settled by what was used, held to what the server tells.

One event loop, no locks: every step between two awaits is atomic.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from sparecall._core import Gcra, Lease, RateGate
from sparecall.errors import LimitExceeded
from sparecall.flow import headers as _headers
from sparecall.flow.arguments import count, positive
from sparecall.flow.arguments import share as _share
from sparecall.flow.completion import CompletionEstimates
from sparecall.flow.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MINUTE = 60.0
_TOO_MUCH = 0.97  # of a limit that was found out by refusals, and is refused
_AT_A_TIME = 256  # waiters let through before the loop gets its turn
_MONOTONIC = time.monotonic if sys.platform == "linux" else None  # what the compiled core reads itself


class RateLimit(RateGate):
    """At most ``requests`` requests and ``tokens`` tokens each ``per`` seconds; None: as many as the server tells.

    One that tells nothing is learned from by what it refuses. Without ``per`` limits that are given are a minute's, and the
    period of those that are not is learned with them.

    Both are reserved in one step, or neither. After a pause the share ``burst`` of the limits may go at once; then calls go
    at the limit's pace, first come, first served, and one is woken for each that may go. `Lease.sync` keeps it no more
    optimistic than the server; a 429 holds everybody up. Background calls are let through more slowly once three
    quarters of a limit are spent, and no sooner than others that wait, but for one turn in twenty.

    ``clock``: monotonic seconds; should it go back, calls wait that much longer. ``wall_clock``: Unix seconds, for headers
    that give dates. All steps are O(1). Belongs to one event loop.
    """

    __slots__ = (
        "_background", "_backoff", "_estimates", "_foreground", "_found", "_held_at", "_queued_requests", "_queued_tokens", "_refusals",
        "_share", "_timer", "_wall_clock",
    )  # fmt: skip

    def __init__(
        self,
        *,
        requests: float | None = None,
        tokens: float | None = None,
        per: float | None = None,
        burst: float = 0.1,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        per = None if per is None else positive("per", per)
        _share("burst", burst)
        self._share = _share("share", share)
        requests = None if requests is None else positive("requests", requests) * share
        tokens = None if tokens is None else positive("tokens", tokens) * share
        self._wall_clock = wall_clock
        now = clock()
        self._open(
            Gcra(requests, per=per if requests is None else per or _MINUTE, burst=burst, now=now),
            Gcra(tokens, per=per if tokens is None else per or _MINUTE, burst=burst, now=now),
            clock=None if clock is _MONOTONIC else clock,
            learning=requests is None and tokens is None,
            whole=1 / share,
        )
        self._estimates = CompletionEstimates()
        self._held_at = -math.inf  # a 429
        self._backoff = 1.0
        self._refusals = Refusals() if requests is None and tokens is None else None
        self._found = False  # by refusals, and of no header
        self._foreground: OrderedDict[Lease, asyncio.Future[None]] = OrderedDict()
        self._background: OrderedDict[Lease, asyncio.Future[None]] = OrderedDict()
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
    def requests_per(self) -> float:
        """Seconds of the requests' period, given or learned."""
        return self._requests.per

    @property
    def tokens_per(self) -> float:
        """Seconds of the tokens' period, given or learned."""
        return self._tokens.per

    @property
    def spent(self) -> float:
        """The share spent of the limit that is nearer to its end, over about the last period."""
        now = self._now()
        return max(self._requests.spent(now), self._tokens.spent(now))

    def __repr__(self) -> str:
        limits = (
            f"{self.requests} requests each {self.requests_per:g} s, {self.tokens} tokens each {self.tokens_per:g} s"
        )
        return f"<RateLimit {limits}: {self.spent:.0%} spent, {self._waiters} wait>"

    def sync(self, headers: Mapping[str, str], *, status: int = 200) -> None:
        """Take over what a reply tells of the limits where no lease is known that it belongs to."""
        self._sync(headers, status, None)

    def _estimate(self, route: str, max_tokens: int | None) -> int:
        """Tokens to reserve for an answer on `route`."""
        at_most = None if max_tokens is None else count("max_tokens", max_tokens, least=0)
        return self._estimates.estimate(route, at_most)

    def _observe(self, route: str, completion: float) -> None:
        self._estimates.observe(route, completion)

    async def _wait_for(self, lease: Lease, now: float) -> Lease:
        """What entering a lease is that cannot go at once."""
        self._refuse_if_long(lease, now)
        future = asyncio.get_running_loop().create_future()
        self._queue(lease)[lease] = future
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
        return lease

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

    def _queue(self, lease: Lease) -> OrderedDict[Lease, asyncio.Future[None]]:
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
        return lease._background or bool(self._foreground) or self._background_turn(now)

    def _next(self, now: float) -> Lease | None:
        """Whose turn it is."""
        if not self._background:
            return next(iter(self._foreground), None)
        if self._foreground and not self._background_turn(now):
            return next(iter(self._foreground))
        return next(iter(self._background))

    def _wake(self) -> None:
        """Lets through all who may go now, and sets the timer for the next."""
        if not self._waiters:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._now()
        delay = 0.0
        for _ in range(_AT_A_TIME):
            lease = self._next(now)
            if lease is None:
                return
            future = self._queue(lease)[lease]
            if lease.tokens > self._tokens.limit / self._share:  # the server told of a smaller limit meanwhile
                self._remove(lease)
                if not future.done():
                    future.set_exception(self._too_large(lease.tokens))
                continue
            if future.done():  # cancelled, and not yet resumed
                self._remove(lease)
                continue
            at = self._grant_if_due(lease, now)
            if at is not None:
                delay = at - now
                break
            self._remove(lease)
            future.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _came_back(self) -> None:
        """A call to a server whose limits are unknown ended: as many again and as many more may go."""
        if self._now() >= self._held_until:
            self._make_room()
        self._wake()

    def _too_large(self, tokens: float) -> LimitExceeded:
        return LimitExceeded(
            f"a call of {tokens:g} tokens does not fit in the limit of {self._tokens.limit / self._share:g} tokens each {self._tokens.per:g} s",
            retry_after=None,
        )

    def _sync(self, headers: Mapping[str, str], status: int, lease: Lease | None) -> None:
        now = self._now()
        told = _headers.read(headers, wall=self._wall_clock())
        requests, tokens = self._requests, self._tokens
        sent = None if lease is None else lease._at
        marks = lease._marks if lease is not None else (requests.passed, tokens.passed)
        for gcra, limit, mark in ((requests, told.requests, marks[0]), (tokens, told.tokens, marks[1])):
            if limit is not None:
                self._learning, self._refusals, self._found = False, None, False
                gcra.told(
                    limit=None if limit.limit is None else limit.limit * self._share,
                    remaining=None if limit.remaining is None else limit.remaining * self._share,
                    reset=limit.reset,
                    rounded=limit.rounded,
                    mark=mark,
                    sent=-math.inf if sent is None else sent,
                    now=now,
                )
        if status == 429:
            if self._found and sent is not None and sent > self._held_at:
                requests.lower(_TOO_MUCH)
            requests.refused(now)
            tokens.refused(now)
            self._hold(told.retry_after, now, sent)
        elif status < 400:
            self._backoff = 1.0
        if self._refusals is not None and sent is not None:
            self._learn(self._refusals, marks[0], sent, told.retry_after, status)
        self._wake()

    def _learn(self, refusals: Refusals, mark: float, sent: float, retry_after: float | None, status: int) -> None:
        """Of a server that tells of no limit but by refusing."""
        if status == 429:
            refusals.refused(sent, retry_after, self._held_until)
            if self._learning:
                self._begin_again(self._held_until)
        elif status < 400 and (learned := refusals.went(sent)) is not None:
            self._learning, self._refusals, self._found = False, None, True
            used = self._requests.passed - mark + 1
            self._requests.learned(learned.requests, per=learned.per, used=used, now=self._now())

    def _hold(self, retry_after: float | None, now: float, sent: float | None) -> None:
        """Everybody waits: until the server said, or for longer with each 429 that says nothing."""
        if retry_after is None:
            if sent is not None and sent <= self._held_at:
                return  # it went out before the last 429 came back, and is no further news
            retry_after = min(self._backoff, self._requests.per)
            self._backoff *= 2
        self._held_at = now
        self._held_until = max(self._held_until, now + retry_after)
        self._requests.hold(self._held_until)
        self._tokens.hold(self._held_until)
