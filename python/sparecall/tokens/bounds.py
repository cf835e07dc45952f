"""Low, total and high of one thing that is counted, and their sum."""

from __future__ import annotations

from collections.abc import Callable

Bounds = tuple[float, float, float]
"""Low, total, high. All three equal: exact."""

Estimate = Callable[[str], Bounds]
"""The bounds of one text."""

NOTHING: Bounds = (0, 0, 0)


def plus(*bounds: Bounds) -> Bounds:
    """The sum of each."""
    return sum(b[0] for b in bounds), sum(b[1] for b in bounds), sum(b[2] for b in bounds)


def exactly(number: int) -> Bounds:
    """That number, known exactly."""
    return number, number, number
