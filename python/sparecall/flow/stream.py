"""Streams that began: their first item is there, and closing them closes what they come from, begun or not. And tasks that are ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

R = TypeVar("R")
_END = object()


class Stream(Generic[R]):
    """The items of a stream whose first has come. Exhaust it, or await `aclose`: a call may be under way for it."""

    __slots__ = ("_first", "_items")

    def __init__(self, first: list[R], items: AsyncIterator[R]) -> None:
        self._first, self._items = first, items

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        if self._first:
            return self._first.pop()
        return await anext(self._items)

    async def aclose(self) -> None:
        """End it."""
        self._first.clear()
        await closed(self._items)

    def __repr__(self) -> str:
        return f"<Stream {'at its first item' if self._first else 'under way'}>"


async def begun(items: AsyncIterator[R]) -> Stream[R]:
    """Waits for the first item. Whatever goes wrong before it, `items` is closed."""
    try:
        first = [await anext(items)]
    except StopAsyncIteration:
        first = []
    except BaseException:
        await closed(items)
        raise
    return Stream(first, items)


async def closed(items: object) -> None:
    """Ends a stream that may still be under way, and with it its call."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


class Relay(Generic[R]):
    """The items of `work()`, asked for by a task of its own, a little ahead of the reader: whatever they hold open belongs to that task.

    ``begun`` is done once the first item is there or the stream has ended, and fails where it failed before. Exhaust it, or await `aclose`.
    """

    __slots__ = ("_end", "_item", "begun", "task")

    def __init__(self, work: Callable[[], AsyncIterator[R]]) -> None:
        loop = asyncio.get_running_loop()
        self._item: asyncio.Queue[Any] = asyncio.Queue(1)
        self._end: BaseException | None = None
        self.begun: asyncio.Future[Relay[R]] = loop.create_future()
        self.task = loop.create_task(self._drive(work))
        self.task.add_done_callback(self._ended)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        item: Any = _END
        if self._end is None or not self._item.empty():
            item = await self._item.get()
        if item is _END:
            end, self._end = self._end, StopAsyncIteration()
            raise end or StopAsyncIteration
        value: R = item
        return value

    async def aclose(self) -> None:
        """End it."""
        await ended(self.task)

    async def _drive(self, work: Callable[[], AsyncIterator[R]]) -> None:
        items = aiter(work())
        try:
            async for item in items:
                if not self.begun.done():
                    self.begun.set_result(self)
                await self._item.put(item)
        finally:
            await closed(items)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._end = error or StopAsyncIteration()
        if self._item.empty():
            self._item.put_nowait(_END)  # wakes the reader
        if not self.begun.done():
            if error is None:
                self.begun.set_result(self)
            else:
                self.begun.cancel() if task.cancelled() else self.begun.set_exception(error)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels `task` and waits for its end, however often the caller is cancelled meanwhile; that goes on afterwards."""
    interrupted: asyncio.CancelledError | None = None
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
    if not task.cancelled():
        task.exception()  # a loser's error is nobody's
    if interrupted is not None:
        raise interrupted
