"""Streams that began: their first item is there, and closing them closes what they come from, begun or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

R = TypeVar("R")


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


async def closed(items: AsyncIterator[Any]) -> None:
    """Ends a stream that may still be under way, and with it its call."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
