"""How a semantic cache asks its embedder: off the loop where that takes long, with a deadline, and nothing taken on trust.

The package's own embedders run on its workers; one of the user's, which is Python, in threads of the cache's.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sparecall.embed import MiniLMEmbedder, StaticEmbedder
from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A text of this length takes the static embedder a quarter of a millisecond.
_INLINE_CHARACTERS = 8192
_THREADS = 2
# Calls that may wait for an embedder. With more it is taken for one that hangs, and asked no further until some have ended.
_WAITING = 64


class Embedder(Protocol):
    """What makes vectors of texts in the caller's thread, as those of `sparecall.embed` do."""

    def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return a row for each text."""
        ...


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

    __slots__ = ("_aembed", "_embed", "_inline", "_pool", "_timeout", "_waiting", "dim", "embedder")

    def __init__(self, embedder: Embedder | AsyncEmbedder, *, dim: int, timeout: float) -> None:
        self._aembed = getattr(embedder, "aembed", None)
        self._embed = getattr(embedder, "embed", None)
        if not callable(self._aembed) and not callable(self._embed):
            raise InvalidArgument(f"{type(embedder).__name__} has neither embed nor aembed; give an embedder")
        if isinstance(embedder, StaticEmbedder | MiniLMEmbedder):
            self._aembed = functools.partial(embedder.aembed, priority="high")  # somebody waits for an answer
        self._inline = isinstance(embedder, StaticEmbedder)
        self.embedder = embedder
        self.dim = dim
        self._timeout = timeout
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None

    @property
    def identity(self) -> str:
        """Whose vectors these are: what is saved is loaded for the same alone."""
        model = getattr(self.embedder, "model", "")
        return f"{type(self.embedder).__qualname__} {model if isinstance(model, str) else ''}".strip()

    async def of(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a text, with `dim` finite numbers, not all zero. Raises `NoVectorError`."""
        try:
            if self._inline and len(text) <= _INLINE_CHARACTERS:
                vector: NDArray[np.float32] = self._embed([text])[0]  # type: ignore[misc]
                if not vector.any():  # a text without a known token
                    raise NoVectorError("bad_vector")  # noqa: TRY301
                return vector
            return self._checked(await self._beside(text))
        except NoVectorError:
            raise
        except Exception:  # noqa: BLE001 - whatever an embedder raises makes a miss, and may quote the text
            raise NoVectorError("embedder_failed") from None

    async def _beside(self, text: str) -> Any:
        if self._waiting >= _WAITING:
            raise NoVectorError("embedder_busy")
        done: asyncio.Future[Any]
        if self._aembed is not None:
            done = asyncio.ensure_future(self._aembed([text]))
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sparecall-embed")
            done = asyncio.get_running_loop().run_in_executor(self._pool, self._embed, [text])  # type: ignore[arg-type]
        # It counts until it has ended, whoever has ceased to wait: a thread is not free before, nor a task that will not be cancelled.
        self._waiting += 1
        done.add_done_callback(self._ended)
        try:
            await asyncio.wait((done,), timeout=self._timeout)
        finally:
            if self._aembed is not None:
                done.cancel()
        if not done.done():
            raise NoVectorError("embedder_timeout")
        # Cancelled by itself: no reason to tell the caller that it was.
        if done.cancelled():
            raise NoVectorError("embedder_failed")
        return done.result()

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # was given to the caller, if there still is one

    def _checked(self, rows: Any) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            vectors = np.array(rows, dtype=np.float32)  # a copy: an embedder may use its rows again
        if vectors.shape != (1, self.dim):
            raise NoVectorError("bad_vector")
        vector: NDArray[np.float32] = vectors[0]
        with np.errstate(over="ignore", invalid="ignore"):
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
