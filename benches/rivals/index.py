"""Searches sparecall's `VectorIndex`, hnswlib, usearch, faiss and numpy for the nearest entry, in turns; prints one table.

Usage: index.py [VECTORS.npy]. The file holds real embeddings, rows of any float type; the last 1,000 are the queries.
Where more entries are wanted than it has, more are made: a row turned towards another, with noise, by an angle drawn from
those between rows and their nearest neighbours. Without a file all are random, with a spectrum that falls as that of
embeddings does. One query a call, one thread, k=1, a threshold of 0.85 (others return their nearest, whatever it is): the
median of the medians of interleaved rounds. Recall at the threshold: of the queries whose true nearest entry is at or above
it, the share for which such an entry was found.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import faiss
import hnswlib
import numpy as np
import usearch.index

import sparecall
from sparecall.index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES, QUERIES, ROUNDS, THRESHOLD = (1_000, 10_000, 100_000), 1_000, 5, 0.85
OURS = "sparecall"
Rows = Any


def unit(rows: Rows) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def data(count: int) -> tuple[Rows, Rows]:
    """Entries and queries."""
    random = np.random.default_rng(0)
    if len(sys.argv) > 1:
        real = unit(np.load(sys.argv[1]).astype(np.float32))[
            random.permutation(np.load(sys.argv[1], mmap_mode="r").shape[0])
        ]
    else:
        real = unit(random.standard_normal((30_000, 384)) * 0.99 ** np.arange(384))
    queries, entries = real[-QUERIES:], real[:-QUERIES]
    if count <= len(entries):
        return entries[:count], queries
    some = entries[:4_000] @ entries[4_000:24_000].T
    angles = np.arccos(np.clip(some.max(axis=1), -1, 1))
    more = count - len(entries)
    start, toward = entries[random.integers(0, len(entries), more)], entries[random.integers(0, len(entries), more)]
    away = toward + random.standard_normal(start.shape).astype(np.float32) * 0.5 / np.sqrt(start.shape[1])
    away = unit(away - (away * start).sum(axis=1, keepdims=True) * start)
    angle = random.choice(angles, more)[:, None]
    return np.concatenate([entries, unit(np.cos(angle) * start + np.sin(angle) * away)]), queries


def contenders(entries: Rows) -> dict[str, tuple[Callable[[Rows], float], float]]:
    """By name: what asks for the similarity of the nearest entry, or -1, and the seconds it took to build."""
    count, dim = entries.shape
    made: dict[str, tuple[Callable[[Rows], float], float]] = {}

    start = time.perf_counter()
    ours = VectorIndex(dim)
    ours.add_many(np.arange(count), entries)
    taken = time.perf_counter() - start

    def ask_ours(query: Rows) -> float:
        return next(iter(ours.search(query, min_similarity=THRESHOLD).similarities), -1.0)

    made[OURS] = ask_ours, taken
    made["numpy"] = (lambda query: float((entries @ query).max())), 0.0

    start = time.perf_counter()
    flat = faiss.IndexFlatIP(dim)
    flat.add(entries)
    made["faiss flat"] = (lambda query: float(flat.search(query[None], 1)[0][0, 0])), time.perf_counter() - start

    start = time.perf_counter()
    graph = hnswlib.Index("ip", dim)
    graph.init_index(count, M=16, ef_construction=200)
    graph.add_items(entries, num_threads=1)
    taken = time.perf_counter() - start
    for ef in (16, 64):

        def ask_graph(query: Rows, ef: int = ef) -> float:
            graph.set_ef(ef)
            return 1.0 - float(graph.knn_query(query, 1, num_threads=1)[1][0, 0])

        made[f"hnswlib, ef {ef}"] = ask_graph, taken

    start = time.perf_counter()
    other = usearch.index.Index(ndim=dim, metric="ip", dtype="f32")
    other.add(np.arange(count), entries, threads=1)
    taken = time.perf_counter() - start
    made["usearch f32"] = (lambda query: 1.0 - float(other.search(query, 1, threads=1).distances[0])), taken
    return made


def main() -> None:
    """Print the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    if os.environ.get("OMP_NUM_THREADS") != "1":  # numpy reads them when it is imported
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, "-P", *sys.argv], os.environ | one)  # noqa: S606
    faiss.omp_set_num_threads(1)
    print(
        f"k=1, threshold {THRESHOLD}, one query a call; us at the median / recall at the threshold / seconds to build\n"
    )
    rows: dict[str, list[str]] = {}
    for count in SIZES:
        entries, queries = data(count)
        nearest = np.concatenate([(entries @ some.T).max(axis=0) for some in np.array_split(queries, 20)])
        hits = nearest >= THRESHOLD + 1e-6
        made = contenders(entries)
        times: dict[str, list[float]] = {name: [] for name in made}
        found = {name: np.array([ask(query) for query in queries]) for name, (ask, _) in made.items()}
        for turn in range(ROUNDS):
            for name, (ask, _) in made.items():
                taken = []
                for query in queries[turn::ROUNDS]:
                    start = time.perf_counter_ns()
                    ask(query)
                    taken.append(time.perf_counter_ns() - start)
                times[name].append(statistics.median(taken) / 1e3)
        for name, (_, seconds) in made.items():
            recall = float((found[name][hits] >= THRESHOLD - 1e-6).mean()) if hits.any() else 1.0
            cell = f"{statistics.median(times[name]):.1f} / {recall:.4f} / {seconds:.2f}"
            rows.setdefault(name, []).append(cell)
    print("| |", " | ".join(f"{count:,} entries" for count in SIZES), "|")
    print("|---|" + "---|" * len(SIZES))
    for name, cells in rows.items():
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
