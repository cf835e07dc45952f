"""An asyncio loop whose time jumps to the next timer: seconds of waiting take none, and a wait that nothing can end is an error."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

R = TypeVar("R")


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits for something that nothing will do")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at 0 and moves only when every task waits."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, R]) -> R:
    """Like `asyncio.run`, in virtual time; what the loop complains about is an error."""
    complaints: list[Any] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        result = runner.run(main)
    assert complaints == []
    return result


def now() -> float:
    """The running loop's time, as a clock to give away."""
    return asyncio.get_running_loop().time()
