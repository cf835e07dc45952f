"""A tiny BERT of random weights, its folder on disk, and its forward pass in numpy as the papers write it, for tests."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

VOCAB = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "##s",
    "mat",
    "dog",
    "##gy",
    "!",
    "?",
    *"bcdefg",
]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 48,
    "type_vocab_size": 2,
    "vocab_size": len(VOCAB),
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
}
Tensors = dict[str, "np.ndarray[Any, np.dtype[Any]]"]


def tensors(config: dict[str, Any] = CONFIG, seed: int = 0) -> Tensors:
    """Weights of that shape, large enough that every part of the pass matters."""
    random = np.random.default_rng(seed)
    hidden, between = config["hidden_size"], config["intermediate_size"]

    def numbers(*shape: int, scale: float = 0.3, offset: float = 0.0) -> Any:
        return (offset + scale * random.standard_normal(shape)).astype(np.float32)

    found: Tensors = {
        "embeddings.word_embeddings.weight": numbers(config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": numbers(config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": numbers(config["type_vocab_size"], hidden),
    }
    norms = ["embeddings"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}."
        norms += [f"{name}attention.output", f"{name}output"]
        shapes = {f"attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (hidden, hidden)}
        shapes |= {"intermediate.dense": (between, hidden), "output.dense": (hidden, between)}
        for part, shape in shapes.items():
            found[f"{name}{part}.weight"] = numbers(*shape)
            found[f"{name}{part}.bias"] = numbers(shape[0])
    for name in norms:
        found[f"{name}.LayerNorm.weight"] = numbers(hidden, offset=1.0)
        found[f"{name}.LayerNorm.bias"] = numbers(hidden)
    return found


def safetensors(tensors: Tensors, *, dtype: str = "F32", prefix: str = "") -> bytes:
    """The file of these tensors; BF16 is cut off, not rounded."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        if dtype == "F16":
            raw = tensor.astype("<f2").tobytes()
        elif dtype == "BF16":
            raw = (tensor.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = tensor.astype("<f4").tobytes()
        header[prefix + name] = {
            "dtype": dtype,
            "shape": tensor.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + data


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A `tokenizer.json` of the vocabulary, with other values for some of its keys."""
    specials = [{"id": i, "content": VOCAB[i], "special": True, "normalized": False} for i in range(5)]
    return {
        "added_tokens": specials,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {token: i for i, token in enumerate(VOCAB)}},
        **changes,
    }  # fmt: skip


def write(folder: Path, *, weights: bytes | None = None, config: dict[str, Any] = CONFIG, **files: Any) -> Path:
    """Makes the folder of a model: `files` by name without their ending, as JSON; None leaves one out."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors(tensors(config)) if weights is None else weights)
    contents = {"config": config, "tokenizer": tokenizer_json(), **files}
    for name, content in contents.items():
        if content is not None:
            path = folder / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content), "utf-8")
    return folder


def forward(ids: list[int], tensors: Tensors, config: dict[str, Any] = CONFIG, *, first: bool = False) -> Any:
    """The unit vector of a text's ids, in float64: mean pooling, or that of the first token."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    hidden, heads = config["hidden_size"], config["num_attention_heads"]

    def norm(rows: Any, name: str) -> Any:
        centred = rows - rows.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + config["layer_norm_eps"])
        return scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def linear(rows: Any, name: str) -> Any:
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def split(rows: Any) -> Any:
        return rows.reshape(len(ids), heads, hidden // heads).transpose(1, 0, 2)

    rows = weights["embeddings.word_embeddings.weight"][ids]
    rows = rows + weights["embeddings.position_embeddings.weight"][: len(ids)]
    rows = norm(rows + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}."
        query, key, value = (split(linear(rows, f"{name}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(hidden // heads))
        context = (scores / scores.sum(axis=2, keepdims=True)) @ value
        context = context.transpose(1, 0, 2).reshape(len(ids), hidden)
        rows = norm(rows + linear(context, f"{name}attention.output.dense"), f"{name}attention.output")
        between = linear(rows, f"{name}intermediate.dense")
        between = between * 0.5 * (1 + np.vectorize(math.erf)(between / math.sqrt(2)))
        rows = norm(rows + linear(between, f"{name}output.dense"), f"{name}output")
    vector = rows[0] if first else rows.mean(axis=0)
    return vector / np.linalg.norm(vector)
