"""Outlines from Python: what is read, by which language and encoding, and what is refused."""

from __future__ import annotations

import asyncio

import pytest

from sparecall import errors
from sparecall.outline import languages, outline, outline_async

SOURCE = '''import os

# A note.
@decorated
class Reader(Base):
    """Reads é things.

    More.
    """

    def read(self, n: int = 1) -> str:
        """Read n."""
        return "x" * n
'''


def test_symbols_say_what_where_and_how() -> None:
    found = outline(SOURCE, "python")
    reader, read = found.symbols
    assert (reader.kind, reader.name, reader.name_path) == ("class", "Reader", "Reader")
    assert (reader.first_line, reader.last_line, reader.parent) == (3, 13, None)
    assert reader.signature == "class Reader(Base)"
    assert reader.docstring == "Reads é things."
    assert (read.kind, read.name, read.name_path) == ("method", "read", "Reader.read")
    assert read.signature == "def read(self, n: int = 1) -> str"
    assert read.docstring == "Read n."
    assert read.parent is not None
    assert read.parent.name_path == "Reader"
    start, end = read.byte_range
    assert SOURCE.encode()[start:end].decode() == read.text
    assert read.text.endswith("* n")
    assert (found.language, found.encoding, found.lossy, found.has_errors, len(found)) == (
        "python",
        None,
        False,
        False,
        2,
    )
    assert repr(found) == 'Outline(language="python", symbols=2, has_errors=False)'
    assert repr(read) == "Symbol(method Reader.read, lines 11-13)"


@pytest.mark.parametrize(
    ("source", "encoding", "lossy"),
    [
        (SOURCE.encode(), "utf-8", False),
        (SOURCE.encode("utf-8-sig"), "utf-8-sig", False),
        (SOURCE.encode("utf-16"), "utf-16-le", False),
        (b"\xfe\xff" + SOURCE.encode("utf-16-be") + b"x", "utf-16-be", True),
        (SOURCE.encode("latin-1"), "latin-1", False),
    ],
)
def test_bytes_are_read_and_it_is_told_how(source: bytes, encoding: str, lossy: bool) -> None:
    found = outline(source, path="a.py")
    assert (found.encoding, found.lossy) == (encoding, lossy)
    assert found.source.startswith(SOURCE)
    assert [symbol.name_path for symbol in found.symbols] == ["Reader", "Reader.read"]


def test_the_language_is_named_or_the_path_s_or_the_first_line_s() -> None:
    assert outline("x = 1", "Python", path="a.rs").language == "python"
    assert outline("const x = 1;", path="a/b.mjs").language == "javascript"
    assert outline("#!/usr/bin/env python3\nx = 1").language == "python"
    with pytest.raises(errors.UnknownName, match=r'unknown language "\.cob"; known: go \(\.go\), .*python \(\.py'):
        outline("x", path="a.cob")
    with pytest.raises(errors.UnknownName, match=r'unknown language "cobol"; known: '):
        outline("x", "cobol")
    assert languages()["typescript"] == (".ts", ".mts", ".cts")


@pytest.mark.parametrize(
    "source", ["", "\0\0\0", "def f(", "\ud800 = 1", "x = 1\0\ndef f(): pass", b"\xff", b"\xff\xfe\x00"]
)
def test_any_text_has_an_outline(source: str | bytes) -> None:
    for language in languages():
        assert outline(source, language).language == language


def test_a_parse_is_given_up_in_time() -> None:
    with pytest.raises(errors.InvalidDocument, match="too long to parse for its length"):
        outline("def f():\n" * 20_000, "javascript", max_seconds=0.02)
    with pytest.raises(errors.InvalidArgument, match="max_seconds is 0; give a number of seconds above 0"):
        outline("", "python", max_seconds=0)


async def _awaited(source: str) -> list[str]:
    return [symbol.name for symbol in (await outline_async(source, "python")).symbols]


def test_loops_await_long_ones() -> None:
    many = "".join(f"def f{i}(): pass\n" for i in range(2000))
    assert asyncio.run(_awaited(many)) == [f"f{i}" for i in range(2000)]
    assert asyncio.run(_awaited("def f(): pass")) == ["f"]
