"""An event loop whose clock jumps to the next timer when there is nothing to do: hours pass in milliseconds, the same way each time."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # only another thread can go on: wait for it, but not for ever
            events = super().select(10)
            if not events:
                raise RuntimeError("nothing is left that could wake the loop")
            return events
        events = super().select(0)
        if not events and timeout > 0:
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now`: seconds since an arbitrary beginning."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(work: Coroutine[Any, Any, T], *, start: float = 1000.0) -> T:
    """Like `asyncio.run`, in virtual time; what the loop complains about is an error."""
    complaints: list[Any] = []
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        result = runner.run(work)
    assert complaints == []
    return result


def clock() -> float:
    """The loop's seconds."""
    return asyncio.get_running_loop().time()


def wall_clock() -> float:
    """Unix seconds that pass with the loop's."""
    return 1.7e9 + asyncio.get_running_loop().time()
