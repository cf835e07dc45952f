"""The progress of both runs, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

if TYPE_CHECKING:
    from types import TracebackType

_LINES = 4  # per run, where there is no terminal


class Progress:
    """Counts the calls of several runs of the same length. A context manager."""

    __slots__ = ("_bar", "_calls", "_done", "_run", "_shown")

    def __init__(self, *, calls: int, runs: int) -> None:
        self._calls, self._done, self._run = calls, 0, ""
        self._shown = sys.stderr.isatty()
        self._bar = tqdm(total=calls * runs, unit="call", file=sys.stderr, disable=not self._shown, leave=False)

    def __repr__(self) -> str:
        return f"<Progress {self._run}: {self._done} of {self._calls}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def begin(self, run: str) -> None:
        """Names the run whose calls come now."""
        self._run, self._done = run, 0
        self._bar.set_description(run)

    def step(self) -> None:
        """One call is answered."""
        self._done += 1
        self._bar.update()
        if not self._shown and self._done * _LINES // self._calls > (self._done - 1) * _LINES // self._calls:
            print(f"{self._run}: {self._done} of {self._calls} calls", file=sys.stderr, flush=True)
