"""The Responses wire: a stored Response as the stream and the body that the official client takes."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from responses_wire import (
    ALL_KINDS,
    CALL,
    CITATION,
    CITING,
    CUSTOM,
    MESSAGE,
    OPEN_REASONING,
    REASONING,
    RESPONSE,
    TOKEN,
    response,
)
from sparecall.pipeline import responses
from sparecall.pipeline.events import framed

try:
    import httpx2 as httpx  # what newer official clients are built on
except ImportError:
    import httpx  # type: ignore[no-redef]

EVENT = TypeAdapter(ResponseStreamEvent)


def rendered(body: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event) for event in responses.render(body)]


def test_every_rendered_event_is_one_of_the_wire_s_own() -> None:
    events = responses.render(ALL_KINDS)
    for number, data in enumerate(events):
        parsed = EVENT.validate_json(data)
        assert parsed.sequence_number == number
        assert not parsed.__pydantic_extra__
    assert events[-1].endswith(b'"response":' + ALL_KINDS + b"}")


def test_the_events_come_in_the_official_order() -> None:
    kinds = {
        "message": ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"],
        "function_call": ["function_call_arguments.delta", "function_call_arguments.done"],
        "custom_tool_call": ["custom_tool_call_input.delta", "custom_tool_call_input.done"],
        "reasoning": ["reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
                      "reasoning_summary_part.done"] * 2,
    }  # fmt: skip
    for item in (MESSAGE, CALL, CUSTOM, REASONING):
        expected = [
            "created",
            "in_progress",
            "output_item.added",
            *kinds[item["type"]],
            "output_item.done",
            "completed",
        ]
        assert [event["type"] for event in rendered(response(item))] == [f"response.{name}" for name in expected]
    citing = [event["type"].removeprefix("response.") for event in rendered(response(CITING))][7:-2]
    assert citing == ["content_part.added", "output_text.delta", "output_text.annotation.added",
                      "output_text.annotation.added", "output_text.done", "content_part.done"]  # fmt: skip
    opened = [event["type"].removeprefix("response.") for event in rendered(response(OPEN_REASONING))][3:-2]
    assert opened == ["content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done"]


def test_what_is_not_finished_yet_is_rendered_as_such() -> None:
    events = rendered(response(REASONING, CITING, CALL))
    opening = {**RESPONSE, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    assert events[0]["response"] == events[1]["response"] == opening
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert added == [
        {**REASONING, "summary": [], "encrypted_content": None},
        {**CITING, "status": "in_progress", "content": []},
        {**CALL, "status": "in_progress", "arguments": ""},
    ]
    parts = [event["part"] for event in events if event["type"] == "response.content_part.added"]
    assert parts == [{"type": "output_text", "annotations": [], "logprobs": [], "text": ""}] * 2


def test_a_text_comes_with_its_place_its_logprobs_and_its_annotations() -> None:
    events = rendered(response(REASONING, CITING))
    place = {"item_id": "msg_2", "output_index": 1, "content_index": 1}
    told = [
        event for event in events if event["type"].startswith("response.output_text") and event["content_index"] == 1
    ]
    numbers = [event.pop("sequence_number") for event in told]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert told == [
        {"type": "response.output_text.delta", **place, "delta": "Hé\n", "logprobs": [TOKEN]},
        {"type": "response.output_text.annotation.added", **place, "annotation_index": 0, "annotation": CITATION},
        {"type": "response.output_text.annotation.added", **place, "annotation_index": 1, "annotation": CITATION},
        {"type": "response.output_text.done", **place, "text": "Hé\n", "logprobs": [TOKEN]},
    ]


def test_values_keep_their_spelling_and_lose_the_layout() -> None:
    body = msgspec.json.format(response(CALL, top_p=msgspec.Raw(b"1.50e1"), seed=msgspec.Raw(b"1" * 30)), indent=2)
    assert b"\n" in body
    events = responses.render(body)
    assert not any(b"\n" in data for data in events)
    assert all(b"1.50e1" in data and b"1" * 30 in data for data in (events[0], events[-1]))
    assert msgspec.json.decode(events[-1])["response"]["output"] == [CALL]


def test_usage_is_part_of_the_wire_whoever_asks() -> None:
    assert responses.render(ALL_KINDS, include_usage=False) == responses.render(ALL_KINDS, include_usage=True)


def sent_by_the_official_client(sent: bytes) -> openai.OpenAI:
    def answer(_request: Any) -> Any:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=sent)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key="k", base_url="http://provider.test/v1", http_client=client, max_retries=0)


@pytest.mark.parametrize(
    "body", [response(), response(CALL), ALL_KINDS], ids=["text", "function call", "every kind of item"]
)
def test_the_official_client_ends_with_the_stored_response(body: bytes) -> None:
    with (
        sent_by_the_official_client(framed(responses.render(body))) as client,
        client.responses.stream(model="gpt-5", input="hi") as stream,
    ):
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    whole = msgspec.json.decode(body)
    assert final.to_dict(exclude_unset=True, mode="json", exclude_none=False) == _with_parsed(whole)
    texts = [part["text"] for item in whole["output"] if item["type"] == "message" for part in item["content"]]
    assert snapshots == texts
    assert final.output_text == "".join(texts)


def _with_parsed(whole: dict[str, Any]) -> dict[str, Any]:
    """What the client adds of its own: what it has parsed, here nothing."""
    for item in whole["output"]:
        if item["type"] == "function_call":
            item["parsed_arguments"] = None
        for part in item.get("content", ()) if item["type"] == "message" else ():
            part["parsed"] = None
    return whole


def test_the_official_client_raises_its_own_error_for_the_error_event() -> None:
    sent = framed([*responses.render(response())[:2], responses.error_event("it broke", "upstream_broken")])
    with (
        sent_by_the_official_client(sent) as client,
        client.responses.create(model="gpt-5", input="hi", stream=True) as stream,
    ):
        with pytest.raises(openai.APIError, match="it broke") as raised:
            list(stream)
        assert raised.value.code == "upstream_broken"


def test_the_error_event_is_the_documented_one_too() -> None:
    parsed = EVENT.validate_json(responses.error_event('a "b"\n', "c", sequence_number=7))
    assert parsed.to_dict() == {
        "type": "error",
        "code": "c",
        "message": 'a "b"\n',
        "param": None,
        "sequence_number": 7,
        "error": {"type": "c", "code": "c", "message": 'a "b"\n', "param": None},
    }


MINE = {"metadata": {"a": "mine"}, "user": "me", "safety_identifier": "s", "prompt_cache_key": "k"}
THEIRS = {"metadata": {"b": "theirs"}, "user": "them", "safety_identifier": "t", "prompt_cache_key": "l"}
NOBODY: dict[str, Any] = {"metadata": {}, "user": None, "safety_identifier": None, "prompt_cache_key": None}


@pytest.mark.parametrize("stored", [MINE, THEIRS, NOBODY], ids=["mine", "theirs", "nobody's"])
@pytest.mark.parametrize("asked", [MINE, NOBODY, {}, {"metadata": None}], ids=["mine", "blank", "none", "null"])
def test_a_client_sees_its_own_fields_and_nobody_else_s(stored: dict[str, Any], asked: dict[str, Any]) -> None:
    request = msgspec.json.encode({"model": "gpt-5", "input": [{"role": "user", "content": "user"}], **asked})
    seen = msgspec.json.decode(responses.echoed(response(**stored), request))
    assert seen == {**RESPONSE, **(asked if asked is MINE else NOBODY)}


@pytest.mark.parametrize("fields", [MINE, NOBODY], ids=["mine", "nobody's"])
def test_a_response_that_needs_no_change_is_the_same_bytes(fields: dict[str, Any]) -> None:
    body, request = response(**fields), msgspec.json.encode(fields)
    assert responses.echoed(body, request) is body


def test_fields_that_neither_has_are_not_added() -> None:
    bare = msgspec.json.encode({name: value for name, value in RESPONSE.items() if name not in MINE})
    assert responses.echoed(bare, b'{"input":"x"}') is bare
    assert msgspec.json.decode(responses.echoed(bare, b'{"user":"me"}')) == {**msgspec.json.decode(bare), "user": "me"}


def test_other_values_keep_their_spelling_when_a_field_is_replaced() -> None:
    body = response(user="them", top_p=msgspec.Raw(b"1.50e1"))
    assert responses.echoed(body, b"{}") == body.replace(b'"them"', b"null")


@pytest.mark.parametrize("request_body", [b'{"input":"\\ud800","user":"me"}', b"not json", b"[]"])
def test_of_a_request_that_cannot_be_read_nothing_is_repeated(request_body: bytes) -> None:
    assert responses.echoed(response(**THEIRS), request_body) == response(**NOBODY)


@pytest.mark.parametrize(
    "item", [5, {"type": "message"}, {"type": "message", "id": "m", "content": "no list"}], ids=str
)
def test_an_item_nobody_knows_is_rendered_as_it_is(item: Any) -> None:
    events = rendered(response(item))
    assert [event["type"] for event in events[2:]] == ["response.output_item.done", "response.completed"]
    assert (events[2]["item"], events[-1]["response"]["output"]) == (item, [item])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_a_stream_ends_as_its_response_says(status: str) -> None:
    events = rendered(response(status=status, error={"code": "server_error"}, incomplete_details={"reason": "x"}))
    assert events[-1]["type"] == f"response.{status}"
    opened = events[0]["response"]
    assert (opened["status"], opened["error"], opened["incomplete_details"]) == ("in_progress", None, None)
