"""A thread that does jobs for an event loop, all that wait at once: what reads and writes a file does not hold the loop up."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sparecall.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")
_MOST_WAITING = 10_000
_BATCH = 256


class Job:
    """What is to be done, and who waits for it."""

    __slots__ = ("durable", "error", "future", "result", "work")

    def __init__(self, work: Callable[[Any], Any], future: asyncio.Future[Any], *, durable: bool) -> None:
        self.work, self.future, self.durable = work, future, durable
        self.result: Any = None
        self.error: BaseException | None = None


class Worker:
    """Hands batches of jobs to ``perform``, which sets each one's result or error, in a thread of its own, started with the first.

    ``tick`` is called there every `interval` seconds, where that is not None. Belongs to the event loop of its first job.
    """

    __slots__ = ("_interval", "_jobs", "_loop", "_name", "_perform", "_stop", "_thread", "_tick")

    def __init__(
        self,
        name: str,
        perform: Callable[[list[Job]], None],
        *,
        tick: Callable[[], None] = lambda: None,
        interval: Callable[[], float | None] = lambda: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._perform, self._tick, self._interval, self._stop = name, perform, tick, interval, stop
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the thread, for its ticks; the event loop that it works for. Raises ``RuntimeError`` where none runs."""
        if self._thread is None or self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(None)  # the interval may be another by now
        return self._loop

    async def do(self, work: Callable[[Any], R], *, durable: bool = False) -> R:
        """The result of `work`, which is given what ``perform`` gives it. Raises what it raises."""
        if self._jobs.qsize() >= _MOST_WAITING:
            raise StoreUnavailable(f"{_MOST_WAITING} calls wait for the file already")
        loop = self._loop if self._thread is not None and self._loop is not None else self.start()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put(Job(work, future, durable=durable))
        return await future

    def tell(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function on the event loop, from the thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed before the store
                self._loop.call_soon_threadsafe(function, *arguments)

    async def close(self) -> None:
        """End the thread once it has done what waits."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(_END)
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        while True:
            jobs: list[Job] = []
            end = False
            try:
                job = self._jobs.get(timeout=self._interval())
                while True:
                    end = end or job is _END
                    if job is not None and job is not _END and not job.future.cancelled():
                        jobs.append(job)
                    if len(jobs) >= _BATCH:
                        break
                    job = self._jobs.get_nowait()
            except queue.Empty:
                pass
            if jobs:
                try:
                    self._perform(jobs)
                except Exception as error:  # noqa: BLE001 - of this batch; the thread goes on for the next
                    for job in jobs:
                        job.error = error
                self.tell(_settle, jobs)
            if end:
                self._stop()
                return
            self._tick()


def _settle(jobs: list[Job]) -> None:
    for job in jobs:
        if not job.future.done():
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)


_END: Any = object()
