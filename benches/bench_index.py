"""index: searches, additions, removals and files of `VectorIndex` over vectors whose spectrum falls as that of embeddings does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sparecall.index import VectorIndex

from .common import Benchmark

DIM = 384


def vectors(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, DIM)) * 0.99 ** np.arange(DIM)).astype(np.float32)


class Search(Benchmark):
    params = ([1_000, 10_000, 100_000], [0.85, 0.75, -1.0])
    param_names = ("entries", "min_similarity")

    def setup(self, entries: int, min_similarity: float) -> None:
        super().setup()
        self.index = VectorIndex(DIM)
        self.index.add_many(np.arange(entries), vectors(entries, 0))
        self.queries = vectors(64, 1)

    def time_64_queries(self, entries: int, min_similarity: float) -> None:
        search = self.index.search
        for query in self.queries:
            search(query, min_similarity=min_similarity)

    def time_64_queries_in_one_call(self, entries: int, min_similarity: float) -> None:
        self.index.search_many(self.queries, min_similarity=min_similarity)

    def track_verified_fraction(self, entries: int, min_similarity: float) -> float:
        found = self.index.search_many(self.queries, min_similarity=min_similarity)
        return float(np.mean([matches.verified_fraction for matches in found]))


class Change(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.matrix = vectors(20_000, 0)
        self.index = VectorIndex(DIM)
        self.index.add_many(range(20_000), self.matrix)

    def time_add_many_20000(self) -> None:
        VectorIndex(DIM).add_many(range(20_000), self.matrix)

    def time_replace_1000(self) -> None:
        add = self.index.add
        for row in range(1_000):
            add(row, self.matrix[row])

    def time_remove_and_add_1000(self) -> None:
        for row in range(1_000):
            self.index.remove(row)
            self.index.add(row, self.matrix[row])


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
