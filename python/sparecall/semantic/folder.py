"""The folder that a semantic cache is saved to: three files under one random name, and a manifest that says which.

The manifest is renamed into place last, so that a process killed at any moment leaves the old content or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import IndexFileError, SnapshotError
from sparecall.index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sparecall.cache import BytesCache

_FORMAT = 1
_MANIFEST = "semantic.json"
_OURS = re.compile(r"[0-9a-f]{16}\.(cache|index|state|json)(\.[0-9a-f]{16}\.tmp)?")


class State(msgspec.Struct, frozen=True, array_like=True):
    """What is saved beside values and vectors."""

    decision: bytes
    since: float
    last: int
    ids: bytes
    """Eight bytes each, little-endian."""


def save(folder: Path, *, cache: BytesCache, index: VectorIndex, state: Callable[[], State], embedder: str) -> None:
    """Write all to the folder. Raises ``OSError``; then what was there is as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    cache.save(folder / f"{name}.cache")
    index.save(folder / f"{name}.index")
    data = msgspec.msgpack.encode(state())
    _write(folder / f"{name}.state", data)
    manifest = {"format": _FORMAT, "name": name, "dim": index.dim, "embedder": embedder, "digest": _digest(data)}
    written = folder / f"{name}.json"
    _write(written, json.dumps(manifest).encode())
    written.replace(folder / _MANIFEST)
    for left in folder.iterdir():
        if _OURS.fullmatch(left.name) and not left.name.startswith(name):
            with contextlib.suppress(OSError):  # what another process still has open
                left.unlink()


def load(
    folder: Path, *, cache: BytesCache, dim: int, embedder: str, clock: Callable[[], float] | None
) -> tuple[VectorIndex, State]:
    """Read the folder: values into the ``cache``, which is empty, the rest as the result.

    Raises `SnapshotError`, and ``OSError`` where there is no manifest or it cannot be read.
    """
    path = folder / _MANIFEST
    text = path.read_bytes()
    try:
        manifest = json.loads(text)
        name, digest = manifest["name"], manifest["digest"]
        fits = manifest["format"] == _FORMAT and manifest["dim"] == dim
        made_by = manifest["embedder"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise SnapshotError(f"{path} is no manifest of a semantic cache; remove the folder") from None
    if not fits:
        raise SnapshotError(f"{folder} is of another version, or its vectors have not {dim} dimensions; remove it")
    if made_by != embedder:
        raise SnapshotError(f"{folder} holds vectors of {made_by}, not of {embedder}; remove it")
    if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{16}", name):
        raise SnapshotError(f"{path} names no saved files; remove the folder")
    try:
        data = (folder / f"{name}.state").read_bytes()
        if _digest(data) != digest:
            raise SnapshotError(f"{folder / name}.state is damaged; remove the folder")
        state = msgspec.msgpack.decode(data, type=State)
        index = VectorIndex.load(folder / f"{name}.index", clock=clock)
        cache.load(folder / f"{name}.cache")
    except (IndexFileError, msgspec.MsgspecError, FileNotFoundError) as error:
        raise SnapshotError(f"{folder} is damaged, remove it: {error}") from error
    if index.dim != dim or len(state.ids) % 8:
        raise SnapshotError(f"{folder} holds what does not belong together; remove it")
    return index, state


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
