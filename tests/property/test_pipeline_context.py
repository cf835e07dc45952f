"""The stage `context` before bodies that are conversations but for a value or three: each goes out once, cut or as it came."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall.pipeline import Context, Pipeline, Request
from stages import Provider
from test_pipeline_context import ROWS, booking, talk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

ODD: list[Any] = [None, 5, 1.5, True, "", [], {}, "tool", "system", [5], [[]], {"type": "text"}, [{"type": "text", "text": 5}], [{"type": "tool_use"}],
                  [{"type": "tool_result", "content": [5]}], {"a": None}, "\x00"]  # fmt: skip
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "a", "description": "d"}},
    {"name": "b", "input_schema": {}},
]


def conversation(wire: str) -> list[dict[str, Any]]:
    if wire == "chat":
        return booking() + talk(4)
    turns = talk(6)
    use = {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": 1}}
    turns[1] = {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, use]}
    found = [{"type": "text", "text": json.dumps(ROWS)}]
    turns[2] = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": found}]}
    return turns


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that stands in a value."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(one, (*path, key))


@settings(max_examples=60)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(["chat", "messages"]),
    st.sampled_from([60, 300, 3_000, 100_000]),
    st.sampled_from(["stable", "free"]),
    st.integers(0, 3),
)
def test_whatever_comes_goes_out_once(draw: Random, wire: Any, budget: int, prefix: str, odd: int) -> None:
    body: dict[str, Any] = {"model": "gpt-4o", "messages": conversation(wire), "tools": copy.deepcopy(TOOLS)}
    for _ in range(odd):
        *path, last = draw.choice(list(places(body)))
        inner: Any = body
        for key in path:
            inner = inner[key]
        inner[last] = copy.deepcopy(draw.choice(ODD))
    request = Request.of(body, wire=wire, scope="a")
    options: dict[str, Any] = {"prefix": prefix, "keep_tools": ["b"]}
    pipeline = Pipeline([Context(budget=budget, **options), provider := Provider()])
    reply = asyncio.run(pipeline(request))
    assert len(provider.calls) == 1
    assert reply.optimized is not None
    if reply.optimized.why:
        assert provider.calls[0].body == request.body
    else:
        assert reply.optimized.after <= min(budget, reply.optimized.before)
    assert odd or reply.optimized.why in {"", "cannot_fit"}
