"""Searches sparecall's `VectorIndex`, hnswlib, usearch, faiss, turbovec and numpy for the nearest entry, in turns; prints tables.

Usage: index.py [VECTORS.npy] [--sizes N ...] [--build-limit SECONDS] [--plot FILE]. The file holds real embeddings, rows of
any float type; the last 1,000 are the queries. Where more entries are wanted than it has, more are made: a row turned towards
another, with noise, by an angle drawn from those between rows and their nearest neighbours. Without a file all are random,
with a spectrum that falls as that of embeddings does. One query a call, one thread on one processor, k=1, a threshold of
0.85 (others return their nearest, whatever it is): the median of the medians of interleaved rounds. Recall at the
threshold: of the queries whose true nearest entry is at or above it, the share for which an entry at or above it was found,
by the true similarity of what was returned. A graph whose build would take longer than the limit is left out, and said so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import faiss
import hnswlib
import numpy as np
import turbovec
import usearch.index

import sparecall
from sparecall.index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THRESHOLD, ROUNDS, PIECE = 0.85, 5, 20_000
QUERIES, QUERIES_OF_A_MILLION = 1_000, 250
OURS, FLAT = "sparecall", "faiss flat"
LOWER, NEAREST, INEXACT = "sparecall, t=0.75", "sparecall, nearest", "sparecall, nearest, exact=False"
Rows = Any


class Contender(NamedTuple):
    """What asks for the nearest entry's row, or -1, and the seconds it took to build."""

    ask: Callable[[Rows], int]
    built: float


class Result(NamedTuple):
    """Microseconds at the median, recall at the threshold, seconds to build."""

    p50: float
    recall: float
    built: float


def unit(rows: Rows) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def real(path: Path | None) -> tuple[Rows, Rows]:
    """Entries and queries as the file has them, in random order."""
    random = np.random.default_rng(0)
    if path is None:
        rows = unit(random.standard_normal((30_000, 384)) * 0.99 ** np.arange(384))
    else:
        rows = unit(np.load(path).astype(np.float32))
        rows = rows[random.permutation(len(rows))]
    return rows[:-QUERIES], rows[-QUERIES:]


def grown(entries: Rows, count: int) -> Rows:
    """So many entries, by mixing near neighbours with noise where there are fewer."""
    if count <= len(entries):
        return np.ascontiguousarray(entries[:count])
    random = np.random.default_rng(1)
    angles = np.arccos(np.clip((entries[:4_000] @ entries[4_000:24_000].T).max(axis=1), -1, 1))
    rows = np.empty((count, entries.shape[1]), np.float32)
    rows[: len(entries)] = entries
    for at in range(len(entries), count, PIECE):
        more = min(PIECE, count - at)
        start, toward = (entries[random.integers(0, len(entries), more)] for _ in range(2))
        noise = random.standard_normal(start.shape, np.float32) * np.float32(0.5 / np.sqrt(start.shape[1]))
        away = toward + noise
        away = unit(away - (away * start).sum(axis=1, keepdims=True) * start)
        angle = random.choice(angles, more)[:, None].astype(np.float32)
        rows[at : at + more] = unit(np.cos(angle) * start + np.sin(angle) * away)
    return rows


def ours(entries: Rows) -> Iterator[tuple[str, Contender]]:
    start = time.perf_counter()
    index = VectorIndex(entries.shape[1])
    index.add_many(np.arange(len(entries)), entries)
    built = time.perf_counter() - start

    def ask(min_similarity: float, *, exact: bool = True) -> Callable[[Rows], int]:
        search = index.search
        return lambda query: next(iter(search(query, min_similarity=min_similarity, exact=exact).ids), -1)

    yield OURS, Contender(ask(THRESHOLD), built)
    yield LOWER, Contender(ask(0.75), built)
    yield NEAREST, Contender(ask(-1.0), built)
    yield INEXACT, Contender(ask(-1.0, exact=False), built)


def scans(entries: Rows) -> Iterator[tuple[str, Contender]]:
    """Those that look at every entry."""
    start = time.perf_counter()
    flat = faiss.IndexFlatIP(entries.shape[1])
    flat.add(entries)
    yield FLAT, Contender(lambda query: int(flat.search(query[None], 1)[1][0, 0]), time.perf_counter() - start)
    if len(entries) <= 100_000:
        yield "numpy", Contender(lambda query: int((entries @ query).argmax()), 0.0)
    start = time.perf_counter()
    codes = turbovec.TurboQuantIndex(entries.shape[1], 4)
    codes.add(entries)
    codes.prepare()
    yield (
        "turbovec, 4 bits",
        Contender(lambda query: int(codes.search(query[None], 1)[1][0, 0]), time.perf_counter() - start),
    )


def graph(entries: Rows) -> Iterator[tuple[str, Contender]]:
    start = time.perf_counter()
    index = hnswlib.Index("ip", entries.shape[1])
    index.init_index(len(entries), M=16, ef_construction=200)
    index.add_items(entries, num_threads=1)
    built = time.perf_counter() - start
    for ef in (16, 64):

        def ask(query: Rows, ef: int = ef) -> int:
            index.set_ef(ef)
            return int(index.knn_query(query, 1, num_threads=1)[0][0, 0])

        yield f"hnswlib, ef {ef}", Contender(ask, built)


def usearch_graph(entries: Rows, dtype: str) -> Iterator[tuple[str, Contender]]:
    start = time.perf_counter()
    index = usearch.index.Index(ndim=entries.shape[1], metric="ip", dtype=dtype)
    index.add(np.arange(len(entries)), entries, threads=1)
    built = time.perf_counter() - start
    yield f"usearch {dtype}", Contender(lambda query: int(index.search(query, 1, threads=1).keys[0]), built)


GRAPHS: dict[str, Callable[[Rows], Iterator[tuple[str, Contender]]]] = {
    "hnswlib": graph,
    "usearch i8": lambda entries: usearch_graph(entries, "i8"),
    "usearch f32": lambda entries: usearch_graph(entries, "f32"),
}


class Match:
    """Builds and asks at one size after another."""

    def __init__(self, build_limit: float) -> None:
        self._build_limit = build_limit
        self._per_entry: dict[str, float] = {}

    def contenders(self, entries: Rows) -> dict[str, Contender]:
        made = dict(ours(entries)) | dict(scans(entries))
        for name, build in GRAPHS.items():
            # Building grows a little faster than the entries do.
            expected = 1.2 * self._per_entry.get(name, 0.0) * len(entries)
            if expected > self._build_limit:
                print(f"{len(entries):,} entries: {name} is left out, its build would take about {expected:,.0f} s")
                continue
            built = dict(build(entries))
            self._per_entry[name] = next(iter(built.values())).built / len(entries)
            made |= built
        return made

    def play(self, entries: Rows, queries: Rows) -> dict[str, Result]:
        nearest = np.concatenate([(entries @ some.T).max(axis=0) for some in np.array_split(queries, 50)])
        hits = nearest >= THRESHOLD + 1e-6
        made = self.contenders(entries)
        times: dict[str, list[float]] = {name: [] for name in made}
        found: dict[str, list[bool]] = {name: [] for name in made}
        for turn in range(ROUNDS):
            for name, (ask, _) in made.items():
                taken = []
                for query, hit in zip(queries[turn::ROUNDS], hits[turn::ROUNDS], strict=True):
                    start = time.perf_counter_ns()
                    row = ask(query)
                    taken.append(time.perf_counter_ns() - start)
                    if hit:
                        found[name].append(row >= 0 and float(entries[row] @ query) >= THRESHOLD - 1e-6)
                times[name].append(statistics.median(taken) / 1e3)
        print(f"{len(entries):,} entries: {int(hits.sum())} of {len(queries)} queries have one at the threshold")
        results = {
            name: Result(statistics.median(times[name]), float(np.mean(found[name] or [True])), contender.built)
            for name, contender in made.items()
        }
        # At once, since the largest size takes long and may be given up.
        print(
            ", ".join(f"{name} {result.p50:,.1f} us / {result.recall:.4f}" for name, result in results.items()),
            flush=True,
        )
        return results


def table(results: dict[int, dict[str, Result]]) -> None:
    print("\n| us at the median / recall at the threshold / seconds to build |", end="")
    print(" | ".join(f" {count:,} entries" for count in results), "|")
    print("|---|" + "---|" * len(results))
    for name in dict.fromkeys(name for row in results.values() for name in row):
        cells = (row.get(name) for row in results.values())
        print(
            f"| {name} |",
            " | ".join(f"{c.p50:,.1f} / {c.recall:.4f} / {c.built:.2f}" if c else "-" for c in cells),
            "|",
        )
    print("\n| times as long as a flat scan (faiss) takes |", end="")
    print(" | ".join(f" {count:,} entries" for count in results), "|")
    print("|---|" + "---|" * len(results))
    for name in (OURS, LOWER, NEAREST, INEXACT):
        print(f"| {name} |", " | ".join(f"{row[name].p50 / row[FLAT].p50:.3f}" for row in results.values()), "|")


def plot(results: dict[int, dict[str, Result]], made_from: int, file: Path) -> None:
    """Median against entries, with the recall at each point."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 7), layout="constrained")
    for name in dict.fromkeys(name for row in results.values() for name in row):
        if name in (LOWER, NEAREST, INEXACT):
            continue
        points = [(count, row[name]) for count, row in results.items() if name in row]
        width, style = (2.5, "-") if name == OURS else (1.2, "--")
        counts, medians = [count for count, _ in points], [result.p50 for _, result in points]
        (line,) = axes.plot(counts, medians, style, linewidth=width, marker="o", markersize=4, label=name)
        for count, result in points:
            at, colour = (count, result.p50), line.get_color()
            axes.annotate(f"{result.recall:.3f}", at, (4, 3), textcoords="offset points", fontsize=7, color=colour)
    title = f"one query a call, one thread, k=1; numbers: recall at {THRESHOLD}; beyond {made_from:,} entries are mixed"
    axes.set(title=title, xlabel="entries", ylabel="us at the median", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", nargs="?", type=Path, metavar="VECTORS.npy")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--build-limit", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    if os.environ.get("OMP_NUM_THREADS") != "1":  # numpy reads them when it is imported
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        os.execve(sys.executable, [sys.executable, "-P", *sys.argv], os.environ | dict.fromkeys(names, "1"))  # noqa: S606
    faiss.omp_set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    entries, queries = real(options.vectors)
    print(f"k=1, threshold {THRESHOLD}, one query a call, one thread on one processor")
    if max(options.sizes) > len(entries):
        print(
            f"Of {len(entries):,} {'real' if options.vectors else 'random'} vectors; the rest mixes near neighbours with noise, "
            "by angles drawn from those between them and their nearest."
        )
    match, results = Match(options.build_limit), dict[int, dict[str, Result]]()
    for count in sorted(options.sizes):
        asked = queries if count < 1_000_000 else queries[:QUERIES_OF_A_MILLION]
        results[count] = match.play(grown(entries, count), asked)
    table(results)
    if options.plot:
        plot(results, len(entries), options.plot)
        print(f"\nThe plot is in {options.plot}.")


if __name__ == "__main__":
    main()
