"""Code by its symbols: what a file defines, and what an edit changed of that.

``outline`` is the native function itself.
"""

from __future__ import annotations

from sparecall import queue
from sparecall._core import MergeConflict, Merged, Outline, Symbol, _outline_merge_work, _outline_work
from sparecall._core import outline_merge as merge
from sparecall._core import outline_read as outline
from sparecall.outline.search import Embedder, FoundSymbol, SearchUpdate, SymbolSearch

__all__ = [
    "Embedder",
    "FoundSymbol",
    "MergeConflict",
    "Merged",
    "Outline",
    "SearchUpdate",
    "Symbol",
    "SymbolSearch",
    "languages",
    "merge",
    "merge_async",
    "outline",
    "outline_async",
]

_INLINE = 4096
"""Bytes that are parsed at once, in about half a millisecond: handing them to a worker costs a tenth as much."""


def languages() -> dict[str, tuple[str, ...]]:
    """Return the languages that can be read, each with the endings of its files' names."""
    from sparecall._core import outline_languages

    return {name: tuple(endings) for name, endings in outline_languages()}


async def outline_async(
    source: str | bytes, language: str | None = None, *, path: str | None = None, max_seconds: float = 10.0
) -> Outline:
    """`outline`, without holding the running loop for over a millisecond. Raises what `outline` does.

    A source above 4 KiB is parsed by a worker of `sparecall.queue`, without the GIL. Where the wait is cancelled, a parse that was not begun
    is dropped, one that was goes on to its end.
    """
    if not isinstance(source, str | bytes) or len(source) <= _INLINE:
        return outline(source, language, path=path, max_seconds=max_seconds)
    return await queue.run(_outline_work(source, language, path, max_seconds))


async def merge_async(
    base: str,
    ours: str,
    theirs: str,
    language: str | None = None,
    *,
    path: str | None = None,
    max_seconds: float = 10.0,
) -> Merged:
    """`merge`, by a worker of `sparecall.queue`, without the GIL. Raises what `merge` does; a cancelled wait is as with `outline_async`."""
    return await queue.run(_outline_merge_work(base, ours, theirs, language, path, max_seconds))
