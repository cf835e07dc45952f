"""Which models to ask, and how often each, so that dollars go where they do most. Estimates, a budget, and the best mixture under it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparecall.prices import Price

_GAIN = 1 / 128  # of the last call, at least
_COMPLETION = 512.0  # tokens, where nothing is known
_HORIZON = 0.1  # of the budget's period, over which what was saved is spent and what was overspent made up for


class Worth:
    """What asking one model brings: how good its answers are, what they take and what they cost. O(1).

    Its quality is a mean over the answers of the last ``memory`` seconds, discounted by their age (as in discounted UCB, Garivier and Moulines, 2011), with
    one good answer more than there were: what is unknown, or was not heard of for long, is thought good, and so tried.
    """

    __slots__ = ("_at", "_calls", "_completions", "_good", "_memory", "completion", "latency", "name", "price")

    def __init__(self, name: str, *, memory: float) -> None:
        self.name = name
        self.price: Price | None = None
        self._memory = memory
        self._calls = self._good = self._at = 0.0
        self.latency = 0.0
        self.completion = _COMPLETION
        self._completions = 0

    def quality(self, now: float) -> float:
        """How good its answers are, from 0 to 1; a failed call is a 0."""
        kept = self._kept(now)
        return (self._good * kept + 1) / (self._calls * kept + 1)

    def judged(self, quality: float, now: float) -> None:
        """A call ended with an answer so good."""
        kept = self._kept(now)
        self._calls, self._good = self._calls * kept + 1, self._good * kept + quality
        self._at = now

    def _kept(self, now: float) -> float:
        return math.exp(min(0.0, self._at - now) / self._memory)

    def took(self, seconds: float) -> None:
        """An answer came after so many seconds."""
        self.latency = seconds if not self.latency else self.latency + _GAIN * (seconds - self.latency)

    def used(self, completion: float) -> None:
        """An answer had so many tokens."""
        self._completions += 1
        self.completion += max(_GAIN, 1 / self._completions) * (completion - self.completion)

    def cost(self, tokens: float) -> float:
        """Dollars that a call with a prompt of `tokens` is thought to cost; 0 without a price, which only routers without a budget allow."""
        price = self.price
        return 0.0 if price is None else (tokens * price.input + self.completion * price.output) / 1e6


class Budget:
    """Dollars a period, kept as a bucket that fills steadily: what a call may cost is what comes in between two calls, and a part of what was saved.

    That is the constraint of adaptive linear programming (Wu, Srikant, Liu and Jiang, NeurIPS 2015), for a period that never ends. It bounds
    the mean: over any time the spending is at most what came in and a tenth of a period's, and the last calls', unless the cheapest model costs more.
    """

    __slots__ = ("_at", "_gap", "_horizon", "_rate", "credit", "spent")

    def __init__(self, dollars: float, *, per: float, now: float) -> None:
        self._rate, self._horizon = dollars / per, _HORIZON * per
        self._at = now
        self._gap: float | None = None
        self.credit = 0.0
        self.spent = 0.0

    def asked(self, now: float) -> float:
        """A call is to be made: the dollars it may cost."""
        passed = max(0.0, now - self._at)
        self._at = max(now, self._at)
        self.credit = min(self.credit + passed * self._rate, self._rate * self._horizon)
        self._gap = passed if self._gap is None else self._gap + _GAIN * (passed - self._gap)
        return (self._rate + self.credit / self._horizon) * self._gap

    def spend(self, dollars: float) -> None:
        """So much was, or is thought to be, spent; less than nothing gives back."""
        self.credit -= dollars
        self.spent += dollars


class Option(NamedTuple):
    """A model's mean cost in dollars and the utility of asking it."""

    cost: float
    utility: float


def mixture(options: Sequence[Option], allowance: float) -> list[float]:
    """The shares of the options that give most utility at a mean cost of at most `allowance`; the cheapest where none fits. O(n log n).

    It is a linear programme with one constraint: its solution lies on the concave hull of (cost, utility), between two neighbours at most.
    """
    shares = [0.0] * len(options)
    hull: list[int] = []
    for index in sorted(range(len(options)), key=lambda index: (options[index].cost, -options[index].utility)):
        cost, utility = options[index]
        if hull and utility <= options[hull[-1]].utility:
            continue
        while len(hull) > 1:
            before, last = options[hull[-2]], options[hull[-1]]
            if (last.utility - before.utility) * (cost - last.cost) > (utility - last.utility) * (
                last.cost - before.cost
            ):
                break
            hull.pop()
        hull.append(index)
    for lower, upper in pairwise(hull):
        cost, more = options[lower].cost, options[upper].cost
        if allowance < more:
            shares[upper] = max(0.0, (allowance - cost) / (more - cost))
            shares[lower] = 1 - shares[upper]
            return shares
    shares[hull[-1]] = 1.0
    return shares


def drawn(shares: Sequence[float], number: float) -> int:
    """The index that a number from 0 to 1 falls on."""
    last = 0
    for index, part in enumerate(shares):
        if part > 0:
            if number < part:
                return index
            number -= part
            last = index
    return last
