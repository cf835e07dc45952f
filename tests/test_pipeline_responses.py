"""The Responses wire: what is read from a Response, taken from a stream, and rendered as one the official client takes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from sparecall import sse
from sparecall.pipeline import responses
from sparecall.pipeline.answer import NO_ENDING, Ending, Summary
from sparecall.pipeline.log import LogEvent

try:
    import httpx2 as httpx  # what newer official clients are built on
except ImportError:
    import httpx  # type: ignore[no-redef]

EVENT = TypeAdapter(ResponseStreamEvent)
TOKEN = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
CITATION = {"type": "url_citation", "start_index": 0, "end_index": 2, "title": "T", "url": "https://example.test/"}
TEXT = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi"}
MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "content": [TEXT], "role": "assistant"}
CITING = {
    **MESSAGE,
    "id": "msg_2",
    "content": [
        TEXT,
        {"type": "output_text", "annotations": [CITATION, CITATION], "logprobs": [TOKEN], "text": "Hé\n"},
    ],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "arguments": '{"a":1}',
    "call_id": "call_1",
    "name": "f",
}
CUSTOM = {
    "id": "ct_1",
    "type": "custom_tool_call",
    "status": "completed",
    "input": "x = 1",
    "call_id": "call_2",
    "name": "g",
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
}
OPEN_REASONING = {**REASONING, "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476777,
    "status": "completed",
    "completed_at": 1741476778,
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "model": "gpt-5",
    "output": [MESSAGE],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": USAGE,
    "user": None,
    "metadata": {},
}
REFUSING = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}


def response(*output: Any, **fields: Any) -> bytes:
    return msgspec.json.encode({**RESPONSE, "output": list(output) or [MESSAGE], **fields})


ALL_KINDS = response(REASONING, OPEN_REASONING, MESSAGE, CITING, CALL, CUSTOM)


def rendered(body: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event) for event in responses.render(body)]


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
        sent_by_the_official_client(responses.frame(responses.render(body))) as client,
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
    sent = responses.frame([*responses.render(response())[:2], responses.error_event("it broke", "upstream_broken")])
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


def test_frames_carry_the_type_as_their_name() -> None:
    spaced = b'{ "type" : "response.created", "a": 1}'
    last = b'{"a":{"type":"inner"},"type":"error"}'
    assert responses.frame([spaced, last]) == (
        b"event: response.created\ndata: " + spaced + b"\n\n" + b"event: error\ndata: " + last + b"\n\n"
    )
    assert responses.frame([]) == b""


@pytest.mark.parametrize(
    "data",
    [b'{"type":"a\\nevent: b"}', b'{"type":"a\nb"}', b'{"type":""}', b'{"type":5}', b"{}", b"[DONE]", b"\xff", b""],
)
def test_a_type_that_is_no_name_is_not_trusted(data: bytes) -> None:
    framed = responses.frame([data])
    assert b"event:" not in re.sub(rb"(?m)^data:.*$", b"", framed)
    assert sse.Parser().feed(framed) == [data]


def test_line_ends_in_the_data_reach_the_client_as_data() -> None:
    laid_out = b'{"type":"error",\n"message":\r\n"m"}'
    framed = responses.frame([laid_out])
    assert framed.startswith(b"event: error\ndata: ")
    assert msgspec.json.decode(sse.Parser().feed(framed)[0]) == {"type": "error", "message": "m"}
