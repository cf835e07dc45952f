"""A quantile of what was seen lately, such as the 95th percentile of a route's time to first token. Knows nothing of the patterns."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from itertools import accumulate

_ACCURACY = 0.025
_GROWTH = (1 + _ACCURACY) / (1 - _ACCURACY)
_PER_LOG = 1 / math.log(_GROWTH)
_LEAST, _MOST = 1e-4, 1e4  # what is smaller or larger is counted at the end
_OFFSET = math.ceil(math.log(_LEAST) * _PER_LOG)
_BUCKETS = math.ceil(math.log(_MOST) * _PER_LOG) - _OFFSET + 1
_HEAVY = 1e12
_REFRESH = 64  # values after which the quantile is looked up again, at most


class RecentQuantile:
    """The ``quantile`` of the values added lately, from 1e-4 to 1e4, to within 2.5 %; a value counts half after ``half_life`` more.

    The buckets are DDSketch's (Masson, Rim and Lee, VLDB 2019), their weights decay forward (Cormode, Shkapenyuk, Srivastava and Xu,
    ICDE 2009). 3 KB; `add` is O(1), and one in `_REFRESH` reads of `value` is O(buckets).
    """

    __slots__ = ("_counts", "_growth", "_quantile", "_stale", "_total", "_value", "_weight", "seen")

    def __init__(self, quantile: float, *, half_life: float = 256.0) -> None:
        self._quantile = quantile
        self._growth = 2.0 ** (1 / half_life)
        self._counts = array("d", bytes(8 * _BUCKETS))
        self._weight, self._total = 1.0, 0.0
        self._value, self._stale = 0.0, 0
        self.seen = 0
        """How many values were added."""

    def add(self, value: float) -> None:
        """Count `value`, above 0."""
        bucket = 0
        if value > _LEAST:
            bucket = math.ceil(math.log(value) * _PER_LOG) - _OFFSET
            if bucket >= _BUCKETS:
                bucket = _BUCKETS - 1
        weight = self._weight
        self._counts[bucket] += weight
        self._total += weight
        self._weight = weight * self._growth
        self.seen += 1
        self._stale += 1
        if weight > _HEAVY:
            self._counts = array("d", (count / weight for count in self._counts))
            self._total /= weight
            self._weight = self._growth

    @property
    def value(self) -> float:
        """The quantile, looked up anew after a few values were added; 0 before the first."""
        if self._stale and (self._stale >= _REFRESH or self._stale * 8 >= self.seen):
            self._stale = 0
            sums = list(accumulate(self._counts))
            bucket = min(bisect_right(sums, self._quantile * sums[-1]), _BUCKETS - 1)
            self._value = 2 * _GROWTH ** (bucket + _OFFSET) / (_GROWTH + 1)
        return self._value

    def __repr__(self) -> str:
        return f"<RecentQuantile {self._quantile:g}: {self.value:.3g} of {self.seen} values>"
