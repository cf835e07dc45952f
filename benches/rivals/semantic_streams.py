"""Streams of queries, candidates and truths for `semantic.py`, from real data; and the rules that sparecall is compared with."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path  # noqa: TC003
from typing import Any, NamedTuple

import numpy as np

Array = Any
NEAR = 16


class Stream(NamedTuple):
    """Per query: the texts' rows, the cosine to the candidate and to the next best entry, entries near, whether it is right."""

    query: Array
    candidate: Array
    cosine: Array
    second: Array
    density: Array
    right: Array


class Pairs(NamedTuple):
    """Questions, their MiniLM vectors, labelled pairs, and the nearest others of each second question of a pair."""

    texts: list[str]
    pairs: Array
    labels: Array
    vectors: Array
    near: Array
    similar: Array


def nearest(vectors: Array, asked: Array) -> tuple[Array, Array]:
    """Rows and cosines of the `NEAR` nearest others of the vectors in rows ``asked``, best first; other rows stay empty."""
    rows = np.zeros((len(vectors), NEAR), np.int32)
    cosines = np.zeros((len(vectors), NEAR), np.float32)
    for start in range(0, len(asked), 512):
        mine = asked[start : start + 512]
        block = vectors[mine] @ vectors.T
        block[np.arange(len(block)), mine] = -2
        found = np.argpartition(block, -NEAR, axis=1)[:, -NEAR:]
        values = np.take_along_axis(block, found, 1)
        order = np.argsort(-values, axis=1)
        rows[mine] = np.take_along_axis(found, order, 1)
        cosines[mine] = np.take_along_axis(values, order, 1)
    return rows, cosines


def qqp(data: Path) -> Pairs:
    """Quora's labelled question pairs; evaluation only."""
    with gzip.open(data / "qqp" / "questions.json.gz") as file:
        texts = json.load(file)
    row = {text: at for at, text in enumerate(texts)}
    with gzip.open(data / "qqp" / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    vectors = np.load(data / "qqp" / "minilm_f16.npy").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = np.array([(row[pair["text_a"]], row[pair["text_b"]]) for pair in found])
    return Pairs(
        texts, pairs, np.array([pair["label"] for pair in found]), vectors, *nearest(vectors, np.unique(pairs[:, 1]))
    )


def of_pairs(data: Pairs, draw: np.random.Generator, count: int) -> Stream:
    """Pairs in random order: the second text asks, the first is the candidate, all others are in the store."""
    order = draw.permutation(len(data.pairs))[:count]
    stored, asked = data.pairs[order].T
    cosine = (data.vectors[stored] * data.vectors[asked]).sum(1)
    similar = data.similar[asked]
    second = np.where(data.near[asked, 0] == stored, similar[:, 1], similar[:, 0])
    return Stream(asked, stored, cosine, second, (similar > (cosine - 0.05)[:, None]).sum(1), data.labels[order])


def mock_pairs(data: Path) -> list[tuple[str, str]]:
    """Statements and their paraphrases. Even rows are among what the shipped prior was fitted on, odd ones are not."""
    rows = json.loads((data / "gptcache" / "mock_pairs.json").read_text("utf-8"))
    return [(row["origin"], row["similar"]) for row in rows]


def contradictions(data: Path) -> list[tuple[str, str]]:
    """Statements and what contradicts them; evaluation only."""
    with (data / "cannot" / "wikifactcheck_english_0.tsv").open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [(row[0], row[1]) for row in rows[1:]]


def clean(data: Path) -> tuple[list[str], Array]:
    """Odd rows of the mock pairs (the prior never saw them) and 4,000 bank questions; equal classes have the same answer."""
    texts = [text for both in mock_pairs(data)[1::2] for text in both]
    classes = [f"mock {at // 2}" for at in range(len(texts))]
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        bank = [(row["text"].strip(), row["category"]) for row in csv.DictReader(file)]
    chosen = np.random.default_rng(7).permutation(len(bank))[:4000]
    texts += [bank[at][0] for at in chosen]
    classes += [bank[at][1] for at in chosen]
    # A text that stands in two rows joins them: whoever asks the same words wants the same answer.
    plain = [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
    joined: dict[str, str] = {}
    for text, name in zip(plain, classes, strict=True):
        joined.setdefault(text, name)
    parent = {name: name for name in classes}

    def top(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for text, name in zip(plain, classes, strict=True):
        parent[top(name)] = top(joined[text])
    return texts, np.unique([top(name) for name in classes], return_inverse=True)[1]


def of_arrivals(vectors: Array, classes: Array, draw: np.random.Generator) -> Stream:
    """Texts in random order: the nearest earlier one is the candidate; the first text of all has none (candidate -1)."""
    order = draw.permutation(len(vectors))
    cosines = vectors[order] @ vectors[order].T
    count = len(order)
    candidate, cosine, second, density = np.full(count, -1), np.zeros(count), np.full(count, -2.0), np.ones(count)
    for at in range(1, count):
        earlier = cosines[at, :at]
        best = int(earlier.argmax())
        candidate[at], cosine[at] = order[best], earlier[best]
        density[at] = min(NEAR, int((earlier > earlier[best] - 0.05).sum()))
        if at > 1:
            second[at] = np.partition(earlier, -2)[-2]
    right = np.where(candidate >= 0, classes[order] == classes[candidate], 0)
    return Stream(order, candidate, cosine, second, density, right)


def hits_at(right: Array, score: Array, precision: float) -> int:
    """The most hits of any threshold on the score whose precision is at least this."""
    order = np.argsort(-score, kind="stable")
    kept = np.flatnonzero(np.cumsum(right[order]) / np.arange(1, len(right) + 1) >= precision)
    return int(kept[-1]) + 1 if len(kept) else 0


class PerEntryLogistic:
    """vCache's rule (Schroeder et al., arXiv 2502.03771, version of 2025), from the paper: per entry P(right | s) is a logistic.

    An entry with fewer than six verdicts is explored. Else a logistic of the similarity is fitted to its verdicts, its midpoint
    is moved up to the end of a confidence band at each of 50 levels, and it is explored with the least probability tau that
    keeps the error within delta.
    """

    def __init__(self, delta: float, seed: int) -> None:
        self.delta = delta
        self.draw = np.random.default_rng(seed)
        self.verdicts: dict[int, list[tuple[float, int]]] = {}
        self.quantiles = [(eps, self._normal(1 - eps)) for eps in np.linspace(0.01, 0.5, 50)]

    @staticmethod
    def _normal(p: float) -> float:
        from statistics import NormalDist

        return NormalDist().inv_cdf(p)

    def serve(self, entry: int, cosine: float) -> bool:
        """Whether to serve the entry's answer."""
        seen = self.verdicts.get(entry, [])
        if len(seen) < 6:
            return False
        x, y = np.array(seen).T
        weights, covariance = np.zeros(2), np.eye(2)
        for _ in range(15):
            design = np.column_stack([np.ones(len(x)), x])
            p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
            hessian = (design * (p * (1 - p) + 1e-9)[:, None]).T @ design + np.eye(2) * 1e-3
            weights = weights + np.linalg.solve(hessian, design.T @ (y - p) - 1e-3 * weights)
            covariance = np.linalg.inv(hessian)
        point = np.array([1.0, cosine])
        mean, spread = point @ weights, float(np.sqrt(point @ covariance @ point))
        least = min(
            1 - self.delta / max(1e-9, 1 - (1 - eps) / (1 + np.exp(-np.clip(mean - z * spread, -30, 30))))
            for eps, z in self.quantiles
        )
        return bool(self.draw.random() > max(0.0, least))

    def learn(self, entry: int, cosine: float, right: int) -> None:
        """A verdict on the entry's answer."""
        self.verdicts.setdefault(entry, []).append((cosine, right))
