"""The entries of a semantic cache: values in a `BytesCache`, vectors in a `VectorIndex`, under the same ids, kept in step.

The cache decides who stays: by room, life, tags and cost. What it lost is met and removed from the index later.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from sparecall._core import SemanticProfile
from sparecall.cache import BytesCache
from sparecall.errors import InvalidArgument
from sparecall.index import Matches, VectorIndex, VectorQuery
from sparecall.semantic import folder
from sparecall.semantic.answers import same_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

# Ids looked at with each addition: what the cache lost leaves the index four times as fast as it comes.
_LOOKED_AT = 4
# And those looked at when a search met nothing else; how often it then goes on.
_LOOKED_AT_WITH_THE_DEAD, _ROUNDS = 256, 4
# Searches predicted to take more seconds may miss an entry, for which they take half the time or less: it makes a miss, never a
# wrong hit. Those that even so are predicted to take longer than the other do not hold the loop.
_EXACT, _ALONE = 0.00015, 0.0003
# Answers of more bytes agree where they are equal: to compare them takes too long for an event loop.
_COMPARED = 16_384


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
    refined: bytes = b""
    """The question's slower vector, of unit length, as float16; nothing where there is none."""


class Found(NamedTuple):
    """An entry that is near, and its similarity."""

    entry: Entry
    similarity: float


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def _key(number: int) -> bytes:
    return number.to_bytes(16)


def _namespace(scope: str, context: bytes) -> str:
    """A name for what may match: no context can be mistaken for a part of a scope, nor a digest for a context."""
    spelt = context.hex() if len(context) <= 64 else "digest-" + hashlib.blake2b(context, digest_size=32).hexdigest()
    return f"{spelt} {scope}"


def _agree(stored: msgspec.Raw, fresh: msgspec.Raw) -> bool:
    one, other = bytes(stored), bytes(fresh)
    if one == other or max(len(one), len(other)) > _COMPARED:
        return one == other
    judged = same_answer(msgspec.msgpack.decode(one), msgspec.msgpack.decode(other))
    return judged is not None and judged[0]


class Entries:
    """See above. Not for several threads at once."""

    __slots__ = ("_clock", "_ids", "_last", "_make_cache", "cache", "index", "since", "ttl")

    def __init__(self, dim: int, *, max_bytes: int, ttl: float | None, clock: Callable[[], float] | None) -> None:
        self._make_cache = functools.partial(BytesCache, max_bytes, policy="cost", ttl=ttl, clock=clock)
        self.cache = self._make_cache()
        self.index = VectorIndex(dim, clock=clock)
        self.ttl = ttl
        self.since = -math.inf
        """When the oldest entry was stored that still counts."""
        self._clock = clock
        self._last = 0
        # Every id in the index, with a time at which its entry was stored or replaced; the next to look at stands first.
        self._ids: collections.deque[tuple[int, float]] = collections.deque()

    def __len__(self) -> int:
        return len(self.cache)

    async def near(
        self, vector: NDArray[np.float32], *, scope: str, context: bytes, min_similarity: float, within: float, k: int
    ) -> list[Found]:
        """Return the nearest entries, best first, of equals the newest: at most ``k``, none further than ``within`` below the best.

        Entries that are gone leave the index as they are met; where that goes on and on, none is found. What is returned is
        held at that moment.
        """
        namespace = _namespace(scope, context)
        query = self.index.prepare(vector)
        for _ in range(_ROUNDS):
            index = self.index
            matches = await self._search(query, k, min_similarity, namespace)
            if index is not self.index:
                continue  # others were loaded meanwhile, and these ids are theirs
            pairs = zip(matches.ids, matches.similarities, strict=True)
            found = [Found(entry, near) for number, near in pairs if (entry := self.get(number)) is not None]
            found = [near for near in found if self._belongs(near.entry, scope, context)]
            if found:
                found.sort(key=lambda near: (near.similarity, near.entry.stored_at, near.entry.id), reverse=True)
                return [near for near in found if near.similarity >= found[0].similarity - within]
            if not matches.ids:
                break
            self._look(_LOOKED_AT_WITH_THE_DEAD)
        return []

    async def _search(self, query: VectorQuery, k: int, min_similarity: float, namespace: str) -> Matches:
        index, exact = self.index, True
        predicted = index.predict_seconds(k=k, min_similarity=min_similarity, namespace=namespace)
        if predicted > _EXACT:
            exact = False
            predicted = index.predict_seconds(k=k, min_similarity=min_similarity, namespace=namespace, exact=False)
        # Longer ones share passes with those asked for in the same turn, and may go to a thread.
        search = index.search if predicted <= _ALONE else index.search_async
        matches = search(query, k=k, min_similarity=min_similarity, namespace=namespace, exact=exact)
        return matches if isinstance(matches, Matches) else await matches

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
                entry = _decode(value)
                if entry.stored_at >= self.since:
                    return entry
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
            if _agree(before.value, entry.value):
                both = tuple(dict.fromkeys((*before.principals, *entry.principals)))[:promote_after]
                return replace(entry, id=before.id, value=before.value, principals=both), False
        self._last += 1
        return replace(entry, id=self._last), True

    def put(
        self, entry: Entry, vector: NDArray[np.float32], *, ttl: float | None, cost: Any, tags: Iterable[str]
    ) -> bool:
        """Store an entry, in place of the one with its id; say whether there was room. Raises what `BytesCache.set` raises."""
        life = self.ttl if ttl is None else ttl
        if not self.cache.set(_key(entry.id), _encode(entry), ttl=life, cost=cost, tags=tags):
            self.remove(entry.id)
            return False
        if entry.id not in self.index:
            self._ids.append((entry.id, entry.stored_at))
        expires_at = None if life is None else entry.stored_at + life
        self.index.add(entry.id, vector, namespace=_namespace(entry.scope, entry.context), expires_at=expires_at)
        self._look(_LOOKED_AT)
        return True

    def remove(self, number: int) -> bool:
        """Remove an entry and say whether there was one."""
        held = self.cache.delete(_key(number))
        self.index.remove(number)
        return held

    def _look(self, count: int) -> None:
        """Remove from the index what the cache has lost: so many ids, in turns."""
        for _ in range(min(count, len(self._ids))):
            number, at = self._ids.popleft()
            if at < self.since:
                entry = self.get(number)
                at = -math.inf if entry is None else entry.stored_at
            if at >= self.since and _key(number) in self.cache:
                self._ids.append((number, at))
            else:
                self.remove(number)

    def save(self, path: Path, decision: bytes, *, embedder: str) -> None:
        """Write all to a folder. Raises ``OSError``; then what was there is as it was."""

        def state() -> folder.State:
            ids = np.array([number for number, _ in self._ids], "<i8").tobytes()
            return folder.State(decision, self.since, self._last, ids)

        folder.save(path, cache=self.cache, index=self.index, state=state, embedder=embedder)

    def load(self, path: Path, accept: Callable[[bytes], None], *, embedder: str) -> None:
        """Take what `save` wrote in place of all that is held, once `accept` has had the decision.

        Raises ``OSError``, `SnapshotError`, and what `accept` raises; then nothing has changed.
        """
        cache = self._make_cache()
        index, state = folder.load(path, cache=cache, dim=self.index.dim, embedder=embedder, clock=self._clock)
        accept(state.decision)
        self.cache, self.index = cache, index
        self._last = max(self._last, state.last)
        self.since = max(self.since, state.since)
        # When they were stored is in the entries; from before all time, that is looked up where it matters.
        self._ids = collections.deque((number, -math.inf) for number in np.frombuffer(state.ids, "<i8").tolist())


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


def encoded(value: Any) -> msgspec.Raw:
    """A value as an entry holds it. Raises `InvalidArgument` for one that cannot be, ``TypeError`` for what is no plain data."""
    try:
        return msgspec.Raw(_encode(value))
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"value cannot be stored, a {type(error).__name__}; give plain data") from None
