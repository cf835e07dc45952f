"""The best that can be done, by value iteration: Poisson arrivals, one server, service linear in the items, no noise.

A semi-Markov decision process over how many wait when the server is free (Deb and Serfozo 1973 showed that its solution is a control limit):
serve, or wait for the next arrival. Solved as in Tijms, *A First Course in Stochastic Models*, by the data transformation and relative values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparecall.batch.sim.engine import Service

__all__ = ["Optimum", "solve"]


@dataclass(frozen=True, slots=True)
class Optimum:
    """The lowest mean latency in seconds, and the control limit that gives it: serve when so many wait."""

    mean: float
    limit: int


def solve(rate: float, service: Service, max_items: int, *, limit: int | None = None) -> Optimum:
    """The optimum, or what a given control limit comes to. Takes seconds for batches of hundreds."""
    states = min(max(4 * max_items, 60), 2 * max_items + 400)
    counts = np.arange(states + 1)
    moves = np.zeros((states + 1, states + 1))
    spans, costs = np.ones(states + 1), np.zeros(states + 1)
    logs = np.array([lgamma(count + 1) for count in counts])
    for waiting in range(1, states + 1):
        taken = min(waiting, max_items)
        span = service.seconds(taken, taken)
        chances = np.exp(-rate * span + counts * np.log(rate * span) - logs)
        moves[waiting, waiting - taken :] = chances[: states + 1 - (waiting - taken)]
        moves[waiting, states] += 1 - moves[waiting].sum()
        spans[waiting] = span
        costs[waiting] = waiting * span + rate * span * span / 2  # those there, and those who come meanwhile
    gap = 1 / rate
    step = 0.9 * min(gap, float(spans[1:].min()))
    values = np.zeros(states + 1)
    while True:
        waits = counts + step / gap * (np.append(values[1:], values[-1]) - values) + values
        waits[states] = np.inf
        serves = costs / spans + step / spans * (moves @ values - values) + values
        serves[0] = np.inf
        better: NDArray[np.bool_] = serves <= waits if limit is None else counts >= limit
        new = np.where(better, serves, waits)
        change = new - values
        values = new - new[0]
        if change.max() - change.min() <= 1e-6 * abs(change.max()):
            return Optimum(float(change.max() + change.min()) / 2 / rate, int(np.argmax(better)))
