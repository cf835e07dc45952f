"""The compiled `Gcra` as plain Python: one limit's arithmetic, and what the server tells of the same limit.

The algorithm is that of ITU-T I.371: a virtual clock runs ahead of time by an interval for each unit taken, and no
further than the tolerance for a burst. A server that counts by a log of the last period is kept by a log of ours.
"""

from __future__ import annotations

import math
from collections import defaultdict

_FOLDS = 64  # the spent share is averaged at most this often a period
_OVERTAKEN = (
    0.005  # of the limit is left to calls that went out before the newest count, and came to the server after it
)
_USUAL = (1.0, 10.0, 60.0, 3600.0, 86400.0)
_NEAR = 0.03


class Sent:
    """Amounts by 256 buckets a period; one stays for a period and a little, and is remembered for two."""

    def __init__(self, per: float, now: float) -> None:
        self.width = per / 256
        self.stays = 256 + min(max(math.ceil(0.05 / self.width), 1), 64)
        self.newest = math.floor(now / self.width)
        self.buckets: defaultdict[int, float] = defaultdict(float)
        self.total = 0.0

    def fill(self, amount: float) -> None:
        for bucket in range(self.newest - 255, self.newest + 1):
            self.buckets[bucket] += amount / 256
        self.total += amount

    def sum(self, now: float) -> float:
        newest = math.floor(now / self.width)
        if newest - self.newest >= 512:
            self.buckets.clear()
            self.total = 0.0
            self.newest = newest
        while newest > self.newest:
            self.newest += 1
            self.total -= self.buckets[self.newest - self.stays - 1]
            self.buckets.pop(self.newest - 512, None)
        return self.total

    def add(self, amount: float, now: float) -> None:
        self.sum(now)
        self.buckets[self.newest] += amount
        self.total += amount

    def give_back(self, amount: float, at: float) -> None:
        bucket = min(math.floor(at / self.width), self.newest)
        if self.newest - bucket >= 512:
            return
        amount = min(amount, self.buckets[bucket])
        self.buckets[bucket] -= amount
        if self.newest - bucket <= self.stays:
            self.total -= amount

    def since(self, start: float) -> float:
        first = max(math.floor(start / self.width), self.newest - 511)
        return sum((self.buckets[bucket] for bucket in range(first, self.newest + 1)), 0.0)

    def fits_at(self, amount: float, most: float, now: float) -> float:
        total = self.sum(now)
        if total + amount <= most or total <= 0:
            return -math.inf
        leaves = self.newest
        for bucket in range(self.newest - self.stays, self.newest + 1):
            if self.buckets[bucket] > 0:
                total -= self.buckets[bucket]
                leaves = bucket
            if total + amount <= most:
                break
        return (leaves + self.stays + 1) * self.width


class Period:
    """A refilling limit's period is the same by each reply; another's is no shorter than the longest time told."""

    def __init__(self, limit: float = math.nan) -> None:
        self.limit = limit
        self.low, self.high = 0.0, math.inf
        self.least_used, self.most_used = math.inf, 0.0
        self.longest = self.rounded = 0.0

    def told(self, limit: float, used: float, reset: float, rounded: float) -> None:
        if limit != self.limit:
            self.__init__(limit)  # type: ignore[misc]
        self.longest, self.rounded = max(self.longest, reset), max(self.rounded, rounded)
        if used < 1:
            return
        self.low = max(self.low, (reset - rounded) * limit / used)
        if used > 1:
            self.high = min(self.high, reset * limit / (used - 1))
        self.least_used, self.most_used = min(self.least_used, used), max(self.most_used, used)

    def may_refill(self) -> bool:
        return self.low <= self.high * (1 + _NEAR)

    def refills(self) -> bool:
        return self.may_refill() and self.most_used > 1.2 * self.least_used and self.high <= 2 * self.low

    def per(self, per: float, ended: bool) -> float:
        if self.refills():
            inside = (at for at in _USUAL if self.low / (1 + _NEAR) <= at <= self.high * (1 + _NEAR))
            return next(inside, (self.low + self.high) / 2)
        if ended:
            near = (at for at in _USUAL if abs(self.longest - at) <= _NEAR * at + self.rounded)
            return max(next(near, self.longest), 0.001)
        if self.longest <= per * (1 + _NEAR) + self.rounded:
            return per
        above = (at for at in _USUAL if self.longest <= at * (1 + _NEAR) + self.rounded)
        return next(above, self.longest)


class Gcra:
    """`limit` units each ``per`` seconds; after a pause the share ``burst`` of them at once. An unknown limit is None, and so is a
    period that is to be learned.

    A single take larger than the burst waits until all of the burst is there, and what it takes above is missing afterwards.
    Three things hold takes back: the virtual clock; a ceiling on all that was ever taken, which the server's own count
    sets until its window ends; and for a server that counts by a log, or refused, a log of ours.
    """

    def __init__(self, limit: float | None, *, per: float | None, burst: float, now: float) -> None:
        self._configured, self._burst = limit, burst
        self.per = 60.0 if per is None else per
        self._period = Period() if per is None else None
        self.tat = now  # the virtual clock: the "theoretical arrival time"
        self.taken = 0.0  # and not given back
        self.passed = 0.0  # taken ever, which never shrinks: the order of takes, and what the ceiling is for
        self.mark = -math.inf  # what had passed with the call that the server's newest count came with
        self.ceiling, self.ceiling_until, self._ceiling_from = math.inf, -math.inf, -math.inf
        self._log: Sent | None = None
        self._by_log = self._ended = False
        self._others = 0.0
        self._spent = self._folded = 0.0
        self._folded_at = now
        self._set(math.inf if limit is None else float(limit))

    def _set(self, limit: float) -> None:
        self.limit = limit
        self.interval = self.per / limit  # 0 where there is no limit
        self.tolerance = max(self._burst * limit, 1.0) * self.interval if limit < math.inf else 0.0

    def _set_per(self, per: float, now: float) -> None:
        self.tat = now + (self.tat - now) * (per / self.per)
        self.per = per
        self._set(self.limit)
        if self._log is not None:
            self._log = None
            self._begin_log(self.limit, now)

    def _begin_log(self, used: float, now: float) -> None:
        if self._log is not None:
            return
        self._log = Sent(self.per, now)
        if self.passed <= used:
            self._log.add(self.passed, now)
        else:
            self._log.fill(used)

    def ready_at(self, amount: float, now: float) -> float:
        cost = amount * self.interval
        at = self.tat + cost - self.tolerance if cost <= self.tolerance else self.tat
        if self.passed + amount > self.ceiling and now < self.ceiling_until:
            at = max(at, self.ceiling_until)
        if self._log is not None:
            at = max(at, self._log.fits_at(amount, self.limit - self._others, now))
        return at

    def take(self, amount: float, now: float) -> None:
        self.tat = max(self.tat, now) + amount * self.interval
        self.taken += amount
        self.passed += amount
        if self._log is not None:
            self._log.add(amount, now)

    def give_back(self, amount: float, mark: float, sent: float) -> None:
        self.tat -= amount * self.interval
        self.taken -= amount
        if mark > self.mark:
            # What went out before may be less in the server's newest count already.
            self.ceiling += amount
        if self._log is not None:
            self._log.give_back(amount, sent)

    def hold(self, until: float) -> None:
        self.tat = max(self.tat, until + max(0.0, self.tolerance - self.interval))

    def refused(self, now: float) -> None:
        if self.limit < math.inf:
            self._begin_log(self.limit, now)

    def learned(self, limit: float, *, per: float, used: float, now: float) -> None:
        self._period = None
        self.ceiling, self.ceiling_until = math.inf, -math.inf
        self._set_per(per, now)
        self._set(limit)
        self._log = Sent(per, now)
        self._log.add(used, now)

    def lower(self, share: float) -> None:
        self._set(self.limit * share)

    def told(
        self,
        *,
        limit: float | None,
        remaining: float | None,
        reset: float | None,
        rounded: float,
        mark: float,
        sent: float,
        now: float,
    ) -> None:
        limit = limit if limit is not None and limit >= 1e-6 else None
        if limit is not None:
            known = limit if self._configured is None else min(limit, self._configured)
            if known != self.limit:
                self._set(known)
        if remaining is None or mark < self.mark:
            return
        self.mark = mark
        whole = self.limit if limit is None else limit
        used = max(whole - remaining, 0.0) if whole < math.inf else 0.0
        refilled = used * self.per / whole if whole < math.inf else 0.0
        until_all = reset if reset is not None else refilled if self.interval > 0 else self.per
        steady, unsure = abs(until_all - refilled) <= 0.1 * refilled + 1.0, False
        if self._period is not None and reset is not None and whole < math.inf:
            self._period.told(whole, used, reset, rounded)
            steady = self._period.refills()
            unsure = self._period.may_refill() and not steady
        if steady:
            self._ceiling_from = self.ceiling_until = -math.inf
        else:
            self._ends(until_all, rounded, unsure, sent, now)
        if self._period is not None:
            per = self._period.per(self.per, self._ended)
            if per != self.per:
                self._set_per(per, now)
        if self._by_log:
            self._begin_log(used, now)
            assert self._log is not None
            self.ceiling, self.ceiling_until = math.inf, -math.inf
            if sent > now - self.per:
                self._log.sum(now)
                self._others = max(used - self._log.since(sent - self.per), 0.0)
            return
        if self.interval > 0:
            left = remaining - (self.passed - mark)
            self.tat = max(self.tat, now + self.tolerance - left * self.interval)
        overtaken = math.floor(_OVERTAKEN * (self.limit if self.limit < math.inf else remaining))
        self.ceiling = math.inf if steady else mark + remaining - overtaken

    def _ends(self, reset: float, rounded: float, unsure: bool, sent: float, now: float) -> None:
        start, until = sent + reset - rounded, now + reset
        known = sent > -math.inf
        if start <= self.ceiling_until and (known or now < self.ceiling_until):
            self._ceiling_from = max(self._ceiling_from, start)
            self.ceiling_until = min(self.ceiling_until, until)
            return
        if known and not unsure and self._ceiling_from > -math.inf:
            self._ended = True
            self._by_log = self._by_log or now < self._ceiling_from
        self._ceiling_from, self.ceiling_until = start, until

    def spent(self, now: float) -> float:
        if self.limit == math.inf:
            return 0.0
        passed = now - self._folded_at
        if passed >= self.per / _FOLDS:
            self._spent = self._spent * math.exp(-passed / self.per) + (self.taken - self._folded)
            self._folded, self._folded_at = self.taken, now
        share = (self._spent + self.taken - self._folded) / self.limit
        if now < self.ceiling_until:
            share = max(share, 1 - (self.ceiling - self.passed) / self.limit)
        return min(max(share, 0.0), 1.0)
