"""The chat wire: what is read from a complete answer, assembled from a stream, and rendered as one again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sparecall import digest
from sparecall.pipeline import chat
from sparecall.pipeline.answer import Summary
from sparecall.pipeline.log import LogEvent

HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def encoded(*chunks: Any) -> list[bytes]:
    return [chunk if isinstance(chunk, bytes) else msgspec.json.encode(chunk) for chunk in chunks]


def chunk(*choices: Any, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": list(choices), **fields}


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": finish}


def assembled(*chunks: Any) -> dict[str, Any] | None:
    assembler = chat.Assembler()
    for data in encoded(*chunks):
        assembler.add(data)
    ending = assembler.finish()
    return None if ending.body is None else msgspec.json.decode(ending.body)


def test_text_comes_together_with_usage_from_a_chunk_of_its_own() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    whole = assembled(
        chunk(delta(role="assistant", content="", refusal=None), usage=None, system_fingerprint=None),
        chunk(delta(content="Hel"), usage=None, system_fingerprint="fp"),
        chunk(delta(content="lo"), usage=None),
        chunk(delta(finish="stop"), usage=None),
        chunk(usage=usage),
    )
    assert whole == {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
    }


def test_usage_may_stand_on_the_last_choice_s_own_chunk() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    whole = assembled(chunk(delta(content="a")), chunk(delta(finish="stop"), usage=usage))
    assert whole is not None
    assert whole["usage"] == usage


@pytest.mark.parametrize("content", [b'"\xff"', b'"\\ud800"', b"1e999"])
def test_what_could_not_be_rendered_is_no_answer(content: bytes) -> None:
    assert chat.summarise(b'{"choices":[{"message":{"content":%b},"finish_reason":"stop"}]}' % content) is None


def test_choices_without_a_number_are_numbered_by_their_place() -> None:
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in ("a", "b")]
    body = msgspec.json.encode({"choices": choices})
    summary = chat.summarise(body)
    assert summary is not None
    assert summary.storable
    events = [msgspec.json.decode(event)["choices"][0] for event in chat.render(body, include_usage=False)]
    assert [event["index"] for event in events] == [0, 0, 1, 1]


def test_tool_calls_are_merged_by_index_and_lose_it() -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    whole = assembled(
        chunk(delta(role="assistant", content=None, tool_calls=[second])),
        chunk(delta(tool_calls=[first])),
        chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}])),
        chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}])),
        chunk(delta(finish="tool_calls")),
    )
    assert whole is not None
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_choices_logprobs_refusals_and_unknown_fields_come_together() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    whole = assembled(
        chunk({**delta(1, content="b"), "logprobs": {"content": [token], "refusal": None}}),
        chunk({**delta(0, refusal="I "), "content_filter_results": {"hate": {"filtered": False}}}, provider="p"),
        chunk({**delta(1, content="c"), "logprobs": {"content": [token]}}),
        chunk(delta(0, refusal="won't", reasoning_content="because")),
        chunk(delta(0, finish="stop"), {**delta(1, finish="length"), "stop_reason": 7}),
    )
    assert whole is not None
    assert whole["provider"] == "p"
    none, one = whole["choices"]
    assert none["message"]["refusal"] == "I won't"
    assert none["message"]["reasoning_content"] == "because"
    assert none["content_filter_results"] == {"hate": {"filtered": False}}
    assert one["message"]["content"] == "bc"
    assert one["logprobs"] == {"content": [token, token], "refusal": None}
    assert (one["finish_reason"], one["stop_reason"]) == ("length", 7)


@pytest.mark.parametrize(
    "odd",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"5",
        b"null",
        b"{}",
        b'{"choices": null}',
        b'{"choices": 5}',
        b'{"choices": [5]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"index": "0"}]}',
        b'{"choices": [{"index": true}]}',
        b'{"choices": [{"index": [0]}]}',
        b'{"choices": [{"index": null, "delta": {}}]}',
        b'{"choices": [{"index": 0, "delta": 5}]}',
        b'{"choices": [{"index": 0, "delta": "text"}]}',
        b'{"choices": [{"index": 0, "delta": {"content": 5}}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": [5]}}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": {"a": 1}}}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": "f"}}]}',
        b'{"choices": [{"index": 0, "delta": {}, "logprobs": "x"}, {"index": 0, "logprobs": {}}]}',
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": [], "error": {"message": "overloaded"}}',
        b'{"choices": [' + b"[" * 100_000,
    ],
    ids=lambda odd: odd[:60].decode(errors="replace"),
)
def test_an_odd_chunk_makes_the_answer_unfit_to_be_stored_and_passes_on_untouched(odd: bytes) -> None:
    assembler = chat.Assembler()
    assembler.add(encoded(chunk(delta(content="a")))[0])
    event = assembler.add(odd)
    assert event.data == odd
    assert chat.without_usage([event]) == [odd]
    assembler.add(encoded(chunk(STOP))[0])
    ending = assembler.finish()
    assert ending.body is None or ending.summary is None or not ending.summary.storable


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk()],
        [chunk(delta(content="never finished"))],
        [chunk(delta(0, "stop", content="a"), delta(1, content="never finished"))],
    ],
    ids=["nothing", "no choice", "not finished", "one of two not finished"],
)
def test_a_stream_without_a_finish_for_every_choice_is_no_answer(chunks: list[Any]) -> None:
    assert assembled(*chunks) is None


@pytest.mark.parametrize(
    ("finish", "storable"),
    [
        ("stop", True),
        ("length", True),
        ("tool_calls", True),
        ("function_call", True),
        ("content_filter", False),
        ("", False),
        (None, False),
    ],
)
def test_only_answers_that_finished_for_a_good_reason_are_storable(finish: str | None, storable: bool) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": finish}
    good = {**choice, "index": 1, "finish_reason": "stop"}
    for choices in ([choice], [good, choice]):
        summary = chat.summarise(msgspec.json.encode({"choices": choices, "model": "m"}))
        assert summary is not None
        assert summary.storable is storable


def test_a_summary_has_the_model_and_the_tokens() -> None:
    body = {
        "model": "gpt-4o",
        "choices": [{"message": {}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        },
    }
    assert chat.summarise(msgspec.json.encode(body)) == Summary("gpt-4o", 10, 5, True, 4)
    bare = {"choices": [{"message": {}, "finish_reason": "stop"}], "usage": None}
    assert chat.summarise(msgspec.json.encode(bare)) == Summary("", 0, 0, True, 0)
    details = {**body, "usage": {"prompt_tokens": 10, "prompt_tokens_details": None}}
    assert chat.summarise(msgspec.json.encode(details)) == Summary("gpt-4o", 10, 0, True, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": 5}',
        b'{"choices": [5]}',
        b'{"choices": [{"finish_reason": "stop"}]}',
        b'{"choices": [{"finish_reason": "stop", "message": null}]}',
        b'{"choices": [{"finish_reason": "stop", "message": {"tool_calls": [5]}}]}',
        b'{"choices": [{"finish_reason": "stop", "message": {}, "index": "0"}]}',
        b'{"choices": [{"finish_reason": 5, "message": {}}]}',
        b'{"choices": [{"finish_reason": "stop", "message": {"content": "\xff"}, "x": ',
        b'{"choices": ' + b"[" * 100_000,
    ],
    ids=lambda body: body[:60].decode(errors="replace"),
)
def test_what_is_no_completion_has_no_summary(body: bytes) -> None:
    assert chat.summarise(body) is None


def test_no_choices_are_never_stored() -> None:
    summary = chat.summarise(b'{"choices": []}')
    assert summary is not None
    assert not summary.storable


def test_what_has_a_summary_can_be_rendered_though_fields_are_missing() -> None:
    body = b'{"choices": [{"message": {"content": "a", "tool_calls": [{"index": 9, "id": "x"}]}, "finish_reason": "stop"}]}'
    assert chat.summarise(body) is not None
    first, last = [msgspec.json.decode(event) for event in chat.render(body, include_usage=False)]
    assert first["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "id": "x"}]
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}


def test_a_rendered_stream_speaks_of_usage_only_where_asked_for() -> None:
    body = msgspec.json.encode(
        {
            "id": "c",
            "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1},
        }
    )
    silent = [msgspec.json.decode(event) for event in chat.render(body, include_usage=False)]
    assert all("usage" not in event for event in silent)
    spoken = [msgspec.json.decode(event) for event in chat.render(body, include_usage=True)]
    assert [event["usage"] for event in spoken] == [None, None, {"prompt_tokens": 1}]
    assert spoken[-1]["choices"] == []
    assert {event["object"] for event in silent + spoken} == {"chat.completion.chunk"}


def test_usage_is_taken_out_of_a_stream_and_nothing_else_is() -> None:
    assembler = chat.Assembler()
    sent = encoded(
        chunk(delta(content="a")),
        chunk(delta(content="b"), usage=None),
        chunk(delta(finish="stop"), usage={"prompt_tokens": 1}),
        chunk(usage={"prompt_tokens": 1}),
        chunk(usage=None, prompt_filter_results=[]),
    )
    events = [assembler.add(data) for data in sent]
    kept = chat.without_usage(events)
    assert kept[0] == sent[0]
    assert [msgspec.json.decode(data) for data in kept[1:]] == [
        chunk(delta(content="b")),
        chunk(delta(finish="stop")),
        chunk(prompt_filter_results=[]),
    ]
    assert chat.without_usage([LogEvent(b"not json", usage=False)]) == [b"not json"]


def test_a_streaming_request_is_made_to_ask_for_usage_and_keeps_every_spelling() -> None:
    body = b'{"model": "m", "seed": 1.50e1, "big": 123456789012345678901234567890, "stream": true, "messages": [{"content": "\\u00e9"}]}'
    asked = chat.asking_for_usage(body)
    assert msgspec.json.decode(asked) == {**msgspec.json.decode(body), "stream_options": {"include_usage": True}}
    for spelling in (b"1.50e1", b"123456789012345678901234567890", b"\\u00e9"):
        assert spelling in asked
    assert digest.inspect(asked, scope="s").digest == digest.inspect(body, scope="s").digest
    assert digest.inspect(asked, scope="s").include_usage


@pytest.mark.parametrize(
    ("options", "after"),
    [
        (b"null", {"include_usage": True}),
        (b"{}", {"include_usage": True}),
        (b'{"include_usage": false}', {"include_usage": True}),
        (
            b'{"include_usage": null, "include_obfuscation": false}',
            {"include_usage": True, "include_obfuscation": False},
        ),
        (b"5", 5),
        (b"[]", []),
        (b'{"include_usage": "yes"}', {"include_usage": "yes"}),
    ],
)
def test_stream_options_are_added_to_and_odd_ones_left_for_the_provider_to_refuse(options: bytes, after: Any) -> None:
    asked = msgspec.json.decode(chat.asking_for_usage(b'{"stream": true, "stream_options": ' + options + b"}"))
    assert asked == {"stream": True, "stream_options": after}


def test_a_body_that_only_some_readers_take_goes_out_as_it_came() -> None:
    """A lone surrogate is JSON by its grammar, and text for nobody."""
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"\\ud800 and more text"}]}'
    assert digest.inspect(body, scope="s").stream
    assert chat.asking_for_usage(body) == body
