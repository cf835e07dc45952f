"""`batched`: a function over many items, called with one at a time."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from sparecall.batch.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sparecall.batch.batcher import Priority

__all__ = ["Batched", "batched"]

T = TypeVar("T")
R = TypeVar("R")


class Batched(Generic[T, R]):
    """What `batched` makes: ``await function(item)``. `batcher` is the batcher behind it, for `close`, `stats` and `submit_many`."""

    def __init__(
        self,
        fn: Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]],
        options: dict[str, Any],
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
    **options: Any,
) -> Callable[
    [Callable[[list[T]], Awaitable[Sequence[R | BaseException]] | AsyncIterator[R | BaseException]]], Batched[T, R]
]: ...
def batched(fn: Any = None, /, **options: Any) -> Any:
    """Turns a function over a list of items into one over a single item, whose calls are run in batches.

    With or without options, which are those of `Batcher`. Under ``overflow="wait"`` a call waits for room before it is submitted.
    """
    if fn is None:
        return lambda function: Batched(function, options)
    return Batched(fn, options)
