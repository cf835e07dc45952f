"""Any completion, rendered as a stream or cut into deltas at any places, is the same completion when assembled."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sparecall import digest
from sparecall.pipeline import chat
from sparecall.pipeline.chat import Assembler

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KNOWN = {"id", "object", "created", "model", "choices", "usage", "error", "obfuscation", "index", "message", "delta",
         "finish_reason", "logprobs", "role", "content", "refusal", "tool_calls", "type"}  # fmt: skip
EXTRA = st.dictionaries(
    TEXT.filter(lambda name: name not in KNOWN), JSON.filter(lambda value: value is not None), max_size=2
)
TOOL_CALL = st.fixed_dictionaries(
    {"id": TEXT, "type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT})}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={"refusal": st.none() | TEXT, "tool_calls": st.lists(TOOL_CALL, min_size=1, max_size=3)},
)
TOKEN = st.fixed_dictionaries(
    {"token": TEXT, "logprob": st.floats(-50, 0), "bytes": st.lists(st.integers(0, 255), max_size=3)}
)
LOGPROBS = st.none() | st.fixed_dictionaries({"content": st.none() | st.lists(TOKEN, max_size=3), "refusal": st.none()})
FINISH = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
USAGE = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 9**9), "completion_tokens": st.integers(0, 9**9)})


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": draw(MESSAGE),
            "logprobs": draw(LOGPROBS),
            "finish_reason": draw(FINISH),
            **draw(EXTRA),
        }
        for index in range(draw(st.integers(1, 3)))
    ]
    fields = {
        "id": draw(TEXT),
        "object": "chat.completion",
        "created": draw(st.integers(0, 2**40)),
        "model": draw(TEXT),
    }
    usage = draw(st.none() | USAGE)
    return {**fields, **draw(EXTRA), "choices": choices, **({} if usage is None else {"usage": usage})}


def assembled(events: list[bytes]) -> dict[str, Any]:
    assembler = Assembler()
    for event in events:
        assert assembler.add(event).data is event
    ending = assembler.finish()
    assert ending.body is not None
    assert ending.summary == chat.summarise(ending.body)
    return dict(msgspec.json.decode(ending.body))


@given(completions(), st.booleans())
def test_render_then_assemble_gives_the_same_completion(completion: dict[str, Any], include_usage: bool) -> None:
    body = msgspec.json.encode(completion)
    whole = assembled(chat.render(body, include_usage=include_usage))
    expected = completion if include_usage else {name: value for name, value in completion.items() if name != "usage"}
    assert whole == expected
    # And what was stored from a stream renders as the very same stream.
    streams = [chat.render(msgspec.json.encode(one), include_usage=include_usage) for one in (whole, expected)]
    first, second = [[msgspec.json.decode(event) for event in events] for events in streams]
    assert first == second


def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(places)] or [text]


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """A completion, and a stream of it as a provider might cut it: in any pieces, its choices in any mixture."""
    completion = draw(completions())
    head = {name: value for name, value in completion.items() if name not in {"choices", "usage", "object"}}
    head["object"] = "chat.completion.chunk"
    queues: list[list[dict[str, Any]]] = []
    for choice in completion["choices"]:
        message, index = choice["message"], choice["index"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        for name in ("content", "refusal"):
            if isinstance(message.get(name), str):
                deltas += [{name: piece} for piece in cut(draw, message[name])]
            elif name in message:
                deltas.append({name: None})
        for number, call in enumerate(message.get("tool_calls", ())):
            function = {"name": call["function"]["name"], "arguments": ""}
            deltas.append(
                {"tool_calls": [{"index": number, "id": call["id"], "type": "function", "function": function}]}
            )
            pieces = cut(draw, call["function"]["arguments"])
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in pieces]
        parts = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
        parts[0]["logprobs"] = choice["logprobs"]
        rest = {name: value for name, value in choice.items() if name not in {"index", "message", "logprobs"}}
        queues.append([*parts, {"index": index, "delta": {}, **rest}])
    chunks = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append({**head, "choices": [queue.pop(0)], "usage": None})
    if "usage" in completion:
        if draw(st.booleans()):
            chunks[-1]["usage"] = completion["usage"]
        else:
            chunks.append({**head, "choices": [], "usage": completion["usage"]})
    return completion, [msgspec.json.encode(chunk) for chunk in chunks]


@given(streamed())
def test_any_cutting_into_deltas_assembles_to_the_completion(case: tuple[dict[str, Any], list[bytes]]) -> None:
    completion, events = case
    whole = assembled(events)
    assert whole == completion


@given(streamed())
def test_a_stream_without_its_usage_is_that_of_a_completion_without(case: tuple[dict[str, Any], list[bytes]]) -> None:
    completion, events = case
    assembler = Assembler()
    kept = chat.without_usage([assembler.add(event) for event in events])
    assert all(b'"usage"' not in data or "usage" not in msgspec.json.decode(data) for data in kept)
    assert assembled(kept) == {name: value for name, value in completion.items() if name != "usage"}


@given(st.lists(st.binary(max_size=40) | JSON.map(msgspec.json.encode) | st.builds(
    lambda value: msgspec.json.encode({"choices": value}), JSON | st.lists(st.fixed_dictionaries({"index": JSON, "delta": JSON}), max_size=2)
), max_size=6))  # fmt: skip
def test_nothing_a_provider_sends_makes_the_assembler_raise(events: list[bytes]) -> None:
    assembler = Assembler()
    kept = [assembler.add(event) for event in events]
    ending = assembler.finish()
    assert ending.body is None or isinstance(msgspec.json.decode(ending.body), dict)
    assert [event is None for event in kept] == [event == b"[DONE]" for event in events]
    chat.without_usage([event for event in kept if event is not None])


@given(JSON.filter(lambda value: not isinstance(value, dict)) | st.dictionaries(TEXT, JSON, max_size=4))
def test_asking_for_usage_changes_nothing_but_that(value: Any) -> None:
    body = msgspec.json.encode(value)
    asked = chat.asking_for_usage(body)
    assert digest.compare(body, asked) is None


@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_nothing_makes_summarise_raise(body: bytes) -> None:
    assert chat.summarise(body) is None or isinstance(msgspec.json.decode(body), dict)
