"""The entries of a semantic cache: values in a `BytesCache`, vectors in a `VectorIndex`, under the same ids, kept in step.

The cache decides who stays: by room, life, tags and cost. What it lost is met and removed from the index later.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from sparecall._core import SemanticProfile
from sparecall.cache import BytesCache
from sparecall.errors import IndexFileError, SnapshotError
from sparecall.index import VectorIndex
from sparecall.semantic.answers import same_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

# Ids looked at with each addition: what the cache lost leaves the index four times as fast as it comes.
_LOOKED_AT = 4
_FORMAT = 1
_MANIFEST = "semantic.json"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One answer. What it was stored for stands inside, and is checked on every read."""

    id: int
    scope: str
    context: bytes
    category: str
    profile: bytes
    value: msgspec.Raw
    stored_at: float
    """Seconds since the epoch."""
    principals: tuple[bytes, ...]
    """Digests of who has stored this answer: the first few."""


class Found(NamedTuple):
    """An entry that is near, and its similarity."""

    entry: Entry
    similarity: float


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def _key(number: int) -> bytes:
    return number.to_bytes(16)


def _namespace(scope: str, context: bytes) -> str:
    return f"{context.hex()} {scope}"


class Entries:
    """See above. Not for several threads at once."""

    __slots__ = ("_clock", "_cursor", "_ids", "_last", "cache", "index", "since", "ttl")

    def __init__(self, dim: int, *, max_bytes: int, ttl: float | None, clock: Callable[[], float] | None) -> None:
        self.cache = BytesCache(max_bytes, policy="cost", ttl=ttl, clock=clock)
        self.index = VectorIndex(dim, clock=clock)
        self.ttl = ttl
        self.since = -math.inf
        """When the oldest entry was stored that still counts."""
        self._clock = clock
        self._last = 0
        self._ids: list[int] = []
        self._cursor = 0

    def __len__(self) -> int:
        return len(self.cache)

    def near(
        self, vector: NDArray[np.float32], *, scope: str, context: bytes, min_similarity: float, within: float, k: int
    ) -> list[Found]:
        """Return the nearest entries, best first: those at most `within` below the best, which reaches `min_similarity`."""
        namespace = _namespace(scope, context)
        query = self.index.prepare(vector)
        while True:
            best = self.index.search(query, min_similarity=min_similarity, namespace=namespace)
            if not best.ids:
                return []
            least = max(min_similarity, best.similarities[0] - within)
            matches = self.index.search(query, k=k, min_similarity=least, namespace=namespace)
            pairs = zip(matches.ids, matches.similarities, strict=True)
            found = [Found(entry, near) for number, near in pairs if (entry := self.get(number)) is not None]
            found = [near for near in found if self._belongs(near.entry, scope, context)]
            if found:
                return found

    def _belongs(self, entry: Entry, scope: str, context: bytes) -> bool:
        if entry.scope == scope and entry.context == context and entry.stored_at >= self.since:
            return True
        self.remove(entry.id)
        return False

    def get(self, number: int) -> Entry | None:
        """Return the entry of that id; one that is gone leaves the index, too."""
        value = self.cache.get(_key(number))
        if value is not None:
            with contextlib.suppress(msgspec.DecodeError):
                return _decode(value)
        self.remove(number)
        return None

    def placed(
        self, entry: Entry, profile: SemanticProfile, near: list[Found], *, promote_after: int
    ) -> tuple[Entry, bool]:
        """Return the entry in place of the one for the same question, or with an id of its own; and whether that is new.

        Where answers have to be stored by several before all may see them, one that disagrees with another's stands apart.
        """
        replace = msgspec.structs.replace
        for before in (found.entry for found in near if is_same(profile, found.entry)):
            if promote_after == 1 or before.principals == entry.principals:
                return replace(entry, id=before.id), False
            agreed = same_answer(msgspec.msgpack.decode(before.value), msgspec.msgpack.decode(entry.value))
            if agreed is not None and agreed[0]:
                both = tuple(dict.fromkeys((*before.principals, *entry.principals)))[:promote_after]
                return replace(entry, id=before.id, value=before.value, principals=both), False
        self._last += 1
        return replace(entry, id=self._last), True

    def put(
        self, entry: Entry, vector: NDArray[np.float32] | None, *, ttl: float | None, cost: Any, tags: Iterable[str]
    ) -> bool:
        """Store an entry, in place of the one with its id; without a vector it keeps that. Say whether there was room."""
        life = self.ttl if ttl is None else ttl
        if not self.cache.set(_key(entry.id), _encode(entry), ttl=life, cost=cost, tags=tags):
            self.remove(entry.id)
            return False
        if vector is not None:
            expires_at = None if life is None else entry.stored_at + life
            self.index.add(entry.id, vector, namespace=_namespace(entry.scope, entry.context), expires_at=expires_at)
            self._ids.append(entry.id)
        self._look()
        return True

    def remove(self, number: int) -> bool:
        """Remove an entry and say whether there was one."""
        held = self.cache.delete(_key(number))
        self.index.remove(number)
        return held

    def _look(self) -> None:
        """Remove from the index what the cache has lost: a few ids each time, in turns."""
        for _ in range(min(_LOOKED_AT, len(self._ids))):
            self._cursor = (self._cursor + 1) % len(self._ids)
            number = self._ids[self._cursor]
            if _key(number) not in self.cache:
                self.index.remove(number)
                self._ids[self._cursor] = self._ids[-1]
                self._ids.pop()
                if not self._ids:
                    return
                self._cursor %= len(self._ids)

    def save(self, folder: Path, state: bytes) -> None:
        """Write all to a folder. A process killed meanwhile leaves the old content or the new. Raises ``OSError``."""
        folder.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(8)
        self.cache.save(folder / f"{name}.cache")
        self.index.save(folder / f"{name}.index")
        (folder / f"{name}.state").write_bytes(state)
        (folder / f"{name}.ids").write_bytes(np.array(self._ids, "<i8").tobytes())
        manifest = {"format": _FORMAT, "name": name, "last": self._last, "dim": self.index.dim}
        written = folder / f"{name}.json"
        with written.open("w", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(folder / _MANIFEST)
        for left in folder.iterdir():
            if left.suffix in {".cache", ".index", ".state", ".ids", ".json"} and left.stem not in {
                name,
                Path(_MANIFEST).stem,
            }:
                with contextlib.suppress(OSError):  # what another process still has open
                    left.unlink()

    def load(self, folder: Path, accept: Callable[[bytes], None]) -> None:
        """Take in what `save` wrote once `accept` has had the state.

        Raises ``OSError``, `SnapshotError`, and what `accept` raises; then nothing has changed.
        """
        try:
            manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
            fits = manifest["format"] == _FORMAT and manifest["dim"] == self.index.dim
            name, last = str(manifest["name"]), int(manifest["last"])
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError(
                f"{folder / _MANIFEST} is no manifest of a semantic cache; remove the folder"
            ) from error
        if not fits or Path(name).name != name:
            raise SnapshotError(
                f"{folder} is of another version, or of vectors that have not {self.index.dim} dimensions; remove it"
            )
        state = (folder / f"{name}.state").read_bytes()
        ids = (folder / f"{name}.ids").read_bytes()
        if len(ids) % 8:
            raise SnapshotError(f"{folder / name}.ids is cut short; remove the folder")
        try:
            index = VectorIndex.load(folder / f"{name}.index", clock=self._clock)
        except IndexFileError as error:
            raise SnapshotError(str(error)) from error
        accept(state)
        self.cache.load(folder / f"{name}.cache")
        self.index, self._last = index, max(self._last, last)
        self._ids = np.frombuffer(ids, "<i8").tolist()
        self._cursor = 0


@functools.lru_cache(maxsize=4096)
def digest_of(principal: str) -> bytes:
    """What an entry keeps of who stored it."""
    return hashlib.blake2b(principal.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def is_same(profile: SemanticProfile, entry: Entry) -> bool:
    """Whether an entry was stored for this question, but for its spelling."""
    return profile.same(SemanticProfile.from_bytes(entry.profile))


def prefixes_of(scope: str) -> list[str]:
    """The scope and those it is in, as tags."""
    parts = scope.split("/")
    return ["scope " + "/".join(parts[: length + 1]) for length in range(len(parts))]
