"""Stage `system`: makes no calls that this machine has no room for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from sparecall.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from sparecall.flow import SystemSignals
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

_LOOK_EVERY = 0.25


class SystemStage:
    """Refuses calls while `signals` say that memory is short, and lets ``low`` ones wait while anything is, for `max_wait` seconds: then `Overloaded`.

    Answers from memory do not come here.
    """

    __slots__ = ("_clock", "_max_wait", "_sleep", "signals")
    __name__ = "system"

    def __init__(
        self,
        signals: SystemSignals,
        *,
        max_wait: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.signals = signals
        self._max_wait, self._clock, self._sleep = max_wait, clock, sleep

    async def __aenter__(self) -> Self:
        await self.signals.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.signals.__aexit__(kind, error, trace)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on, now or later."""
        if request.cache_control.only_if_cached:
            return await next(request)
        self.signals.check()
        if request.priority == "low" and self.signals.defer_background:
            await self._deferred(request)
        return await next(request)

    async def _deferred(self, request: Request) -> None:
        until = self._clock() + self._max_wait
        if request.deadline is not None:
            until = min(until, request.deadline)
        while self.signals.defer_background:
            if self._clock() >= until:
                short = ", ".join(sorted(self.signals.short_of))
                raise Overloaded(
                    f"work of low priority waits while the machine is short of {short}", code="deferred",
                    retry_after=self._max_wait,
                )  # fmt: skip
            await self._sleep(_LOOK_EVERY)
            self.signals.check()
