"""Stage `retry`: makes calls again that failed by no fault of the caller's, never once an answer has begun."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import DeadlineExceeded
from sparecall.pipeline.endpoint import asking_of
from sparecall.pipeline.outcome import ONCE, FailedReply, answered

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.flow import Retry
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class RetryStage:
    """Asks the stages below again as `retry` has it, which should judge errors by `outcome.passes`. Of a reply that stays a failure, the last is returned.

    A request that is to be sent once (`outcome.ONCE`) is. Raises `DeadlineExceeded` at the request's deadline, and what the last call raised.
    """

    __slots__ = ("_clock", "retries", "retry")
    __name__ = "retry"

    def __init__(self, retry: Retry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.retry, self._clock = retry, clock
        self.retries = 0
        """Calls made again so far."""

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on until it is answered."""
        if request.cache_control.only_if_cached or request.bypass in ONCE:
            return await next(request)
        deadline = request.deadline
        asked = msgspec.structs.replace(request, asking=asking_of(request))  # all rounds tell of each other
        calls = 0

        async def call() -> Reply:
            nonlocal calls
            self.retries += calls > 0
            calls += 1
            return await answered(next(asked))

        try:
            return await self.retry.run(call, deadline=deadline)
        except FailedReply as failed:
            return failed.reply
        except TimeoutError:
            if deadline is None or self._clock() < deadline:
                raise
            raise DeadlineExceeded("the request's deadline has passed; no upstream has answered by then") from None
