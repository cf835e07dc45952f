"""Which symbols a question is about: by the words they have, and by what their names mean."""

from __future__ import annotations

import asyncio
import hashlib
import operator
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sparecall._core import SymbolWords, outline_read
from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument
from sparecall.index import VectorIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sparecall._core import Symbol

__all__ = ["Embedder", "FoundSymbol", "SearchUpdate", "SymbolSearch"]

_CANDIDATES = 200
"""So many of each kind are looked at."""
_MEANING = 0.5
"""What the nearest by meaning counts, where the best by words counts 1. Chosen with the candidates on questions about the standard library."""
_BORDERS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")
_SIGNATURE = 400
"""So many characters of a signature are read for its meaning."""


class Embedder(Protocol):
    """Makes unit vectors of texts, as `sparecall.embed.StaticEmbedder` does."""

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""

    def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return a vector for each text, one a row."""


@dataclass(frozen=True, slots=True)
class FoundSymbol:
    """A symbol that was found. Lines count from 1."""

    path: str
    name_path: str
    kind: str
    signature: str
    first_line: int
    last_line: int
    score: float
    """How well it fits, above 0: at most 1 for its words and 0.5 for its meaning."""


@dataclass(frozen=True, slots=True)
class SearchUpdate:
    """What an update came to, in symbols."""

    indexed: int
    """Read and embedded: nothing of the same text was there."""
    kept: int
    removed: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a symbol stands, and by what it is found."""

    entry: int
    name_path: str
    kind: str
    signature: str
    first_line: int
    last_line: int


class SymbolSearch:
    """An index of symbols that answers questions such as ``where are tokens verified?`` with the symbols that fit best.

    Words by BM25, where those of identifiers count one by one, and meaning by the vectors of path, name and signature in a
    `VectorIndex`. What an update finds unchanged, by a digest of its text, is neither read nor embedded again. Safe for any threads. A
    symbol takes about 2 kB. ``words_only`` leaves the meaning out; without an ``embedder`` it is by
    `StaticEmbedder`.
    """

    __slots__ = (
        "_embedder",
        "_entries",
        "_files",
        "_keys",
        "_lock",
        "_max_symbols",
        "_next",
        "_users",
        "_vectors",
        "_words",
    )

    def __init__(
        self, *, embedder: Embedder | None = None, words_only: bool = False, max_symbols: int = 1_000_000
    ) -> None:
        if max_symbols < 1:
            raise InvalidArgument(f"max_symbols is {max_symbols}; an index holds 1 or more")
        self._embedder: Final = None if words_only else embedder or StaticEmbedder()
        self._words: Final = SymbolWords()
        self._vectors: Final = None if self._embedder is None else VectorIndex(self._embedder.dim, originals=False)
        self._max_symbols: Final = max_symbols
        self._lock: Final = threading.Lock()
        self._files: dict[str, tuple[_Place, ...]] = {}
        self._entries: dict[bytes, int] = {}  # by digest
        self._keys: dict[int, bytes] = {}
        self._users: dict[int, dict[str, int]] = {}  # of each entry, the paths that have it, and how often
        self._next = 0

    def __len__(self) -> int:
        """How many symbols there are, counting each place."""
        with self._lock:
            return sum(map(len, self._files.values()))

    def __repr__(self) -> str:
        """Sizes alone: sources stay out of logs."""
        return f"SymbolSearch(files={len(self._files)}, entries={len(self._entries)})"

    def update(
        self, path: str, source: str | bytes, *, language: str | None = None, max_seconds: float = 10.0
    ) -> SearchUpdate:
        """Read the file anew: ``source`` is now all that is at ``path``.

        O(source) to find what changed, some 50 us for each symbol that did. Raises what `outline` raises, and `InvalidArgument`
        where there would be more than ``max_symbols``; then the index is as it was.
        """
        symbols = outline_read(source, language, path=path, max_seconds=max_seconds).symbols
        keyed = [(_digest(path, symbol), symbol) for symbol in symbols]
        with self._lock:
            known = self._entries
            new = {key: symbol for key, symbol in keyed if key not in known}
            others = sum(len(places) for other, places in self._files.items() if other != path) if new else 0
            if others + len(keyed) > self._max_symbols and new:
                raise InvalidArgument(
                    f"{path!r} would make it {others + len(keyed)} symbols; the limit is {self._max_symbols}: "
                    "remove files, or give a larger max_symbols"
                )
            self._enter(path, new)
            before = self._files.get(path, ())
            places = tuple(_place(known[key], symbol) for key, symbol in keyed)
            self._files[path] = places
            for place in places:
                users = self._users.setdefault(place.entry, {})
                users[path] = users.get(path, 0) + 1
            removed = self._leave(path, before)
            return SearchUpdate(len(new), len(keyed) - len(new), removed)

    def remove(self, path: str) -> int:
        """Forget a file. Returns how many symbols left."""
        with self._lock:
            return self._leave(path, self._files.pop(path, ()))

    def _enter(self, path: str, new: dict[bytes, Symbol]) -> None:
        """Add what no entry is for. A failing embedder leaves nothing."""
        ids = range(self._next, self._next + len(new))
        texts = [f"{path} {symbol.name_path} {symbol.signature[:_SIGNATURE]}" for symbol in new.values()]
        if self._embedder is not None and self._vectors is not None and texts:
            self._vectors.add_many(ids, self._embedder.embed([_spaced(text) for text in texts]))
        self._next += len(new)
        for entry, (key, symbol) in zip(ids, new.items(), strict=True):
            self._words.add(entry, symbol.name_path, symbol.signature, symbol.text, path)
            self._entries[key] = entry
            self._keys[entry] = key

    def _leave(self, path: str, places: tuple[_Place, ...]) -> int:
        """Take the file's former places off their entries. Returns how many entries are no more."""
        removed = 0
        for place in places:
            users = self._users[place.entry]
            users[path] -= 1
            if users[path] == 0:
                del users[path]
            if not users:
                removed += 1
                del self._users[place.entry]
                del self._entries[self._keys.pop(place.entry)]
                self._words.remove(place.entry)
                if self._vectors is not None:
                    self._vectors.remove(place.entry)
        return removed

    def search(self, question: str, *, k: int = 10) -> list[FoundSymbol]:
        """Return up to ``k`` symbols, best first; equal ones by path and line.

        O(symbols): about 1.3 ms among 20,000. Raises `InvalidArgument` for ``k`` below 1.
        """
        if operator.index(k) < 1:
            raise InvalidArgument(f"k is {k}; ask for 1 symbol or more")
        most = max(_CANDIDATES, k)
        words = self._words.search(question, most)
        scores = {entry: score / words[0][1] for entry, score in words}
        if self._embedder is not None and self._vectors is not None and len(self._vectors):
            vector = self._embedder.embed([question])[0]
            if vector.any():
                near = self._vectors.search(vector, k=most, exact=False)
                low, high = float(near.similarities[-1]), float(near.similarities[0])
                for entry, similarity in zip(near.ids, near.similarities, strict=True):
                    share = (similarity - low) / (high - low) if high > low else 1.0
                    scores[entry] = scores.get(entry, 0.0) + _MEANING * share
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]
        with self._lock:
            found = [self._found(entry, score) for entry, score in ranked if entry in self._users and score > 0]
        return sorted((symbol for symbols in found for symbol in symbols), key=_order)[:k]

    def _found(self, entry: int, score: float) -> list[FoundSymbol]:
        return [
            FoundSymbol(path, at.name_path, at.kind, at.signature, at.first_line, at.last_line, score)
            for path in self._users[entry]
            for at in self._files[path]
            if at.entry == entry
        ]

    async def update_async(
        self, path: str, source: str | bytes, *, language: str | None = None, max_seconds: float = 10.0
    ) -> SearchUpdate:
        """`update`, in a thread. Where the wait is cancelled, an update that was begun goes on to its end."""
        return await asyncio.to_thread(self.update, path, source, language=language, max_seconds=max_seconds)

    async def search_async(self, question: str, *, k: int = 10) -> list[FoundSymbol]:
        """`search`, in a thread."""
        return await asyncio.to_thread(self.search, question, k=k)


def _place(entry: int, symbol: Symbol) -> _Place:
    return _Place(entry, symbol.name_path, symbol.kind, symbol.signature, symbol.first_line, symbol.last_line)


def _digest(path: str, symbol: Symbol) -> bytes:
    """What makes a symbol another one. Its path is read too: it says what a symbol is about."""
    text = "\0".join((path, symbol.kind, symbol.name_path, symbol.text))
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()


def _order(found: FoundSymbol) -> tuple[float, str, int]:
    return (-found.score, found.path, found.first_line)


def _spaced(text: str) -> str:
    """The words of identifiers with spaces between: an embedder knows words."""
    return _BORDERS.sub(" ", text)
