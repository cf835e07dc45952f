"""The rules by which batches close: ours, by the very code that `Batcher` runs, and others' as their sources state them.

Where a rule's details cost it time in practice (polling while a server is busy, a training phase) they are left out in its favour.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from sparecall.batch.policy import Policy
from sparecall.batch.waiting import Item

__all__ = ["BatchedRule", "BentoRule", "ControlLimit", "Ours", "Rule", "SizeOrTimer", "WhenFree"]


class Rule(Protocol):
    """What the engine asks. Items are indices into the arrivals."""

    def add(self, index: int, tokens: int, now: float) -> None:
        """An item came; a rule may refuse it by forgetting it."""

    def waiting(self) -> int:
        """How many wait."""

    def decide(self, now: float) -> list[int] | float:
        """With a server free and items waiting: the batch that closes now, or when to ask again."""

    def started(self, now: float, items: int, tokens: int) -> None:
        """The batch runs."""

    def ended(self, now: float, items: int, tokens: int, seconds: float) -> None:
        """A batch has ended and its server is free."""


class Ours:
    """`sparecall.batch.policy.Policy`. With `within`, each item has a deadline so many seconds after it came, and those that would miss it are refused."""

    def __init__(
        self,
        *,
        max_items: int,
        max_tokens: int | None = None,
        hold: bool = True,
        within: float | None = None,
        servers: int = 1,
        resolution: float = 0.001,
    ) -> None:
        self.policy = Policy(
            max_items=max_items, max_tokens=max_tokens, max_concurrent=servers, hold=hold, resolution=resolution
        )
        self.within = within
        self.servers = servers
        self._running: deque[tuple[float, int, int]] = deque()

    def add(self, index: int, tokens: int, now: float) -> None:
        """Refuses what would be late, as `Batcher.submit` does."""
        policy = self.policy
        deadline = None
        if self.within is not None:
            deadline = now + self.within
            free = policy.free_after(now, self._running) if len(self._running) == self.servers else 0.0
            if now + free + policy.finish_after(policy.waiting.plain, tokens, self.servers) > deadline:
                return
        policy.waiting.add(Item(index, tokens, now, deadline), policy.waiting.plain)

    def waiting(self) -> int:
        """How many wait."""
        return self.policy.waiting.items

    def decide(self, now: float) -> list[int] | float:
        """By the policy."""
        policy = self.policy
        if self.within is not None:
            policy.expired(now)
            if not policy.waiting.items:
                return []
        until = policy.wait_until(now, self.servers - len(self._running))
        return until if until is not None else [item.value for item in policy.close(now).items]

    def started(self, now: float, items: int, tokens: int) -> None:
        """Remembers it for the prediction of the next finish."""
        self._running.append((now, items, tokens))

    def ended(self, now: float, items: int, tokens: int, seconds: float) -> None:
        """Teaches the cost model."""
        self._running.remove((next(start for start, *size in self._running if size == [items, tokens]), items, tokens))
        self.policy.ran(items, tokens, seconds)


class WhenFree:
    """Closes as soon as a server is free; first come, first served up to the size and the token budget."""

    def __init__(self, *, max_items: int, max_tokens: int | None = None) -> None:
        self.max_items = max_items
        self.max_tokens = max_tokens
        self.queue: deque[tuple[int, int, float]] = deque()

    def add(self, index: int, tokens: int, now: float) -> None:
        """Takes everything."""
        self.queue.append((index, tokens, now))

    def waiting(self) -> int:
        """How many wait."""
        return len(self.queue)

    def decide(self, now: float) -> list[int] | float:
        """At once."""
        return self.taken()

    def taken(self) -> list[int]:
        """The head of the queue."""
        queue, room = self.queue, math.inf if self.max_tokens is None else self.max_tokens
        batch: list[int] = []
        while queue and len(batch) < self.max_items and (not batch or queue[0][1] <= room):
            index, tokens, _ = queue.popleft()
            batch.append(index)
            room -= tokens
        return batch

    def started(self, now: float, items: int, tokens: int) -> None:
        """Learns nothing."""

    def ended(self, now: float, items: int, tokens: int, seconds: float) -> None:
        """Learns nothing."""


class ControlLimit(WhenFree):
    """Closes when `limit` items wait, however long that takes: the form of the optimum, and with the right limit the optimum itself."""

    def __init__(self, *, max_items: int, limit: int) -> None:
        super().__init__(max_items=max_items)
        self.limit = limit

    def decide(self, now: float) -> list[int] | float:
        """Waits for more below the limit."""
        return self.taken() if len(self.queue) >= self.limit else math.inf


class SizeOrTimer(WhenFree):
    """Ray Serve's: full, or `timeout` seconds after the first item was taken up by the batcher, which is when a server was free and it had come."""

    def __init__(self, *, max_items: int, timeout: float = 0.01, max_tokens: int | None = None) -> None:
        super().__init__(max_items=max_items, max_tokens=max_tokens)
        self.timeout = timeout
        self._since: float | None = None

    def decide(self, now: float) -> list[int] | float:
        """Full or late enough."""
        if self._since is None:
            self._since = now
        until = self._since + self.timeout
        if len(self.queue) < self.max_items and now < until:
            return until
        self._since = None
        return self.taken()


class BatchedRule(WhenFree):
    """mixedbread `batched`'s: with less than a batch when a server gets free, sleeps `timeout` (again while nothing is there), then takes what waits."""

    def __init__(self, *, max_items: int, timeout: float = 0.005, max_tokens: int | None = None) -> None:
        super().__init__(max_items=max_items, max_tokens=max_tokens)
        self.timeout = timeout
        self._free = 0.0
        self._until: float | None = None
        self._whole = 0

    def decide(self, now: float) -> list[int] | float:
        """Whole batches that were there at once go one after the other."""
        if self._whole == 0:
            if self._until is None and (len(self.queue) < self.max_items or now > self._free):
                self._until = self._free + max(math.ceil((now - self._free) / self.timeout), 1) * self.timeout
            if self._until is not None and now < self._until:
                return self._until
            self._until = None
            self._whole = max(len(self.queue) // self.max_items, 1)
        self._whole -= 1
        return self.taken()

    def ended(self, now: float, items: int, tokens: int, seconds: float) -> None:
        """From now on it sleeps and looks."""
        self._free = now


class BentoRule(WhenFree):
    """BentoML's: waits while ``n * (since the last came + 1 ms + a) <= 0.95 * mean wait``, newest first; a and b and the mean wait of 50 batches, refreshed each 5 s."""

    def __init__(self, *, max_items: int, max_tokens: int | None = None, per_item: float = 0.001) -> None:
        super().__init__(max_items=max_items, max_tokens=max_tokens)
        self.per_item = per_item  # what it would have learnt
        self._wait = 0.01
        self._waits: deque[float] = deque(maxlen=50)
        self._refreshed = 0.0

    def decide(self, now: float) -> list[int] | float:
        """Ticks of a millisecond."""
        n = len(self.queue)
        if n < self.max_items:
            until = self.queue[-1][2] + 0.95 * self._wait / n - 0.001 - self.per_item
            if now < until:
                return now + math.ceil((until - now) / 0.001) * 0.001
        newest = [self.queue.pop() for _ in range(min(n, self.max_items))]
        self._waits.append(now - newest[-1][2])
        if now - self._refreshed >= 5.0:
            self._refreshed = now
            self._wait = sum(self._waits) / len(self._waits)
        return [index for index, _, _ in newest]
