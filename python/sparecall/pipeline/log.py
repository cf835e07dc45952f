"""`ReplyLog`: the events of one provider stream, written once and read by any number of callers, each at its own place."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from sparecall.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_PIECE = 64 * 1024


class LogEvent(NamedTuple):
    """The data of one server-sent event, and whether it speaks of usage."""

    data: bytes
    usage: bool


class _Turnstile:
    """Wakes everybody who waits, and forgets them."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()


class _Place:
    """How far one reader is: events and bytes."""

    __slots__ = ("bytes", "position")

    def __init__(self) -> None:
        self.position = 0
        self.bytes = 0

    def to_end(self) -> None:
        """Want nothing but the end: this reader neither holds the writer back nor keeps events alive."""
        self.position = self.bytes = sys.maxsize


class ReplyLog(Generic[T]):
    """An append-only log of events with one writer and many readers, ended by a value of type `T` or by an error.

    Bounded: past `limit` bytes it is `overflowed` and drops what every reader has read, and what the fastest has read where
    that is over `limit`: a slow reader then gets an `UpstreamError`. Nobody may join any more once the head is gone.
    The writer is held back while the fastest reader is more than `window` bytes behind it.
    When the last reader leaves before the end, `abandoned` is called once.
    """

    __slots__ = ("_abandoned", "_advanced", "_bytes", "_error", "_events", "_first", "_grown", "_held", "_limit", "_places",
                 "_value", "_when_ended", "_window", "ended")  # fmt: skip

    def __init__(self, *, limit: int, window: int = 256 * 1024, abandoned: Callable[[], object] | None = None) -> None:
        self._events: list[LogEvent] = []
        self._first = 0  # number of the oldest event still held
        self._bytes = 0
        self._held = 0  # those of `_bytes` that are in `_events`
        self._limit = limit
        self._window = window
        self._places: set[_Place] = set()
        self._grown = _Turnstile()
        self._advanced = _Turnstile()
        self._abandoned = abandoned
        self._value: T | None = None
        self._error: BaseException | None = None
        self._when_ended: list[Callable[[T | None], object]] = []
        self.ended = False

    def __len__(self) -> int:
        """How many events were written so far."""
        return self._first + len(self._events)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "live"
        return f"<ReplyLog {state}, {len(self)} events, {self._bytes} bytes, {len(self._places)} readers>"

    @property
    def overflowed(self) -> bool:
        """Whether more than `limit` bytes were written: nobody new should join, and what all have read is dropped."""
        return self._bytes > self._limit

    @property
    def headless(self) -> bool:
        """Whether the first events are gone: such a log can be read to its end but not joined."""
        return self._first > 0

    def reader(self) -> Reader[T]:
        """A new reader, at the first event. Raises `RuntimeError` once the log has lost its head."""
        if self.headless:
            raise RuntimeError("this log has overflowed and lost its head; start a call of your own")
        place = _Place()
        self._places.add(place)
        return Reader(self, place)

    def append(self, event: LogEvent) -> None:
        """Adds one event and wakes the readers."""
        self._events.append(event)
        self._bytes += len(event.data)
        self._held += len(event.data)
        if self.overflowed:
            self._drop_head()
        self._grown.wake()

    async def paced(self) -> None:
        """Waits until the fastest reader is within the window. The writer calls it between reads."""
        while not self.ended and self._bytes - self._read_by_one() > self._window:
            await self._advanced.wait()

    def _read_by_one(self) -> int:
        """How many bytes the fastest reader has read, or all for one that only wants the end."""
        read = [place.bytes for place in self._places]
        if self.overflowed:  # what is not kept for them cannot be hurried by them
            read = [count for count in read if count < sys.maxsize] or read
        return max(read, default=0)

    @property
    def failed(self) -> bool:
        """Whether the log ended with an error."""
        return self._error is not None

    @property
    def error(self) -> BaseException | None:
        """What it failed with; a cancellation where its last reader has left."""
        return self._error

    async def begun(self) -> None:
        """Waits for the first event, or the end. Raises what the log failed with before there was one."""
        while not (self.ended or len(self)):
            await self._grown.wait()
        if not len(self):
            self._outcome()

    def when_ended(self, callback: Callable[[T | None], object]) -> None:
        """Calls `callback` once when the log ends, now if it has: with the value, or with None for an error."""
        if self.ended:
            callback(self._value)
        else:
            self._when_ended.append(callback)

    def end(self, value: T) -> None:
        """Ends the log well."""
        self._value = value
        self._end()

    def fail(self, error: BaseException) -> None:
        """Ends the log with an error that every reader gets after the events before it."""
        self._error = error
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._grown.wake()
        self._advanced.wake()
        callbacks, self._when_ended = self._when_ended, []
        for callback in callbacks:
            callback(self._value)

    def _drop_head(self) -> None:
        events, positions = self._events, [place.position for place in self._places]
        slowest = min(positions, default=self._first)
        fastest = max((position for position in positions if position < sys.maxsize), default=slowest)
        read_by_all, read_by_one = (min(position - self._first, len(events)) for position in (slowest, fastest))
        dropped = 0
        while dropped < read_by_all or (dropped < read_by_one and self._held > self._limit):
            self._held -= len(events[dropped].data)
            dropped += 1
        del events[:dropped]
        self._first += dropped

    def _leave(self, place: _Place) -> None:
        if place not in self._places:
            return
        self._places.discard(place)
        self._advanced.wake()
        if not self._places and not self.ended:
            self.fail(asyncio.CancelledError())
            if self._abandoned is not None:
                self._abandoned()

    def _outcome(self) -> T:
        if self._error is not None:
            raise self._error.with_traceback(None)  # one error for many readers: each sees its own way only
        return self._value  # type: ignore[return-value]  # end() has set it; T may itself be optional


class Reader(Generic[T]):
    """One caller's place in a `ReplyLog`. Iterate it for lists of events, or await `ending()`. Close it, or let go of it."""

    __slots__ = ("_log", "_place")

    def __init__(self, log: ReplyLog[T], place: _Place) -> None:
        self._log = log
        self._place = place

    def __repr__(self) -> str:
        return f"<Reader at event {self._place.position} of {self._log!r}>"

    def __del__(self) -> None:
        self.close()

    @property
    def log(self) -> ReplyLog[T]:
        """The log this reads."""
        return self._log

    def __aiter__(self) -> Reader[T]:
        return self

    async def __anext__(self) -> list[LogEvent]:
        """Events not read yet, some 64 KiB of them, waiting for at least one. Raises what the log failed with after the last."""
        log, place = self._log, self._place
        while place.position >= len(log):
            if log.ended:
                log._outcome()
                raise StopAsyncIteration
            await log._grown.wait()
        if place.position < log._first:
            if place not in log._places:
                raise RuntimeError("this reader was closed, and what it had not read is gone")
            raise UpstreamError(
                f"this reader fell over {log._limit} bytes behind another one of the same stream; read faster or call again",
                code="incomplete",
            )
        start = stop = place.position - log._first
        size = 0
        while stop < len(log._events) and size < _PIECE:
            size += len(log._events[stop].data)
            stop += 1
        place.position += stop - start
        place.bytes += size
        log._advanced.wake()
        return log._events[start:stop]

    async def ending(self) -> T:
        """Waits for the end without reading, and returns the log's value; raises what it failed with."""
        log = self._log
        self._place.to_end()
        log._advanced.wake()
        while not log.ended:
            await log._grown.wait()
        return log._outcome()

    def close(self) -> None:
        """Leaves the log. The last reader to leave a live log stops its writer."""
        self._log._leave(self._place)
