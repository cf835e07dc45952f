"""Counting for asyncio: at once where that is quick, by the workers where it would hold the loop up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparecall import queue
from sparecall._core import _tokens_count_many_work, _tokens_count_work, tokens_count, tokens_count_many

if TYPE_CHECKING:
    from collections.abc import Iterable

INLINE = 32 * 1024
"""Bytes of UTF-8 that are counted at once, in less than half a millisecond: handing them to a worker costs a tenth as much."""
STEP = 8 * 1024
"""Bytes after which others on the loop are let in: a callback of theirs may need several turns."""
_expanded: set[str] = set()
"""Encodings that have been counted with here: the first count of a process expands the vocabulary, which takes 45 ms."""
_BATCH = 4096
"""Texts of one piece of work: reading the list and making the answer's hold the GIL, and take a fraction of a millisecond for so many."""


def size_of(value: Any, depth: int = 0) -> int:
    """The most bytes that the texts of a JSON value can have, in time that grows with how many there are."""
    if isinstance(value, str):
        return _size(value)
    if depth < 8:
        if isinstance(value, Mapping):
            return sum([size_of(one, depth + 1) for one in value.values()])
        if isinstance(value, list | tuple):
            return sum([size_of(one, depth + 1) for one in value])
    return 64


def _size(text: str) -> int:
    """The most bytes that its UTF-8 can have, in constant time."""
    return len(text) if text.isascii() else 4 * len(text)


async def count_async(text: str, encoding: str = "o200k_base") -> int:
    """`count`, without holding the running loop for over a millisecond. Raises what `count` does.

    A text above 32 KiB, and the first one for an encoding, is counted by a worker of `sparecall.queue`, without the GIL. Where the wait is cancelled, a
    count that was not begun is dropped, one that was goes on to its end.
    """
    if not isinstance(text, str) or (_size(text) <= INLINE and encoding in _expanded):
        return tokens_count(text, encoding)
    count = await queue.run(_tokens_count_work(text, encoding))
    _expanded.add(encoding)
    return count


async def count_many_async(texts: Iterable[str], encoding: str = "o200k_base") -> list[int]:
    """`count_many`, likewise: by the workers where the texts together are above 32 KiB, or more than 4,096."""
    if not isinstance(texts, str):
        texts = list(texts)
        size = 0
        for text in texts[: _BATCH + 1]:
            size += _size(text) if isinstance(text, str) else 0
        if len(texts) > _BATCH or size > INLINE or encoding not in _expanded:
            counts: list[int] = []
            for start in range(0, len(texts), _BATCH):
                counts += await queue.run(_tokens_count_many_work(texts[start : start + _BATCH], encoding))
            _expanded.add(encoding)
            return counts
    return tokens_count_many(texts, encoding)
