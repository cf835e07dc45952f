"""Outlines for asyncio, and the list of languages."""

from __future__ import annotations

from sparecall import queue
from sparecall._core import Outline, _outline_work, outline_languages, outline_read

_INLINE = 4096
"""Bytes that are parsed at once, in about half a millisecond: handing them to a worker costs a tenth as much."""


def languages() -> dict[str, tuple[str, ...]]:
    """Return the languages that can be read, each with the endings of its files' names."""
    return {name: tuple(endings) for name, endings in outline_languages()}


async def outline_async(
    source: str | bytes, language: str | None = None, *, path: str | None = None, max_seconds: float = 60.0
) -> Outline:
    """`outline`, without holding the running loop for over a millisecond. Raises what `outline` does.

    A source above 4 KiB is parsed by a worker of `sparecall.queue`, without the GIL. Where the wait is cancelled, a parse that was not begun
    is dropped, one that was goes on to its end.
    """
    if not isinstance(source, str | bytes) or len(source) <= _INLINE:
        return outline_read(source, language, path=path, max_seconds=max_seconds)
    return await queue.run(_outline_work(source, language, path, max_seconds))
