"""Work in steps: an optimizer's order of things is one generator, which runs at once or between the turns of a loop.

What it yields: None where others may run, a call to make (in a thread, where there is a loop to hold), or an `Ask` to await.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

INLINE = 4_096
"""Reading so many characters takes a quarter of a millisecond."""
# Of the loop's time, in seconds, before others get their turn.
_TURN = 0.0005


class Ask(NamedTuple):
    """Something that has to be awaited."""

    make: Callable[[], Awaitable[Any]]


Step: TypeAlias = Callable[[], object] | Ask | None
Steps: TypeAlias = Generator[Step, Any, T]


def stepped(call: Callable[[], T], size: int) -> Steps[T]:
    """A call that reads `size` characters, as a step of its own."""
    if size > INLINE:
        return (yield call)  # type: ignore[no-any-return]
    done = call()
    yield None
    return done


def run(steps: Steps[T]) -> T:
    """All steps at once. There must be none to await."""
    answer: object = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(step, Ask):
            raise TypeError("this has to be awaited; use optimize_async")
        answer = None if step is None else step()


async def run_async(steps: Steps[T]) -> T:
    """The same without holding the loop: calls run in a thread, what is between them for half a millisecond at a time."""
    answer: object = None
    since = time.perf_counter()
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        answer = None
        if isinstance(step, Ask):
            answer = await step.make()
        elif step is not None:
            answer = await asyncio.to_thread(step)
        elif time.perf_counter() - since > _TURN:
            await asyncio.sleep(0)
        else:
            continue
        since = time.perf_counter()
