"""Compares sparecall's semantic decision with fixed cosine thresholds and with vCache's rule on streams of real queries; prints tables.

Usage: semantic.py [DATA] [--runs N] [--count N] [--vectors FILE] [--minilm FOLDER]. DATA is a folder with qqp, gptcache and banking77 (default
../shared/data); without it there is nothing to do, and the script says so. The clean stream needs MiniLM vectors of its texts:
an npz of `texts` and `vectors`, made with `--minilm` where it is missing. Each run is another order. Verdicts are noisy: 0.5 %
of right answers are judged wrong, 5 % of wrong ones right. Hits of the best fixed threshold are those of hindsight: the lowest
cosine at which the whole stream's error is no more than what sparecall's turned out to be.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from semantic_streams import PerEntryLogistic, Stream, clean, hits_at, of_arrivals, of_pairs, qqp

from sparecall import _core

Array = Any
MISJUDGED = {1: 0.005, 0: 0.05}


def decide(stream: Stream, profiles: list[Any], limit: float, seed: int) -> tuple[Array, Array]:
    """What sparecall serves, and the probabilities it gave."""
    decision = _core.SemanticDecision(max_error=limit, audit_share=0.05, seed=seed, embedder="minilm")
    draw = np.random.default_rng(seed)
    served, probability = np.zeros(len(stream.query), bool), np.zeros(len(stream.query))
    for at, (query, candidate, cosine, second, density, right) in enumerate(zip(*stream, strict=True)):
        if candidate >= 0:
            verdict = decision.judge(
                profiles[query], profiles[candidate], float(cosine), second=float(second), density=float(density)
            )
            served[at], probability[at] = verdict.serve, verdict.probability
            if verdict.compare:
                decision.learn(verdict, correct=bool(right) != (draw.random() < MISJUDGED[int(right)]))
        decision.stored(profiles[query])
    return served, probability


def per_entry(stream: Stream, limit: float, seed: int) -> Array:
    """What vCache's rule serves."""
    rule = PerEntryLogistic(limit, seed)
    served = np.zeros(len(stream.query), bool)
    for at, (candidate, cosine, right) in enumerate(zip(stream.candidate, stream.cosine, stream.right, strict=True)):
        served[at] = candidate >= 0 and rule.serve(int(candidate), float(cosine))
        if candidate >= 0 and not served[at]:
            rule.learn(int(candidate), float(cosine), int(right))
    return served


def error(served: Array, right: Array) -> float:
    return float(1 - right[served].mean()) if served.any() else 0.0


def bound(name: str, streams: list[Stream], profiles: list[Any], limits: tuple[float, ...]) -> None:
    """One row per limit: how often it held, the errors, hits beside those of the best fixed threshold and of vCache's rule."""
    print(f"\n{name}: {len(streams)} orders of {len(streams[0].query)} queries")
    print(
        "max_error | held | error, mean | error, worst | hits | best fixed, same error | its 0.80/0.90/0.95 error | vCache's rule: hits, error"
    )
    print("---|---|---|---|---|---|---|---")
    for limit in limits:
        rows = []
        for seed, stream in enumerate(streams):
            served, _ = decide(stream, profiles, limit, seed)
            wrong = error(served, stream.right)
            other = per_entry(stream, limit, seed)
            rows.append(
                (
                    wrong,
                    served.sum(),
                    hits_at(stream.right, stream.cosine, 1 - wrong),
                    other.sum(),
                    error(other, stream.right),
                )
            )
        wrongs, hits, fixed, others, theirs = np.array(rows).T
        first = streams[0]
        at = "/".join(f"{error(first.cosine >= cut, first.right):.3f}" for cut in (0.8, 0.9, 0.95))
        print(f"{limit} | {int((wrongs <= limit).sum())}/{len(rows)} | {wrongs.mean():.4f} | {wrongs.max():.4f} | {hits.mean():.0f} | "
              f"{fixed.mean():.0f} | {at} | {others.mean():.0f}, {theirs.mean():.4f}")  # fmt: skip


def gain(stream: Stream, profiles: list[Any]) -> None:
    """Hits at equal precision over those of the best cosine: the prior alone, and after 5,000 verdicts of the stream."""
    decision = _core.SemanticDecision(max_error=0.05, audit_share=0.0, embedder="minilm")
    prior = np.array([
        decision.judge(profiles[q], profiles[c], float(cosine), second=float(second), density=float(density)).probability
        for q, c, cosine, second, density, _ in zip(*stream, strict=True)
    ])  # fmt: skip
    _, online = decide(stream, profiles, 0.05, 1)
    print(
        "\nhits at equal precision / those of the best cosine threshold\nprecision | prior alone | lower 97.5 % bootstrap | after 5,000 queries\n---|---|---|---"
    )
    draw, later = np.random.default_rng(5), slice(5000, None)
    for precision in (0.8, 0.85, 0.9):
        ratios = []
        for _ in range(200):
            rows = draw.integers(0, len(prior), len(prior))
            ratios.append(
                hits_at(stream.right[rows], prior[rows], precision)
                / max(1, hits_at(stream.right[rows], stream.cosine[rows], precision))
            )
        whole = hits_at(stream.right, prior, precision) / max(1, hits_at(stream.right, stream.cosine, precision))
        after = hits_at(stream.right[later], online[later], precision) / max(
            1, hits_at(stream.right[later], stream.cosine[later], precision)
        )
        print(f"{precision} | {whole:.2f} | {np.quantile(ratios, 0.025):.2f} | {after:.2f}")


def vectors_of(texts: list[str], file: Path | None, folder: Path | None) -> Array | None:
    """MiniLM's vectors of the texts, from the file or by the embedder."""
    if file is not None and file.exists():
        found = np.load(file)
        known = dict(zip(found["texts"].tolist(), found["vectors"].astype(np.float32), strict=True))
        if all(text in known for text in texts):
            return np.array([known[text] for text in texts])
    if folder is None:
        return None
    from sparecall.embed import MiniLMEmbedder

    embedder = MiniLMEmbedder(folder)
    return np.concatenate([embedder.embed(texts[start : start + 64]) for start in range(0, len(texts), 64)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--minilm", type=Path)
    options = parser.parse_args()
    if not (options.data / "qqp").is_dir():
        print(f"semantic: nothing to compare with: no data in {options.data.name}")
        return
    pairs = qqp(options.data)
    profiles = [_core.SemanticProfile(text) for text in pairs.texts]
    streams = [of_pairs(pairs, np.random.default_rng(100 + run), options.count) for run in range(options.runs)]
    started = time.perf_counter()
    gain(of_pairs(pairs, np.random.default_rng(99), len(pairs.pairs)), profiles)
    print(
        f"judging, learning and storing: {(time.perf_counter() - started) / 2 / len(pairs.pairs) * 1e6:.0f} us a query, bootstrap and loop included"
    )
    bound("QQP", streams, profiles, (0.05, 0.10, 0.15))
    texts, classes = clean(options.data)
    vectors = vectors_of(texts, options.vectors, options.minilm)
    if vectors is None:
        print("semantic: the clean stream is left out: it needs --vectors or --minilm")
        return
    offset = len(profiles)
    profiles += [_core.SemanticProfile(text) for text in texts]
    arrivals = [of_arrivals(vectors, classes, np.random.default_rng(200 + run)) for run in range(options.runs)]
    shifted = [
        one._replace(query=one.query + offset, candidate=np.where(one.candidate >= 0, one.candidate + offset, -1))
        for one in arrivals
    ]
    bound("mock pairs and banking77", shifted, profiles, (0.01, 0.02, 0.05))
    switched = [
        Stream(*(np.concatenate([a, b[: len(a)]]) for a, b in zip(one, two, strict=True)))
        for one, two in zip(shifted, streams, strict=True)
    ]
    bound("mock pairs and banking77, then QQP", switched, profiles, (0.05, 0.10, 0.15))


if __name__ == "__main__":
    main()
