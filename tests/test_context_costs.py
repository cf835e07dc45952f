"""`Costs` and `Handles`: single figures by hand, what is remembered, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import tokens
from sparecall.context.costs import PER_MESSAGE, Costs
from sparecall.context.handles import Handles, handle_of
from sparecall.errors import InvalidArgument, UnknownHandle, UnknownName

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id": "R-1"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


def count(*texts: str) -> int:
    return sum(tokens.count_many(list(texts)))


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ({"role": "user", "content": "Where is it?"}, ["Where is it?"]),
        ({"role": "user", "content": ""}, []),
        ({"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}, ["find", '{"id": "R-1"}'] * 2),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "x y"}}, ["f", "x y"]),
        ({"role": "assistant", "content": None, "refusal": "No."}, ["No."]),
        ({"role": "tool", "tool_call_id": "call_1", "content": "found \ud800"}, ["found \ud800"]),
        ({"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a b"}]}, ["a b"]),
        ({"role": "user", "content": "a", "x_unknown": "not counted"}, ["a"]),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "find", "input": {"id": "\ud800", "n": [1]}}]},
            ["find", '{"id":"\ud800","n":[1]}'],
        ),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm, so", "signature": "s"}]}, ["hm, so"]),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a b"}]}, {"type": "tool_result", "tool_use_id": "u", "content": "c"}, {"type": "tool_result", "tool_use_id": "v"}]},
            ["a b", "c"],
        ),
    ],
)  # fmt: skip
def test_a_message_is_its_texts_and_calls(message: Any, texts: list[str]) -> None:
    assert Costs().message(message) == PER_MESSAGE + count(*texts)


def test_a_request_is_its_messages_and_tools() -> None:
    costs = Costs(encoding="cl100k_base")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    texts = tokens.count_many(["Be brief.", "Why?"], encoding="cl100k_base")
    whole = '[{"type":"function","function":{"name":"find","parameters":{"type":"object","properties":{}}}}]'
    assert costs.per_request == 0
    assert costs.request(messages) == sum(texts) + 2 * PER_MESSAGE
    assert costs.tools(TOOLS) == tokens.count(whole, "cl100k_base")
    assert costs.request(messages, TOOLS) == costs.request(messages) + costs.tools(TOOLS)
    assert costs.request(messages[1:], system="Be brief.") == costs.request(messages)
    assert costs.request(messages[1:], system=[{"type": "text", "text": "Be brief."}]) == costs.request(messages)
    assert costs.tools(None) == costs.tools([]) == 0


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_with_a_model_the_counter_decides(model: str) -> None:
    costs, counter = Costs(model=model), tokens.Counter(model)
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    assert costs.request(messages, TOOLS) == counter.messages(messages, TOOLS).high
    assert costs.request(messages, system="s") == counter.messages(messages, system="s").high
    assert costs.tools(TOOLS) == counter.messages([], TOOLS).high - counter.messages([]).high
    assert costs.text("Why is it so?") == counter.count("Why is it so?").high
    assert costs.per_request + sum(map(costs.message, messages)) - costs.request(messages) in {0, 1, 2}


def test_an_image_costs_what_an_unknown_model_may_take_for_it() -> None:
    unknown = tokens.Counter("unknown")
    with_it, without = ({"role": "user", "content": [*parts]} for parts in ([IMAGE], []))
    expected = unknown.messages([with_it]).total - unknown.messages([without]).total
    assert Costs().message(with_it) == PER_MESSAGE + expected
    assert expected >= 500


def test_what_is_remembered_is_content() -> None:
    for model in (None, "gpt-4o"):
        costs = Costs(model=model)
        message: dict[str, Any] = {"role": "user", "content": "one two three"}
        first = costs.message(message)
        assert costs.message(copy.deepcopy(message)) == first
        message["content"] = "one"
        assert costs.message(message) < first
        message["content"] = [{"type": "text", "text": "one two three"}]
        longer = costs.message(message)
        message["content"][0]["text"] += " four five"
        assert costs.message(message) > longer
        assert Costs(model=model, memo_bytes=0).message(message) == costs.message(message)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": 5},
        {"role": "user", "content": ["text"]},
        {"role": "assistant", "tool_calls": ["call"]},
        {"role": "assistant", "tool_calls": [{"function": "find"}]},
    ],
)
@pytest.mark.parametrize("model", [None, "gpt-4o"])
def test_what_is_no_message_is_a_type_error(message: Any, model: str | None) -> None:
    with pytest.raises(TypeError, match="must"):
        Costs(model=model).message(message)


def test_an_encoding_nobody_has_is_refused_at_once() -> None:
    with pytest.raises(UnknownName, match="o100k"):
        Costs(encoding="o100k")


# --- handles -------------------------------------------------------------------------------------


@given(st.text(st.characters(), min_size=1))
def test_a_text_comes_back_by_its_handle(text: str) -> None:
    handles = Handles(100_000)
    handle = handles.put(text, scope="team/a")
    assert handle == handle_of(text) == Handles(0).put(text)
    assert len(handle) == 18
    assert handles.get(handle, scope="team/a") == text
    for scope in ("", "team", "team/", "team/a/b", "team/b"):
        with pytest.raises(UnknownHandle):
            handles.get(handle, scope=scope)


def test_a_handle_does_not_reach_into_another_scope() -> None:
    handles = Handles()
    handle = handles.put("secret", scope="a")
    with pytest.raises(UnknownHandle, match="19 characters"):
        handles.get(handle + "a")
    with pytest.raises(UnknownHandle, match="0 characters"):
        handles.get("", scope=handle + "a")


def test_what_is_asked_for_least_leaves_first_and_nothing_exceeds_the_bound() -> None:
    handles = Handles(4_000)
    kept = [handles.put(f"{n}" * 200) for n in range(10, 99)]
    assert len(handles) < 20
    found = 0
    for one in kept:
        try:
            handles.get(one)
        except UnknownHandle:
            continue
        found += 1
    assert found == len(handles) > 0
    too_long = handles.put("a" * 10_000)
    with pytest.raises(UnknownHandle, match="larger max_bytes"):
        handles.get(too_long)


def test_two_texts_of_one_handle_are_both_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparecall.context.handles.handle_of", lambda _text: "h:" + "0" * 16)
    handles = Handles()
    handle = handles.put("one")
    assert handles.put("one") == handle
    assert handles.get(handle) == "one"
    assert handles.put("two") == handle
    with pytest.raises(UnknownHandle, match="two texts"):
        handles.get(handle)


def test_nothing_has_no_handle() -> None:
    with pytest.raises(InvalidArgument, match="empty"):
        Handles().put("")
