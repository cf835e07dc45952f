"""The size of an image is read from its first bytes, whatever they are; its tokens are those of the published examples."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import tokens
from sparecall.tokens.images import Area, Patches, Tiles, size_of_base64, size_of_data_url

CORPUS = sorted((Path(__file__).parent / "corpus" / "images").iterdir())
O4, MINI = Tiles(85, 170), Tiles(2833, 5667)


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def size_named(path: Path) -> tuple[int, int] | None:
    found = re.search(r"_(\d+)x(\d+)$", path.name)
    return (int(found[1]), int(found[2])) if found else None


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_each_file_has_the_size_its_name_says_or_none(path: Path) -> None:
    assert (size_named(path) is None) == path.name.endswith(".none")
    assert size_of_data_url(url(path.read_bytes())) == size_named(path)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_no_cut_of_a_file_raises_or_tells_another_size(path: Path) -> None:
    data = path.read_bytes()
    for end in range(len(data)):
        assert size_of_base64(base64.b64encode(data[:end]).decode()) in {None, size_named(path)}


@given(st.sampled_from(CORPUS), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=4))
def test_no_changed_byte_makes_it_raise(path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(path.read_bytes())
    for at, value in changes:
        if at < len(data):
            data[at] = value
    size = size_of_data_url(url(bytes(data)))
    assert size is None or min(size) > 0


@given(st.text())
def test_no_text_behind_the_comma_makes_it_raise(text: str) -> None:
    assert size_of_data_url("data:image/png;base64," + text) is None


@pytest.mark.parametrize(
    "odd",
    [
        "https://example.com/cat.png",
        "data:image/png," + "a" * 100,
        "data:text/plain;base64,iVBORw0KGgo=",
        "data:image/png;base64",
        "",
        # A line break in the base64 shifts what follows: no size rather than a wrong one.
        url((CORPUS[0].parent / "png_640x480").read_bytes()).replace("SUhEUg", "SUhE\nUg"),
    ],
)
def test_what_is_no_image_of_known_form_has_no_size(odd: str) -> None:
    assert size_of_data_url(odd) is None


def test_of_a_large_image_only_the_header_is_decoded() -> None:
    head = (CORPUS[0].parent / "png_640x480").read_bytes()
    broken_behind = base64.b64encode(head).decode().rstrip("=") + "!" * 1000
    assert size_of_base64(broken_behind) == (640, 480)


@pytest.mark.parametrize(
    ("size", "of_4o", "of_mini"),
    [
        ((1024, 1024), 765, 25501),
        ((2048, 4096), 1105, 36835),
        ((4096, 8192), 1105, 36835),
        ((512, 512), 255, 8500),
        ((1, 1), 255, 8500),
        ((768, 2048), 1445, 48169),
    ],
)
def test_tiles_are_those_of_the_published_examples(size: tuple[int, int], of_4o: int, of_mini: int) -> None:
    assert O4.bounds(size, "high") == (of_4o,) * 3
    assert O4.bounds(size[::-1], "high") == (of_4o,) * 3
    assert MINI.bounds(size, "high") == (of_mini,) * 3
    assert (O4.bounds(size, "low"), O4.bounds(None, "low"), MINI.bounds(size, "low")) == (
        (85,) * 3,
        (85,) * 3,
        (2833,) * 3,
    )
    assert O4.bounds(size, "auto") == (85, of_4o, of_4o)


def test_a_fraction_of_a_pixel_that_decides_makes_bounds() -> None:
    assert O4.bounds((1000, 2001), "high") == (85 + 170 * 6, 85 + 170 * 6, 85 + 170 * 8)


@pytest.mark.parametrize(("size", "patches"), [((1024, 1024), 1024), ((1800, 2400), 1452), ((32, 33), 2), ((1, 1), 1)])
def test_patches_are_those_of_the_published_examples(size: tuple[int, int], patches: int) -> None:
    low, total, high = Patches(1.62).bounds(size, "high")
    assert low <= total <= high
    assert total == -(-patches * 162 // 100)


@given(
    st.sampled_from([O4, MINI, Patches(2.46), Area(750, 1600)]),
    st.one_of(st.none(), st.tuples(st.integers(1, 2**31), st.integers(1, 2**31))),
    st.sampled_from(["low", "high", "auto", "original"]),
)
def test_bounds_are_ordered_and_those_of_an_unknown_size_hold_all_others(
    rule: Tiles | Patches | Area, size: tuple[int, int] | None, detail: str
) -> None:
    low, total, high = rule.bounds(size, detail)
    least, _, most = rule.bounds(None, detail)
    assert 0 < low <= total <= high <= most
    assert least <= low


def test_a_counter_reads_the_size_of_an_image_on_each_wire() -> None:
    data = (CORPUS[0].parent / "jpeg_800x600").read_bytes()
    counter = tokens.Counter("gpt-4o")
    text = counter.messages([{"role": "user", "content": [{"type": "text", "text": "what?"}]}]).total
    chat = {"type": "image_url", "image_url": {"url": url(data, "jpeg"), "detail": "high"}}
    responses = {"type": "input_image", "image_url": url(data, "jpeg"), "detail": "high"}
    for part in (chat, responses):
        count = counter.messages([{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}])
        assert (count.total - text, count.exact) == (765, True)
    far = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    count = counter.messages([{"role": "user", "content": [{"type": "text", "text": "what?"}, far]}])
    assert (count.low - text, count.total - text, count.high - text, count.exact) == (85, 765, 1445, False)
    source = {"type": "base64", "media_type": "image/jpeg", "data": base64.b64encode(data).decode()}
    claude = tokens.Counter("claude-sonnet-4-5")
    with_image = claude.messages([{"role": "user", "content": [{"type": "image", "source": source}]}])
    assert with_image.low < 800 * 600 / 750 < with_image.high < 1200
