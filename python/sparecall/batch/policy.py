"""When a batch closes and what goes into it. Pure: time comes in as an argument, so that a simulator runs the very same code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from sparecall.batch.cost import CostModel
from sparecall.batch.hold import Hold
from sparecall.batch.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparecall.batch.waiting import Item, Lane

__all__ = ["Closed", "Policy", "Reason"]

Reason = Literal["permit", "full", "control_limit", "deadline", "flush"]

_LATE = 1.645  # standard deviations: nineteen of twenty batches end sooner
_RATE_BATCHES = 8.0  # over how many services the rate of arrivals is averaged


class Closed(NamedTuple):
    """A batch that is to run, and why it closed."""

    items: list[Item]
    tokens: int
    reason: Reason


class Policy:
    """Closes a batch when a permit is free and work waits; waits a little longer only while that pays.

    What is gained by holding is what `Hold` has learnt; a hold ends at once when the batch is full, and as soon as the earliest deadline
    leaves no more time than a batch takes. Nothing is held for less than a timer can tell (`resolution`, seconds).

    Not thread-safe. `now` is in seconds of any clock that never goes back.
    """

    __slots__ = (
        "_cancelled",
        "_closed",
        "_held",
        "_hold",
        "_rate",
        "_seen",
        "_since",
        "cost",
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
        max_concurrent: int = 1,
        hold: bool = True,
        resolution: float = 0.001,
        weights: dict[str, int] | None = None,
    ) -> None:
        self.max_items = max_items
        self.max_tokens = max_tokens
        self.resolution = resolution
        self.waiting = Waiting(weights)
        self.cost = CostModel()
        self._closed = self._cancelled = 0
        self._hold = Hold(max_concurrent) if hold else None
        self._held = False
        self._rate = 0.0
        self._seen = 0
        self._since: float | None = None

    def cancel(self, item: Item) -> bool:
        """Forgets a waiting item; False where it does not wait. O(1)."""
        gone = self.waiting.cancel(item)
        if gone:
            self._forget(1)
        return gone

    def expired(self, now: float) -> list[Item]:
        """Takes out all whose deadline has passed."""
        found = self.waiting.expired(now)
        self._forget(len(found))
        return found

    def _forget(self, count: int) -> None:
        self._cancelled += count
        if self._hold is not None and not self.waiting.items:
            self._hold.reset()  # there is no batch any more that could have closed

    def wait_until(self, now: float, permits: int = 1) -> float | None:
        """With `permits` free and work waiting: until when to hold the batch that could close now, or None to close it."""
        waiting, hold = self.waiting, self._hold
        if hold is None or waiting.items >= self.max_items or (self.max_tokens or math.inf) <= waiting.tokens:
            return None
        until = hold.until(now, waiting.items, waiting.next_arrival(), self.resolution, permits)
        if until is None:
            return None
        deadline = waiting.earliest()
        if deadline is not None:
            until = min(until, deadline - self._late(waiting.items, waiting.tokens))
            if until <= now:
                return None
        self._held = True
        return until

    def next_tokens(self) -> int:
        """About how many tokens the next batch has, were it closed now. Call it only when something waits."""
        items, tokens = self.waiting.next_group()
        if items > self.max_items:
            tokens = -(-tokens * self.max_items // items)
        return tokens if self.max_tokens is None else min(tokens, self.max_tokens)

    def close(self, now: float, *, flush: bool = False) -> Closed:
        """Closes the next batch. Call it only when something waits."""
        waiting = self.waiting
        held, self._held = self._held, False
        deadline = waiting.earliest() if held else None
        before = waiting.tokens
        items, full = waiting.take(self.max_items, self.max_tokens)
        tokens = before - waiting.tokens
        self._closed += len(items)
        cost = self.cost.cost
        if cost is not None:
            seconds = cost.seconds(len(items), tokens)
            self._learn_rate(now, seconds)
            if self._hold is not None:
                self._hold.closed(now, items, cost.fixed, seconds)
        reason: Reason = "permit"
        if full:
            reason = "full"
        elif flush:
            reason = "flush"
        elif held:
            due = deadline is not None and deadline - self._late(len(items), tokens) <= now
            reason = "deadline" if due else "control_limit"
        return Closed(items, tokens, reason)

    def ran(self, items: int, tokens: int, seconds: float) -> None:
        """Learns from a batch that ran to its end."""
        self.cost.observe(items, tokens, seconds)

    def finish_after(self, lane: Lane, tokens: int, permits: int) -> float:
        """The seconds within which one more item in `lane` would most likely be done, were a permit just now to become free; 0 before anything is known.

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
        rounds = before / permits + 1
        return whole * (rounds + _LATE * self.cost.spread * math.sqrt(rounds))

    def free_after(self, now: float, running: Iterable[tuple[float, int, int]]) -> float:
        """The seconds after which the first of `running` (started, items, tokens) most likely ends; 0 where none runs or nothing is known."""
        cost = self.cost.cost
        if cost is None:
            return 0.0
        ends = [started + cost.seconds(items, tokens) for started, items, tokens in running]
        return max(min(ends) - now, 0.0) if ends else 0.0

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

    def _learn_rate(self, now: float, seconds: float) -> None:
        seen = self._closed + self._cancelled + self.waiting.items
        if self._since is None:
            self._since, self._seen = now, seen
        elapsed = now - self._since
        if elapsed > seconds / _RATE_BATCHES:  # shorter windows say little
            share = 1.0 if self._rate == 0.0 else -math.expm1(-elapsed / (_RATE_BATCHES * max(seconds, elapsed / 100)))
            self._rate += share * ((seen - self._seen) / elapsed - self._rate)
            self._since, self._seen = now, seen
