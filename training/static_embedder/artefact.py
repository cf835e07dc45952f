"""The model file of `rust/embed/src/statics/file.rs`: written from trained vectors, and read back for tests of the training."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC, VERSION = b"SPSTATIC", 1
SILENT = frozenset(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))


def quantised(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """A scale for each row, and the row over it in whole numbers of -127 to 127."""
    scales = np.abs(vectors).max(axis=1) / 127
    rows = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
    return scales.astype("<f4"), rows.astype(np.int8)


def kept(vocabulary: list[str]) -> list[int]:
    """The tokens that can occur."""
    return [place for place, token in enumerate(vocabulary) if not token.startswith("[unused")]


def write(path: Path, vocabulary: list[str], vectors: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
    """Writes the tokens that can occur; those that say nothing have the scale zero. Returns the bytes written."""
    silent = np.array([token in SILENT for token in vocabulary])
    places = kept(vocabulary)
    scales, rows = quantised(np.where(silent[:, None], np.float32(0), vectors)[places])
    words = "".join(f"{vocabulary[place]}\n" for place in places).encode()
    body = bias.astype("<f4").tobytes() + scales.tobytes() + rows.tobytes() + words
    head = struct.pack("<8s4I8x", MAGIC, VERSION, rows.shape[1], len(rows), len(words)) + blake3(body).digest()
    return path.write_bytes(head + body)


def read(path: Path) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """The vocabulary, the vectors as they are used, and the bias."""
    file = path.read_bytes()
    magic, version, dim, count, words = struct.unpack_from("<8s4I", file)
    if (magic, version) != (MAGIC, VERSION) or blake3(file[64:]).digest() != file[32:64]:
        raise ValueError(f"{path} is not a model file of version {VERSION}, or is damaged: write it anew")
    bias, rest = np.frombuffer(file, "<f4", dim, 64), 64 + 4 * dim
    scales = np.frombuffer(file, "<f4", count, rest)
    rows = np.frombuffer(file, np.int8, count * dim, rest + 4 * count).reshape(count, dim)
    return file[len(file) - words :].decode().splitlines(), rows * scales[:, None], bias
