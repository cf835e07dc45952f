"""How late the event loop is: what holds it up holds up every request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL = 0.1


@contextlib.contextmanager
def watched(
    observe: Callable[[float], object], *, interval: float = INTERVAL, clock: Callable[[], float] = time.perf_counter
) -> Iterator[None]:
    """Tells `observe`, every `interval` seconds, by how many seconds the running loop called later than it was to.

    A loop that was held for long is late once, not once for every call it missed.
    """
    loop = asyncio.get_running_loop()
    handle: asyncio.TimerHandle

    def woken(due: float) -> None:
        nonlocal handle
        now = clock()
        observe(max(0.0, now - due))  # loops round their timers to a millisecond, down as well
        handle = loop.call_later(interval, woken, now + interval)

    handle = loop.call_later(interval, woken, clock() + interval)
    try:
        yield
    finally:
        handle.cancel()
