"""Context's callables of the stub, as in `stub_cases.py`: calls that they take and calls that are type errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def document() -> _core.ContextDocument:
    return _core.ContextDocument("one line\nand another\n", "o200k_base")


def repeats() -> _core.ContextRepeats:
    return _core.ContextRepeats("o200k_base")


def _select(*args: Any, **options: Any) -> object:
    return _core.context_select([(document(), 0, False, 1.0)], *args, **options)


GOOD: list[tuple[str, Callable[..., object], list[Arguments]]] = [
    (
        "ContextDocument",
        _core.ContextDocument,
        [
            (("t", "o200k_base"), {}),
            (("[]", "cl100k_base"), {"compact": True, "tokens": 1, "kind": "log", "worth": [1.0]}),
        ],
    ),
    (
        "context_documents",
        _core.context_documents,
        [(([("t", True, None), ("u", False, 1)], "o200k_base"), {})],
    ),
    ("ContextRepeats", _core.ContextRepeats, [(("o200k_base",), {})]),
    ("ContextRepeats.push", lambda *a: repeats().push(*a), [(("text",), {})]),
    ("ContextBoard", _core.ContextBoard, [((), {})]),
    ("context_same", _core.context_same, [(([{"role": "user"}], [{"role": "user"}]), {}), (([], [1]), {})]),
    (
        "context_reduce",
        lambda *a, **options: _core.context_reduce(document(), *a, **options),
        [(("o200k_base",), {"budget": 5}), (("o200k_base",), {"budget": 5, "query": "line", "handle": "h"})],
    ),
    (
        "context_select",
        _select,
        [
            (([4],), {"budget": 5}),
            (
                ([4],),
                {
                    "budget": 50,
                    "query": "line",
                    "similar": [0.5],
                    "whole": 400,
                    "half_life": 3,
                    "relevance": 5,
                    "prior": 0.5,
                    "again": 0,
                    "later": 0.5,
                    "crowd": 64,
                    "instructions": ["line <n>"],
                    "handles": ["h"],
                    "board": _core.ContextBoard(),
                    "same": 0,
                },
            ),
        ],
    ),
]

BAD: dict[str, list[Arguments]] = {
    "ContextDocument": [
        ((5, "o200k_base"), {}),
        (("t",), {}),
        (("t", 5), {}),
        (("t", "o200k_base"), {"compact": "yes"}),
        (("t", "o200k_base"), {"kind": 5}),
        (("t", "o200k_base"), {"worth": "no"}),
        (("t", "o200k_base"), {"tokens": "1"}),
    ],
    "context_documents": [((["t"], "o200k_base"), {}), (([(5, True, None)], "o200k_base"), {}), (([],), {})],
    "ContextRepeats": [((5,), {}), ((), {})],
    "ContextRepeats.push": [((5,), {}), ((), {})],
    "context_reduce": [((), {"budget": 5}), (("o200k_base",), {}), (("o200k_base",), {"budget": "5"})],
    "ContextBoard": [((1,), {})],
    "context_same": [(([],), {}), (((), []), {}), (([], "a"), {})],
    "context_select": [
        (([4],), {}),
        ((5,), {"budget": 5}),
        (([4],), {"budget": "5"}),
        (([4],), {"budget": 5, "query": 5}),
        (([4],), {"budget": 5, "instructions": 5}),
        (([4],), {"budget": 5, "board": 5}),
        (([4],), {"budget": 5, "same": "0"}),
    ],
}
