"""A thread with an event loop and a pipeline open on it, for callers that have no loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sparecall.exchange import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sparecall.pipeline import Pipeline

T = TypeVar("T")
_running: set[PipelineThread] = set()
# In a child process: threads of the parent. Their loops share its sockets and must be neither used nor collected.
_left_behind: set[PipelineThread] = set()


class Closed(Exception):
    """The pipeline is closed, or closed before the call had ended."""


class PipelineThread:
    """Starts when made, and returns once the pipeline is open; raises what kept it from opening.

    Any thread may call any method. It is a daemon, so that it holds up nobody's exit, but is closed in order there.
    """

    def __init__(self, make: Callable[[], Pipeline]) -> None:
        self.pipeline: Pipeline
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._calls: set[asyncio.Task[Any]] = set()
        # May be taken again by its holder: a collection of garbage can stop a thread at any moment.
        self._lock = threading.RLock()
        self.stopped = False
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(make, opened), name="sparecall", daemon=True)
        try:
            self._thread.start()
            opened.result()
        except BaseException:
            # Either it did not open, or this thread was interrupted and nobody will have the other one.
            opened.add_done_callback(lambda done: None if done.exception() else self.stop())
            raise

    def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine, made on the loop, and waits for it. Who is interrupted meanwhile leaves it: it is cancelled."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a call from the pipeline's own event loop would wait for itself; use AsyncTransport")
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            with self._lock:
                if self.stopped:
                    raise Closed  # noqa: TRY301 - on its way out like any other
                self._loop.call_soon_threadsafe(self._start, call, outcome)
            return outcome.result()
        except concurrent.futures.CancelledError:
            raise Closed from None
        except BaseException:
            outcome.cancel()  # wherever the interruption came: the call may be running already
            raise

    def _start(self, call: Callable[[], Coroutine[Any, Any, T]], outcome: concurrent.futures.Future[T]) -> None:
        task = self._loop.create_task(call())
        self._calls.add(task)
        task.add_done_callback(functools.partial(self._ended, outcome))
        outcome.add_done_callback(lambda done: self.soon(task.cancel) if done.cancelled() else None)

    def _ended(self, outcome: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
        self._calls.discard(task)
        error = None if task.cancelled() else task.exception()
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits any more
            if task.cancelled():
                outcome.cancel()
            elif error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(task.result())

    def soon(self, callback: Callable[[], object]) -> None:
        """Has the loop call it; not at all if the loop has ended, and with it whatever there was to call it for."""
        if self not in _left_behind:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(callback)

    def stop(self) -> None:
        """Begins to close. Calls that still run are cancelled."""
        with self._lock:
            if not self.stopped:
                self.stopped = True
                self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """Stops, and waits until the pipeline is closed."""
        self.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self, make: Callable[[], Pipeline], opened: concurrent.futures.Future[None]) -> None:
        _running.add(self)
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._serve(make, opened))
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)
        finally:
            _running.discard(self)

    async def _serve(self, make: Callable[[], Pipeline], opened: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with make() as self.pipeline:
            opened.set_result(None)
            await self._stop.wait()
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)


def _after_fork() -> None:
    for thread in _running:
        thread.stopped = True
        thread._lock = threading.RLock()  # another thread, which is not here any more, may have held it
    _left_behind.update(_running)
    _running.clear()


def _at_exit() -> None:
    for thread in list(_running):
        thread.close()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
