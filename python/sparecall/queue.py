"""Between threads and event loops: a bounded queue with classes, results by one wake-up, and the workers of the core's long work.

``Queue(max_items)`` takes things from any thread and gives them to one coroutine, in order; ``port()`` lets threads resolve a loop's futures;
``await run(work)`` has a worker do what a native class made ready.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Literal, Self, TypeVar
from weakref import WeakKeyDictionary

from sparecall import _core
from sparecall._core import Port, QueueTicket, Work, WorkTicket, _queue_after_fork, queue_workers

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

__all__ = ["Port", "Priority", "Queue", "QueueTicket", "Work", "WorkTicket", "port", "run", "submit", "workers"]

Priority = Literal["critical", "high", "normal", "low"]
R = TypeVar("R")
T = TypeVar("T")

_lock = threading.Lock()
_ports: WeakKeyDictionary[AbstractEventLoop, Port] = WeakKeyDictionary()

workers = queue_workers


class Queue(_core.Queue[T]):
    """The native queue, with an end that one coroutine awaits."""

    __slots__ = ("_getting",)
    _getting: asyncio.Future[None] | None

    def __new__(
        cls,
        max_items: int,
        *,
        overflow: Literal["wait", "reject", "drop"] = "wait",
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Make an empty queue; see the native class."""
        made = super().__new__(cls, max_items, overflow=overflow, clock=clock)
        made._getting = None
        return made

    async def get(self) -> T:
        """Return the next value, once there is one. A wait that is cancelled takes nothing.

        Raises ``RuntimeError`` while another call waits: a queue has one consumer, who owns the order.
        """
        while (taken := self.take()) is None:
            if self._getting is not None:
                raise RuntimeError("another get() waits for this queue already; a queue has one consumer")
            self._getting = asyncio.get_running_loop().create_future()
            try:
                self._tell_of_items(port(), self._getting)
                await self._getting
            finally:
                self._getting = None
        return taken[0]

    async def ready(self) -> None:
        """Return once there is room, so that the next `put` does not wait if no await comes between."""
        while len(self) >= self.max_items:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                self._tell_of_room(port(), room)
                await room
            finally:
                self._tell_no_more(room)


def port() -> Port:
    """Return where the running loop gets its results; the first call of a loop opens it. Raises ``RuntimeError`` where none runs.

    Whatever thread may call its ``resolve`` and ``fail``. The loop must have ``add_reader``, as asyncio's (but for Windows) and uvloop's have.
    """
    loop = asyncio.get_running_loop()
    return _ports.get(loop) or _open(loop)


def _open(loop: AbstractEventLoop) -> Port:
    opened = Port()
    # The loop holds the port, and so its descriptor, for as long as it watches that: until it is closed.
    loop.add_reader(opened.fileno(), opened.drain)
    with _lock:
        # What was on its way to a closed loop goes with its port. It holds its loop, which would else stay for ever.
        for other in [each for each in _ports if each.is_closed()]:
            del _ports[other]
        _ports[loop] = opened
    return opened


def submit(work: Work[R], future: asyncio.Future[R], *, priority: Priority = "normal") -> WorkTicket:
    """Have a worker do `work` and resolve `future`, one of the running loop, with what comes of it.

    Whoever cancels the future calls ``cancel`` of the ticket, too: work that was not begun is then dropped at once. Raises
    `sparecall.errors.UnknownName` for another priority, ``RuntimeError`` for work that was begun before.
    """
    return port().submit(work, future, priority)


async def run(work: Work[R], *, priority: Priority = "normal") -> R:
    """Return what comes of `work`, done by a worker. Raises what it raises, and as `submit` does.

    Where the wait is cancelled, work that was not begun is dropped at once; what was begun is done, and its result dropped.
    """
    future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
    ticket = submit(work, future, priority=priority)
    try:
        return await future
    finally:
        ticket.cancel()


def _after_fork() -> None:
    """The child has none of the threads, and must not touch the parent's loops: they share what those wait on."""
    global _lock, _ports
    _lock, _ports = threading.Lock(), WeakKeyDictionary()
    _queue_after_fork()


os.register_at_fork(after_in_child=_after_fork)
