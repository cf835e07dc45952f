"""What may hold calls up, asked without making one: whether all of them are calm, and how much room they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sparecall.flow.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

_CALM_UNTIL = 0.75  # of a quota spent: from there on, what could be done without is
_LITTLE, _LEAST = (
    0.05,
    0.01,
)  # room of a quota that is spent, and of one that calls wait for: they wait there, but are not refused


@runtime_checkable
class Gate(Protocol):
    """A `Breaker`, a limit, or anything else that knows these two of itself, and awaits nothing to tell."""

    @property
    def admits(self) -> float:
        """The share of calls that it would let through now: 0 for none, 1 for all."""

    @property
    def calm(self) -> bool:
        """Whether calls that could be done without, such as hedges, do no harm now."""


def calm(*gates: Gate | RateLimit) -> Callable[[], bool]:
    """Whether all of `gates` are calm, as a function to be asked: breakers closed, limits not shrinking, a quarter of the quota left and nobody waiting."""
    asked = [_gate(part) for part in gates]

    def calm() -> bool:
        return all(gate.calm for gate in asked)

    return calm


def room(*gates: Gate | RateLimit) -> Callable[[], float]:
    """The share of calls that the strictest of `gates` would let through now, as a function to be asked; 0 where one would refuse.

    Of a `RateLimit` it is what is left of the quota; never 0, as calls wait there and are not refused.
    """
    asked = [_gate(part) for part in gates]

    def room() -> float:
        least = 1.0
        for gate in asked:
            admits = gate.admits
            if admits < least:
                least = admits
        return least

    return room


class _Quota:
    """A rate limit as a gate."""

    __slots__ = ("_limit",)

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit

    @property
    def admits(self) -> float:
        if self._limit.waiting:
            return _LEAST
        left = 1 - self._limit.spent
        return max(_LITTLE, left)

    @property
    def calm(self) -> bool:
        return not self._limit.waiting and self._limit.spent < _CALM_UNTIL


def _gate(part: Gate | RateLimit) -> Gate:
    if isinstance(part, RateLimit):
        return _Quota(part)
    if not isinstance(part, Gate):
        raise TypeError(
            f"{part!r} is no gate: it needs `admits` and `calm`, as a Breaker has them, or to be a RateLimit"
        )
    return part
