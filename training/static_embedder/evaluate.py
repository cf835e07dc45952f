"""Average precision of a model file, and of the teacher's token vectors without regression, on pairs that it was not fitted to.

    python evaluate.py --model static.bin --banking77 CSV --mock-pairs JSON [--qqp PAIRS.jsonl.gz]

banking77: of all pairs of the held-out questions, those of one intent. mock_pairs: a sentence's paraphrase against the nearest
other paraphrase. qqp: duplicates; it is read for the record only, never to choose anything.
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from artefact import read

Floats = NDArray[np.float32]


class Reader:
    """A model file as numpy and `tokenizers` read it."""

    def __init__(self, path: Path) -> None:
        vocabulary, self.vectors, self.bias = read(path)
        words = {token: place for place, token in enumerate(vocabulary)}
        self.tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=100))
        self.tokenizer.normalizer = normalizers.BertNormalizer()
        self.tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def embed(self, texts: list[str]) -> Floats:
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        sums = np.array([self.vectors[encoding.ids].sum(axis=0) + self.bias for encoding in encoded])
        unit: Floats = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        return unit


def average_precision(scores: Floats, labels: NDArray[np.bool_]) -> float:
    ranked = labels[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


def banking77(reader: Reader, path: Path) -> float:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[::5]
    vectors = reader.embed([row["text"].strip() for row in rows])
    intents = np.array([row["category"] for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    return average_precision((vectors @ vectors.T)[first, second], intents[first] == intents[second])


def mock_pairs(reader: Reader, path: Path) -> float:
    pairs = json.loads(path.read_text())
    cosines = reader.embed([pair["origin"] for pair in pairs]) @ reader.embed([pair["similar"] for pair in pairs]).T
    own = cosines.diagonal().copy()
    np.fill_diagonal(cosines, -2)
    return average_precision(np.concatenate([own, cosines.max(axis=1)]), np.arange(2 * len(pairs)) < len(pairs))


def qqp(reader: Reader, path: Path) -> float:
    with gzip.open(path) as file:
        pairs = [json.loads(line) for line in file]
    first, second = (reader.embed([pair[side] for pair in pairs]) for side in ("text_a", "text_b"))
    return average_precision((first * second).sum(axis=1), np.array([pair["label"] == 1 for pair in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "banking77", "mock-pairs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--qqp", type=Path)
    given = parser.parse_args()
    reader = Reader(given.model)
    readers = {"fitted": reader}
    checkpoint = given.model.with_suffix(".npz")
    if checkpoint.exists():
        unfitted = copy.copy(reader)
        unfitted.vectors, unfitted.bias = np.load(checkpoint)["start"], np.zeros_like(reader.bias)
        readers["not regressed"] = unfitted
    for name, each in readers.items():
        scores = [
            f"banking77 {banking77(each, given.banking77):.4f}",
            f"mock_pairs {mock_pairs(each, given.mock_pairs):.4f}",
        ]
        if given.qqp:
            scores.append(f"qqp {qqp(each, given.qqp):.4f}")
        print(f"{name:14}", *scores)


if __name__ == "__main__":
    main()
