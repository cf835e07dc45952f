"""`sparecall.outline.merge`: what it promises for any three sources, and what it says of those it refuses."""

from __future__ import annotations

import asyncio
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall.errors import InvalidDocument, UnknownName
from sparecall.outline import merge, merge_async, outline

if TYPE_CHECKING:
    from pathlib import Path

    from sparecall.outline import Merged

BASE = "import os\n\n\ndef one():\n    return 1\n\n\ndef two():\n    return 2\n"


def added(name: str) -> str:
    return f"{BASE}\n\ndef {name}():\n    return 0\n"


def test_a_merge_of_lines_that_git_refuses(tmp_path: Path) -> None:
    merged = merge(BASE, added("ours"), added("theirs"), path="a.py")
    assert (merged.by, merged.conflicts, merged.combined) == ("symbols", (), ())
    assert merged.text == added("ours") + added("theirs").removeprefix(BASE)
    for name, text in {"base": BASE, "ours": added("ours"), "theirs": added("theirs")}.items():
        (tmp_path / name).write_text(text)
    git = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True)  # noqa: S607
    assert git.returncode == 1


def test_a_conflict_says_where_it_is_and_what_each_side_has() -> None:
    merged = merge(BASE, BASE.replace("return 2", "return 3"), BASE.replace("return 2", "return 4"), "python")
    assert (merged.text, merged.by) == (None, None)
    (conflict,) = merged.conflicts
    assert (conflict.reason, conflict.symbol) == ("both changed", "two")
    assert (conflict.base, conflict.ours, conflict.theirs) == ("    return 2\n", "    return 3\n", "    return 4\n")
    assert conflict.base_lines == conflict.our_lines == conflict.their_lines == (9, 9)
    marked = merged.marked(ours="mine", theirs="yours", base="old")
    before = BASE.removesuffix("    return 2\n")
    assert (
        marked
        == f"{before}<<<<<<< mine\n    return 3\n||||||| old\n    return 2\n=======\n    return 4\n>>>>>>> yours\n"
    )
    assert "two" not in repr(merged) + str(merged)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (("x", "y", "z", "cobol"), UnknownName),
        (("x", "y", "z"), UnknownName),
        (("x", 5, "z", "python"), TypeError),
        (("x", b"y", "z", "python"), TypeError),
    ],
)
def test_what_cannot_be_merged_is_a_typed_error(text: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        merge(*text)


def test_odd_sources_merge_or_conflict() -> None:
    odd = ["", "\0", "\ud800", "x = (", "'''", "\r", "}" * 500, "(" * 2000, "x=1;" * 500, "é = 'ü'\r\n"]
    for ours in odd:
        for theirs in odd[:5]:
            one, other = merge(BASE, ours, theirs, "python"), merge(BASE, theirs, ours, "python")
            assert one.text == other.text
            assert (one.text is None) == bool(one.conflicts)
    minified = "function a(){return 1};" * 200
    merged = merge(minified, minified.replace("1", "2", 1), minified + "b()", "javascript")
    assert [conflict.reason for conflict in merged.conflicts] == ["both changed"]


def test_ten_megabytes_of_lines_merge_in_bounded_work() -> None:
    base = f"x = '{'é' * 2500}'\n" * 2000
    merged = merge(base, f"import a\n{base}", f"{base}import b\n", "python", max_seconds=60)
    assert merged.text == f"import a\n{base}import b\n"
    with pytest.raises(InvalidDocument, match="too long"):
        merge(base, base + "y", base + "z", "python", max_seconds=1e-6)


@pytest.mark.anyio
async def test_the_loop_goes_on_while_workers_merge() -> None:
    both = await asyncio.gather(*(merge_async(BASE, added("a"), added(name), path="a.py") for name in "bc"))
    assert [merged.text for merged in both] == [merge(BASE, added("a"), added(name), "python").text for name in "bc"]
    with pytest.raises(UnknownName):
        await merge_async("a", "b", "c", "cobol")


NAMES = st.sampled_from("abcdef")
BODIES = st.sampled_from(["return 1", "return 2", "x = [\n        1,\n    ]", "pass  # é"])
FUNCTIONS = st.builds("def {}():\n    {}\n".format, NAMES, BODIES)
METHODS = st.builds(
    "class {}:\n    def m(self):\n        return {}\n\n    def {}(self): ...\n".format, NAMES, NAMES, NAMES
)
PARTS = FUNCTIONS | METHODS | st.builds("import {}\n".format, NAMES) | st.builds("{} = 1\n".format, NAMES)


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str, str]:
    """A source of parts with unique names, and two edits of it: parts taken out, put in, changed and moved."""

    def text(parts: list[str]) -> str:
        return "\n\n".join(parts)

    base = draw(st.lists(PARTS, max_size=6, unique_by=name_of))
    sides = []
    for _ in range(2):
        side = list(base)
        for kind in draw(st.lists(st.sampled_from(["out", "in", "change", "move"]), max_size=3)):
            place = draw(st.integers(0, max(0, len(side) - 1)))
            if kind == "in":
                part = draw(PARTS)
                if name_of(part) not in map(name_of, side):
                    side.insert(place, part)
            elif side and kind == "out":
                del side[place]
            elif side and kind == "move":
                side.insert(0, side.pop(place))
            elif side:
                side[place] = side[place].replace("1", "7").replace("pass", "return None")
        sides.append(text(side))
    return text(base), sides[0], sides[1]


def name_of(part: str) -> str:
    found = re.search(r"(?:def|class|import) (\w)|^(\w) =", part)
    assert found is not None
    return found[1] or found[2]


def definitions(source: str) -> dict[str, str]:
    return {symbol.name_path: symbol.text for symbol in outline(source, "python").symbols if symbol.kind != "class"}


def both_sides(merged: Merged, base: str, ours: str, theirs: str) -> None:
    """Each symbol is as the side has it that changed it."""
    assert merged.text is not None
    before, mine, yours, now = (definitions(text) for text in (base, ours, theirs, merged.text))
    for name in before | mine | yours | now:
        if mine.get(name) == before.get(name):
            assert now.get(name) == yours.get(name)
        elif yours.get(name) in (before.get(name), mine.get(name)):
            assert now.get(name) == mine.get(name)
        else:
            assert name in merged.combined
    names = [symbol.name_path for symbol in outline(merged.text, "python").symbols]
    assert len(names) == len(set(names))


@given(edits())
def test_any_two_edits(versions: tuple[str, str, str]) -> None:
    base, ours, theirs = versions
    assert merge(base, ours, base, "python").text == ours
    assert merge(base, base, theirs, "python").text == theirs
    merged = merge(base, ours, theirs, "python")
    assert merged.text == merge(base, theirs, ours, "python").text
    if merged.text is None:
        assert merged.conflicts
        for side in (merged.marked(), merged.marked(base="base")):
            assert side.count("<<<<<<< ours\n") == side.count(">>>>>>> theirs") == len(merged.conflicts)
    else:
        assert not outline(merged.text, "python").has_errors
        both_sides(merged, base, ours, theirs)
