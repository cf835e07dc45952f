"""Events are named by what their data says of itself; what it says is never trusted to be a name."""

from __future__ import annotations

import re

import msgspec
import pytest

from sparecall import sse
from sparecall.pipeline.events import framed


def test_frames_carry_the_type_as_their_name() -> None:
    spaced = b'{ "type" : "response.created", "a": 1}'
    last = b'{"a":{"type":"inner"},"type":"error"}'
    assert framed([spaced, last]) == (
        b"event: response.created\ndata: " + spaced + b"\n\n" + b"event: error\ndata: " + last + b"\n\n"
    )
    assert framed([]) == b""


def test_frames_are_named_by_what_the_data_says_of_itself() -> None:
    data = [b'{"type":"ping"}', b' { "type" : "ping" }', b'{"index":0,"type":"content_block_stop"}']
    assert framed(data).split(b"\n\n") == [
        b'event: ping\ndata: {"type":"ping"}',
        b'event: ping\ndata:  { "type" : "ping" }',
        b'event: content_block_stop\ndata: {"index":0,"type":"content_block_stop"}',
        b"",
    ]


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff",
        b'{"type": 5}',
        b'{"type": "a\\nb"}',
        b'{"type": "ping\\r\\nevent: message_stop"}',
        b'{"type": ""}',
        b'{"a": ' + b"[" * 100_000,
        b"one\r\n\r\nevent: message_stop\ndata: {}",
    ],
    ids=lambda odd: odd[:40].decode(errors="replace"),
)
def test_data_that_names_no_event_goes_without_a_name_and_starts_no_other(odd: bytes) -> None:
    sent = framed([odd, b'{"type":"ping"}'])
    assert sent.count(b"\nevent:") + sent.startswith(b"event:") == 1
    lines = odd.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert sse.Parser().feed(sent) == [lines, b'{"type":"ping"}']


@pytest.mark.parametrize(
    "data",
    [b'{"type":"a\\nevent: b"}', b'{"type":"a\nb"}', b'{"type":""}', b'{"type":5}', b"{}", b"[DONE]", b"\xff", b""],
)
def test_a_type_that_is_no_name_is_not_trusted(data: bytes) -> None:
    sent = framed([data])
    assert b"event:" not in re.sub(rb"(?m)^data:.*$", b"", sent)
    assert sse.Parser().feed(sent) == [data]


def test_line_ends_in_the_data_reach_the_client_as_data() -> None:
    laid_out = b'{"type":"error",\n"message":\r\n"m"}'
    sent = framed([laid_out])
    assert sent.startswith(b"event: error\ndata: ")
    assert msgspec.json.decode(sse.Parser().feed(sent)[0]) == {"type": "error", "message": "m"}
