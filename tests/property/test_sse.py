"""However an event stream is cut, the parser finds the events that the standard's algorithm finds in the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import errors, sse
from sse_reference import read_whole

# Bytes that matter to the grammar are frequent, so that line ends, marks and field names meet in every way.
FRAGMENTS = st.sampled_from(
    [
        *(
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"\r\r",
            b"data",
            b"data:",
            b"data: ",
            b"data:  ",
            b"database: ",
        ),
        *(b"event: x", b"id: 1", b"retry: 5", b": comment", b":", b" ", b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\x00"),
        *('{"é":"日本語 🎉"}'.encode(), b"[DONE]", b"\xff\xfe", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b\x0c\x1c"),
    ]
)
LINES = st.sampled_from([b"data: a", b"data:b", b"data", b"event: x", b": comment", b"", b"", b"data: \xc3\xa9"])
LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
STREAMS = (st.lists(FRAGMENTS | st.binary(max_size=4), max_size=40) | st.lists(LINES | LINE_ENDS, max_size=40)).map(
    b"".join
)


def feed_in_pieces(parser: sse.Parser, stream: bytes, cuts: list[int]) -> list[bytes]:
    found: list[bytes] = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        found += parser.feed(stream[start:stop])
    return found


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_any_split_gives_the_events_of_the_whole(stream: bytes, cuts: list[int]) -> None:
    assert feed_in_pieces(sse.Parser(), stream, cuts) == read_whole(stream)


@given(STREAMS)
def test_a_split_at_every_byte_gives_the_events_of_the_whole(stream: bytes) -> None:
    assert feed_in_pieces(sse.Parser(), stream, list(range(len(stream)))) == read_whole(stream)


@given(STREAMS, st.integers(3, 40), st.lists(st.integers(0, 200), max_size=8))
def test_the_limit_bites_whatever_the_split(stream: bytes, limit: int, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> list[bytes] | str:
        parser = sse.Parser(max_event_bytes=limit)
        try:
            return feed_in_pieces(parser, stream, cuts)
        except errors.InvalidDocument:
            with pytest.raises(errors.InvalidDocument):
                parser.feed(b"data: later\n\n")
            return "too large"

    whole = outcome([])
    assert outcome(cuts) == whole
    assert outcome(list(range(len(stream)))) == whole
    if whole != "too large":
        assert whole == read_whole(stream)


@given(STREAMS, st.integers(3, 40))
def test_pending_never_exceeds_the_limit(stream: bytes, limit: int) -> None:
    parser = sse.Parser(max_event_bytes=limit)
    try:
        for index in range(len(stream)):
            parser.feed(stream[index : index + 1])
            assert parser.pending <= limit
    except errors.InvalidDocument:
        assert parser.pending == 0


@given(
    st.lists(st.tuples(st.binary(max_size=30), st.sampled_from([None, "message", "é x"])), max_size=6),
    st.binary(max_size=3),
)
def test_what_is_encoded_is_what_is_parsed(events: list[tuple[bytes, str | None]], comment: bytes) -> None:
    comment = comment.replace(b"\r", b"").replace(b"\n", b"")
    stream = b"".join(b":" + comment + b"\n" + sse.encode(data, event=name) for data, name in events)
    sent = [data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for data, _ in events]
    assert sse.Parser().feed(stream) == sent
