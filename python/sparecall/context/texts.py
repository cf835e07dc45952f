"""Texts made ready for choosing, remembered by content: what was read once is not read again, in whichever conversation."""

from __future__ import annotations

import functools
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparecall._core import ContextDocument, context_documents
from sparecall.cache import Cache
from sparecall.context.reducers import lines_of
from sparecall.context.steps import stepped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sparecall.context.reducers import Reducers
    from sparecall.context.steps import Steps
    from sparecall.semantic.embedding import Embedder
    from sparecall.tokens import Encoding

# A vector stands for so many characters of a longer text, and for no more than so many such pieces.
_PIECE, _PIECES = 1_000, 16

# A reducer parses: a microsecond a character and more.
_REDUCED = 8

# Documents that are remembered in one step: a tenth of a millisecond.
_DOCUMENTS = 64


# How JSON begins that has a compact form: what is something else has one document, whether it may be compact or not.
_JSON = re.compile(r'[ \t\r\n]*(?:\{[ \t\r\n]*["}]|\[[ \t\r\n]*["{\[\]0-9tfn-])')


class Wanted(NamedTuple):
    """A text whose document is wanted; see `Texts.document`."""

    text: str
    compact: bool
    tokens: int | None = None


class Texts:
    """Documents and vectors by text, at most about `max_bytes` of them. Thread-safe; equal texts give equal documents."""

    __slots__ = ("_documents", "_embedder", "_encoding", "_reducers", "_vectors", "effort")

    def __init__(
        self,
        encoding: str | Encoding,
        embedder: Embedder | None,
        *,
        max_bytes: int,
        reducers: Reducers = MappingProxyType({}),
    ) -> None:
        self._encoding = encoding
        self._embedder = embedder
        self._reducers = reducers
        self.effort = _REDUCED if reducers else 1
        """How many times as long as without reducers a text may take."""
        self._documents: Cache[tuple[str, bool], ContextDocument] = Cache(max_bytes, policy="lru")
        self._vectors: Cache[str, NDArray[np.float32]] = Cache(max_bytes // 4, policy="lru")

    def document(self, text: str, *, compact: bool, tokens: int | None = None) -> ContextDocument:
        """The document of a text; JSON in its compact form where that may be. O(text) the first time.

        ``tokens``: those of the text, where they are known.
        """
        key = _key(text, compact)
        found = self._documents.get(key)
        if found is None:
            read = ContextDocument(text, self._encoding, compact=key[1], tokens=tokens)
            found = self._made(key, self._reduced(text, read))
        return found

    def documents(self, wanted: Sequence[Wanted]) -> Steps[list[ContextDocument]]:
        """Those of many, which are read at once, on several processors where that pays; in steps."""
        found: list[Any] = []
        missing: dict[tuple[str, bool], list[int]] = {}
        for number, one in enumerate(wanted):
            key = _key(one.text, one.compact)
            document = self._documents.get(key)
            if document is None:
                missing.setdefault(key, []).append(number)
            found.append(document)
            if number % _DOCUMENTS == 0:
                yield None
        rows = [(text, compact, wanted[places[0]].tokens) for (text, compact), places in missing.items()]
        make = functools.partial(context_documents, rows, self._encoding)
        read = (yield from stepped(make, sum([len(text) for text, _ in missing]))) if missing else []
        for number, ((key, places), made) in enumerate(zip(missing.items(), read, strict=True)):
            if self._reducers:
                made = yield from stepped(functools.partial(self._reduced, key[0], made), len(key[0]) * self.effort)
            for place in places:
                found[place] = made
            self._made(key, made)
            if number % _DOCUMENTS == 0:
                yield None
        return found

    def _reduced(self, text: str, read: ContextDocument) -> ContextDocument:
        """The document with what a reducer knows of its lines, where there is one of its kind."""
        reducer = None if read.is_compact else self._reducers.get(read.kind)  # type: ignore[call-overload]
        lines = None if reducer is None else lines_of(reducer(text))
        if lines is None:
            return read
        return ContextDocument(
            text, self._encoding, tokens=read.tokens, kind=read.kind, worth=lines.worth, owners=lines.owners or None
        )

    def _made(self, key: tuple[str, bool], document: ContextDocument) -> ContextDocument:
        self._documents.set(key, document, weight=document.size + len(key[0]))
        return document

    def similarities(self, texts: list[str], query: str, known: Vectors) -> list[float] | None:
        """The cosine of each text with the query, of long ones that of the nearest piece; None without an embedder.

        ``known``: the vectors of the texts that it was asked for the last time, as far as these begin with the same objects.
        """
        embedder = self._embedder
        if embedder is None:
            return None
        same = known.same(texts)
        self._extend(known, same, texts[same:], embedder)
        wanted = np.asarray(embedder.embed([query]), np.float32)[0]
        near: list[float] = np.maximum.reduceat(known.rows @ wanted, known.starts).tolist() if texts else []
        return near

    def _extend(self, known: Vectors, same: int, texts: list[str], embedder: Embedder) -> None:
        """Put the vectors of these behind those of the first `same` texts."""
        found: dict[str, NDArray[np.float32]] = {}
        missing = []
        for text in dict.fromkeys(texts):
            vectors = self._vectors.get(text)
            if vectors is None:
                missing.append(text)
            else:
                found[text] = vectors
        pieces = [_pieces(text) for text in missing]
        flat = [piece for each in pieces for piece in each]
        if flat:
            rows = np.asarray(embedder.embed(flat), np.float32)
            at = 0
            for text, each in zip(missing, pieces, strict=True):
                found[text] = vectors = rows[at : at + len(each)]
                self._vectors.set(text, vectors, weight=vectors.nbytes + len(text))
                at += len(each)
        known.put(same, texts, [found[text] for text in texts])


class Vectors:
    """The vectors of texts, one behind another, for the next turn of their conversation. One call at a time."""

    __slots__ = ("_all", "_ends", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        # Where in `_all` the vectors of each text end; `_all` has room for more.
        self._ends: list[int] = [0]
        self._all: NDArray[np.float32] = np.empty((0, 0), np.float32)

    @property
    def weight(self) -> int:
        """In bytes; the texts are others'."""
        return self._all.nbytes

    @property
    def rows(self) -> NDArray[np.float32]:
        """All of them, of shape (vectors, dimensions)."""
        return self._all[: self._ends[-1]]

    @property
    def starts(self) -> list[int]:
        """Where those of each text begin."""
        return self._ends[:-1]

    def same(self, texts: list[str]) -> int:
        """How many of these texts, from the first on, are those it has."""
        pairs = enumerate(zip(texts, self._texts, strict=False))
        return next((at for at, (one, other) in pairs if one is not other), min(len(texts), len(self._texts)))

    def put(self, same: int, texts: list[str], vectors: list[NDArray[np.float32]]) -> None:
        """Put these behind those of the first `same` texts, in place of what is there."""
        del self._texts[same:], self._ends[same + 1 :]
        at = self._ends[-1]
        count = at + sum(map(len, vectors))
        if vectors and (count > len(self._all) or not at):
            room = np.empty((count + count // 4, vectors[0].shape[1]), np.float32)
            if at:
                room[:at] = self._all[:at]
            self._all = room
        for text, one in zip(texts, vectors, strict=True):
            self._all[at : at + len(one)] = one
            at += len(one)
            self._texts.append(text)
            self._ends.append(at)


def _key(text: str, compact: bool) -> tuple[str, bool]:
    return text, compact and _JSON.match(text) is not None


def _pieces(text: str) -> list[str]:
    size = max(_PIECE, -(-len(text) // _PIECES))
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]
