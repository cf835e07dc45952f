"""Any text with special tokens in it, and any ids, are what they are to tiktoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    import tiktoken

ENCODINGS = ["o200k_base", "o200k_harmony", "cl100k_base"]
SPECIAL = ["<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|start|>", "<|no token|>"]
pieces = st.sampled_from([*SPECIAL, "<|", "|>", "<|end", "of", "text|>", " ", "\n"]) | st.text(
    st.characters(exclude_categories=()), max_size=6
)
texts = st.lists(pieces, max_size=10).map("".join)
some = st.just("all") | st.sets(st.sampled_from(SPECIAL))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])  # tiktoken is slow with the thousand of o200k_harmony
@given(text=texts, allowed=some, disallowed=some)
def test_special_tokens_in_any_text_are_those_of_tiktoken(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding],
    name: str,
    text: str,
    allowed: set[str],
    disallowed: set[str],
) -> None:
    ours, oracle = tokens.get_encoding(name), tiktoken_encoding(name)
    try:
        expected = oracle.encode(text, allowed_special=allowed, disallowed_special=disallowed)
    except ValueError:
        with pytest.raises(ValueError, match="special token"):
            ours.encode(text, allowed_special=allowed, disallowed_special=disallowed)
    else:
        assert ours.encode(text, allowed_special=allowed, disallowed_special=disallowed) == expected


@pytest.mark.parametrize("name", ENCODINGS)
@given(ids=st.lists(st.integers(0, 300) | st.integers(0, 201_100).filter(lambda i: i != 200_018), max_size=12))
def test_any_ids_decode_as_tiktoken_decodes_them(
    tiktoken_encoding: Callable[[str], tiktoken.Encoding], name: str, ids: list[int]
) -> None:
    ours, oracle = tokens.get_encoding(name), tiktoken_encoding(name)
    try:
        expected = oracle.decode_bytes(ids)
    except KeyError:
        with pytest.raises(KeyError):
            ours.decode_bytes(ids)
    else:
        assert ours.decode_bytes(ids) == expected
        assert ours.decode(ids) == oracle.decode(ids)
        assert ours.decode_tokens_bytes(ids) == oracle.decode_tokens_bytes(ids)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_the_tokens_of_their_single_bytes(data: bytes) -> None:
    ours = tokens.get_encoding("o200k_base")
    ids = [ours.encode_single_token(data[i : i + 1]) for i in range(len(data))]
    assert ours.decode_bytes(ids) == data
    assert ours.decode(ids) == data.decode("utf-8", "replace")
