"""Any Message, rendered as a stream or cut into deltas at any places, is the same Message when assembled."""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec
import pydantic
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st

from sparecall import sse
from sparecall.pipeline import messages
from sparecall.pipeline.events import framed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
COUNT = st.integers(0, 9**9)
EXTRA = st.dictionaries(TEXT.filter(lambda name: re.fullmatch("[a-z_]*", name) is None), JSON, max_size=2)
CITATION = st.fixed_dictionaries({
    "type": st.just("char_location"), "cited_text": TEXT, "document_index": COUNT, "document_title": st.none() | TEXT,
    "start_char_index": COUNT, "end_char_index": COUNT,
})  # fmt: skip
TEXT_BLOCK = st.fixed_dictionaries(
    {"type": st.just("text"), "text": TEXT}, optional={"citations": st.none() | st.lists(CITATION, max_size=3)}
)
TOOL_BLOCK = st.fixed_dictionaries(
    {"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": st.dictionaries(TEXT, JSON, max_size=3)},
    optional={"caller": st.just({"type": "direct"})},
)
THINKING_BLOCK = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT})
REDACTED_BLOCK = st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": TEXT})
USAGE = st.fixed_dictionaries(
    {"input_tokens": COUNT, "output_tokens": COUNT},
    optional={
        "cache_creation_input_tokens": st.none() | COUNT,
        "cache_read_input_tokens": st.none() | COUNT,
        "service_tier": st.sampled_from([None, "standard"]),
        "output_tokens_details": st.none() | st.fixed_dictionaries({"thinking_tokens": COUNT}),
    },
)
MESSAGE = st.fixed_dictionaries(
    {
        "id": TEXT,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": TEXT,
        "content": st.lists(TEXT_BLOCK | TOOL_BLOCK | THINKING_BLOCK | REDACTED_BLOCK, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]),
        "stop_sequence": st.none() | TEXT,
        "usage": USAGE,
    },
    optional={"stop_details": st.none(), "context_management": st.none() | st.just({"applied_edits": []})},
)
MESSAGES = st.builds(lambda message, extra: {**message, **extra}, MESSAGE, EXTRA)
EVENT = pydantic.TypeAdapter[RawMessageStreamEvent](RawMessageStreamEvent)


def assembled(events: list[bytes]) -> bytes:
    assembler = messages.Assembler()
    for event in events:
        assert not assembler.complete
        kept = assembler.add(event)
        assert kept is not None
        assert kept.data is event
    assert assembler.complete
    ending = assembler.finish()
    assert ending.body is not None
    assert ending.summary == messages.summarise(ending.body)
    return ending.body


@given(MESSAGES)
def test_render_then_assemble_gives_the_same_message(message: dict[str, Any]) -> None:
    body = msgspec.json.encode(message)
    events = messages.render(body)
    for event in events:
        EVENT.validate_json(event)
    assert sse.Parser().feed(framed(events)) == events
    again = assembled(events)
    assert msgspec.json.decode(again) == message
    assert messages.summarise(again) == messages.summarise(body)
    # And what was stored from a stream renders as the very same stream.
    assert messages.render(again) == events


def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(places)] or [text]


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """A Message, and a stream of it as a provider might cut it: in any pieces, with pings between, with growing counts."""
    message = draw(MESSAGES)
    usage = {**message["usage"], "output_tokens": draw(COUNT)}
    first = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": first}]
    for index, block in enumerate(message["content"]):
        start, deltas = dict(block), []
        for name, kind in (("text", "text_delta"), ("thinking", "thinking_delta")):
            if name in block:
                start[name] = ""
                deltas += [{"type": kind, name: piece} for piece in cut(draw, block[name])]
        if "signature" in block:
            start.pop("signature")
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        if "input" in block:
            start["input"] = {}
            pieces = cut(draw, msgspec.json.encode(block["input"]).decode())
            deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        if block.get("citations"):
            start["citations"] = draw(st.sampled_from([None, []]))
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {name: message[name] for name in ("stop_reason", "stop_sequence")}
    counts = {"output_tokens": message["usage"]["output_tokens"]}
    events += [{"type": "message_delta", "delta": end, "usage": counts}, {"type": "message_stop"}]
    for place in sorted(draw(st.sets(st.integers(0, len(events) - 1), max_size=3)), reverse=True):
        events.insert(place, {"type": "ping"})
    return message, [msgspec.json.encode(event) for event in events]


@given(streamed())
def test_any_cutting_into_deltas_assembles_to_the_message(case: tuple[dict[str, Any], list[bytes]]) -> None:
    message, events = case
    assert msgspec.json.decode(assembled(events)) == message


KINDS = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop",
                         "message_delta", "message_stop", "ping", "error", "text", "text_delta", "input_json_delta",
                         "citations_delta", "signature_delta", "thinking_delta", "message", "tool_use"])  # fmt: skip
NAMES = st.sampled_from(["type", "index", "message", "content", "usage", "delta", "content_block", "text", "thinking",
                         "partial_json", "citation", "citations", "signature", "input", "output_tokens", "stop_reason"])  # fmt: skip
ODD = st.recursive(
    st.none() | st.integers(-2, 2) | KINDS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.fixed_dictionaries({"type": KINDS}, optional={"index": st.just(0)})
    | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
JUNK = st.binary(max_size=40) | JSON.map(msgspec.json.encode) | ODD.map(msgspec.json.encode)


@given(streamed(), st.lists(st.tuples(st.integers(0, 30), JUNK), max_size=3), st.randoms())
def test_nothing_a_provider_sends_makes_the_assembler_raise(
    case: tuple[dict[str, Any], list[bytes]], junk: list[tuple[int, bytes]], order: Any
) -> None:
    events = case[1]
    for place, event in junk:
        events.insert(place, event)
    if order.random() < 0.5:
        order.shuffle(events)
    assembler = messages.Assembler()
    for event in events:
        assembler.add(event)
    ending = assembler.finish()
    if ending.body is not None:
        assert ending.summary is not None
        assert ending.summary == messages.summarise(ending.body)
        assert messages.render(ending.body)


@given(streamed(), st.data())
def test_a_message_with_any_value_replaced_is_refused_or_can_be_rendered(
    case: tuple[dict[str, Any], list[bytes]], data: st.DataObject
) -> None:
    message = case[0]
    places: list[Any] = [message, message["usage"], *message["content"]]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON | ODD)
    body = msgspec.json.encode(message)
    summary = messages.summarise(body)
    if summary is None:
        return
    events = messages.render(body)
    if summary.storable:
        assert messages.summarise(assembled(events)) == summary


@given(JUNK)
def test_nothing_makes_summarise_raise_or_a_frame_hold_two_events(body: bytes) -> None:
    assert messages.summarise(body) is None
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert sse.Parser().feed(framed([body])) == [lines]
