"""Token counts equal tiktoken's on real, exhaustive small and hostile texts; wrong arguments say what is wrong."""

from __future__ import annotations

import base64
import itertools
import random
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiktoken.model import MODEL_TO_ENCODING

from sparecall import _core, errors, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    import tiktoken

ENCODINGS = ["o200k_base", "cl100k_base"]

# One or two characters of each class that the patterns tell apart: lower, upper, caseless, mark, number, white space.
ALPHABET = ["s", "A", "日", "\u0301", "7", " ", "\u3000", "\n", "'", "/", "!"]


def hostile(length: int) -> dict[str, str]:
    """Texts of about that many bytes whose pieces are as long as they are."""
    seeded = random.Random(4)
    return {
        "one letter": "a" * length,
        "underscores": "_" * length,
        "spaces": " " * length,
        "newlines": "\n" * length,
        "spaces before a word": " " * length + "x",
        "digits": "1234567890" * (length // 10),
        "mixed white space": "".join(seeded.choices(" \t\n\r\u00a0", k=length)),
        "base64": base64.b64encode(seeded.randbytes(length * 3 // 4)).decode(),
        "random letters": "".join(seeded.choices("abcdefghijklmnopqrstuvwxyz", k=length)),
        "ideographs": "".join(chr(seeded.randrange(0x4E00, 0xA000)) for _ in range(length // 3)),
        "combining marks": "e" + "\u0301\u0327" * (length // 4),
        "joined emoji": "👩‍👩‍👧‍👦" * (length // 25),
        "capitals after ideographs": "日AAAA" * (length // 7),
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_short_text_over_one_character_of_each_class_is_cut_as_tiktoken_cuts_it(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str
) -> None:
    oracle = tiktoken_encoding(encoding)
    for length in range(5):
        for characters in itertools.product(ALPHABET, repeat=length):
            text = "".join(characters)
            assert _core._tokens_encode(text, encoding) == oracle.encode_ordinary(text), ascii(text)


def real_texts() -> list[str]:
    """Read 20 MB of what is installed here: the standard library with its tests, packages, JSON, text in many scripts."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    kinds = ("*.py", "*.pyi", "*.json", "*.txt", "*.md")
    paths = sorted({path for root in roots for kind in kinds for path in root.rglob(kind)})
    random.Random(0).shuffle(paths)
    texts, size = [], 0
    for path in paths:
        if size > 20_000_000:
            break
        text = path.read_bytes()[:300_000].decode(errors="replace")
        texts.append(text)
        size += len(text.encode())
    return texts


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_real_text_counts_as_tiktoken_counts_it(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str
) -> None:
    texts = real_texts()
    oracle = tiktoken_encoding(encoding)
    expected = [oracle.encode_ordinary(text) for text in texts]
    assert [_core._tokens_encode(text, encoding) for text in texts] == expected
    assert tokens.count_many(texts, encoding) == [len(ids) for ids in expected]
    assert sum(map(len, texts)) > 15_000_000


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", hostile(100))
def test_a_hostile_text_counts_as_tiktoken_counts_it(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str, kind: str
) -> None:
    oracle = tiktoken_encoding(encoding)
    for length in (500, 100_000):  # around the limit between the two ways to merge, and far above
        text = hostile(length)[kind]
        expected = oracle.encode_ordinary(text)
        assert _core._tokens_encode(text, encoding) == expected
        assert tokens.count(text, encoding) == len(expected)


@pytest.mark.parametrize("kind", hostile(100))
def test_a_megabyte_of_hostile_text_counts_in_a_moment(kind: str) -> None:
    text = hostile(1_000_000)[kind]  # a quadratic merge would take hours: the time limit of every test is the assertion
    assert 0 < tokens.count(text) <= len(text.encode())


def test_counts_agree_with_the_tokens() -> None:
    assert tokens.count("") == 0
    assert tokens.count("hello world") == 2
    assert tokens.count("hello world", "cl100k_base") == 2
    assert tokens.count(text="hello world", encoding="cl100k_base") == 2
    assert tokens.count("<|endoftext|>") > 1  # plain text, never the special token


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text",
    [
        "caf\u00e9 \u00ff\u00a0\u0085",
        "日本語 \ufeff\ufffd",
        "\ufeffbyte order mark",
        "😀 🏳️‍🌈 \U0010ffff",
        "a\ud800b",
        "\udfff",
        "x\ud83d\ude00y",  # a pair of surrogates is its character
        "x\ude00\ud83dy",  # noqa: PT014 - ruff cannot tell surrogates apart
        "😀\ud83d",
        "😀\ud83d\ude00\ud83d",
        "\ufeff\ud800",
    ],
)
def test_every_width_of_str_and_surrogates_read_as_tiktoken_reads_them(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str, text: str
) -> None:
    assert _core._tokens_encode(text, encoding) == tiktoken_encoding(encoding).encode_ordinary(text)


def test_a_count_leaves_no_second_copy_in_the_str() -> None:
    text = "日本語" * 1000
    before = sys.getsizeof(text)
    tokens.count(text)
    assert sys.getsizeof(text) == before


def test_a_subclass_of_str_counts_as_its_text() -> None:
    class Name(str):
        __slots__ = ()

    assert tokens.count(Name("hello world")) == 2


def test_count_many_takes_any_iterable() -> None:
    assert tokens.count_many([]) == []
    assert tokens.count_many(["hello world", "", "日"]) == [2, 0, 1]
    assert tokens.count_many((text for text in ("a", "a b")), encoding="cl100k_base") == [1, 2]


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["a"]])
def test_what_is_no_str_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match=f"text must be str, not {type(value).__name__}"):
        tokens.count(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"texts\[1\] must be str, not {type(value).__name__}"):
        tokens.count_many(["a", value])  # type: ignore[list-item]


def test_one_str_in_place_of_many_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="iterable of str, not one str"):
        tokens.count_many("abc")
    with pytest.raises(TypeError):
        tokens.count_many(1)  # type: ignore[arg-type]


def test_an_unknown_encoding_names_the_known_ones() -> None:
    assert tokens.encodings() == ("o200k_base", "o200k_harmony", "cl100k_base")
    for call in (lambda: tokens.count("a", "p50k"), lambda: tokens.count_many(["a"], "p50k")):
        with pytest.raises(
            errors.UnknownName, match=r'unknown encoding "p50k"; known: o200k_base, o200k_harmony, cl100k_base'
        ):
            call()


def test_threads_that_race_for_the_first_count_agree() -> None:
    program = """
import threading
from sparecall import tokens
barrier, counts = threading.Barrier(8), []
def work():
    barrier.wait()
    counts.append(tokens.count("hello world"))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert counts == [2] * 8, counts
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.1", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_harmony"),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-16k", "cl100k_base"),
        ("ft:gpt-3.5-turbo:org::id", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("text-embedding-ada-002", "cl100k_base"),
        ("claude-sonnet-4", None),
        ("gpt-4.7", None),
        ("gpt-50", None),
        ("o12", None),
        ("gpt-2", None),
        ("", None),
    ],
)
def test_a_model_goes_by_its_family(model: str, encoding: str | None) -> None:
    assert tokens.encoding_for_model(model) == encoding


@pytest.mark.parametrize("model", [model for model, name in MODEL_TO_ENCODING.items() if name in tokens.encodings()])
def test_models_that_tiktoken_knows_have_the_encoding_it_gives(model: str) -> None:
    assert tokens.encoding_for_model(model) == MODEL_TO_ENCODING[model]
