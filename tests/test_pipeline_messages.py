"""The messages wire: what is read from a Message, assembled from a stream, and rendered as one that the official SDK reads."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import msgspec
import pydantic
import pytest
from anthropic.types import RawMessageStreamEvent

from sparecall.pipeline import messages
from sparecall.pipeline.answer import Summary
from sparecall.pipeline.events import framed

ASK = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 57,
    "output_tokens_details": {"thinking_tokens": 20},
    "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
    "service_tier": "standard",
}
CITATION = {"type": "char_location", "cited_text": "grass", "document_index": 0, "document_title": None,
            "start_char_index": 3, "end_char_index": 8, "file_id": None}  # fmt: skip
TEXT = {"type": "text", "text": "Line one\r\nline two \u2028\x85 \U0001f600", "citations": None}
CITED = {"type": "text", "text": "green", "citations": [CITATION, {**CITATION, "end_char_index": 9}]}
THINKING = {"type": "thinking", "thinking": "Well,\nlet me see", "signature": "c2lnbmVk"}
HIDDEN_THINKING = {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": ["\u00e9", {"n": 1.5}], "deep": None}}
CALLED = {"type": "tool_use", "id": "toolu_2", "name": "stop", "input": {}, "caller": {"type": "direct"}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
EVERY_KIND = (THINKING, HIDDEN_THINKING, REDACTED, TEXT, CITED, TOOL, CALLED)


def message(*content: Any, stop: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5", "content": list(content),
            "stop_reason": stop, "stop_sequence": None, "usage": USAGE, **fields}  # fmt: skip


def encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def ended(*events: Any) -> messages.Ending:
    assembler = messages.Assembler()
    for event in events:
        assert not assembler.complete
        data = encoded(event)
        kept = assembler.add(data)
        assert kept is not None
        assert kept == (data, False)
    assert assembler.complete
    return assembler.finish()


def assembled(*events: Any) -> dict[str, Any] | None:
    body = ended(*events).body
    return None if body is None else msgspec.json.decode(body)


START = {"type": "message_start", "message": message(stop=None, usage={"input_tokens": 12, "output_tokens": 1})}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 5},
}
STOP = {"type": "message_stop"}


def started(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stopped(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


HELLO = (started(0, type="text", text=""), delta(0, "text_delta", text="Hello"), stopped(0))


def client(reply: bytes, *, status: int = 200, kind: str = "text/event-stream") -> anthropic.Anthropic:
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(status, content=reply, headers={"content-type": kind})
    )
    return anthropic.Anthropic(
        api_key="key", max_retries=0, base_url="http://provider", http_client=httpx2.Client(transport=transport)
    )


@pytest.mark.parametrize(
    "stored",
    [
        message(*EVERY_KIND, stop="tool_use"),
        message(TEXT),
        message({"type": "text", "text": ""}),
        message(TOOL, stop="max_tokens", usage={"input_tokens": 1, "output_tokens": 0}),
        message(TEXT, stop="stop_sequence", stop_sequence="\n\nHuman:", stop_details=None, container=None),
        message(TEXT, container={"id": "c_1", "expires_at": "2026-01-01T00:00:00Z", "skills": None}),
        message(SEARCH, FOUND, CITED),
        message(TEXT, unheard_of={"of": 1}, usage={**USAGE, "unheard_of": 2}),
    ],
    ids=["every kind", "text", "empty text", "tool", "stop sequence", "container", "server tools", "unknown fields"],
)
def test_the_official_sdk_reads_a_rendered_stream_as_the_message_that_was_stored(stored: dict[str, Any]) -> None:
    body = encoded(stored)
    events = messages.render(body)
    adapter = pydantic.TypeAdapter[RawMessageStreamEvent](RawMessageStreamEvent)
    for event in events:
        adapter.validate_json(event)
    with client(framed(events)) as sdk, sdk.messages.stream(**ASK) as stream:
        kinds = [
            event.type for event in stream if not event.type.startswith(("text", "thinking", "sig", "cit", "input"))
        ]
        streamed = stream.get_final_message()
    with client(body, kind="application/json") as sdk:
        whole = sdk.messages.create(**ASK)
    assert streamed.model_dump() == whole.model_dump()
    assert streamed.to_dict() == {"stop_details": None, **whole.to_dict()}  # which the SDK itself adds to a stream
    assert kinds == [msgspec.json.decode(event)["type"] for event in events]


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (402, "billing_error", anthropic.APIStatusError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (409, "invalid_request_error", anthropic.ConflictError),
        (413, "request_too_large", anthropic.APIStatusError),
        (422, "invalid_request_error", anthropic.UnprocessableEntityError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (502, "api_error", anthropic.InternalServerError),
        (504, "timeout_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
def test_the_official_sdk_raises_its_own_error_for_each_status(status: int, kind: str, error: type[Exception]) -> None:
    body = messages.error_body("No: \u00e9\n", status)
    assert msgspec.json.decode(body) == {"type": "error", "error": {"type": kind, "message": "No: \u00e9\n"}}
    with client(body, status=status, kind="application/json") as sdk, pytest.raises(error) as raised:
        sdk.messages.create(**ASK)
    assert isinstance(raised.value, anthropic.APIStatusError)
    assert raised.value.status_code == status
    assert raised.value.type == kind
    assert raised.value.body == msgspec.json.decode(body)


def test_the_official_sdk_raises_an_error_that_comes_in_the_middle_of_a_stream() -> None:
    head = messages.render(encoded(message(TEXT)))[:3]
    reply = framed([*head, messages.error_body("The provider broke off.", 529)])
    with client(reply) as sdk, sdk.messages.stream(**ASK) as stream:
        with pytest.raises(anthropic.APIStatusError) as raised:
            stream.until_done()
        assert stream.current_message_snapshot.content[0].text == TEXT["text"]
    assert raised.value.type == "overloaded_error"


def test_the_events_come_in_the_official_order_and_say_what_the_official_ones_say() -> None:
    stored = message(THINKING, REDACTED, CITED, TOOL, stop="tool_use", context_management={"applied_edits": []})
    end = {"stop_reason": None, "stop_sequence": None}
    usage = {name: USAGE[name] for name in USAGE if name not in {"cache_creation", "service_tier"}}
    assert [msgspec.json.decode(event) for event in messages.render(encoded(stored))] == [
        {"type": "message_start", "message": {**stored, **end, "content": [], "usage": {**USAGE, "output_tokens": 1}}},
        started(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking=THINKING["thinking"]),
        delta(0, "signature_delta", signature=THINKING["signature"]),
        stopped(0),
        started(1, **REDACTED),
        stopped(1),
        started(2, type="text", text="", citations=[]),
        delta(2, "text_delta", text="green"),
        delta(2, "citations_delta", citation=CITED["citations"][0]),
        delta(2, "citations_delta", citation=CITED["citations"][1]),
        stopped(2),
        started(3, **{**TOOL, "input": {}}),
        delta(3, "input_json_delta", partial_json='{"at":["\u00e9",{"n":1.5}],"deep":null}'),
        stopped(3),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": usage,
            "context_management": {"applied_edits": []},
        },
        {"type": "message_stop"},
    ]


def test_what_is_empty_needs_no_delta() -> None:
    kinds = [msgspec.json.decode(event)["type"] for event in messages.render(encoded(message({**TEXT, "text": ""})))]
    assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]


def test_a_stream_states_usage_whether_asked_for_or_not() -> None:
    body = encoded(message(*EVERY_KIND))
    assert messages.render(body, include_usage=False) == messages.render(body, include_usage=True)


def test_a_message_of_many_lines_is_rendered_on_one_and_numbers_keep_their_spelling() -> None:
    numbers = '{"a": 1.50e1, "b": 1.0, "c": 123456789012345678901234567890, "d": "\\u00e9 \\/"}'
    body = json.dumps(message({**TOOL, "input": {}}), indent=2).replace('"input": {}', '"input": ' + numbers).encode()
    assert messages.summarise(body) is not None
    events = messages.render(body)
    assert all(b"\n" not in event for event in events)
    rendered = msgspec.json.decode(events[2])["delta"]["partial_json"]
    assert rendered == numbers.replace(", ", ",").replace(": ", ":")
    again = ended(*events).body
    assert again is not None
    assert rendered.encode() in again


def test_pieces_come_together_and_the_last_counts_replace_the_first() -> None:
    first = {**USAGE, "output_tokens": 2, "server_tool_use": None}
    whole = assembled(
        {"type": "message_start", "message": message(stop=None, usage=first)},
        {"type": "ping"},
        started(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Well,\n"),
        delta(0, "thinking_delta", thinking="let me see"),
        delta(0, "signature_delta", signature="c2lnbmVk"),
        stopped(0),
        started(1, type="text", text="gr"),
        delta(1, "text_delta", text="ee"),
        {"type": "ping"},
        delta(1, "citations_delta", citation=CITATION),
        delta(1, "text_delta", text="n"),
        delta(1, "citations_delta", citation=CITED["citations"][1]),
        stopped(1),
        started(2, **{**TOOL, "input": {}}),
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"at": ["\u00e9", {"n'),
        delta(2, "input_json_delta", partial_json='": 1.5}], "deep": null}'),
        stopped(2),
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 30}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None},
            "usage": {"output_tokens": 57, "cache_read_input_tokens": 200, "input_tokens": None, "server_tool_use": {}},
            "context_management": {"applied_edits": []},
            "input_transformations": [],
        },
        STOP,
    )
    assert whole == message(
        THINKING, {"type": "text", "text": "green", "citations": CITED["citations"]}, TOOL,
        stop="tool_use", stop_details=None, usage={**USAGE, "server_tool_use": {}},
        context_management={"applied_edits": []}, input_transformations=[],
    )  # fmt: skip


@pytest.mark.parametrize("pieces", [[], [""], [" ", "\n"]])
def test_a_tool_without_arguments_is_called_with_none(pieces: list[str]) -> None:
    block = {**TOOL, "input": {}}
    deltas = [delta(0, "input_json_delta", partial_json=piece) for piece in pieces]
    whole = assembled(START, started(0, **block), *deltas, stopped(0), END, STOP)
    assert whole is not None
    assert whole["content"] == [block]


def test_blocks_may_stream_beside_each_other() -> None:
    text, other = (started(index, type="text", text="") for index in (0, 1))
    parts = [delta(1, "text_delta", text="b"), delta(0, "text_delta", text="a"), stopped(1), stopped(0)]
    whole = assembled(START, text, other, *parts, END, STOP)
    assert whole is not None
    assert [block["text"] for block in whole["content"]] == ["a", "b"]


def test_blocks_that_cannot_be_replayed_are_assembled_and_not_storable() -> None:
    search = [
        started(0, **{**SEARCH, "input": {}}),
        delta(0, "input_json_delta", partial_json='{"query": "q"}'),
        stopped(0),
    ]
    ending = ended(START, *search, started(1, **FOUND), stopped(1), END, STOP)
    assert ending.body is not None
    assert msgspec.json.decode(ending.body)["content"] == [SEARCH, FOUND]
    assert ending.summary is not None
    assert not ending.summary.storable


def test_an_error_ends_the_stream_without_an_answer() -> None:
    error = messages.error_body("overloaded", 529)
    for events in ([error], [START, error], [START, *HELLO, END, error]):
        assert ended(*events) == messages.NO_ENDING


@pytest.mark.parametrize(
    "events",
    [
        [STOP],
        [*HELLO, END, STOP],
        [*HELLO, START, END, STOP],
        [END, START, *HELLO, END, STOP],
        [START, START, *HELLO, END, STOP],
        [START, *HELLO, STOP],
        [START, *HELLO[:2], END, STOP],
        [START, *HELLO, delta(0, "text_delta", text="late"), END, STOP],
        [START, *HELLO, stopped(0), END, STOP],
        [START, *HELLO, stopped(-1), END, STOP],
        [START, *HELLO, *HELLO, END, STOP],
        [START, started(1, type="text", text=""), stopped(1), END, STOP],
        [START, HELLO[0], delta(-1, "text_delta", text="a"), stopped(0), END, STOP],
        [START, HELLO[0], delta(0, "thinking_delta", thinking="a"), stopped(0), END, STOP],
        [START, HELLO[0], delta(0, "input_json_delta", partial_json="{}"), stopped(0), END, STOP],
        [START, started(0, type="text", text=[]), delta(0, "text_delta", text="a"), stopped(0), END, STOP],
        [START, started(0, type="text", citations="c"), delta(0, "citations_delta", citation={}), stopped(0), END, STOP],
        [START, started(0, **TOOL), delta(0, "input_json_delta", partial_json='{"cut": "of'), stopped(0), END, STOP],
        [START, started(0, **TOOL), delta(0, "input_json_delta", partial_json="[]"), stopped(0), END, STOP],
        [START, started(0, **TOOL), delta(0, "input_json_delta", partial_json="1e999"), stopped(0), END, STOP],
        [{"type": "message_start", "message": message(TEXT, stop=None)}, END, STOP],
        [{"type": "message_start", "message": {"content": []}}, *HELLO, END, STOP],
        [{"type": "message_start", "message": message(stop=None, usage=None)}, *HELLO, END, STOP],
    ],
)  # fmt: skip
def test_events_out_of_order_or_that_do_not_fit_together_amount_to_no_answer(events: list[Any]) -> None:
    assert ended(START, *HELLO, END, STOP).summary is not None
    assert ended(*events) == messages.NO_ENDING


@pytest.mark.parametrize(
    "odd",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"type": 5}',
        b'{"type": "content_block_teleport"}',
        b'{"type": "message_start"}',
        b'{"type": "content_block_start", "index": "0", "content_block": {}}',
        b'{"type": "content_block_start", "index": true, "content_block": {}}',
        b'{"type": "content_block_start", "index": 0, "content_block": 5}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta"}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
        b'{"type": "content_block_delta", "index": 99999999999999999999, "delta": {"type": "text_delta", "text": ""}}',
        b'{"type": "message_delta", "delta": null, "usage": {}}',
        b'{"type": "message_delta", "delta": {}, "usage": 5}',
        b'{"type": "message_delta", "delta": {"stop_reason": 5}, "usage": {}}',
        b'{"type": "message_delta", "delta": {}, "usage": {"output_tokens": -1}}',
        b'{"type": "message_delta", "delta": {}, "usage": {"output_tokens": ' + b"[" * 100_000,
    ],
    ids=lambda odd: odd[:60].decode(errors="replace"),
)
def test_an_odd_event_makes_the_answer_unfit_to_be_stored(odd: bytes) -> None:
    assert ended(START, *HELLO, END, odd, STOP) == messages.NO_ENDING


def test_a_stream_that_was_cut_is_no_answer() -> None:
    assembler = messages.Assembler()
    for event in (START, *HELLO, END):
        assembler.add(encoded(event))
    assert not assembler.complete
    assert assembler.finish() == messages.NO_ENDING


def test_a_summary_counts_all_the_model_read() -> None:
    assert messages.summarise(encoded(message(TEXT))) == Summary("claude-opus-4-5", 242, 57, True, 200)
    bare = {"input_tokens": 3, "output_tokens": 2, "cache_creation_input_tokens": None}
    assert messages.summarise(encoded(message(TEXT, usage=bare))) == Summary("claude-opus-4-5", 3, 2, True, 0)


@pytest.mark.parametrize(
    ("stop", "storable"),
    [
        ("end_turn", True),
        ("max_tokens", True),
        ("model_context_window_exceeded", True),
        ("stop_sequence", True),
        ("tool_use", True),
        ("pause_turn", False),
        ("refusal", False),
        ("never heard of", False),
        (None, False),
    ],
)
def test_only_messages_that_stopped_for_a_good_reason_are_storable(stop: str | None, storable: bool) -> None:
    summary = messages.summarise(encoded(message(TEXT, stop=stop)))
    assert summary is not None
    assert summary.storable is storable


@pytest.mark.parametrize(
    ("block", "storable"),
    [
        *((block, True) for block in EVERY_KIND),
        (SEARCH, False),
        (FOUND, False),
        ({"type": "container_upload", "file_id": "f"}, False),
        ({"type": "text"}, False),
        ({**THINKING, "signature": ""}, False),
        ({"type": "thinking", "thinking": "cut off"}, False),
        ({"type": "redacted_thinking"}, False),
        ({**TOOL, "id": None}, False),
        ({**TOOL, "input": None}, False),
    ],
)
def test_only_messages_whose_every_block_can_be_replayed_are_storable(block: dict[str, Any], storable: bool) -> None:
    for content in ([block], [TEXT, block]):
        body = encoded(message(*content))
        summary = messages.summarise(body)
        assert summary is not None
        assert summary.storable is storable
        assert messages.render(body)  # what has a summary can be rendered, if only block by block


def test_a_message_that_says_nothing_is_not_storable() -> None:
    summary = messages.summarise(encoded(message()))
    assert summary is not None
    assert not summary.storable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"type": "message"}',
        messages.error_body("no", 400),
        encoded(message(TEXT, type="completion")),
        encoded(message(TEXT, role="user")),
        encoded(message(TEXT, id=5)),
        encoded(message(TEXT, content="text")),
        encoded(message(5)),
        encoded(message({"text": "a"})),
        encoded(message({"type": "text", "text": 5})),
        encoded(message({**TEXT, "citations": [5]})),
        encoded(message({**TOOL, "input": "{}"})),
        encoded(message(TEXT, stop_reason=5)),
        encoded(message(TEXT, usage=None)),
        encoded(message(TEXT, usage={"input_tokens": 1})),
        encoded(message(TEXT, usage={**USAGE, "output_tokens": -1})),
        encoded(message(TEXT, usage={**USAGE, "cache_read_input_tokens": 2**60})),
        encoded(message(TEXT, extra="x")).replace(b'"x"', b'"\xff"'),
        encoded(message(TEXT, extra="x")).replace(b'"x"', b"1e999"),
        encoded(message(TEXT, extra="x")).replace(b'"x"', b'"\\ud800"'),
        encoded(message(TEXT, extra="x")).replace(b'"x"', b"[" * 100_000),
    ],
    ids=lambda body: body[-70:].decode(errors="replace"),
)
def test_what_is_no_message_has_no_summary(body: bytes) -> None:
    assert messages.summarise(body) is None
