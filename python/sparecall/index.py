"""Exact threshold search over vectors: cosine similarity, in process, entries added and removed at any time.

``VectorIndex(dim)`` finds every live entry at or above a similarity, at the price of an approximate index.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from sparecall import _core, queue
from sparecall._core import Matches, VectorQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Matches", "VectorIndex", "VectorQuery"]


class _Ask(NamedTuple):
    """What searches that may share a pass over the entries have in common."""

    loop: asyncio.AbstractEventLoop
    k: int
    min_similarity: float
    namespace: str
    exact: bool


class _Pass:
    """Searches that are answered together, how many of them are still awaited, and the work that answers them, once it is known."""

    __slots__ = ("asked", "awaited", "ticket")

    def __init__(self) -> None:
        self.asked: list[tuple[VectorQuery, asyncio.Future[Matches]]] = []
        self.awaited = 0
        self.ticket: queue.WorkTicket | None = None


class VectorIndex(_core.VectorIndex):
    """The native index, with searches that event loops await."""

    __slots__ = ("_waiting",)
    _waiting: dict[_Ask, _Pass]

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

        They share each pass over the entries, and go to the workers where they are predicted to hold the loop up for more than
        half a millisecond. Raises what `search` raises.
        """
        query = vector if isinstance(vector, VectorQuery) else self.prepare(vector)
        loop = asyncio.get_running_loop()
        ask = _Ask(loop, k, min_similarity, namespace, exact)
        found: asyncio.Future[Matches] = loop.create_future()
        waiting = self._waiting.get(ask)
        if waiting is None:
            waiting = self._waiting[ask] = _Pass()
            loop.call_soon(self._answer, ask)
        waiting.asked.append((query, found))
        waiting.awaited += 1
        try:
            return await found
        finally:
            waiting.awaited -= 1
            if not waiting.awaited and waiting.ticket is not None:
                waiting.ticket.cancel()

    def _answer(self, ask: _Ask) -> None:
        waiting = self._waiting.pop(ask)
        asked = [(query, found) for query, found in waiting.asked if not found.done()]
        if not asked:
            return
        queries = [query for query, _ in asked]
        futures = [found for _, found in asked]
        try:
            found = self._search_or_work(queries, ask.k, ask.min_similarity, ask.namespace, ask.exact)
            if isinstance(found, list):
                _settle(futures, found)
            else:
                task = ask.loop.create_future()
                task.add_done_callback(lambda done: _deliver(futures, done))
                waiting.ticket = queue.submit(found, task, priority="high")
        except Exception as error:  # noqa: BLE001 - whoever awaits gets it
            _fail(futures, error)


def _deliver(futures: list[asyncio.Future[Matches]], done: asyncio.Future[list[Matches]]) -> None:
    if (error := done.exception()) is not None:
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
