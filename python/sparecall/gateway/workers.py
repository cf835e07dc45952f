"""`--workers N`: processes that share a port by SO_REUSEPORT, and the supervisor that keeps them running.

A worker is the same command started anew, told by `--worker` which one it is. It says on standard output when it is
ready, and from then on every second that its loop turns: one that falls silent is killed. It stops when its standard
input ends, so that none outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger("sparecall.gateway")
# The status of a command that refuses its configuration: another start would be refused too.
REFUSED = 2


class Worker(Protocol):
    """A running worker, as the supervisor sees it."""

    @property
    def beats(self) -> int:
        """Grows as long as its loop turns, once it serves."""

    async def ready(self) -> bool:
        """Waits until it serves; False where it ended before."""

    async def wait(self) -> int:
        """Waits for its end; the exit status."""

    def send_signal(self, number: int, /) -> None:
        """Sends a signal."""


class Backoff:
    """How long to wait before a worker is started again: doubling from `first` to `most`; anew after `healthy` seconds of life."""

    __slots__ = ("_first", "_healthy", "_most", "_next")

    def __init__(self, *, first: float = 0.1, most: float = 30.0, healthy: float = 60.0) -> None:
        self._first = self._next = first
        self._most = most
        self._healthy = healthy

    def after(self, lived: float) -> float:
        """Seconds to wait after one that lived so long."""
        if lived >= self._healthy:
            self._next = self._first
        wait, self._next = self._next, min(2 * self._next, self._most)
        return wait


class Supervisor:
    """Keeps `count` workers running until it is told to stop. One that is silent for `hung_after` seconds is killed."""

    __slots__ = (
        "_clock",
        "_count",
        "_hung_after",
        "_ready",
        "_running",
        "_sleep",
        "_start",
        "_tasks",
        "status",
        "stopping",
    )

    def __init__(
        self,
        start: Callable[[int], Awaitable[Worker]],
        count: int,
        *,
        hung_after: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._start = start
        self._count = count
        self._hung_after = hung_after
        self._clock = clock
        self._sleep = sleep
        self._running: dict[int, Worker] = {}
        self._ready: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.stopping = False
        self.status = 0

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Runs until the last worker has ended, and returns the exit status. `on_ready` is called once, when all serve."""
        for number in range(self._count):
            self._tasks[number] = asyncio.create_task(self._keep(number, on_ready))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for task in self._tasks.values():
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self.status

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends every worker that signal; none is started any more."""
        self.stopping = True
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(number)
        for which, task in self._tasks.items():
            if which not in self._running:  # waits to be started again
                task.cancel()

    async def _keep(self, number: int, on_ready: Callable[[], None]) -> None:
        backoff = Backoff()
        while True:
            started = self._clock()
            try:
                worker = self._running[number] = await self._start(number)
            except OSError as error:
                wait = backoff.after(0)
                log.error("worker %d cannot be started: %s; again in %.1f s", number, error.strerror, wait)  # noqa: TRY400
                await self._sleep(wait)
                continue
            served = await worker.ready()
            if served and number not in self._ready:
                self._ready.add(number)
                if len(self._ready) == self._count:
                    on_ready()
            watching = asyncio.create_task(self._watch(number, worker))
            status = await worker.wait()
            watching.cancel()
            del self._running[number]
            if self.stopping:
                if served and status != 0 and self.status == 0:
                    self.status = 1
                return
            if status == REFUSED:
                self.status = REFUSED
                self.stop()
                return
            lived = self._clock() - started
            wait = backoff.after(lived)
            log.warning(
                "worker %d ended with status %d after %.1f s; it starts again in %.1f s", number, status, lived, wait
            )
            await self._sleep(wait)

    async def _watch(self, number: int, worker: Worker) -> None:
        """Ends a worker that hangs. It takes three looks, so that a pause of this process itself is not taken for one of the worker's."""
        silent = 0
        while silent < 3:
            beats = worker.beats
            await self._sleep(self._hung_after / 3)
            silent = silent + 1 if worker.beats == beats else 0
        log.error("worker %d hangs: nothing heard of it for %g s; it is killed", number, self._hung_after)
        with contextlib.suppress(ProcessLookupError):
            worker.send_signal(signal.SIGKILL)


class Process:
    """A worker that is a process."""

    __slots__ = ("_listening", "_process", "beats", "pid", "send_signal", "wait")

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._listening: asyncio.Task[None] | None = None
        self.beats = 0
        self.pid = process.pid
        self.wait = process.wait
        self.send_signal = process.send_signal

    @classmethod
    async def start(cls, options: Sequence[str]) -> Process:
        """Starts `sparecall serve` with these options, out of reach of the terminal's signals: the supervisor passes them on."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sparecall.cli",
                "serve",
                *options,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )

    async def ready(self) -> bool:
        """Waits for its word."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - for mypy; `start` asks for one
        served = bool(await stdout.readline())
        self._listening = asyncio.create_task(self._listen(stdout))
        return served

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        while await stdout.read(1024):
            self.beats += 1
