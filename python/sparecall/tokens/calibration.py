"""How far estimates have been off, and from it how far the next one may be: empirical quantiles with a stated level.

Split conformal prediction (Vovk et al., 2005): if the next ratio of truth to estimate is drawn like the last n, it lies
between two of them, by rank, with at least the level's probability. That is honest for any tokenizer; it needs no model
of the error. Nineteen observations are what a level of 0.9 takes: with fewer the prior's margins stand, widened to what was seen.
"""

from __future__ import annotations

import bisect
import math
import statistics
import threading
from collections import deque
from typing import NamedTuple

LEVEL = 0.9
WINDOW = 256
# Requests are told apart by size: in a short one the wire's constants weigh most, in a long one the text.
SIZES = (256, 4096, math.inf)


class Stratum(NamedTuple):
    """What was learnt of requests of one size."""

    up_to: float
    """Estimates of fewer tokens than this, and of no fewer than the stratum before."""
    observations: int
    ratio: float
    """Truth to estimate: their median, drawn towards 1 while they are few."""
    low: float
    high: float
    is_measured: bool
    """Whether `low` and `high` are ranks of the observed ratios that hold `LEVEL`; else they widen the prior's margins."""


class Calibration(NamedTuple):
    """What a `Counter`'s bounds rest on."""

    prior: str
    """The family whose margins stand until there are enough observations."""
    observations: int
    """All that `observe` was told of this counter's estimates; the last 256 of each size are used."""
    level: float
    """How often the truth lies in the bounds, at least, where they are measured and requests stay alike."""
    contradicted: int
    """Counts called exact of which the provider reported another number."""
    strata: tuple[Stratum, ...]


class Calibrator:
    """Takes ratios of truth to estimate, and says the next one's bounds. Thread-safe, bounded, deterministic."""

    __slots__ = ("_contradicted", "_lock", "_ratios", "_strata", "_total")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ratios: tuple[deque[float], ...] = tuple(deque(maxlen=WINDOW) for _ in SIZES)
        self._strata = tuple(_stratum(size, ()) for size in SIZES)
        self._total = self._contradicted = 0

    def observe(self, estimate: float, truth: int) -> None:
        """Takes in that what was estimated at `estimate` came to `truth`; both are above 0."""
        at = bisect.bisect_right(SIZES, estimate)
        with self._lock:
            ratios = self._ratios[at]
            ratios.append(truth / estimate)
            strata = list(self._strata)
            strata[at] = _stratum(SIZES[at], tuple(ratios))
            self._strata = tuple(strata)  # readers take one or the other
            self._total += 1

    def confirm(self, *, holds: bool) -> None:
        """Takes in whether a count called exact was what the provider reported."""
        with self._lock:
            self._contradicted += not holds

    def stratum(self, estimate: float) -> Stratum:
        """What is known of requests of that size."""
        return self._strata[bisect.bisect_right(SIZES, estimate)]

    def state(self, prior: str) -> Calibration:
        """All of it, at one moment."""
        with self._lock:
            return Calibration(prior, self._total, LEVEL, self._contradicted, self._strata)


def _stratum(up_to: float, ratios: tuple[float, ...]) -> Stratum:
    n = len(ratios)
    if not n:
        return Stratum(up_to, 0, 1.0, 1.0, 1.0, is_measured=False)
    ordered = sorted(ratios)
    # As if one more observation had been 1: a single odd report does not move the estimate all the way.
    ratio = statistics.median([1.0, *ordered]) if n < 3 else statistics.median(ordered)
    tail = (1 - LEVEL) / 2
    # A hair against 0.05 * 20 = 1.0000000000000009.
    below, above = math.floor(tail * (n + 1) + 1e-9), math.ceil((1 - tail) * (n + 1) - 1e-9)
    if below < 1 or above > n:
        return Stratum(up_to, n, ratio, ordered[0], ordered[-1], is_measured=False)
    return Stratum(up_to, n, ratio, ordered[below - 1], ordered[above - 1], is_measured=True)
