"""`StaticEmbedder` against a numpy reading of the same model file, its edges, and how well its cosines tell paraphrases."""

from __future__ import annotations

import csv
import gzip
import json
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray

import sparecall
from sparecall import _core
from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument
from sparecall.index import VectorIndex

Floats = NDArray[np.float32]
MODEL = Path(sparecall.__file__).with_name("static.bin")
TEXTS = [
    "How do I turn on two-factor authentication?",
    "what's the   best way to learn PYTHON in 3 months??",
    "Größe, naïve café — ½ µm",
    "東京の天気は。 Москва, القاهرة",
    "unbelievablyunsegmentablewordlikething " + "x" * 300,
    "a\x00b\ufeffc\u200dd\te\nf",
    "[CLS] is a token, [MASK] too, [SEP]",
    "\U0001f984 is unknown, ? is not",
    "2 + 2 = 4; 1,000.50 $ at https://example.com/a?b=c",
    "e\u0301 and \u00e9",
]


class Reference:
    """The model file as its table says, WordPiece as the `tokenizers` library has it, sums in float64."""

    def __init__(self, file: bytes) -> None:
        magic, version, dim, count, words = struct.unpack_from("<8s4I", file)
        assert (magic, version, dim) == (b"SPSTATIC", 1, 256)
        vocabulary = file[len(file) - words :].decode().splitlines()
        assert len(vocabulary) == count
        at = 64 + 4 * dim
        self.bias = np.frombuffer(file, "<f4", dim, 64).astype(np.float64)
        self.scales = np.frombuffer(file, "<f4", count, at).astype(np.float64)
        self.rows = np.frombuffer(file, np.int8, count * dim, at + 4 * count).reshape(count, dim).astype(np.float64)
        model = tokenizers.models.WordPiece(
            {token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]", max_input_chars_per_word=100
        )
        self.tokenizer = tokenizers.Tokenizer(model)
        self.tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
        self.tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        self.tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])

    def ids(self, text: str) -> list[int]:
        return [i for i in self.tokenizer.encode(text, add_special_tokens=False).ids if self.scales[i] > 0]

    def embed(self, text: str, *, times: int = 1, then: str = "") -> NDArray[np.float64]:
        """The vector of `text` so many times over and then another."""
        parts = [(self.ids(text), times), (self.ids(then), 1)]
        if not any(ids for ids, _ in parts):
            return np.zeros(256)
        total = self.bias + sum(n * (self.scales[ids, None] * self.rows[ids]).sum(axis=0) for ids, n in parts)
        unit: NDArray[np.float64] = total / np.linalg.norm(total)
        return unit


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    return StaticEmbedder()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(MODEL.read_bytes())


def test_vectors_are_those_of_the_model_file(embedder: StaticEmbedder, reference: Reference) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dim)
    assert vectors.flags.c_contiguous
    assert vectors.flags.writeable
    np.testing.assert_allclose(vectors, [reference.embed(text) for text in TEXTS], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_has_one_vector_whatever_is_embedded_with_it(embedder: StaticEmbedder) -> None:
    together = embedder.embed(TEXTS * 60)  # long enough to let the interpreter go
    for i, text in enumerate(TEXTS):
        alone = embedder.embed(text)
        assert alone.shape == (1, 256)
        assert (together[i :: len(TEXTS)] == alone).all()
    assert (embedder.embed(tuple(TEXTS)) == embedder.embed(TEXTS)).all()


@pytest.mark.parametrize("level", ["scalar", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(embedder: StaticEmbedder, level: str) -> None:
    expected = embedder.embed(TEXTS)
    highest = _core.build_info()["cpu_level"]
    _core._set_cpu_level(level)
    try:
        assert (embedder.embed(TEXTS) == expected).all()
    finally:
        _core._set_cpu_level(highest)


@pytest.mark.parametrize("text", ["", " \n\t", "[SEP]", "\U0001f984", "\ud800", "\u200d\ufeff", "\x00\x01"])
def test_a_text_that_says_nothing_has_a_row_of_zeros_that_an_index_refuses(embedder: StaticEmbedder, text: str) -> None:
    row = embedder.embed(text)[0]
    assert not row.any()
    with pytest.raises(InvalidArgument):
        VectorIndex(256).add(1, row)


def test_lone_surrogates_are_left_out(embedder: StaticEmbedder) -> None:
    assert (embedder.embed("reset my \ud83d password") == embedder.embed("reset my  password")).all()
    assert (embedder.embed("a \ud83d\ude00 b") == embedder.embed("a \U0001f600 b")).all()


def test_what_is_no_text_is_refused(embedder: StaticEmbedder) -> None:
    refused: list[Any] = [None, 7, b"bytes", ["fine", None], iter(["a"]), [b"x"]]
    for texts in refused:
        with pytest.raises(TypeError, match="texts"):
            embedder.embed(texts)
    assert embedder.embed([]).shape == (0, 256)
    assert repr(embedder) == "StaticEmbedder(dim=256)"


def test_all_of_a_long_text_counts(embedder: StaticEmbedder, reference: Reference) -> None:
    question = "how do i pay an invoice? "
    last = "zebra " * 20_000
    text = question * 40_000 + last
    assert len(text) > 1_000_000
    expected = reference.embed(question, times=40_000, then=last)
    assert embedder.embed(text)[0] @ expected > 0.99999  # 300,000 sums in float32
    assert embedder.embed(question)[0] @ expected < 0.97
    assert (embedder.embed("x" * 1_000_000) == 0).all()  # one word too long to be known
    assert np.isfinite(embedder.embed("\u0301" * 100_000 + "a" + "#" * 100_000)).all()


def test_threads_share_the_model(embedder: StaticEmbedder) -> None:
    texts, found = TEXTS * 100, [np.empty(0)] * 4

    def work(i: int) -> None:
        found[i] = StaticEmbedder().embed(texts)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((vectors == embedder.embed(texts)).all() for vectors in found)


@pytest.mark.parametrize(
    ("text", "respelt"),
    [
        ("How do I reset my password?", "how do i RESET my password?"),
        ("How do I reset my password?", "  How do I\n reset my\tpassword ?"),
        ("What is the café's address?", "what is the cafe's address?"),
    ],
)
def test_case_spacing_and_accents_change_nothing(embedder: StaticEmbedder, text: str, respelt: str) -> None:
    assert (embedder.embed(text) == embedder.embed(respelt)).all()


def test_related_questions_are_nearer_than_others(embedder: StaticEmbedder) -> None:
    vectors = embedder.embed(
        [
            "How can I lose weight fast?",
            "What is the quickest way to get slimmer?",
            "How can I learn to program quickly?",
        ]
    )
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.1


def test_the_model_is_small() -> None:
    assert MODEL.stat().st_size <= 8_000_000


def average_precision(scores: Floats, labels: NDArray[np.bool_]) -> float:
    ranked = labels[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


def test_banking_questions_of_one_intent_are_near(embedder: StaticEmbedder, shared_data: Path) -> None:
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::5]  # what the training left out
    vectors = embedder.embed([row["text"].strip() for row in rows])
    _, intents = np.unique([row["category"] for row in rows], return_inverse=True)
    first, second = np.triu_indices(len(rows), 1)
    found = average_precision((vectors @ vectors.T)[first, second], intents[first] == intents[second])
    assert found >= GATES["banking77"]


def test_paraphrases_are_nearer_than_the_nearest_other_sentence(embedder: StaticEmbedder, shared_data: Path) -> None:
    pairs = json.loads((shared_data / "gptcache" / "mock_pairs.json").read_text())
    cosines = embedder.embed([pair["origin"] for pair in pairs]) @ embedder.embed([pair["similar"] for pair in pairs]).T
    own = cosines.diagonal().copy()
    np.fill_diagonal(cosines, -2)
    labels = np.arange(2 * len(pairs)) < len(pairs)
    assert average_precision(np.concatenate([own, cosines.max(axis=1)]), labels) >= GATES["mock_pairs"]


def test_duplicate_questions_are_near(embedder: StaticEmbedder, shared_data: Path) -> None:
    with gzip.open(shared_data / "qqp" / "pairs.jsonl.gz") as file:
        pairs = [json.loads(line) for line in file]
    first = embedder.embed([pair["text_a"] for pair in pairs])
    second = embedder.embed([pair["text_b"] for pair in pairs])
    labels = np.array([pair["label"] == 1 for pair in pairs])
    assert average_precision((first * second).sum(axis=1), labels) >= GATES["qqp"]


GATES = {"banking77": 0.36, "mock_pairs": 0.83, "qqp": 0.65}
