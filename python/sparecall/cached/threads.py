"""Single flight between threads: of the threads that miss one key at a time, one computes and the others wait for it.

No lock guards the tables: each step is one operation of a dict, which is atomic, so that no user code (the function, a key's
`__hash__` and `__eq__`, a finalizer or a signal handler that calls the function again) ever runs under a lock of ours.
"""

from __future__ import annotations

import os
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from sparecall.cached.results import MISSING, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class _ThreadRun(Run):
    """One computation under way: its thread, and its outcome once the gate is open."""

    __slots__ = ("error", "gate", "process", "thread", "value")

    def __init__(self) -> None:
        super().__init__()
        self.thread, self.process = get_ident(), os.getpid()
        self.gate = Lock()
        self.gate.acquire()
        self.value: Any = MISSING
        self.error: Exception | None = None


# What each thread waits for; shared by all functions, since a circle may lead through several. More than one run at a time
# only where a finalizer or a signal handler interrupts a wait with another one.
_waits: dict[int, tuple[_ThreadRun, ...]] = {}


def _depends_on(run: _ThreadRun, thread: int) -> bool:
    """Whether `run` can end only after `thread` has gone on: it is led there, or waits for such a run through any chain."""
    seen: set[_ThreadRun] = set()
    rest = [run]
    while rest:
        run = rest.pop()
        if run.thread == thread:
            return True
        if run not in seen:
            seen.add(run)
            rest.extend(_waits.get(run.thread, ()))
    return False


def _ended(run: _ThreadRun) -> bool:
    """Waits for the end of `run`; False at once where that would never come."""
    if run.process != os.getpid() or not run.gate.locked():
        return True  # a fork left its thread behind, or it could not leave the table
    thread = get_ident()
    before = _waits.get(thread, ())
    try:
        # First tell, then look: of the threads that close a circle at the same time, the last one sees it whole.
        _waits[thread] = (*before, run)
        if _depends_on(run, thread):
            return False
        with run.gate:
            return True
    finally:
        if before:
            _waits[thread] = before
        else:
            _waits.pop(thread, None)


class ThreadFlight:
    """Computes what a function's cache does not have, once for all threads that ask at the same time."""

    __slots__ = ("_function", "_get", "_runs", "_store", "ended")

    def __init__(
        self,
        function: Callable[..., Any],
        get: Callable[[Any, Any], Any],
        store: Callable[[Hashable, Any, Run], None],
    ) -> None:
        self._function, self._get, self._store = function, get, store
        self._runs: dict[Hashable, _ThreadRun] = {}
        self.ended = object()
        """Another object after each run: tells whoever has just missed that the cache is worth a second look."""

    def missed(self, key: Hashable, ended: object, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the value for `key`, which the cache did not have after `ended` was read.

        An exception of the function is raised in every thread that waited for that run. Where the run's thread was
        interrupted (KeyboardInterrupt, SystemExit), those who waited begin again.
        """
        while True:
            mine = _ThreadRun()
            try:
                run = self._runs.setdefault(key, mine)
                if run is mine and self.ended is not ended:
                    mine.value = self._get(key, MISSING)
                    if mine.value is not MISSING:
                        return mine.value
                if run is mine or not _ended(run):
                    # Called from here and not by a method: each frame less is a deeper recursion of the function.
                    try:
                        value = self._function(*args, **kwargs)
                        self._store(key, value, run)
                    except Exception as error:
                        mine.error = error
                        raise
                    mine.value = value
                    return value
                # A run leaves the table before its gate opens. One that is still there could not (its key raised, or a
                # fork): what it holds may be old.
                if not self._forget(key, run):
                    if run.error is not None:
                        raise run.error
                    if run.value is not MISSING:
                        return run.value
            finally:
                try:
                    self._forget(key, mine)
                finally:
                    mine.gate.release()
                    del mine
                    run = None  # type: ignore[assignment]  # it holds the exception, whose traceback holds this frame

    def deleted(self, key: Hashable) -> None:
        """Lets the run of `key` under way end for those who wait already, unstored."""
        run = self._runs.pop(key, None)
        if run is not None:
            run.deleted = True

    def _forget(self, key: Hashable, run: _ThreadRun) -> bool:
        if self._runs.get(key) is not run:
            return False
        self.ended = object()  # before the key is free: whoever leads next must see it
        self._runs.pop(key, None)  # a delete may have come first
        return True
