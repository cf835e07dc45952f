"""Counts of texts that grow, of parts of texts and of what fits a limit: exact on real and hostile texts, clear when misused."""

from __future__ import annotations

import copy
import random
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from sparecall import _core, errors, tokens
from test_tokens import ENCODINGS, hostile


def source() -> str:
    """Some of the standard library: code and prose."""
    return "".join(path.read_text("utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-d]*.py")))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_real_text_is_metered_in_steps_of_any_size(encoding: str) -> None:
    text = source()[:300_000]
    seeded = random.Random(4)
    meter, start = tokens.Meter(encoding), 0
    while start < len(text):
        stop = start + seeded.choice([1, 7, 20, 500, 9000])
        total = meter.append(text[start:stop])
        if seeded.random() < 0.02:
            assert total == tokens.count(text[:stop], encoding)
        start = stop
    assert meter.total == tokens.count(text, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", hostile(100))
def test_a_piece_that_stays_open_is_metered_exactly(encoding: str, kind: str) -> None:
    text = hostile(60_000)[kind]
    meter = tokens.Meter(encoding)
    for start in range(0, len(text), 20):
        total = meter.append(text[start : start + 20])
        if start % 6000 == 0:
            assert total == tokens.count(text[: start + 20], encoding)
    assert meter.append(" and the rest's here.\n") == tokens.count(text + " and the rest's here.\n", encoding)


@pytest.mark.parametrize("kind", hostile(100))
def test_a_megabyte_appended_twenty_characters_at_a_time_takes_a_moment(kind: str) -> None:
    text = hostile(1_000_000 if kind in {"one letter", "spaces", "underscores"} else 200_000)[kind]
    meter = tokens.Meter()  # a count anew for each would take hours: the time limit of every test is the assertion
    for start in range(0, len(text), 20):
        meter.append(text[start : start + 20])
    assert meter.total == tokens.count(text)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", hostile(100))
def test_parts_of_one_long_piece_are_counted_exactly(encoding: str, kind: str) -> None:
    text = hostile(100_000)[kind]
    prefix = tokens.Prefix(text, encoding)
    assert prefix.total == prefix.count() == tokens.count(text, encoding)
    seeded = random.Random(5)
    for _ in range(20):
        start, stop = sorted(seeded.choices(range(len(text) + 1), k=2))
        assert prefix.count(start, stop) == tokens.count(text[start:stop], encoding)
        assert prefix.count(start, start + 300) == tokens.count(text[start : start + 300], encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", hostile(100))
def test_one_long_piece_is_truncated_to_its_limit(encoding: str, kind: str) -> None:
    text = hostile(40_000)[kind]
    for keep in ("head", "tail", "both"):
        kept = tokens.truncate(text, 100, encoding, keep=keep, marker="\n[cut]\n")
        assert 92 <= tokens.count(kept, encoding) <= 100


def test_parts_of_real_text_are_counted_exactly() -> None:
    text = source()[:200_000]
    prefix = tokens.Prefix(text)
    seeded = random.Random(6)
    for _ in range(200):
        start, stop = sorted(seeded.choices(range(len(text) + 1), k=2))
        assert prefix.count(start, stop) == tokens.count(text[start:stop])


def test_a_total_may_fall() -> None:
    meter = tokens.Meter()
    assert [meter.append(piece) for piece in ("don", "'", "t")] == [1, 2, 1]


def test_a_pair_of_surrogates_may_come_in_two_pieces() -> None:
    meter = tokens.Meter()
    assert meter.append("x\ud83d") == tokens.count("x\ufffd")
    assert meter.append("") == tokens.count("x\ufffd")
    assert meter.append("\ude00y") == tokens.count("x😀y")
    assert meter.append("\ude00\ud83d") == tokens.count("x😀y\ufffd\ufffd")
    assert meter.append("\ud83d") == tokens.count("x😀y\ufffd\ufffd\ufffd")
    assert meter.append("z") == tokens.count("x😀y\ufffd\ufffd\ufffdz")


def test_a_meter_can_be_reset_and_copied() -> None:
    meter = tokens.Meter(encoding="cl100k_base")
    meter.append("one two thr")
    fork, other = meter.copy(), copy.copy(meter)
    assert fork.append("ee") == tokens.count("one two three", "cl100k_base")
    assert (meter.total, other.total) == (tokens.count("one two thr", "cl100k_base"),) * 2
    meter.reset()
    assert meter.total == 0
    assert meter.append("ee") == tokens.count("ee", "cl100k_base")
    assert meter.encoding == "cl100k_base"


def test_a_repr_says_the_numbers_and_not_the_text() -> None:
    meter = tokens.Meter()
    meter.append("secret")
    assert repr(meter) == "Meter(encoding='o200k_base', total=1)"
    assert repr(tokens.Prefix("日 secret")) == "Prefix(encoding='o200k_base', len=8, total=2)"


def test_a_text_of_its_own_knows_its_length_and_weight() -> None:
    prefix = tokens.Prefix("日本語 text")
    assert len(prefix) == 8
    assert prefix.encoding == "o200k_base"
    assert sys.getsizeof(tokens.Prefix("a " * 10_000)) > 20_000


def test_threads_that_share_a_meter_lose_nothing() -> None:
    meter = tokens.Meter()
    barrier = threading.Barrier(4)
    piece = "\n" + "word " * 20_000  # long enough that it is counted without the GIL

    def work() -> None:
        barrier.wait()
        for _ in range(5):
            meter.append(piece)
            meter.append("\nshort")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = 4 * 5 * tokens.count("word " * 20_000)
    assert words <= meter.total <= words + 4 * 5 * 4


def test_what_fits_comes_back_itself() -> None:
    text = "a text that fits"
    assert tokens.truncate(text, 4) is text
    assert tokens.truncate("", 1, marker="...") == ""


def test_the_marker_counts_and_stands_where_something_is_left_out() -> None:
    text = "one two three four five six seven eight"
    assert tokens.truncate(text, 4) == "one two three four"
    assert tokens.truncate(text, 4, marker="...") == "one two three ..."
    assert tokens.truncate(text, 4, keep="tail") == " five six seven eight"
    assert tokens.truncate(text, 5, "cl100k_base", keep="both", marker=" […]") == "one two […] seven eight"


@pytest.mark.parametrize("unit", ["é word ", "日", "\ud83d\ude00 ", "a"])
def test_of_a_very_long_text_the_same_is_kept_as_of_its_ends(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    ends = text[: 5000 * len(unit)]
    for limit in (1, 2, 50):
        for keep in ("head", "tail", "both"):
            assert tokens.truncate(text, limit, keep=keep) == tokens.truncate(ends, limit, keep=keep)


def test_characters_stay_whole_and_surrogates_come_back_as_counted() -> None:
    text = "😀" * 50
    for limit in range(1, 20):
        for keep in ("head", "tail", "both"):
            kept = tokens.truncate(text, limit, keep=keep)
            assert set(kept) <= {"😀"}
    assert set(tokens.truncate("\ud83d\ude00" * 50, 20)) == {"😀"}
    assert set(tokens.truncate("\ud83d!" * 50, 20)) == {"\ufffd", "!"}


@pytest.mark.parametrize("limit", [0, -1, -(10**30)])
def test_a_limit_below_one_is_an_error_that_says_so(limit: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"limit is {limit}; it must be at least 1"):
        tokens.truncate("text", limit)


def test_a_limit_past_all_counts_is_no_limit() -> None:
    assert tokens.truncate("text", 10**30) == "text"


def test_a_marker_that_does_not_fit_is_an_error_whatever_the_text() -> None:
    for text in ("", "a long text " * 50):
        with pytest.raises(errors.InvalidArgument, match="marker is 3 tokens long; it must fit the limit of 2"):
            tokens.truncate(text, 2, marker="one two three")


def test_wrong_arguments_say_what_is_wrong() -> None:
    with pytest.raises(TypeError, match="text must be str, not bytes"):
        tokens.Prefix(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="piece must be str, not None"):
        tokens.Meter().append(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text must be str, not int"):
        tokens.truncate(1, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="limit must be int, not float"):
        tokens.truncate("text", 1.5)  # type: ignore[arg-type]
    with pytest.raises(errors.UnknownName, match='unknown part to keep "middle"; known: head, tail, both'):
        tokens.truncate("text", 1, keep="middle")  # type: ignore[arg-type]
    for call in (
        lambda: tokens.Meter("p50k"),
        lambda: tokens.Prefix("a", "p50k"),
        lambda: tokens.truncate("a", 1, "p50k"),
    ):
        with pytest.raises(errors.UnknownName, match='unknown encoding "p50k"'):
            call()


def test_the_faces_are_the_native_ones() -> None:
    assert tokens.Meter is _core.Meter
    assert tokens.Prefix is _core.Prefix
    assert tokens.truncate is _core.tokens_truncate
