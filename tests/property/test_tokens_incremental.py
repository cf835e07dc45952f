"""A meter, the sums of a text and a truncated text agree with `count`, wherever a text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import errors, tokens

from .test_tokens import fragments, texts

ENCODINGS = ["o200k_base", "cl100k_base"]

long_runs = st.builds(
    lambda unit, length: (unit * length)[:length],
    st.sampled_from(
        [
            "a",
            "A",
            " ",
            "\n",
            "日",
            "本語",
            "_",
            "=-",
            "! ",
            "/",
            "👩‍👩‍👧‍👦",
            "abc",
            "\u3000\t",
            "日A",
            "e\u0301",
            "\ud83d\ude00",
        ]
    ),
    st.integers(0, 700),
)
mixed = st.lists(fragments | long_runs, max_size=12).map("".join) | texts
cuts = st.lists(st.integers(0, 1 << 30), max_size=30)


def places(text: str, numbers: list[int]) -> list[int]:
    return sorted(number % (len(text) + 1) for number in numbers)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=mixed, numbers=cuts)
def test_a_meter_has_the_count_of_all_that_was_appended(encoding: str, text: str, numbers: list[int]) -> None:
    meter = tokens.Meter(encoding)
    start = 0
    for stop in [*places(text, numbers), len(text)]:
        assert meter.append(text[start:stop]) == tokens.count(text[:stop], encoding)
        assert meter.total == tokens.count(text[:stop], encoding)
        start = stop


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=texts)
def test_a_meter_agrees_after_every_character_of_a_short_text(encoding: str, text: str) -> None:
    meter = tokens.Meter(encoding)
    assert [meter.append(character) for character in text] == [
        tokens.count(text[:stop], encoding) for stop in range(1, len(text) + 1)
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=mixed, numbers=cuts)
def test_the_sums_of_a_text_have_the_count_of_every_part(encoding: str, text: str, numbers: list[int]) -> None:
    prefix = tokens.Prefix(text, encoding)
    assert prefix.total == tokens.count(text, encoding)
    stops = places(text, numbers)
    for i, start in enumerate(stops):
        for stop in stops[i::3]:
            assert prefix.count(start, stop) == tokens.count(text[start:stop], encoding), (start, stop)


@given(text=st.text(max_size=8), start=st.none() | st.integers(-12, 12), stop=st.none() | st.integers(-12, 12))
def test_the_ends_of_a_part_are_those_of_a_slice(text: str, start: int | None, stop: int | None) -> None:
    assert tokens.Prefix(text).count(start, stop) == tokens.count(text[start:stop])


def joined(text: str) -> str:
    """The text as it is counted: pairs of surrogates joined, lone ones replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    text=mixed,
    limit=st.integers(1, 12) | st.integers(1, 300),
    marker=st.sampled_from(["", "...", " [cut]", "\n", "日", "_", "\n\n[… and more …]\n\n"]),
)
def test_what_is_kept_fits_and_32_characters_more_do_not(encoding: str, text: str, limit: int, marker: str) -> None:
    if tokens.count(marker, encoding) > limit:
        with pytest.raises(errors.InvalidArgument, match="marker"):
            tokens.truncate(text, limit, encoding, marker=marker)
        return

    def fits(candidate: str) -> bool:
        return tokens.count(candidate, encoding) <= limit

    if fits(text):
        for keep in ("head", "tail", "both"):
            assert tokens.truncate(text, limit, encoding, keep=keep, marker=marker) is text
        return
    whole = joined(text)
    kept = tokens.truncate(text, limit, encoding, marker=marker)
    assert fits(kept)
    assert kept.endswith(marker)
    head = kept.removesuffix(marker)
    assert whole.startswith(head)
    assert len(head) < len(whole)
    assert not any(fits(whole[:stop] + marker) for stop in range(len(head) + 1, min(len(head) + 33, len(whole))))

    kept = tokens.truncate(text, limit, encoding, keep="tail", marker=marker)
    assert fits(kept)
    assert kept.startswith(marker)
    tail = kept.removeprefix(marker)
    assert whole.endswith(tail)
    first = len(whole) - len(tail)
    assert first > 0
    assert not any(fits(marker + whole[start:]) for start in range(max(1, first - 32), first))

    kept = tokens.truncate(text, limit, encoding, keep="both", marker=marker)
    assert fits(kept)
    assert any(
        kept[at : at + len(marker)] == marker
        and whole.startswith(kept[:at])
        and whole.endswith(kept[at + len(marker) :])
        for at in range(len(kept) + 1)
    )
