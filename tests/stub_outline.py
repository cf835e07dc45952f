"""Outline's callables of the stub, as in `stub_cases.py`: calls that they take and calls that are type errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]

GOOD: list[tuple[str, Callable[..., object], list[Arguments]]] = [
    (
        "outline_read",
        _core.outline_read,
        [(("x = 1", "python"), {}), ((b"x = 1",), {"path": "a.py", "language": None, "max_seconds": 1})],
    ),
    ("_outline_work", _core._outline_work, [(("x = 1", None, "a.py", 1.0), {})]),
    ("outline_languages", _core.outline_languages, [((), {})]),
]

BAD: dict[str, list[Arguments]] = {
    "outline_read": [
        ((5, "python"), {}),
        ((bytearray(), "python"), {}),
        (("", 5), {}),
        (("", "python"), {"path": 5}),
        (("", "python"), {"max_seconds": "1"}),
    ],
    "_outline_work": [((5, None, None, 1.0), {}), (("",), {})],
    "outline_languages": [((1,), {})],
}
