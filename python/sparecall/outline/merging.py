"""Merges of two edits that event loops await."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall import queue
from sparecall._core import _outline_merge_work

if TYPE_CHECKING:
    from sparecall._core import Merged

__all__ = ["merge_async"]


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
