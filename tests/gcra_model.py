"""The compiled `Gcra` as plain Python: one limit's arithmetic, and what the server tells of the same limit.

The algorithm is that of ITU-T I.371: a virtual clock runs ahead of time by an interval for each unit taken, and no
further than the tolerance for a burst.
"""

from __future__ import annotations

import math

_FOLDS = 64  # the spent share is averaged at most this often a period
_OVERTAKEN = (
    0.005  # of the limit is left to calls that went out before the newest count, and came to the server after it
)
_SAME_WINDOW = (
    5.0  # seconds: ends told that differ by less are one end, rounded and delayed differently; the earliest is nearest
)


class Gcra:
    """`limit` units each ``per`` seconds; after a pause the share ``burst`` of them at once. An unknown limit is None.

    A single take larger than the burst waits until all of the burst is there, and what it takes above is missing afterwards.
    Two things hold takes back: the virtual clock, and a ceiling on all that was ever taken, which the server's own count
    sets until its window ends.
    """

    __slots__ = (
        "_burst", "_configured", "_folded", "_folded_at", "_spent", "ceiling", "ceiling_until", "interval", "limit", "mark", "passed", "per",
        "taken", "tat", "tolerance",
    )  # fmt: skip

    def __init__(self, limit: float | None, *, per: float, burst: float, now: float) -> None:
        self._configured, self._burst, self.per = limit, burst, per
        self.tat = now  # the virtual clock: the "theoretical arrival time"
        self.taken = 0.0  # and not given back
        self.passed = 0.0  # taken ever, which never shrinks: the order of takes, and what the ceiling is for
        self.mark = -math.inf  # what had passed with the call that the server's newest count came with
        self.ceiling, self.ceiling_until = math.inf, -math.inf
        self._spent = self._folded = 0.0
        self._folded_at = now
        self._set(math.inf if limit is None else float(limit))

    def _set(self, limit: float) -> None:
        self.limit = limit
        self.interval = self.per / limit  # 0 where there is no limit
        self.tolerance = max(self._burst * limit, 1.0) * self.interval if limit < math.inf else 0.0

    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` can be taken, as far as is known at `now`; not after `now` where it can be now."""
        cost = amount * self.interval
        tolerance = self.tolerance
        # The common case first: as much as the burst holds.
        at = self.tat + cost - tolerance if cost <= tolerance else self.tat
        if self.passed + amount > self.ceiling and now < self.ceiling_until:
            return max(at, self.ceiling_until)
        return at

    def take(self, amount: float, now: float) -> None:
        """Take it, whether it is there or not."""
        tat = self.tat
        self.tat = (tat if tat > now else now) + amount * self.interval  # noqa: FURB136 - `max` takes twice as long
        self.taken += amount
        self.passed += amount

    def give_back(self, amount: float, mark: float) -> None:
        """Give back `amount` of what was taken when `mark` had passed."""
        self.tat -= amount * self.interval
        self.taken -= amount
        if mark > self.mark:
            # What went out before may be less in the server's newest count already.
            self.ceiling += amount

    def hold(self, until: float) -> None:
        """One unit at `until`, none before: the server said so."""
        self.tat = max(self.tat, until + max(0.0, self.tolerance - self.interval))

    def told(
        self, *, limit: float | None, remaining: float | None, reset: float | None, mark: float, now: float
    ) -> None:
        """Believe the server's count where it is the newest and stricter than ours. `mark`: what had passed with the call it came with.

        ``reset`` is the seconds until all of the limit is there again. For a server that refills as time goes by, that is when
        the missing units will have been refilled. Another time means that it counts in windows: then no more than
        ``remaining`` is taken until the window ends.
        """
        if limit is not None and limit > 0:
            known = limit if self._configured is None else min(limit, self._configured)
            if known != self.limit:
                self._set(known)
        if remaining is None or mark < self.mark:
            return  # a call that went out before the newest that the server told of: its count is old
        self.mark = mark
        left = remaining - (self.passed - mark)
        if self.interval:
            # Only ever forward.
            self.tat = max(self.tat, now + self.tolerance - left * self.interval)
        whole = limit if limit is not None and limit > 0 else self.limit
        refilled = 0.0 if whole == math.inf else (whole - remaining) * self.per / whole
        if reset is None:
            reset = refilled if self.interval else self.per
        if abs(reset - refilled) > 0.1 * refilled + 1.0:
            overtaken = math.floor(_OVERTAKEN * (remaining if self.limit == math.inf else self.limit))
            until = now + reset
            if abs(until - self.ceiling_until) < _SAME_WINDOW:
                until = min(until, self.ceiling_until)
            self.ceiling, self.ceiling_until = mark + remaining - overtaken, until
        else:
            self.ceiling, self.ceiling_until = math.inf, -math.inf

    def spent(self, now: float) -> float:
        """The share of the limit spent in about the last period: by our count, exponentially averaged, or by the server's if that is more."""
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
