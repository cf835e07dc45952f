"""index: searches, additions, removals and files of `VectorIndex` over vectors whose spectrum falls as that of embeddings does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sparecall.index import VectorIndex

from .common import Benchmark

DIM = 384
Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def vectors(count: int, seed: int) -> Matrix:
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, DIM)) * 0.99 ** np.arange(DIM)).astype(np.float32)


def unit(matrix: Matrix) -> Matrix:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def near(matrix: Matrix, count: int) -> Matrix:
    """Queries of which most have an entry within 0.75, and many one within 0.85."""
    share = np.linspace(0.1, 1.0, count, dtype=np.float32)[:, None]
    return matrix[:count] + share * vectors(count, 1)


def recall(index: VectorIndex, matrix: Matrix, queries: Matrix, min_similarity: float, *, exact: bool = True) -> float:
    """Of the queries with an entry at or above the threshold, the share for which such a one, or its equal, was found."""
    best = (unit(matrix) @ unit(queries).T).max(axis=0)
    asked = best >= min_similarity + 1e-6
    found = index.search_many(queries, min_similarity=min_similarity, exact=exact)
    similar = np.array([max(matches.high, default=-1.0) for matches in found])
    return float(np.mean(similar[asked] >= best[asked] - 1e-6)) if asked.any() else 1.0


class Search(Benchmark):
    """With originals, without, and with the originals but inexact."""

    params = ([1_000, 10_000, 100_000], [0.85, 0.75, -1.0], ["exact", "no originals", "inexact"])
    param_names = ("entries", "min_similarity", "kind")

    def setup(self, entries: int, min_similarity: float, kind: str) -> None:
        super().setup()
        self.matrix = vectors(entries, 0)
        self.index = VectorIndex(DIM, originals=kind != "no originals")
        self.index.add_many(np.arange(entries), self.matrix)
        self.queries, self.exact = near(self.matrix, 64), kind != "inexact"

    def time_64_queries(self, entries: int, min_similarity: float, kind: str) -> None:
        search, exact = self.index.search, self.exact
        for query in self.queries:
            search(query, min_similarity=min_similarity, exact=exact)

    def time_64_queries_in_one_call(self, entries: int, min_similarity: float, kind: str) -> None:
        self.index.search_many(self.queries, min_similarity=min_similarity, exact=self.exact)

    def track_verified_fraction(self, entries: int, min_similarity: float, kind: str) -> float:
        found = self.index.search_many(self.queries, min_similarity=min_similarity, exact=self.exact)
        return float(np.mean([matches.verified_fraction for matches in found]))

    def track_recall(self, entries: int, min_similarity: float, kind: str) -> float:
        return recall(self.index, self.matrix, self.queries, min_similarity, exact=self.exact)

    def track_interval_width(self, entries: int, min_similarity: float, kind: str) -> float:
        found = self.index.search_many(self.queries, min_similarity=min_similarity, exact=self.exact)
        return max((high - low for m in found for low, high in zip(m.low, m.high, strict=True)), default=0.0)


class Change(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.matrix = vectors(20_000, 0)
        self.index = VectorIndex(DIM)
        self.index.add_many(range(20_000), self.matrix)

    def time_add_many_20000(self) -> None:
        VectorIndex(DIM).add_many(range(20_000), self.matrix)

    def track_recall_after_add_many_20000(self) -> float:
        return recall(self.index, self.matrix, near(self.matrix, 64), 0.75)

    def time_replace_1000(self) -> None:
        add = self.index.add
        for row in range(1_000):
            add(row, self.matrix[row])

    def time_remove_and_add_1000(self) -> None:
        for row in range(1_000):
            self.index.remove(row)
            self.index.add(row, self.matrix[row])

    def track_recall_after_replace_1000(self) -> float:
        fresh = vectors(1_000, 2)
        for row in range(1_000):
            self.index.add(row, fresh[row])
        held = np.concatenate([fresh, self.matrix[1_000:]])
        return recall(self.index, held, near(held, 64), 0.75)

    def track_recall_after_remove_and_add_1000(self) -> float:
        self.time_remove_and_add_1000()
        return recall(self.index, self.matrix, near(self.matrix, 64), 0.75)


class Persistence(Benchmark):
    params = ([10_000, 100_000],)
    param_names = ("entries",)

    def setup(self, entries: int) -> None:
        super().setup()
        self.index = VectorIndex(DIM)
        self.index.add_many(range(entries), vectors(entries, 0))
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "index"
        self.index.save(self.path)

    def teardown(self, entries: int) -> None:
        del entries
        self.folder.cleanup()

    def time_save(self, entries: int) -> None:
        del entries
        self.index.save(self.path)

    def time_load(self, entries: int) -> None:
        del entries
        VectorIndex.load(self.path)
