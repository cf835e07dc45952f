"""Text to unit vectors in this process, native: at once by ``embed``, or by the workers for event loops, by ``aembed``.

``StaticEmbedder()``, the default, needs no files and microseconds; ``MiniLMEmbedder(folder)`` runs all-MiniLM-L6-v2, or another BERT-family encoder, from the files of its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparecall import _core, queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MiniLMEmbedder", "StaticEmbedder"]


class MiniLMEmbedder(_core.MiniLMEmbedder):
    """The native encoder, with vectors that event loops await."""

    __slots__ = ()

    async def aembed(
        self, texts: str | Sequence[str], /, *, priority: queue.Priority = "normal"
    ) -> NDArray[np.float32]:
        """Return what `embed` returns, computed by a worker of `sparecall.queue`. Raises what `embed` raises.

        Many texts go in parts of about 256 tokens (some 70 ms): between them others have their turn, by their priority.
        A wait that is cancelled ends with the part that was begun.
        """
        return await _in_parts(self, texts, priority, 1024)


class StaticEmbedder(_core.StaticEmbedder):
    """The native embedder, with vectors that event loops await."""

    __slots__ = ()

    async def aembed(
        self, texts: str | Sequence[str], /, *, priority: queue.Priority = "normal"
    ) -> NDArray[np.float32]:
        """Return what `embed` returns, computed by a worker of `sparecall.queue`. Raises what `embed` raises.

        That pays for a long text, or for hundreds: what is less is done sooner than handed over. Many go in parts of about 5 ms, as with
        `MiniLMEmbedder.aembed`.
        """
        return await _in_parts(self, texts, priority, 200_000)


async def _in_parts(
    embedder: MiniLMEmbedder | StaticEmbedder, texts: str | Sequence[str], priority: queue.Priority, part: int
) -> NDArray[np.float32]:
    if isinstance(texts, str):
        texts = (texts,)
    elif not isinstance(texts, Sequence):
        raise TypeError(f"texts must be a str or a sequence of str, not {type(texts).__name__}")
    vectors = np.empty((len(texts), embedder.dim), np.float32)
    for first, last in _parts(texts, part):
        vectors[first:last] = await queue.run(embedder._embed_work(texts[first:last]), priority=priority)
    return vectors


def _parts(texts: Sequence[str], most: int) -> Iterator[tuple[int, int]]:
    """Where parts of at most so many characters, or one text, begin and end."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{place}] must be str, not {type(text).__name__}")
    first = size = 0
    for place, text in enumerate(texts):
        length = min(len(text), most) + 16
        if place > first and size + length > most:
            yield first, place
            first, size = place, 0
        size += length
    if texts:
        yield first, len(texts)
