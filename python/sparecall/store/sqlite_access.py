"""Two threads on one SQLite file: one writes in batches, one reads and looks for what other processes left there. Behind a breaker."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from sparecall.errors import StoreUnavailable
from sparecall.store.breaker import Breaker, State
from sparecall.store.sqlite_file import File, is_damaged
from sparecall.store.worker import Job, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sparecall.store.hearers import Hearers

_LOG = logging.getLogger("sparecall.store")
_CLEAN_EVERY = 64
R = TypeVar("R")


class Access:
    """Does reads and writes, each within `timeout` seconds; what changed in the file goes to the `hearers`."""

    def __init__(
        self,
        path: Path,
        hearers: Hearers,
        *,
        max_bytes: int,
        timeout: float,
        interval: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._hearers, self._clock = path, hearers, clock
        self._max_bytes, self._timeout = max_bytes, timeout
        self._breaker = Breaker(path, clock=monotonic)
        self._files: dict[str, File] = {}  # each is its thread's own
        self._writer = Worker(
            "sparecall store writer", lambda jobs: self._perform("writer", jobs), stop=lambda: self._let_go("writer")
        )
        self._reader = Worker(
            "sparecall store reader",
            lambda jobs: self._perform("reader", jobs),
            tick=self._look,
            interval=lambda: interval if len(hearers) else None,
            stop=lambda: self._let_go("reader"),
        )
        self._closed = False
        self._heard = self._data_version = -1
        self._batches = 0
        self.coherent = False
        self.unavailable = self.left_alone = self.evicted = self.set_aside = 0

    @property
    def state(self) -> State:
        """The breaker's state."""
        return self._breaker.state

    def listen(self) -> None:
        """Look for changes from now on. Raises ``RuntimeError`` where no event loop runs."""
        if not self._closed:
            self._reader.start()

    async def read(self, work: Callable[[File], R]) -> R:
        """What `work` gives, done at one moment of the file. Raises `StoreUnavailable`."""
        return await self._do(self._reader, work, durable=False)

    async def write(self, work: Callable[[File], R], *, durable: bool = False) -> R:
        """What `work` gives, in a transaction with whatever else waits; ``durable``: it outlives the machine's sudden end."""
        return await self._do(self._writer, work, durable=durable)

    async def close(self) -> None:
        """Finish what was begun; later calls raise `StoreUnavailable`."""
        self._closed = True
        await self._writer.close()
        await self._reader.close()
        self.coherent = False

    async def _do(self, worker: Worker, work: Callable[[File], R], *, durable: bool) -> R:
        if self._closed:
            raise StoreUnavailable(f"{self._path} was closed; make another store")
        try:
            permit = self._breaker.enter()
        except StoreUnavailable:
            self.left_alone += 1
            raise
        try:
            async with asyncio.timeout(self._timeout):
                result = await worker.do(work, durable=durable)
        except (sqlite3.Error, OSError, StoreUnavailable) as error:  # TimeoutError is an OSError
            self.unavailable += 1
            known = isinstance(error, StoreUnavailable)
            why = str(error) if known else f"{self._path} could not be used ({error or type(error).__name__})"
            self._breaker.failed(permit, why, at_once=known)
            raise StoreUnavailable(why) from None
        except BaseException:
            self._breaker.let_go(permit)
            raise
        self._breaker.succeeded(permit)
        return result

    # From here on in the threads.

    def _perform(self, who: str, jobs: list[Job]) -> None:
        for retry in (True, False):
            try:
                file = self._file(who)
                with file.transaction(write=who == "writer", durable=any(job.durable for job in jobs)):
                    for job in jobs:
                        job.result = job.work(file)
                    gone = self._keep_small(file) if who == "writer" else 0
                if gone:
                    file.give_back(self._max_bytes)
            except (sqlite3.DatabaseError, OSError, StoreUnavailable) as error:
                if retry and is_damaged(error):
                    self._set_aside(who)
                    continue
                for job in jobs:
                    job.error = error
            except Exception as error:  # noqa: BLE001 - one job's own, such as a value larger than SQLite takes
                if len(jobs) == 1:
                    jobs[0].error = error
                else:
                    for job in jobs:
                        self._perform(who, [job])
            return

    def _keep_small(self, file: File) -> int:
        self._batches += 1
        now = self._clock()
        if self._batches % _CLEAN_EVERY == 0:
            file.clean(now)
        gone = file.shrink(self._max_bytes, now)
        self.evicted += gone
        return gone

    def _look(self) -> None:
        """Passes on what was left in the file since the last look."""
        if not len(self._hearers):
            return
        try:
            file = self._file("reader")
            version = file.data_version()
            if version == self._data_version:
                return
            with file.transaction(write=False):
                first = self._heard < 0
                changes = [] if first else file.changes(self._heard)
                last = file.last_change()
        except Exception as error:  # noqa: BLE001 - SQLite's, the disk's, or a bug: nobody hears of changes until the next look
            if is_damaged(error):
                self._set_aside("reader")
            if self.coherent or self._heard >= 0:
                self._heard = -1
                self._reader.tell(self._became, False, str(error))
            return
        missed = (bool(changes) and changes[0][0] != self._heard + 1) or last < self._heard
        self._heard, self._data_version = last, version
        if first:
            self._reader.tell(self._became, True, "")
        elif missed:
            self._reader.tell(self._hearers.lost)
        else:
            for _, number, message in changes:
                self._reader.tell(self._hearers.message, number, message)

    def _file(self, who: str) -> File:
        file = self._files.get(who)
        if file is not None and not file.moved():
            return file
        self._let_go(who)
        self._files[who] = File(self._path, busy=self._timeout, seen=self._hearers.seen)
        if who == "reader":
            self._heard = self._data_version = -1
        return self._files[who]

    def _let_go(self, who: str) -> None:
        file = self._files.pop(who, None)
        if file is not None:
            file.close()

    def _set_aside(self, who: str) -> None:
        file = self._files.pop(who, None)
        self.set_aside += 1
        _LOG.warning("%s is damaged: it was set aside, and an empty one begun", self._path)
        if file is not None:
            file.set_aside()
        else:
            File.rename(self._path)

    # On the event loop.

    def _became(self, coherent: bool, why: str) -> None:
        if self._closed:
            return
        if coherent != self.coherent and why:
            _LOG.warning("%s: changes made elsewhere are not heard (%s)", self._path, why)
        self.coherent = coherent
        self._hearers.lost()
