"""Outline's callables of the stub, as in `stub_cases.py`: calls that they take and calls that are type errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_WORDS = _core.SymbolWords()


def found() -> _core.Outline:
    return _core.outline_read("def f():\n    return 'a body of some length'\n", "python")


def index() -> _core.SymbolIndex:
    made = _core.SymbolIndex()
    made.update("a.py", "x = 1")
    return made


def former() -> _core.FormerSymbol:
    return index().remove("a.py").removed[0]


def symbol() -> _core.IndexedSymbol:
    return index().symbols("a.py")[1]


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
    ("Outline.skeleton", lambda *a, **o: found().skeleton(*a, **o), [((), {}), ((["f"],), {}), ((), {"keep": ("f",)})]),
    ("Outline.tokens", lambda *a: found().tokens(*a), [((), {}), (("cl100k_base",), {})]),
    ("Skeleton.tokens", lambda *a: found().skeleton().tokens(*a), [((), {}), (("cl100k_base",), {})]),
    ("SymbolIndex", _core.SymbolIndex, [((), {}), ((), {"max_bytes": 5, "code_only": True})]),
    (
        "SymbolIndex.update",
        lambda *a, **o: index().update(*a, **o),
        [(("a.py", "x"), {}), (("a", b"x"), {"language": "python", "max_seconds": 1})],
    ),
    ("SymbolIndex._update_or_work", lambda *a: index()._update_or_work(*a), [(("a.py", "x", None, 1.0), {})]),
    ("SymbolIndex.remove", lambda *a: index().remove(*a), [(("a.py",), {}), (("b.py",), {})]),
    ("SymbolIndex.symbols", lambda *a: index().symbols(*a), [(("a.py",), {})]),
    ("SymbolIndex.text", lambda *a: index().text(*a), [((symbol(),), {})]),
    ("SymbolIndex.paths", lambda *a: index().paths(*a), [((), {})]),
    ("SymbolIndex.held", lambda *a: index().held(*a), [((), {})]),
    ("SymbolIndex._key", lambda *a: index()._key(*a), [((symbol(), True), {})]),
    ("SymbolIndex._subject", lambda *a: index()._subject(*a), [((symbol(), False), {})]),
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
    "Outline.skeleton": [((5,), {}), (("f",), {}), (([5],), {})],
    "Outline.tokens": [((5,), {})],
    "Skeleton.tokens": [((5,), {})],
    "SymbolIndex": [((5,), {}), ((), {"max_bytes": "5"}), ((), {"code_only": "yes"})],
    "SymbolIndex.update": [((5, ""), {}), (("a.py", 5), {}), (("a.py", ""), {"language": 5})],
    "SymbolIndex._update_or_work": [((5, "", None, 1.0), {}), (("a.py", 5, None, 1.0), {})],
    "SymbolIndex.remove": [((5,), {})],
    "SymbolIndex.symbols": [((5,), {})],
    "SymbolIndex.text": [((5,), {})],
    "SymbolIndex.paths": [((5,), {})],
    "SymbolIndex.held": [((5,), {})],
    "SymbolIndex._key": [((5, True), {}), ((symbol(), "yes"), {})],
    "SymbolIndex._subject": [((5, True), {})],
}


def objects() -> dict[str, Any]:
    """One of each class of merges and search."""
    merged = _core.outline_merge("a", "b", "c", "python")
    return {
        "Merged": merged,
        "MergeConflict": merged.conflicts[0],
        "SymbolWords": _WORDS,
    }
