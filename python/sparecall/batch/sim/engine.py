"""Discrete events: arrivals, batches that end, and the rule's own timer, on a clock of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparecall.batch.sim.arrivals import Arrivals
    from sparecall.batch.sim.rules import Rule

__all__ = ["Outcome", "Service", "simulate"]


@dataclass(frozen=True, slots=True)
class Service:
    """What a batch takes: ``per_token * tokens + per_item * items + fixed`` seconds, times lognormal noise of mean 1."""

    fixed: float = 0.02
    per_item: float = 0.001
    per_token: float = 0.0
    noise: float = 0.1

    def seconds(self, items: float, tokens: float) -> float:
        """The mean seconds of a batch."""
        return self.fixed + self.per_item * items + self.per_token * tokens

    def capacity(self, max_items: int, mean_tokens: float = 1.0) -> float:
        """Items a second of one server whose batches are all full."""
        return max_items / self.seconds(max_items, max_items * mean_tokens)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from each item's arrival to its result, NaN for those refused; and what the batches were."""

    latencies: NDArray[np.float64]
    batches: int

    @property
    def mean(self) -> float:
        """Of those served."""
        return float(np.nanmean(self.latencies))

    def percentile(self, percent: float) -> float:
        """Of those served."""
        return float(np.nanpercentile(self.latencies, percent))

    def in_time(self, within: float) -> float:
        """The share of all that came that was served within so many seconds."""
        return float((self.latencies <= within).mean())

    @property
    def mean_batch(self) -> float:
        """Items of a batch."""
        return float(np.isfinite(self.latencies).sum() / max(self.batches, 1))


def simulate(rule: Rule, arrivals: Arrivals, service: Service, *, servers: int = 1, seed: int = 0) -> Outcome:
    """Runs all of `arrivals` through `rule`. The noise of the n-th batch is the same for every rule of one seed."""
    times, tokens = arrivals.times, arrivals.tokens
    noise = _noise(service.noise, len(times), seed)
    latencies = [math.nan] * len(times)
    busy: list[tuple[float, int, list[int], int, float]] = []
    free, upcoming, batches, now = servers, 0, 0, 0.0
    while True:
        wake = math.inf
        while free and rule.waiting():
            decision = rule.decide(now)
            if isinstance(decision, float):
                wake = decision
                break
            if not decision:
                continue
            total = sum([tokens[index] for index in decision])
            seconds = service.seconds(len(decision), total) * noise[batches]
            heappush(busy, (now + seconds, batches, decision, total, seconds))
            rule.started(now, len(decision), total)
            batches += 1
            free -= 1
        arrival = times[upcoming] if upcoming < len(times) else math.inf
        end = busy[0][0] if busy else math.inf
        now = min(arrival, end, wake)
        if now == math.inf:
            break
        if end == now:
            _, _, items, total, seconds = heappop(busy)
            for index in items:
                latencies[index] = now - times[index]
            free += 1
            rule.ended(now, len(items), total, seconds)
        elif arrival == now:
            rule.add(upcoming, tokens[upcoming], now)
            upcoming += 1
    return Outcome(np.array(latencies), batches)


def _noise(spread: float, count: int, seed: int) -> list[float]:
    if spread == 0:
        return [1.0] * count
    drawn: list[float] = np.random.default_rng([seed, 1]).lognormal(-spread * spread / 2, spread, count).tolist()
    return drawn
