"""Of any messages: bounds in order, sums over messages, nothing stale, and only typed errors for what is none."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sparecall import tokens
from sparecall.errors import InvalidArgument

MODELS = st.sampled_from(["gpt-4o", "gpt-3.5-turbo-0301", "gpt-5", "claude-opus-4-7", "gemini-2.5-pro", "a-model"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.text(st.characters(), max_size=60)
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text", "output_text"]), "text": WORDS}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": WORDS})}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "content": WORDS}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "name": WORDS, "input": JSON}),
    st.fixed_dictionaries({"type": st.text(max_size=6), "x": JSON}),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", "developer"]),
            "content": st.none() | WORDS | st.lists(PARTS, max_size=3),
        },
        optional={"name": WORDS, "odd": JSON, "refusal": st.none() | WORDS},
    ),
    max_size=5,
)


@given(MODELS, MESSAGES)
def test_bounds_are_in_order_and_add_up(model: str, messages: list[dict[str, Any]]) -> None:
    counter = tokens.Counter(model)
    count = counter.messages(messages)
    assert 0 <= count.low <= count.total <= count.high
    assert not count.exact or count.low == count.high
    nothing = counter.messages([])
    alone = [counter.messages([message]) for message in messages]
    slack = len(messages) + 1  # of rounding
    for name in ("total", "high"):
        total = getattr(nothing, name) + sum(getattr(one, name) - getattr(nothing, name) for one in alone)
        assert abs(getattr(count, name) - total) <= slack


@given(MODELS, MESSAGES, st.lists(JSON, max_size=2))
def test_what_is_remembered_changes_no_count(model: str, messages: list[dict[str, Any]], others: list[Any]) -> None:
    counter = tokens.Counter(model)
    first = counter.messages(messages)
    assert counter.messages(copy.deepcopy(messages)) == first
    for message, other in zip(messages, others, strict=False):
        message["odd"] = other
    assert counter.messages(messages) == tokens.Counter(model, memo_bytes=0).messages(messages)


@given(MODELS, JSON, JSON)
def test_what_is_no_message_raises_only_typed_errors(model: str, messages: Any, tools: Any) -> None:
    counter = tokens.Counter(model)
    for call in (
        lambda: counter.messages(messages),
        lambda: counter.messages([messages]),
        lambda: counter.messages([{"role": "user", "content": messages}]),
        lambda: counter.messages([{"role": "user", "content": [{"type": "tool_result", "content": messages}]}]),
        lambda: counter.messages([{"role": "assistant", "tool_calls": messages}]),
        lambda: counter.messages([], tools),
        lambda: counter.messages([], [{"name": "f", "parameters": tools}]),
        lambda: counter.messages([], [{"name": "f", "parameters": {"properties": {"a": tools, "b": {"enum": tools}}}}]),
    ):
        try:
            count = call()
        except (TypeError, InvalidArgument):
            continue
        assert 0 <= count.low <= count.total <= count.high
