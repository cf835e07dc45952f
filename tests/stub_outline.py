"""Outline's callables of the stub, as in `stub_cases.py`: calls that they take and calls that are type errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_WORDS = _core.SymbolWords()

GOOD: list[tuple[str, Callable[..., object], list[Arguments]]] = [
    (
        "outline_read",
        _core.outline_read,
        [(("x = 1", "python"), {}), ((b"x = 1",), {"path": "a.py", "language": None, "max_seconds": 1})],
    ),
    ("_outline_work", _core._outline_work, [(("x = 1", None, "a.py", 1.0), {})]),
    ("outline_languages", _core.outline_languages, [((), {})]),
    (
        "outline_merge",
        _core.outline_merge,
        [(("a", "b", "c", "python"), {}), (("a", "b", "c"), {"path": "a.py", "language": None, "max_seconds": 1})],
    ),
    ("_outline_merge_work", _core._outline_merge_work, [(("", "", "", None, "a.py", 1.0), {})]),
    (
        "Merged.marked",
        _core.outline_merge("a", "b", "c", "python").marked,
        [((), {}), ((), {"ours": "a", "theirs": "b", "base": "c"}), ((), {"base": None})],
    ),
    ("SymbolWords", _core.SymbolWords, [((), {})]),
    ("SymbolWords.add", _WORDS.add, [((1, "a.b", "def b()", "def b(): pass", "a.py"), {})]),
    ("SymbolWords.remove", _WORDS.remove, [((1,), {})]),
    ("SymbolWords.search", _WORDS.search, [(("b", 1), {})]),
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
    "outline_merge": [
        (("", ""), {}),
        (("", "", b"", "python"), {}),
        (("", "", "", 5), {}),
        (("", "", "", "python"), {"path": 5}),
    ],
    "_outline_merge_work": [(("", "", "", None, "a.py"), {}), (("", "", 5, None, "a.py", 1.0), {})],
    "Merged.marked": [(("a",), {}), ((), {"ours": None}), ((), {"base": 5})],
    "SymbolWords": [((1,), {})],
    "SymbolWords.add": [(("1", "", "", "", ""), {}), ((1, "", "", "", b""), {}), ((1, "", "", ""), {})],
    "SymbolWords.remove": [(("1",), {})],
    "SymbolWords.search": [((b"b", 1), {}), (("b",), {}), (("b", "1"), {})],
}


def objects() -> dict[str, Any]:
    """One of each class that is not made by calling it."""
    outlined = _core.outline_read("def f(): ...", "python")
    merged = _core.outline_merge("a", "b", "c", "python")
    return {
        "Outline": outlined,
        "Symbol": outlined.symbols[0],
        "Merged": merged,
        "MergeConflict": merged.conflicts[0],
        "SymbolWords": _WORDS,
    }
