"""Stage `rate_limit`: calls and tokens that an upstream takes in a time, reserved before the call and settled after it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import UpstreamError
from sparecall.pipeline.outcome import REFUSED, at_end, begun

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.flow import Lease, RateLimit
    from sparecall.pipeline.answer import Summary
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

# What a text of JSON comes to a token, about; `RateLimit` learns what is left of it with the completions.
_BYTES_A_TOKEN = 4
# Images and files stand in a body as base64. How many tokens one is depends on the provider: about so many.
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{2048,}")
_TOKENS_OF_AN_IMAGE = 1000
_LONG = 16 * 1024


class _Bounds(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


class Size(msgspec.Struct, frozen=True):
    """How large a call is, about."""

    prompt: int
    """Tokens of the prompt."""
    at_most: int | None
    """Tokens that the answer may have; None where the request does not say."""


def size_of(request: Request) -> Size:
    """The size of a call by a look at its body. Linear in the body."""
    body = request.body
    characters, images = len(body), 0
    if characters > _LONG:
        for found in _ENCODED.finditer(body):
            characters -= found.end() - found.start()
            images += 1
    if request.wire == "embeddings":
        at_most: int | None = 0
    else:
        try:
            bounds = msgspec.json.decode(body, type=_Bounds)
            given = (bounds.max_completion_tokens, bounds.max_output_tokens, bounds.max_tokens)
            at_most = next((bound for bound in given if bound is not None and bound >= 0), None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            at_most = None  # an odd body, which is the provider's to judge
    return Size(characters // _BYTES_A_TOKEN + images * _TOKENS_OF_AN_IMAGE, at_most)


def wait_of(request: Request, max_wait: float, now: float) -> float:
    """Seconds that a call may wait for its turn: as long as a limit has it, or the request, and not past its deadline."""
    if request.asking is not None and request.asking.max_wait is not None:
        max_wait = request.asking.max_wait
    return max_wait if request.deadline is None else max(0.0, min(max_wait, request.deadline - now))


class RateLimitStage:
    """Makes calls wait until `limit` lets them, for at most `max_wait` seconds: then `LimitExceeded`.

    Every reply tells the limit what the provider says of it, and what the call came to. ``low`` requests are its background.
    `size` estimates a call's tokens (`size_of`).
    """

    __slots__ = ("_clock", "_max_wait", "_size", "limit")
    __name__ = "rate_limit"

    def __init__(
        self,
        limit: RateLimit,
        *,
        max_wait: float = 10.0,
        size: Callable[[Request], Size] = size_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self._max_wait, self._size, self._clock = max_wait, size, clock

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
        lease.sync({**reply.headers, "date": reply.date}, status=reply.status)
        if reply.status >= 400:
            lease.settle(0, final=False)  # a call that was refused counts as one, but its tokens do not
        else:
            at_end(reply, lambda summary, _error: _settle(lease, summary))
        return reply


def _settle(lease: Lease, summary: Summary | None) -> None:
    if summary is not None and (summary.prompt_tokens or summary.completion_tokens):
        lease.settle(summary.prompt_tokens + summary.completion_tokens)
