"""Any Response, rendered as a stream or streamed in any pieces, is the same Response when assembled; nothing makes the wire raise."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from sparecall import sse
from sparecall.pipeline import responses
from sparecall.pipeline.events import framed

EVENT = TypeAdapter(ResponseStreamEvent)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TOKENS = st.lists(
    st.fixed_dictionaries(
        {"token": TEXT, "bytes": st.lists(st.integers(0, 255), max_size=2), "logprob": st.floats(-50, 0),
         "top_logprobs": st.just([])}
    ),
    max_size=2,
)  # fmt: skip
ANNOTATIONS = st.lists(
    st.fixed_dictionaries({"type": st.just("file_path"), "file_id": TEXT, "index": st.integers(0, 9)}), max_size=2
)
STATUS = {"status": st.just("completed")}


# Where these names mean nothing to the wire, anything may stand under them.
STRANGE_ITEM = {"content": JSON, "summary": JSON}
STRANGE_PART = {"annotations": JSON, "logprobs": JSON}


def texts(kind: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.fixed_dictionaries({"type": st.just(kind), "text": TEXT}, optional=STRANGE_PART), max_size=2)


OUTPUT_TEXT = st.fixed_dictionaries(
    {"type": st.just("output_text"), "text": TEXT, "annotations": ANNOTATIONS}, optional={"logprobs": TOKENS}
)
MESSAGE = st.fixed_dictionaries(
    {"type": st.just("message"), "role": st.just("assistant"), "content": st.lists(OUTPUT_TEXT, max_size=3), **STATUS}
)
REASONING = st.fixed_dictionaries(
    {"type": st.just("reasoning"), "summary": texts("summary_text")},
    optional={"encrypted_content": st.none() | TEXT, "content": texts("reasoning_text"), **STATUS},
)
CALL = st.fixed_dictionaries(
    {"type": st.just("function_call"), "name": TEXT, "call_id": TEXT, "arguments": TEXT},
    optional={**STATUS, **STRANGE_ITEM},
)
CUSTOM = st.fixed_dictionaries(
    {"type": st.just("custom_tool_call"), "name": TEXT, "call_id": TEXT, "input": TEXT}, optional=STRANGE_ITEM
)
ECHO = {
    "metadata": st.dictionaries(TEXT, TEXT, max_size=2),
    "user": st.none() | TEXT,
    "safety_identifier": st.none() | TEXT,
    "prompt_cache_key": st.none() | TEXT,
}
USAGE = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(0, 9**9),
        "output_tokens": st.integers(0, 9**9),
        "total_tokens": st.integers(0, 9**9),
        "input_tokens_details": st.just({"cached_tokens": 0, "cache_write_tokens": 0}),
        "output_tokens_details": st.just({"reasoning_tokens": 0}),
    }
)


@st.composite
def whole_responses(draw: st.DrawFn) -> dict[str, Any]:
    items = draw(st.lists(MESSAGE | REASONING | CALL | CUSTOM, min_size=1, max_size=4))
    return {
        "id": draw(TEXT),
        "object": "response",
        "created_at": draw(st.integers(0, 2**40)),
        "status": "completed",
        "model": draw(TEXT),
        "output": [{"id": f"item_{number}", **item} for number, item in enumerate(items)],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **draw(st.fixed_dictionaries({}, optional={**ECHO, "usage": USAGE, "completed_at": st.floats(0, 2**40)})),
    }


def assembled(events: list[bytes]) -> bytes | None:
    assembler = responses.Assembler()
    for event in events:
        assert not assembler.complete
        kept = assembler.add(event)
        assert kept is not None
        assert kept.data is event
    assert assembler.complete
    ending = assembler.finish()
    assert ending.body is None or ending.summary == responses.summarise(ending.body)
    return ending.body


@given(whole_responses(), st.booleans())
def test_render_then_assemble_gives_the_same_response(response: dict[str, Any], laid_out: bool) -> None:
    body = msgspec.json.encode(response)
    stored = msgspec.json.format(body, indent=4) if laid_out else body
    summary = responses.summarise(stored)
    assert summary is not None
    assert summary.storable
    events = responses.render(stored)
    assert assembled(events) == body
    for number, event in enumerate(events):
        assert EVENT.validate_json(event).sequence_number == number
    assert sse.Parser().feed(framed(events)) == events


def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same delta in pieces, as a provider would send it."""
    event = msgspec.json.decode(data)
    if not event["type"].endswith(".delta"):
        return [data]
    text = event["delta"]
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0, len(text)})
    return [msgspec.json.encode({**event, "delta": text[start:end]}) for start, end in itertools.pairwise(places)]


@given(st.data(), whole_responses())
def test_deltas_may_be_cut_anywhere_and_lose_nothing(data: st.DataObject, response: dict[str, Any]) -> None:
    body = msgspec.json.encode(response)
    pieces = [piece for event in responses.render(body) for piece in data.draw(st.composite(cut)(event))]
    assert assembled(pieces) == body
    spoken = [number for number, piece in enumerate(pieces) if msgspec.json.decode(piece).get("delta")]
    if spoken:
        lost = data.draw(st.sampled_from(spoken))
        assert assembled([piece for number, piece in enumerate(pieces) if number != lost]) is None


KINDS = st.sampled_from(
    ["response.created", "response.completed", "response.failed", "response.output_text.delta", "error",
     "response.function_call_arguments.delta", "response.reasoning_summary_text.delta"]
)  # fmt: skip
ODD_EVENT = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        "response": JSON | st.fixed_dictionaries(
            {"id": TEXT, "object": st.just("response"), "status": st.just("completed")},
            optional={"output": JSON | st.lists(JSON | st.fixed_dictionaries(
                {"type": st.sampled_from(["message", "reasoning", "function_call"])},
                optional={"content": JSON, "summary": JSON, "arguments": JSON},
            ), max_size=2)},
        ),
        "delta": JSON,
        "output_index": JSON,
        "content_index": JSON,
    },
)  # fmt: skip


@given(st.lists(st.binary(max_size=40) | (JSON | ODD_EVENT).map(msgspec.json.encode), max_size=6))
def test_nothing_a_provider_sends_makes_the_assembler_raise(events: list[bytes]) -> None:
    assembler = responses.Assembler()
    for event in events:
        assembler.add(event)
    ending = assembler.finish()
    assert ending.body is None or isinstance(msgspec.json.decode(ending.body), dict)
    assert len(sse.Parser().feed(framed(events))) == len(events)


@given(whole_responses(), st.data())
def test_what_has_a_storable_summary_can_be_rendered_however_it_was_damaged(
    response: dict[str, Any], data: st.DataObject
) -> None:
    body = bytearray(msgspec.json.encode(response))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    damaged = bytes(body)
    summary = responses.summarise(damaged)
    if summary is not None and summary.storable:
        assert msgspec.json.decode(responses.render(damaged)[-1])["type"] == "response.completed"
        assert responses.summarise(responses.echoed(damaged, b"{}")) == summary


@given(whole_responses(), st.fixed_dictionaries({"model": TEXT}, optional={**ECHO, "input": JSON}))
def test_an_echo_is_the_asking_client_s_own(response: dict[str, Any], request: dict[str, Any]) -> None:
    body = msgspec.json.encode(response)
    seen = responses.echoed(body, msgspec.json.encode(request))
    fields = msgspec.json.decode(seen)
    for name, blank in {"metadata": {}, "user": None, "safety_identifier": None, "prompt_cache_key": None}.items():
        assert fields.pop(name, blank) == request.get(name, blank)
    assert fields == {name: value for name, value in response.items() if name not in ECHO}
    assert responses.echoed(seen, msgspec.json.encode(request)) is seen


@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_nothing_makes_summarise_raise(body: bytes) -> None:
    summary = responses.summarise(body)
    assert summary is None or body.lstrip().startswith(b"{")
