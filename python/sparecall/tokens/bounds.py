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
    low, total, high = map(sum, zip(NOTHING, *bounds, strict=True))
    return low, total, high


def exactly(number: int) -> Bounds:
    """That number, known exactly."""
    return number, number, number
