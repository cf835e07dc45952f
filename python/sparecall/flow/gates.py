"""What may hold calls up, asked without making one: whether all of them are calm, and how much room they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

_CALM_UNTIL = 0.75  # of a quota spent: from there on, what could be done without is
_LITTLE, _LEAST = (
    0.05,
    0.01,
)  # room of a limit that is used up, and of one that calls wait for: they wait there, but are not refused


@runtime_checkable
class Gate(Protocol):
    """A `Breaker`, or anything else that knows these two of itself, and awaits nothing to tell."""

    @property
    def admits(self) -> float:
        """The share of calls that it would let through now: 0 for none, 1 for all."""

    @property
    def calm(self) -> bool:
        """Whether calls that could be done without, such as hedges, do no harm now."""


@runtime_checkable
class Quota(Protocol):
    """A `RateLimit`, or what else is spent."""

    @property
    def waiting(self) -> int:
        """How many calls wait."""

    @property
    def spent(self) -> float:
        """The share that is spent, 0 to 1."""


@runtime_checkable
class Concurrency(Protocol):
    """An adaptive limit of calls under way, or what else is filled."""

    @property
    def load(self) -> float:
        """The share that is in use: above 1, calls wait."""

    @property
    def shrinking(self) -> bool:
        """Whether the limit is well below what it was lately."""


def calm(*gates: Gate | Quota | Concurrency) -> Callable[[], bool]:
    """Whether all of `gates` are calm, as a function to be asked.

    That is: breakers closed, of quotas a quarter left and nobody waiting, other limits neither shrinking nor full.
    """
    asked = [_gate(part) for part in gates]

    def calm() -> bool:
        return all(gate.calm for gate in asked)

    return calm


def room(*gates: Gate | Quota | Concurrency) -> Callable[[], float]:
    """The share of calls that the strictest of `gates` would let through now, as a function to be asked; 0 where one would refuse.

    Of limits it is what is left of them; never 0, as calls wait there and are not refused.
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


class _OfQuota:
    """A quota as a gate."""

    __slots__ = ("_quota",)

    def __init__(self, quota: Quota) -> None:
        self._quota = quota

    @property
    def admits(self) -> float:
        if self._quota.waiting:
            return _LEAST
        return max(_LITTLE, 1 - self._quota.spent)

    @property
    def calm(self) -> bool:
        return not self._quota.waiting and self._quota.spent < _CALM_UNTIL


class _OfConcurrency:
    """A limit of calls under way as a gate."""

    __slots__ = ("_limit",)

    def __init__(self, limit: Concurrency) -> None:
        self._limit = limit

    @property
    def admits(self) -> float:
        load = self._limit.load
        return _LEAST if load > 1 else max(_LITTLE, 1 - load)

    @property
    def calm(self) -> bool:
        return not self._limit.shrinking and self._limit.load < 1


def _gate(part: Gate | Quota | Concurrency) -> Gate:
    if isinstance(part, Gate):
        return part
    if isinstance(part, Quota):
        return _OfQuota(part)
    if isinstance(part, Concurrency):
        return _OfConcurrency(part)
    raise TypeError(f"{part!r} is no gate: it needs `admits` and `calm` as a Breaker has them, or to be a limit")
