"""Results derived from symbols: kept under what they were derived from, so that none is ever stale, and one derivation serves all who ask.

The key of a result is the hash of all that its function is given: the symbol's text and the signatures of what it names. A change elsewhere
leaves the key as it is, a change undone brings the result back.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sparecall._core import IndexedSymbol, SymbolIndex

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a result may be derived from. Where it stands is no part of it: a symbol that moved keeps its results."""

    kind: str
    language: str
    name_path: str
    signature: str
    docstring: str | None
    text: str
    """All of the symbol's text; or its own, in which each symbol inside is its signature."""
    names: tuple[tuple[str, str], ...]
    """The name path and signature of every symbol of the index that it may name, sorted: names are resolved by their spelling alone."""


@dataclass(frozen=True, slots=True)
class DerivedStats:
    """How often results were asked for, and how: ``kept`` ones, ones ``shared`` with who asked before, and ones ``computed``."""

    kept: int
    shared: int
    computed: int
    entries: int

    @property
    def spared(self) -> float:
        """The share of what was asked for that nothing was computed for; 0 before anything was."""
        asked = self.kept + self.shared + self.computed
        return (self.kept + self.shared) / asked if asked else 0.0


class Derived(Generic[R]):
    """Results of one function for the symbols of an index. `SymbolIndex.derived` makes it. Good for any thread and loop.

    At most ``max_entries`` results are kept; those used longest ago go first.
    """

    __slots__ = (
        "_computed",
        "_fn",
        "_index",
        "_kept",
        "_lock",
        "_making",
        "_results",
        "_shared",
        "_whole",
        "kind",
        "max_entries",
    )

    def __init__(
        self,
        index: SymbolIndex,
        kind: str,
        fn: Callable[[Subject], R],
        *,
        of: Literal["own", "whole"] = "own",
        max_entries: int = 100_000,
    ) -> None:
        if of not in ("own", "whole"):
            raise InvalidArgument(f'of is {of!r}; give "own" or "whole"')
        if max_entries < 1:
            raise InvalidArgument(f"max_entries is {max_entries}; give a number from 1 up")
        self.kind, self.max_entries = kind, max_entries
        self._index, self._fn, self._whole = index, fn, of == "whole"
        self._lock = threading.Lock()
        self._results: OrderedDict[bytes, Any] = OrderedDict()
        self._making: dict[bytes, Future[Any]] = {}
        self._kept = self._shared = self._computed = 0

    def get(self, symbol: IndexedSymbol) -> R:
        """Return the result for ``symbol`` as its file has it now: the kept one where it holds, else ``fn``'s.

        Who asks for the same at the same time waits for the same computation. Raises what ``fn`` raises, which is not kept; and
        `sparecall.errors.InvalidArgument` where the file or the symbol is no longer there, or its source was given up for want of room.
        """
        key = self._index._key(symbol, self._whole)
        while True:
            making, found = self._look(key)
            if making is None:
                return cast("R", found)
            if found is not None:
                return self._make(key, symbol, making)
            try:
                return cast("R", making.result())
            except _GivenUp:
                continue  # ask again

    async def get_async(self, symbol: IndexedSymbol) -> Any:
        """`get` where ``fn`` is a coroutine function: return what it returns.

        Who asks for the same at the same time, on any loop, waits for the same computation. Where the one that computes is cancelled, one
        of those who wait computes it instead.
        """
        key = self._index._key(symbol, self._whole)
        while True:
            making, found = self._look(key)
            if making is None:
                return found
            if found is not None:
                return await self._make_async(key, symbol, making)
            try:
                return await asyncio.wrap_future(_follow(making))
            except _GivenUp:
                continue  # ask again

    def stats(self) -> DerivedStats:
        """How often results were asked for, and how many are kept."""
        with self._lock:
            return DerivedStats(self._kept, self._shared, self._computed, len(self._results))

    def clear(self) -> None:
        """Forget all results."""
        with self._lock:
            results, self._results = self._results, OrderedDict()
        results.clear()  # finalizers of results run after the lock

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"Derived({self.kind!r}, entries={len(self._results)}, of={'whole' if self._whole else 'own'!r})"

    def _look(self, key: bytes) -> tuple[Future[Any] | None, Any]:
        """The kept result; or a computation, and True where the caller is to make it."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                self._kept += 1
                return None, self._results[key]
            making = self._making.get(key)
            if making is not None:
                self._shared += 1
                return making, None
            self._computed += 1
            self._making[key] = making = Future()
            return making, True

    def _make(self, key: bytes, symbol: IndexedSymbol, making: Future[Any]) -> R:
        try:
            result = self._fn(self._subject(key, symbol))
        except BaseException as error:
            self._fail(key, making, error)
            raise
        self._settle(key, making, result)
        return result

    async def _make_async(self, key: bytes, symbol: IndexedSymbol, making: Future[Any]) -> Any:
        try:
            result = await cast("Awaitable[Any]", self._fn(self._subject(key, symbol)))
        except BaseException as error:
            self._fail(key, making, error)
            raise
        self._settle(key, making, result)
        return result

    def _subject(self, key: bytes, symbol: IndexedSymbol) -> Subject:
        now, (kind, language, name_path, signature, docstring, text, names) = self._index._subject(symbol, self._whole)
        if now != key:
            raise InvalidArgument(
                f"symbol {symbol.name_path!r} or what it names changed meanwhile; ask for its result again"
            )
        return Subject(kind, language, name_path, signature, docstring, text, tuple(names))

    def _settle(self, key: bytes, making: Future[Any], result: Any) -> None:
        gone = None
        with self._lock:
            self._results[key] = result
            del self._making[key]
            if len(self._results) > self.max_entries:
                gone = self._results.popitem(last=False)
        del gone  # its finalizer runs after the lock
        making.set_result(result)

    def _fail(self, key: bytes, making: Future[Any], error: BaseException) -> None:
        with self._lock:
            del self._making[key]
        # What ends the one who computes, a cancellation or an interrupt, is not for those who wait: one of them computes.
        making.set_exception(error if isinstance(error, Exception) else _GivenUp())


def _follow(making: Future[Any]) -> Future[Any]:
    """A future that ends as ``making`` does, and whose cancellation leaves that alone."""
    follower: Future[Any] = Future()

    def ended(done: Future[Any]) -> None:
        if not follower.set_running_or_notify_cancel():
            return
        if (error := done.exception()) is not None:
            follower.set_exception(error)
        else:
            follower.set_result(done.result())

    making.add_done_callback(ended)
    return follower


class _GivenUp(Exception):
    """Whoever computed it was cancelled."""
