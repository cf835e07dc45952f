"""Any text has the tokens that tiktoken gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall import _core, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    import tiktoken

# What the patterns and the vocabularies treat in a way of its own.
FRAGMENTS = [
    *("'s", "'S", "'\u017f", "'T", "'re", "'VE", "'m", "'Ll", "'d", "'", "don't", "I'M", "\u2019s", "'\u017ft"),
    *(" ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", " \n ", "\u00a0", "\u0085", "\u2028", "\u3000", "\u200b", "\x1f"),
    *(
        "a",
        "B",
        "Ab",
        "aB",
        "ABc",
        "HTTPServer",
        "\u017f",
        "ß",
        "İ",
        "ǅ",
        "ʰ",
        "ª",
        "日",
        "本語",
        "한국",
        "ไทย",
        "हिन्दी",
        "العربية",
    ),
    *("1", "12", "123", "1234567", "٣", "²", "Ⅷ", "五", "½"),
    *("\u0301", "\u0301\u0327", "\u20dd", "\ufe0f", "\u200d", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽"),
    *("_", "____", "--", "==", "/", "//", "!", "...", '{"', "</", "\\", "$", "€", "\x00", "\x7f", "\ufeff", "\ufffd"),
    *("\ud800", "\udc00", "\ud83d\ude00", "\U000e0001", "\U0010ffff", "\u0378"),
]
characters = st.characters(exclude_categories=())
fragments = st.sampled_from(FRAGMENTS) | st.text(characters, max_size=4)
texts = st.lists(fragments, max_size=40).map("".join) | st.text(characters, max_size=80)


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@settings(max_examples=6 * settings().max_examples)
@given(text=texts)
def test_any_text_has_the_tokens_tiktoken_gives_it(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str, text: str
) -> None:
    expected = tiktoken_encoding(encoding).encode_ordinary(text)
    assert _core._tokens_encode(text, encoding) == expected
    assert tokens.count(text, encoding) == len(expected)


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@settings(max_examples=2 * settings().max_examples)
@given(data=st.binary(max_size=400))
def test_any_bytes_read_as_text_have_the_tokens_tiktoken_gives_them(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], encoding: str, data: bytes
) -> None:
    for text in (data.decode("latin-1"), data.decode("utf-8", "replace"), data.decode("utf-16-le", "replace")):
        assert _core._tokens_encode(text, encoding) == tiktoken_encoding(encoding).encode_ordinary(text)


@given(many=st.lists(texts, max_size=8))
def test_many_texts_count_as_each_alone(many: list[str]) -> None:
    assert tokens.count_many(many) == [tokens.count(text) for text in many]
