"""What a batch costs in seconds: ``a * tokens + b * items + c``, learned from the batches that ran. Pure: no clock, no asyncio."""

from __future__ import annotations

import math
from typing import NamedTuple

# A batch weighs half as much as another 34 later: a server that changes is followed within a hundred batches.
_FORGETTING = 0.98
# Solved anew when so many batches came since, at first sooner: a solution costs more than a batch may.
_PATIENCE = 16
_TICK = 1e-6  # seconds: shorter batches weigh no more
_SUBSETS = ((0, 2), (1, 2), (0, 1), (2,), (0,), (1,))
_WITHOUT_TOKENS = ((1, 2), (2,), (1,))  # each item is one token


class Cost(NamedTuple):
    """Seconds of a batch: ``per_token * tokens + per_item * items + fixed``, none of them negative."""

    per_token: float
    per_item: float
    fixed: float

    def seconds(self, items: float, tokens: float) -> float:
        """The expected seconds of a batch of so many items and tokens."""
        return self.per_token * tokens + self.per_item * items + self.fixed


class CostModel:
    """Recursive least squares with forgetting over three features, weighted by the inverse of the seconds expected, no coefficient ever below zero.

    The weighted sums of the normal equations are kept instead of an inverse, so that a batch costs a dozen multiplications; they are
    solved when somebody asks and enough has changed; where a coefficient would be negative, over every subset of the features
    (non-negative least squares has its solution at one of them). Before the first batch nothing is known, and `cost` is None; the first one is taken for fixed cost.
    """

    __slots__ = ("_cost", "_error", "_since", "_sums", "batches")

    def __init__(self) -> None:
        self.batches = 0
        self._sums = [0.0] * 9  # tt, ti, t, ii, i, 1, ty, iy, y
        self._cost: Cost | None = None
        self._error = 0.0
        self._since = 0

    def observe(self, items: int, tokens: int, seconds: float) -> None:
        """Learns from a batch that ran to its end. O(1)."""
        cost = self._cost
        expected = 0.0 if cost is None else cost.seconds(items, tokens)
        if expected > 0:
            miss = seconds / expected - 1
            self._error += (1 - _FORGETTING) * (miss * miss - self._error)
        # What a batch takes varies in proportion to itself: unweighted, long batches drown what short ones say; weighted by the
        # square, a server that slows down is learned late.
        weight = 1 / max(expected or seconds, _TICK)
        sums, f = self._sums, _FORGETTING
        weighted_tokens, weighted_items = weight * tokens, weight * items
        sums[0] = sums[0] * f + weighted_tokens * tokens
        sums[1] = sums[1] * f + weighted_tokens * items
        sums[2] = sums[2] * f + weighted_tokens
        sums[3] = sums[3] * f + weighted_items * items
        sums[4] = sums[4] * f + weighted_items
        sums[5] = sums[5] * f + weight
        sums[6] = sums[6] * f + weighted_tokens * seconds
        sums[7] = sums[7] * f + weighted_items * seconds
        sums[8] = sums[8] * f + weight * seconds
        self.batches += 1
        self._since += 1

    @property
    def cost(self) -> Cost | None:
        """The coefficients, or None before the first batch."""
        if self._since and self._since >= min(_PATIENCE, self.batches // 4):
            self._cost = self._solve()
            self._since = 0
        return self._cost

    @property
    def spread(self) -> float:
        """The standard deviation of what batches took, as a share of what was expected."""
        return math.sqrt(max(self._error, 0.0))

    def _solve(self) -> Cost | None:
        tt, ti, t, ii, i, one, ty, iy, y = self._sums
        if not one:
            return None
        matrix, right = ((tt, ti, t), (ti, ii, i), (t, i, one)), (ty, iy, y)
        whole = _solved([list(row) for row in matrix], list(right)) if tt != ii else None
        if whole is not None and min(whole) >= 0:
            return Cost(*whole)
        best, best_gain = (0.0, 0.0, max(y, 0.0) / one), -math.inf
        for subset in _SUBSETS if tt != ii else _WITHOUT_TOKENS:
            found = _solved(
                [[matrix[row][column] for column in subset] for row in subset], [right[row] for row in subset]
            )
            if found is None or min(found) < 0:
                continue
            # The squares explained; a subset must be clearly better than a smaller one that comes after it.
            gain = sum(value * right[row] for value, row in zip(found, subset, strict=True)) * (1 - 1e-9 * len(subset))
            if gain > best_gain:
                parts = dict(zip(subset, found, strict=True))
                best, best_gain = (parts.get(0, 0.0), parts.get(1, 0.0), parts.get(2, 0.0)), gain
        return Cost(*best)


def _solved(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Cholesky's solution, or None where features move together and their shares cannot be told apart."""
    n = len(right)
    factor = [[0.0] * n for _ in range(n)]
    for row in range(n):
        for column in range(row + 1):
            rest = matrix[row][column] - sum(factor[row][k] * factor[column][k] for k in range(column))
            if row == column:
                if rest <= 1e-9 * matrix[row][row]:
                    return None
                factor[row][row] = math.sqrt(rest)
            else:
                factor[row][column] = rest / factor[column][column]
    for row in range(n):
        right[row] = (right[row] - sum(factor[row][k] * right[k] for k in range(row))) / factor[row][row]
    for row in reversed(range(n)):
        right[row] = (right[row] - sum(factor[k][row] * right[k] for k in range(row + 1, n))) / factor[row][row]
    return right
