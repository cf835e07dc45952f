"""The Responses wire: what is read from a Response, and taken from a stream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from responses_wire import (
    ALL_KINDS,
    CALL,
    CITING,
    CUSTOM,
    MESSAGE,
    OPEN_REASONING,
    REASONING,
    REFUSING,
    SEARCH,
    TEXT,
    response,
)
from sparecall.pipeline import responses
from sparecall.pipeline.answer import NO_ENDING, Ending, Summary
from sparecall.pipeline.log import LogEvent


def ended(*events: bytes) -> Ending:
    assembler = responses.Assembler()
    for event in events:
        assert assembler.add(event) == LogEvent(event, usage=False)
    return assembler.finish()


def event(event_type: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"type": event_type, "sequence_number": 0, **fields})


def terminal(body: bytes, kind: str = "completed") -> bytes:
    return event(f"response.{kind}", response=msgspec.Raw(body))


def delta(text: Any, kind: str = "output_text", **place: Any) -> bytes:
    return event(f"response.{kind}.delta", **{"output_index": 0, "content_index": 0, **place}, delta=text)


def storable(body: bytes) -> bool:
    summary = responses.summarise(body)
    assert summary is not None
    return summary.storable


def test_a_summary_has_the_model_and_the_tokens() -> None:
    assert responses.summarise(response()) == Summary("gpt-5", 10, 5, True, 4)
    assert responses.summarise(response(usage=None)) == Summary("gpt-5", 0, 0, True, 0)
    bare = b'{"id":"r","object":"response","output":[],"usage":{"input_tokens":3,"input_tokens_details":null}}'
    assert responses.summarise(bare) == Summary("", 3, 0, False, 0)
    more_than_read = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 9}}
    assert responses.summarise(response(usage=more_than_read)) == Summary("gpt-5", 3, 0, True, 3)


@pytest.mark.parametrize(
    "item", [MESSAGE, CITING, CALL, CUSTOM, REASONING, OPEN_REASONING], ids=lambda item: item["id"]
)
def test_what_can_be_replayed_is_storable(item: dict[str, Any]) -> None:
    assert storable(response(item))
    assert storable(response(MESSAGE, item))


@pytest.mark.parametrize(
    "body",
    [
        response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        response(status="failed"),
        response(status=None),
        response(error={"code": "server_error", "message": "m"}),
        response(conversation={"id": "conv_1"}),
        response(output=[]),
        response(REFUSING),
        response({**MESSAGE, "content": [TEXT, REFUSING["content"][0]]}),
        response(SEARCH, MESSAGE),
        response({**CALL, "type": "mcp_call"}),
        response({**MESSAGE, "status": "incomplete"}),
        response({**MESSAGE, "id": None}),
        response({**MESSAGE, "content": None}),
        response({**CALL, "arguments": {"a": 1}}),
        response({**REASONING, "summary": "First."}),
        response({**REASONING, "summary": [{"text": "First."}]}),
        response(5),
        response({}),
    ],
    ids=[
        "cut short", "failed", "no status", "error", "part of a conversation", "no item", "refusal", "refused half way",
        "web search", "remote tool", "item cut short", "item without id", "no content", "arguments no text",
        "summary no list", "summary without type", "number", "no type",
    ],
)  # fmt: skip
def test_what_may_not_or_cannot_be_served_again_is_counted_and_not_storable(body: bytes) -> None:
    summary = responses.summarise(body)
    assert summary is not None
    assert not summary.storable
    assert (summary.prompt_tokens, summary.completion_tokens) == (10, 5)


def test_bytes_that_are_no_text_anywhere_are_not_storable() -> None:
    body = response(instructions="unread")
    assert storable(body)
    assert not storable(body.replace(b"unread", b"\xff"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"error": {"message": "m"}}',
        b'{"object": "chat.completion", "id": "c", "choices": []}',
        response(output=5),
        response(object="chat.completion"),
        response(id=None),
        response(usage={"input_tokens": "3"}),
        response(usage={"input_tokens": -1}),
        b'{"output": ' + b"[" * 100_000,
    ],
    ids=lambda body: body[:60].decode(),
)
def test_what_is_no_response_has_no_summary(body: bytes) -> None:
    assert responses.summarise(body) is None


@pytest.mark.parametrize("body", [response(), ALL_KINDS, response(REFUSING)], ids=["text", "every kind", "refusal"])
def test_the_assembler_takes_the_response_from_the_last_event(body: bytes) -> None:
    events = responses.render(body)
    assembler = responses.Assembler()
    for data in events:
        assert not assembler.complete
        assert assembler.add(data) == LogEvent(data, usage=False)
    assert assembler.complete
    assert assembler.finish() == Ending(body, responses.summarise(body))


def test_texts_may_come_in_any_number_of_pieces_and_any_mixture() -> None:
    body = response(MESSAGE, CALL)
    ending = ended(
        delta("H"),
        delta('{"a"', "function_call_arguments", output_index=1, content_index=None),
        delta("", "function_call_arguments", output_index=2, content_index=None),
        delta("i", obfuscation="xxxx"),
        event("response.of_a_kind_to_come", delta={"stdout": "x"}),
        delta(":1}", "function_call_arguments", output_index=1, content_index=None),
        terminal(body),
    )
    assert ending.body == body


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_a_response_that_did_not_complete_is_an_ending_and_not_storable(status: str) -> None:
    body = response(status=status)
    ending = ended(delta("Hi"), terminal(body, status))
    assert ending.body == body
    assert ending.summary is not None
    assert not ending.summary.storable


@pytest.mark.parametrize(
    "events",
    [
        [terminal(response())],
        [delta("Ho"), terminal(response())],
        [delta("Hi"), delta("!"), terminal(response())],
        [delta("Hi", content_index=1), terminal(response())],
        [delta("Hi", output_index=1), terminal(response())],
        [delta("Hi"), terminal(response(MESSAGE, CALL))],
        [delta("Hi"), delta("First.", "reasoning_summary_text"), terminal(response())],
        [delta("Hi"), terminal(response(), "incomplete")],
        [delta("Hi"), terminal(b"null")],
        [delta("Hi"), terminal(b"5")],
        [delta("Hi"), terminal(response(output=[5]))],
        [delta("Hi"), event("response.completed")],
        [delta("Hi"), event("error", code=None, message="m", param=None)],
        [delta("Hi"), event("error", error={"code": "c", "message": "m"})],
    ],
    ids=[
        "no text", "another text", "more text", "another part", "another item", "arguments not streamed",
        "text for no item", "another status", "null", "number", "item no object", "no response", "error", "nested error",
    ],
)  # fmt: skip
def test_a_stream_that_its_last_event_does_not_bear_out_has_no_ending(events: list[bytes]) -> None:
    assert ended(*events) is NO_ENDING


def test_a_stream_without_a_terminal_event_is_not_complete() -> None:
    assembler = responses.Assembler()
    for data in responses.render(response())[:-1]:
        assembler.add(data)
    assert assembler.add(b"[DONE]") is None  # another wire's mark: no event to pass on, and no end in order
    assert not assembler.complete
    assert assembler.finish() is NO_ENDING


@pytest.mark.parametrize("data", [terminal(response()), event("error", message="m")], ids=["completed", "error"])
def test_a_terminal_event_and_an_error_end_a_stream(data: bytes) -> None:
    assembler = responses.Assembler()
    assembler.add(data)
    assert assembler.complete


@pytest.mark.parametrize(
    "odd",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"5",
        b"null",
        b"{}",
        b'{"type": 5}',
        b'{"error": {"message": "overloaded"}}',
        delta(5),
        delta(None),
        delta("", output_index="0"),
        delta("", content_index=[0]),
        delta("", output_index=True),
        b'{"type": "response.output_text.delta", "delta": "\\ud800"}',
        b'{"type": ' + b"[" * 100_000,
    ],
    ids=lambda odd: odd[:60].decode(errors="replace"),
)
def test_an_odd_event_makes_the_answer_unfit_to_be_stored_and_passes_on_untouched(odd: bytes) -> None:
    assert ended(delta("Hi"), terminal(response())).body is not None
    assert ended(delta("Hi"), odd, terminal(response())) is NO_ENDING
