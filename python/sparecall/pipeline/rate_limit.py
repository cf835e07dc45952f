"""Stage `rate_limit`: calls and tokens that an upstream takes in a time, reserved before the call and settled after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sparecall.errors import UpstreamError
from sparecall.pipeline.outcome import REFUSED, at_end, begun
from sparecall.pipeline.size import known_size, wait_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.flow import Lease, RateLimit
    from sparecall.pipeline.answer import Summary
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request, Size
    from sparecall.pipeline.stage import Next


_TELLING = ("x-ratelimit-", "anthropic-ratelimit-", "retry-after")


class RateLimitStage:
    """Makes calls wait until `limit` lets them, for at most `max_wait` seconds: then `LimitExceeded`.

    Every reply tells the limit what the provider says of it, and what the call came to. ``low`` requests are its background.
    `size` estimates a call's tokens (`size_of`).
    """

    __slots__ = ("_clock", "_limited", "_max_wait", "_size", "limit")
    __name__ = "rate_limit"

    def __init__(
        self,
        limit: RateLimit,
        *,
        max_wait: float = 10.0,
        size: Callable[[Request], Size] = known_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self._max_wait, self._size, self._clock = max_wait, size, clock
        self._limited = False  # by a 429: the next reply without one ends that

    @property
    def gate(self) -> RateLimit:
        """What lets calls through."""
        return self.limit

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on in its turn."""
        size = self._size(request)
        asking = request.asking
        since = self._clock()
        lease = self.limit.acquire(
            size.prompt,
            route=request.wire if asking is None else asking.model,
            max_tokens=size.at_most,
            background=request.priority == "low",
            max_wait=wait_of(request, self._max_wait, since),
        )
        async with lease:
            if asking is not None:
                asking.waited += self._clock() - since
            try:
                reply = await begun(next(request))
            except REFUSED:
                lease.refund()
                raise
            except UpstreamError as error:
                if error.code == "unreachable":
                    lease.refund()
                raise
        limited = reply.status == 429
        if limited or self._limited or any(name.startswith(_TELLING) for name in reply.headers):
            lease.sync({**reply.headers, "date": reply.date}, status=reply.status)
            self._limited = limited
        if reply.status >= 400:
            lease.settle(0, final=False)  # a call that was refused counts as one, but its tokens do not
        else:
            at_end(reply, lambda summary, _error: _settle(lease, summary))
        return reply


def _settle(lease: Lease, summary: Summary | None) -> None:
    if summary is not None and (summary.prompt_tokens or summary.completion_tokens):
        lease.settle(summary.prompt_tokens + summary.completion_tokens)
