"""Exact threshold search over vectors: cosine similarity, in process, entries added and removed at any time.

``VectorIndex(dim)`` finds every live entry at or above a similarity, at the price of an approximate index.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from sparecall import _core
from sparecall._core import Matches, VectorQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Matches", "VectorIndex", "VectorQuery"]

_LOOP_LIMIT = 0.0005  # seconds of search that may hold an event loop up


class _Ask(NamedTuple):
    """What searches that may share a pass over the entries have in common."""

    loop: asyncio.AbstractEventLoop
    k: int
    min_similarity: float
    namespace: str
    exact: bool


class VectorIndex(_core.VectorIndex):
    """The native index, with searches that event loops await."""

    __slots__ = ("_waiting",)
    _waiting: dict[_Ask, list[tuple[VectorQuery, asyncio.Future[Matches]]]]

    def __init__(self, dim: int, *, originals: bool = True, clock: Callable[[], float] | None = None) -> None:
        del dim, originals, clock  # read by __new__
        self._waiting = {}

    async def search_async(
        self,
        vector: NDArray[np.floating[Any]] | Sequence[float] | VectorQuery,
        *,
        k: int = 1,
        min_similarity: float = -1.0,
        namespace: str = "",
        exact: bool = True,
    ) -> Matches:
        """Do what `search` does, together with the like searches that are asked for in the same turn of the event loop.

        They share each pass over the entries, and go to a thread where they are predicted to hold the loop up for more than
        half a millisecond. Raises what `search` raises.
        """
        query = vector if isinstance(vector, VectorQuery) else self.prepare(vector)
        loop = asyncio.get_running_loop()
        ask = _Ask(loop, k, min_similarity, namespace, exact)
        found: asyncio.Future[Matches] = loop.create_future()
        waiting = self._waiting.get(ask)
        if waiting is None:
            waiting = self._waiting[ask] = []
            loop.call_soon(self._answer, ask)
        waiting.append((query, found))
        return await found

    def _answer(self, ask: _Ask) -> None:
        waiting = [(query, found) for query, found in self._waiting.pop(ask) if not found.done()]
        if not waiting:
            return
        queries = [query for query, _ in waiting]
        futures = [found for _, found in waiting]
        try:
            predicted = self.predict_seconds(
                queries=len(queries),
                k=ask.k,
                min_similarity=ask.min_similarity,
                namespace=ask.namespace,
                exact=ask.exact,
            )
            if predicted <= _LOOP_LIMIT:
                _settle(futures, self._search(ask, queries))
            else:
                task = ask.loop.run_in_executor(None, self._search, ask, queries)
                task.add_done_callback(lambda done: _deliver(futures, done))
        except Exception as error:  # noqa: BLE001 - whoever awaits gets it
            _fail(futures, error)

    def _search(self, ask: _Ask, queries: list[VectorQuery]) -> list[Matches]:
        return self.search_many(
            queries, k=ask.k, min_similarity=ask.min_similarity, namespace=ask.namespace, exact=ask.exact
        )


def _deliver(futures: list[asyncio.Future[Matches]], done: asyncio.Future[list[Matches]]) -> None:
    if done.cancelled():
        for found in futures:
            found.cancel()
    elif (error := done.exception()) is not None:
        _fail(futures, error)
    else:
        _settle(futures, done.result())


def _settle(futures: list[asyncio.Future[Matches]], results: list[Matches]) -> None:
    for found, matches in zip(futures, results, strict=True):
        if not found.done():
            found.set_result(matches)


def _fail(futures: list[asyncio.Future[Matches]], error: BaseException) -> None:
    for found in futures:
        if not found.done():
            found.set_exception(error)
