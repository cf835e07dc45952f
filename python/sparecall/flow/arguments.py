"""What every pattern asks of the numbers it is given: finite, in range, of the right type. Knows nothing of the patterns."""

from __future__ import annotations

import math

from sparecall.errors import InvalidArgument


def positive(name: str, value: float, *, zero: bool = False) -> float:
    """`value` as a float, where it is finite and above 0, or at least 0 with ``zero``. Raises `InvalidArgument` or ``TypeError``."""
    number = finite(name, value)
    if number < 0 or (number == 0 and not zero):
        raise InvalidArgument(f"{name} is {value}; it must be {'at least' if zero else 'above'} 0")
    return number


def share(name: str, value: float) -> float:
    """`value` as a float, where it is above 0 and at most 1."""
    number = finite(name, value)
    if not 0 < number <= 1:
        raise InvalidArgument(f"{name} is {value}; it is a share, above 0 and at most 1")
    return number


def count(name: str, value: int, *, least: int = 1) -> int:
    """`value`, where it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise InvalidArgument(f"{name} is {value}; it must be at least {least}")
    return value


def finite(name: str, value: float) -> float:
    """`value` as a float, where it is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value):
        raise InvalidArgument(f"{name} is {value}; it must be finite")
    return float(value)
