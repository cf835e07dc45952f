"""When a batch closes and what goes into it. Pure: time comes in as an argument, so that a simulator runs the very same code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from sparecall.batch.cost import CostModel
from sparecall.batch.waiting import Waiting

if TYPE_CHECKING:
    from sparecall.batch.waiting import Item, Lane

__all__ = ["Closed", "Policy", "Reason"]

Reason = Literal["permit", "full", "control_limit", "deadline", "flush"]

_LATE = 1.645  # standard deviations: nineteen of twenty batches end sooner
_GAPS = 2.0  # a batch is held for so many mean gaps at most: an arrival that is later than that is not coming
_RATE_BATCHES = 8.0  # over how many services the rate of arrivals is averaged


class Closed(NamedTuple):
    """A batch that is to run, and why it closed."""

    items: list[Item]
    tokens: int
    reason: Reason


class Policy:
    """Closes a batch when a permit is free and work waits; waits a little longer only while that pays.

    **Control limit.** Holding n items for the next arrival delays them by n gaps of 1/rate, and saves the arrival a batch of its own.
    Value iteration over this decision (Poisson arrivals, service ``a * tokens + b * items + c``) gives a limit close to ``rate * c / 2`` whatever the
    per-item cost and the load: that many items are held, more are not. The gain is small: closing at once is within 0.6 % of the optimum.
    A hold ends after two mean gaps, when it could end by nothing but a timer that is coarser than itself (`resolution`, seconds), and as
    soon as the earliest deadline leaves no more time than a batch takes.

    Not thread-safe. `now` is in seconds of any clock that never goes back.
    """

    __slots__ = (
        "_held_since",
        "_limit",
        "_rate",
        "_seen",
        "_since",
        "cancelled",
        "closed_items",
        "cost",
        "hold",
        "max_items",
        "max_tokens",
        "resolution",
        "waiting",
    )

    def __init__(
        self,
        *,
        max_items: int,
        max_tokens: int | None = None,
        hold: bool = True,
        resolution: float = 0.001,
        weights: dict[str, int] | None = None,
    ) -> None:
        self.max_items = max_items
        self.max_tokens = max_tokens
        self.hold = hold
        self.resolution = resolution
        self.waiting = Waiting(weights)
        self.cost = CostModel()
        self.closed_items = self.cancelled = 0
        self._held_since: float | None = None
        self._rate = 0.0
        self._limit = 0.0  # so many waiting items are held
        self._seen = 0
        self._since: float | None = None

    def cancel(self, item: Item) -> bool:
        """Forgets a waiting item; False where it does not wait."""
        gone = self.waiting.cancel(item)
        self.cancelled += gone
        return gone

    def wait_until(self, now: float) -> float | None:
        """With a permit free and work waiting: until when to hold the batch that could close now, or None to close it."""
        waiting = self.waiting
        if (
            waiting.items > self._limit
            or waiting.items >= self.max_items
            or (self.max_tokens or math.inf) <= waiting.tokens
        ):
            return None
        since = now if self._held_since is None else self._held_since
        until = since + _GAPS / self._rate
        deadline = waiting.earliest()
        if deadline is not None:
            until = min(until, deadline - self._late(waiting.items, waiting.tokens))
        if until - since < self.resolution or until <= now:
            return None
        self._held_since = since
        return until

    def close(self, now: float, *, flush: bool = False) -> Closed:
        """Closes the next batch. Call it only when something waits."""
        waiting = self.waiting
        held, self._held_since = self._held_since, None
        deadline = waiting.earliest() if held is not None else None
        before = waiting.tokens
        items, full = waiting.take(self.max_items, self.max_tokens)
        tokens = before - waiting.tokens
        self.closed_items += len(items)
        self._learn_rate(now, len(items), tokens)
        reason: Reason = "permit"
        if full:
            reason = "full"
        elif flush:
            reason = "flush"
        elif held is not None:
            due = deadline is not None and deadline - self._late(len(items), tokens) <= now
            reason = "deadline" if due else "control_limit"
        return Closed(items, tokens, reason)

    def ran(self, items: int, tokens: int, seconds: float) -> None:
        """Learns from a batch that ran to its end."""
        self.cost.observe(items, tokens, seconds)

    def finish_after(self, lane: Lane, tokens: int, permits: int) -> float:
        """The seconds after which one more item in `lane` would be done, were a permit just now to become free; 0 before anything is known.

        Only full batches stand before it: what fits into its own batch goes with it.
        """
        cost = self.cost.cost
        if cost is None:
            return 0.0
        items, ahead = self.waiting.ahead(lane)
        fills = (items + 1) / self.max_items
        if self.max_tokens is not None:
            fills = max(fills, (ahead + tokens) / self.max_tokens)
        before = max(math.ceil(fills) - 1, 0)
        batch = max(fills, 1.0)
        whole = cost.seconds((items + 1) / batch, (ahead + tokens) / batch)
        return whole * (before / permits + 1)

    def room_after(self, permits: int) -> float:
        """The seconds after which a batch's worth of places is free again; what a refused caller is told."""
        cost = self.cost.cost
        if cost is None:
            return 1.0
        share = min(1.0, self.max_items / max(self.waiting.items, 1))
        return max(cost.seconds(self.waiting.items * share, self.waiting.tokens * share) / permits, self.resolution)

    @property
    def rate(self) -> float:
        """Arrivals a second, averaged over the last few batches."""
        return self._rate

    def _late(self, items: int, tokens: int) -> float:
        """The seconds within which nearly every such batch ends."""
        cost = self.cost.cost
        return 0.0 if cost is None else cost.seconds(items, tokens) * (1 + _LATE * self.cost.spread)

    def _learn_rate(self, now: float, items: int, tokens: int) -> None:
        seen = self.closed_items + self.cancelled + self.waiting.items
        if self._since is None:
            self._since, self._seen = now, seen
            return
        elapsed = now - self._since
        cost = self.cost.cost
        if cost is None or elapsed <= 0:
            return
        span = _RATE_BATCHES * cost.seconds(items, tokens)
        if elapsed * _RATE_BATCHES >= span:  # a service long: shorter windows say little
            share = 1.0 if self._rate == 0.0 else -math.expm1(-elapsed / span) if span > 0 else 1.0
            self._rate += share * ((seen - self._seen) / elapsed - self._rate)
            self._since, self._seen = now, seen
            if self.hold:
                self._limit = self._rate * cost.fixed / 2
