"""`SymbolIndex`: the native index, with updates that loops await and results that are derived from its symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from sparecall import _core, queue
from sparecall._core import SymbolDiff
from sparecall.outline.derived import Derived

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.outline.derived import Subject

R = TypeVar("R")


class SymbolIndex(_core.SymbolIndex):
    """The symbols of many files, updated file by file. Good for any thread."""

    __slots__ = ()

    async def update_async(
        self, path: str, source: str | bytes, *, language: str | None = None, max_seconds: float = 60.0
    ) -> SymbolDiff:
        """`update`, without holding the running loop for over a millisecond. Raises what `update` does.

        What is predicted to take over half a millisecond is done by a worker of `sparecall.queue`. Where the wait is cancelled, an update that
        was not begun is dropped, one that was goes on to its end and is in the index.
        """
        found = self._update_or_work(path, source, language, max_seconds)
        if isinstance(found, SymbolDiff):
            return found
        return await queue.run(found)

    def derived(
        self,
        kind: str,
        fn: Callable[[Subject], R],
        *,
        of: Literal["own", "whole"] = "own",
        max_entries: int = 100_000,
    ) -> Derived[R]:
        """Return what keeps ``fn``'s results for the symbols of this index, as long as they hold.

        ``kind`` names the results, in ``repr`` and errors. ``fn`` gets a `Subject`, and may be a coroutine function, whose results are
        awaited by `Derived.get_async`. It must depend on the subject alone. ``of="own"`` has a class's subject show the methods in it as
        signatures, so that a change inside of one leaves the class's result alone; ``"whole"`` shows all.
        """
        return Derived(self, kind, fn, of=of, max_entries=max_entries)
