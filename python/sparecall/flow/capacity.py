"""What an endpoint's capacity may be, given how much longer calls take at how many in flight. No clock, no samples.

The model: up to `capacity` calls in flight take `level` times as long as expected, and more of them that much longer as there are too
many. Which of the two moved cannot be told from one reading; from readings at different numbers in flight it can, and until then the
more usual explanation is believed: capacities jump, the endpoint's own pace drifts. So both are kept as one grid of probabilities (a
histogram filter), which needs no thresholds for what is congestion and what a slower model.
"""

from __future__ import annotations

import math

import numpy as np

_STEP = 0.08  # between two capacities, as a logarithm
_LEVEL_STEP, _LEVELS = 0.04, 20  # between two levels, and how many on either side of 1
_DOUBT = 0.12  # of the level at first
_JUMPS, _FURTHEST = 0.03, math.log(4.0)  # share of readings before which the capacity became another, up to fourfold
_DRIFT, _LEVEL_DRIFT = 0.02, 0.008  # share of the probability that goes to either neighbour
_SURPRISES = 0.006  # share of readings that mean nothing
_NOISE = 0.03  # of a reading, however many samples it has


class Capacity:
    """Probabilities of capacities between ``least`` and ``most``, and of levels. A reading costs about 0.2 ms."""

    __slots__ = ("_grid", "_levels", "_logs", "_passes")

    def __init__(self, *, least: float, most: float) -> None:
        low, high = math.log(least), math.log(max(most, least) * 1.5)
        self._logs = np.arange(low, high + _STEP, _STEP)
        self._levels = np.arange(-_LEVELS, _LEVELS + 1) * _LEVEL_STEP
        self._grid = np.exp(-0.5 * (self._levels / _DOUBT) ** 2)[:, None] * np.ones(len(self._logs))
        self._grid /= self._grid.sum()
        apart = np.abs(self._logs[:, None] - self._logs[None, :])
        jumps, drift = (apart <= _FURTHEST).astype(float), (apart < 1.5 * _STEP) & (apart > 0)
        jumps /= jumps.sum(axis=1, keepdims=True)
        self._passes = (1 - _JUMPS - 2 * _DRIFT) * np.eye(len(self._logs)) + _DRIFT * drift + _JUMPS * jumps

    @property
    def level(self) -> float:
        """How many times as long as expected calls take that nothing is in the way of: the mean of what is thought."""
        return math.exp(float(self._grid.sum(axis=1) @ self._levels))

    def quantile(self, share: float) -> float:
        """The capacity that is not reached with this probability."""
        below = np.cumsum(self._grid.sum(axis=0))
        return math.exp(float(np.interp(share * below[-1], below, self._logs + _STEP / 2)))

    def slower(self, in_flight: float, slower: float, error: float) -> None:
        """With so many in flight calls took that many times as long as expected."""
        self._pass()
        crowded = np.maximum(math.log(in_flight) - self._logs, 0.0)
        self._weigh(math.log(slower) - self._levels[:, None] - crowded, math.hypot(error / slower, _NOISE))

    def at_most(self, capacity: float, error: float) -> None:
        """So many, or fewer: others waited for them."""
        self._weigh(np.maximum(self._logs - math.log(capacity), 0.0)[None, :], error)

    def about(self, capacity: float, error: float) -> None:
        """So many: others were turned away."""
        self._pass()
        self._weigh((self._logs - math.log(capacity))[None, :], error)

    def _pass(self) -> None:
        """What a reading's time changes by itself."""
        grid = self._grid @ self._passes
        rest = grid * (1 - 2 * _LEVEL_DRIFT)
        rest[1:] += _LEVEL_DRIFT * grid[:-1]
        rest[:-1] += _LEVEL_DRIFT * grid[1:]
        self._grid = rest

    def _weigh(self, off: np.ndarray, error: float) -> None:
        grid = self._grid * (np.exp(-0.5 * (off / error) ** 2) + _SURPRISES)
        self._grid = grid / grid.sum()
