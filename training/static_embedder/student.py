"""Fits the static embedder's token vectors to the teacher's sentence vectors and writes the model file.

    python student.py --taught DIR --vocabulary TXT --out static.bin [--from-stage N]

Each token starts as the principal part of the teacher's vector of that token alone, weighted as smooth inverse frequency has
it (Arora, Liang and Ma, 2017). Adam then minimises, over batches of neighbours, the cosine distance to the teacher's vector in
its principal space, and the squared error of the batch's similarities, which counts most where the teacher's are high: a cache
compares neighbours. The second stage is all the more about those. Tokens met seldom or never move as the linear map moves them that fits the tokens met often.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag, normalize

from artefact import kept, write

DIM, BATCH, CELLS, SEED = 256, 512, 1024, 7
RATE, WARM = 3e-3, 100
OFTEN, SELDOM = 50, 3  # times met: what the linear map is fitted on; when half of it is used
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps from one warm start of the rate to its end; a batch holds runs of so many neighbours.

    An error of similarity weighs `floor` and a power of the teacher's similarity, `similarity` times as much as the distance.
    """

    steps: int
    run: int
    power: int
    floor: float
    similarity: float


STAGES = (Stage(2600, 8, 1, 0.05, 100.0), Stage(1600, 16, 2, 0.01, 500.0))


class Corpus:
    """Sentences as token ids, and the teacher's unit vector of each."""

    def __init__(self, folder: Path, words: int) -> None:
        ids, ends, vectors, base = [], [], [], 0
        for file in sorted(folder.glob("*.npz")):
            if file.stem != "tokens":
                part = np.load(file)
                ids.append(part["ids"])
                ends.append(part["starts"][1:] + base)
                vectors.append(part["vectors"])
                base += len(ids[-1])
        self.ids = np.concatenate(ids).astype(np.int64)
        self.starts = np.concatenate([np.zeros(1, np.int64), *ends])
        self.vectors = np.concatenate(vectors).astype(np.float32)
        self.met = np.bincount(self.ids, minlength=words)

    def take(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """The ids of some sentences in a row, and where each begins."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        offsets = np.cumsum(lengths) - lengths
        places = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
        return torch.from_numpy(self.ids[places]), torch.from_numpy(offsets)


def principal(vectors: Floats) -> Floats:
    """(384, DIM): the directions that hold most of the vectors' squared length."""
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    return np.ascontiguousarray(axes[:, ::-1][:, :DIM], np.float32)


def cells(vectors: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each vector the nearest of CELLS drawn among them."""
    centres = vectors[rng.choice(len(vectors), CELLS, replace=False)].T
    return np.concatenate([(vectors[at : at + 8192] @ centres).argmax(axis=1) for at in range(0, len(vectors), 8192)])


def batches(
    cell: NDArray[np.int64], usable: NDArray[np.int64], rng: np.random.Generator, stage: Stage
) -> list[NDArray[np.int64]]:
    """Batches of runs of sentences from one cell; all sentences once before any again."""
    found: list[NDArray[np.int64]] = []
    while len(found) < stage.steps:
        mixed = rng.permutation(usable)
        mixed = mixed[np.argsort(cell[mixed], kind="stable")]
        shift = int(rng.integers(stage.run))
        runs = mixed[shift : shift + (len(mixed) - stage.run) // stage.run * stage.run].reshape(-1, stage.run)
        runs = runs[rng.permutation(len(runs))].ravel()
        found += [runs[at : at + BATCH] for at in range(0, len(runs) - BATCH + 1, BATCH)]
    return found[: stage.steps]


def fit(corpus: Corpus, axes: Floats, start: tuple[Floats, Floats], stage: Stage, seed: int) -> tuple[Floats, Floats]:
    """The token vectors and the bias after a stage."""
    rng = np.random.default_rng(seed)
    tokens, bias = (torch.nn.Parameter(torch.from_numpy(part.copy())) for part in start)
    optimisers = [torch.optim.SparseAdam([tokens], lr=RATE, betas=(0.9, 0.99)), torch.optim.Adam([bias], lr=RATE)]
    usable = np.flatnonzero(np.diff(corpus.starts) > 0)
    taught, projection = torch.from_numpy(corpus.vectors), torch.from_numpy(axes)
    began = time.perf_counter()
    for step, rows in enumerate(batches(cells(corpus.vectors, rng), usable, rng, stage)):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARM) * (1 - step / stage.steps)
            optimiser.zero_grad()
        ids, offsets = corpus.take(rows)
        student = normalize(embedding_bag(ids, tokens, offsets, mode="sum", sparse=True) + bias, dim=1)
        teacher = taught[torch.from_numpy(rows)]
        distance = 1 - (student * normalize(teacher @ projection, dim=1)).sum(1).mean()
        similar = teacher @ teacher.T
        weight = similar.clamp(min=0) ** stage.power + stage.floor
        error = ((student @ student.T - similar) ** 2 * weight).mean()
        (distance + stage.similarity * error).backward()
        for optimiser in optimisers:
            optimiser.step()
        if step % 100 == 0:
            print(f"{step:6} {time.perf_counter() - began:6.0f} s  {distance:.4f}  {error:.6f}", flush=True)
    return tokens.detach().numpy(), bias.detach().numpy()


def spread(start: Floats, fitted: Floats, met: NDArray[np.int64]) -> Floats:
    """The fitted vectors; those of tokens met seldom drawn to where the fitted linear map puts them."""
    often = met >= OFTEN
    weight = np.minimum(met[often], 1000)[:, None] ** 0.5
    x, y = start[often] * weight, fitted[often] * weight
    mapping = np.linalg.solve(x.T @ x + 1e-2 * np.trace(x.T @ x) / DIM * np.eye(DIM), x.T @ y)
    share = (met / (met + SELDOM))[:, None]
    return (share * fitted + (1 - share) * (start @ mapping)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("taught", "vocabulary", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--from-stage", type=int, default=0, help="go on from the vectors that OUT.npz holds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    vocabulary = given.vocabulary.read_text().splitlines()
    corpus = Corpus(given.taught, len(vocabulary))
    axes = principal(corpus.vectors[::7])
    alone = np.load(given.taught / "tokens.npz")["vectors"].astype(np.float32) @ axes
    rarity = 1e-3 / (1e-3 + (corpus.met + 1) / corpus.met.sum())
    start = (alone * rarity[:, None]).astype(np.float32)
    print(f"{len(corpus.vectors):,} sentences, {len(corpus.ids):,} tokens", flush=True)
    checkpoint = given.out.with_suffix(".npz")
    fitted, bias = start, np.zeros(DIM, np.float32)
    if given.from_stage:
        before = np.load(checkpoint)
        fitted, bias = before["fitted"], before["bias"]
    for number, stage in list(enumerate(STAGES))[given.from_stage :]:
        fitted, bias = fit(corpus, axes, (fitted, bias), stage, SEED + number)
        np.savez(checkpoint, start=start[kept(vocabulary)], fitted=fitted, bias=bias)
    written = write(given.out, vocabulary, spread(start, fitted, corpus.met), bias)
    print(f"{given.out}: {written:,} bytes")


if __name__ == "__main__":
    main()
