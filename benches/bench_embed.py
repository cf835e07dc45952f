"""embed: `MiniLMEmbedder` on a model of MiniLM's shape with random weights (what it costs does not depend on their values)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from sparecall.embed import MiniLMEmbedder

from .common import Benchmark

QUESTION = "how can i change the address of an order that i made yesterday evening"
HIDDEN, BETWEEN, LAYERS = 384, 1536, 6


def write(folder: Path) -> Path:
    """Makes the folder of a model with the words of `QUESTION`, and a few more, as its tokens."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(QUESTION.split())), *map(str, range(1000))]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(words), HIDDEN),
        "embeddings.position_embeddings.weight": (512, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings"]
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        norms += [f"{name}attention.output", f"{name}output"]
        square = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
        matrices = dict.fromkeys(square, (HIDDEN, HIDDEN))
        matrices |= {"intermediate.dense": (BETWEEN, HIDDEN), "output.dense": (HIDDEN, BETWEEN)}
        for part, shape in matrices.items():
            shapes |= {f"{name}{part}.weight": shape, f"{name}{part}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.LayerNorm.weight": (HIDDEN,), f"{name}.LayerNorm.bias": (HIDDEN,)}
    random = np.random.default_rng(0)
    header, pieces, at = {}, [], 0
    for name, shape in shapes.items():
        pieces.append((0.05 * random.standard_normal(shape)).astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(pieces[-1])]}
        at += len(pieces[-1])
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *pieces]))
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    config = {"model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 12,
              "intermediate_size": BETWEEN, "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": len(words)}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


class MiniLM(Benchmark):
    """Texts of one call: a question of 15 words, many of them, and one as long as the model reads."""

    params = (["question", "32 questions", "256 tokens"],)
    param_names = ("texts",)

    def setup(self, texts: str) -> None:
        super().setup()
        with tempfile.TemporaryDirectory() as folder:
            self.embedder = MiniLMEmbedder(write(Path(folder)))
        self.texts = {
            "question": [QUESTION],
            "32 questions": [f"{QUESTION} {i}" for i in range(32)],
            "256 tokens": [" ".join(str(i) for i in range(254))],
        }[texts]
        self.embedder.embed(self.texts)

    def time_embed(self, texts: str) -> None:
        self.embedder.embed(self.texts)

    def track_tokens(self, texts: str) -> int:
        return sum(len(self.embedder.token_ids(text)) for text in self.texts)


class Load(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.folder = tempfile.TemporaryDirectory()
        write(Path(self.folder.name))

    def teardown(self) -> None:
        self.folder.cleanup()
        super().teardown()

    def time_load(self) -> None:
        MiniLMEmbedder(self.folder.name)
