"""Server-Sent Events: the standard's own examples, odd streams, limits, and what the encoder writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparecall import errors, sse
from sse_reference import read_whole

CORPUS = sorted((Path(__file__).parent / "corpus" / "sse").iterdir())


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [b"first event", b"second event"],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [b"", b"\n"]),
        (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
    ],
)
def test_the_examples_of_the_standard(stream: bytes, events: list[bytes]) -> None:
    assert sse.Parser().feed(stream) == events


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_each_odd_stream_reads_the_same_whole_cut_in_two_and_byte_by_byte(path: Path) -> None:
    stream = path.read_bytes()
    expected = read_whole(stream)
    assert sse.Parser().feed(stream) == expected
    byte_by_byte = sse.Parser()
    assert [event for byte in stream for event in byte_by_byte.feed(bytes([byte]))] == expected
    for cut in range(len(stream)):
        halves = sse.Parser()
        assert halves.feed(stream[:cut]) + halves.feed(stream[cut:]) == expected


def test_the_corpus_is_there_and_most_of_it_holds_events() -> None:
    assert sum(bool(read_whole(path.read_bytes())) for path in CORPUS) >= 12


def test_an_event_is_given_as_soon_as_its_last_line_end_begins() -> None:
    parser = sse.Parser()
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


def test_the_usual_case_gives_what_the_general_case_gives() -> None:
    parser = sse.Parser()
    assert parser.feed(b"data: warm up\n\n") == [b"warm up"]
    assert parser.feed(b'data: {"a":1}\n\n') == [b'{"a":1}']
    assert parser.feed(b"data:  two spaces\n\n") == [b" two spaces"]
    assert parser.feed(b"data: a\rdata: b\n\n") == [b"a\nb"]
    assert parser.feed(b"data: open\n") == []
    assert parser.feed(b"data: closed\n\n") == [b"open\nclosed"]
    assert parser.feed(b"data: half") == []
    assert parser.feed(b"data: is not a field here\n\n") == [b"halfdata: is not a field here"]
    assert parser.feed(b"data: after a return\r\r") == [b"after a return"]
    assert parser.feed(b"data: x\n\n") == [b"x"]
    assert parser.feed(b"\n") == []


def test_a_mark_inside_the_stream_is_not_a_byte_order_mark() -> None:
    parser = sse.Parser()
    assert parser.feed(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]
    parser = sse.Parser()
    assert parser.feed(b"data: a\n\n") == [b"a"]
    assert parser.feed(b"\xef\xbb\xbfdata: b\n\n") == []


def test_an_event_at_the_limit_passes_and_one_byte_more_is_refused() -> None:
    line = b"data: " + b"x" * 94
    for warm_up in (b"", b"data: w\n\n"):
        parser = sse.Parser(max_event_bytes=100)
        parser.feed(warm_up)
        assert parser.feed(line + b"\n\n") == [b"x" * 94]
        with pytest.raises(errors.InvalidDocument, match="larger than 100 bytes; raise max_event_bytes") as caught:
            parser.feed(line + b"x\n\n")
        assert caught.value.offset == len(warm_up) + len(line) + 2
        assert parser.pending == 0
        with pytest.raises(errors.InvalidDocument):
            parser.feed(b"data: fine\n\n")


def test_a_line_that_never_ends_is_refused_as_soon_as_it_is_too_long() -> None:
    parser = sse.Parser(max_event_bytes=1000)
    for _ in range(100):
        parser.feed(b":23456789\n")  # comments are not held
    for _ in range(100):
        parser.feed(b":234567890")
    assert parser.pending == 1000
    with pytest.raises(errors.InvalidDocument):
        parser.feed(b"x")


def test_many_small_lines_of_one_event_count_together() -> None:
    parser = sse.Parser(max_event_bytes=100)
    with pytest.raises(errors.InvalidDocument):
        parser.feed(b"data: 123456789\n" * 20)
    parser = sse.Parser(max_event_bytes=100)
    for number in range(9):
        parser.feed(b"data: 123456789\n")
        assert parser.pending == 10 * (number + 1)
    with pytest.raises(errors.InvalidDocument):
        parser.feed(b"data: 123456789\n")


def test_events_below_the_limit_do_not_add_up() -> None:
    parser = sse.Parser(max_event_bytes=20)
    assert parser.feed(b"data: 1\ndata: 2\n\n" * 100) == [b"1\n2"] * 100
    for _ in range(100):
        assert parser.feed(b"data: 1\ndata: 2\n\n") == [b"1\n2"]


def test_the_limit_cannot_be_smaller_than_a_byte_order_mark() -> None:
    with pytest.raises(errors.InvalidArgument, match="at least 3"):
        sse.Parser(max_event_bytes=2)


def test_the_repr_shows_the_bounds_and_no_data() -> None:
    parser = sse.Parser(max_event_bytes=100)
    parser.feed(b"data: secret")
    assert repr(parser) == "Parser(max_event_bytes=100, pending=12)"


def test_encode_writes_one_field_per_line() -> None:
    assert sse.encode(b"{}") == b"data: {}\n\n"
    assert sse.encode(b"") == b"data: \n\n"
    assert sse.encode(b"a\r\nb\rc\n") == b"data: a\ndata: b\ndata: c\ndata: \n\n"
    assert sse.encode(b"{}", event="ping") == b"event: ping\ndata: {}\n\n"


@pytest.mark.parametrize("name", ["a\nb", "a\rb"])
def test_an_event_name_cannot_smuggle_in_a_line(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="line end"):
        sse.encode(b"{}", event=name)
