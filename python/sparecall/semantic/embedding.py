"""How a semantic cache asks its embedder: off the loop where that takes long, with a deadline, and nothing taken on trust."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from sparecall.embed import MiniLMEmbedder, StaticEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A text of this length takes the static embedder a quarter of a millisecond.
_INLINE_CHARACTERS = 8192
_THREADS = 2
# Calls that may wait for an embedder. With more it is taken for one that hangs, and asked no further until some have ended.
_WAITING = 64


@runtime_checkable
class Embedder(Protocol):
    """What makes vectors of texts in the caller's thread, as those of `sparecall.embed` do."""

    def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return a row for each text."""
        ...


@runtime_checkable
class AsyncEmbedder(Protocol):
    """What event loops await, as `sparecall.remote.RemoteEmbedder`."""

    async def aembed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return a row for each text."""
        ...


class NoVectorError(Exception):
    """An embedder gave no vector; the word says why: ``embedder_failed``, ``embedder_timeout``, ``embedder_busy``, ``bad_vector``."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Embedding:
    """An embedder of one dimension, asked for one text at a time."""

    __slots__ = ("_pool", "_timeout", "_waiting", "dim", "embedder")

    def __init__(self, embedder: Embedder | AsyncEmbedder, *, dim: int, timeout: float) -> None:
        self.embedder = embedder
        self.dim = dim
        self._timeout = timeout
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None

    async def of(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a text, with `dim` finite numbers, not all zero. Raises `NoVectorError`."""
        try:
            if isinstance(self.embedder, StaticEmbedder) and len(text) <= _INLINE_CHARACTERS:
                return self._checked(self.embedder.embed([text]))
            return self._checked(await self._beside(text))
        except NoVectorError:
            raise
        except TimeoutError:
            raise NoVectorError("embedder_timeout") from None
        except Exception:  # noqa: BLE001 - whatever an embedder raises makes a miss, and may quote the text
            raise NoVectorError("embedder_failed") from None

    async def _beside(self, text: str) -> Any:
        if self._waiting >= _WAITING:
            raise NoVectorError("embedder_busy")
        self._waiting += 1
        if isinstance(self.embedder, AsyncEmbedder):
            try:
                return await asyncio.wait_for(self.embedder.aembed([text]), self._timeout)
            finally:
                self._waiting -= 1
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sparecall-embed")
        # What waits goes on to count after a timeout or a cancellation: the thread is not free before it is done.
        done = asyncio.get_running_loop().run_in_executor(self._pool, self.embedder.embed, [text])
        done.add_done_callback(self._ended)
        return await asyncio.wait_for(asyncio.shield(done), self._timeout)

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # was given to the caller, if there still is one

    def _checked(self, rows: Any) -> NDArray[np.float32]:
        vectors = np.asarray(rows, dtype=np.float32)
        if vectors.shape != (1, self.dim):
            raise NoVectorError("bad_vector")
        vector: NDArray[np.float32] = vectors[0]
        square = float(vector @ vector)  # NaN and infinity survive it
        if not 0.0 < square < np.inf:
            raise NoVectorError("bad_vector")
        return vector

    def close(self) -> None:
        """Give the threads up; calls under way end by themselves."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def name_of(embedder: object) -> str:
    """Whose cosines the decision is told it gets."""
    if isinstance(embedder, StaticEmbedder):
        return "static"
    return "minilm" if isinstance(embedder, MiniLMEmbedder) else "other"
