"""What a stage is. Users write their own: any async callable of this shape takes a place among them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from sparecall.pipeline.reply import Reply
from sparecall.pipeline.request import Request

Next = Callable[[Request], Awaitable[Reply]]


class Stage(Protocol):
    """One step of the pipeline.

    A stage answers by itself, or awaits `next(request)`, with the request it got or a changed copy, and returns that
    reply or a changed copy. It may have `__aenter__` and `__aexit__`, which run when the pipeline opens and closes. Its
    name in traces is the name of its class or function, in lower case. One that has `wires`, a set of wires' names, sees
    only requests of these.
    """

    async def __call__(self, request: Request, next: Next, /) -> Reply:  # noqa: A002 - the word of the design
        """Answers the request, by itself or by the stages below."""
        ...


async def entered(stages: Iterable[Stage]) -> contextlib.AsyncExitStack:
    """Enters those that can be entered, in order; what comes back leaves them. Where one fails, those before it are left."""
    async with contextlib.AsyncExitStack() as exits:
        for stage in stages:
            if hasattr(stage, "__aenter__"):
                await exits.enter_async_context(stage)  # type: ignore[arg-type]
        return exits.pop_all()
