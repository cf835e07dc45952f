"""`batched`: a function over many items, called with one at a time."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from sparecall.batch.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sparecall.batch.batcher import Priority
    from sparecall.batch.events import BatchEvent

__all__ = ["Batched", "batched"]

T = TypeVar("T")
R = TypeVar("R")


class Options(TypedDict, total=False):
    """The options of `Batcher`, where their defaults stand."""

    max_items: int
    max_tokens: int | None
    size_of: Callable[[Any], int] | None
    key_of: Callable[[Any], Hashable] | None
    max_concurrent: int
    permit: Callable[[int], AbstractAsyncContextManager[Any]] | None
    max_waiting: int
    overflow: Literal["wait", "reject", "drop"]
    timeout: float | None
    item_fault: Callable[[Exception], bool] | None
    hold: bool
    on_event: Callable[[BatchEvent], None] | None
    clock: Callable[[], float]


class Batched(Generic[T, R]):
    """What `batched` makes: ``await function(item)``. `batcher` is the batcher behind it, for `close`, `stats` and `submit_many`."""

    def __init__(
        self,
        fn: Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]],
        options: Options,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.batcher: Batcher[T, R] = Batcher(fn, **options)

    def __repr__(self) -> str:
        return f"<batched: {self.batcher!r}>"

    async def __call__(self, item: T, /, *, priority: Priority = "normal", deadline: float | None = None) -> R:
        """The result for `item`, when its batch has run; waits for room first. Raises what `Batcher.submit` and its future raise."""
        batcher = self.batcher
        if batcher.full:
            await batcher.ready()
        return await batcher.submit(item, priority=priority, deadline=deadline)


@overload
def batched(
    fn: Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]], /
) -> Batched[T, R]: ...
@overload
def batched(
    **options: Unpack[Options],
) -> Callable[
    [Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]]], Batched[T, R]
]: ...
def batched(fn: Any = None, /, **options: Unpack[Options]) -> Any:
    """Turns a function over a list of items into one over a single item, whose calls are run in batches.

    With or without options, which are those of `Batcher`. Under ``overflow="wait"`` a call waits for room before it is submitted.
    """
    if fn is None:
        return lambda function: Batched(function, options)
    return Batched(fn, options)
