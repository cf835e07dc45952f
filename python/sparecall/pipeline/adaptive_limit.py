"""Stage `adaptive_limit`: how many calls an upstream gets at once, as configured or as learned from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sparecall.pipeline.outcome import at_end, begun, outcome_of_reply
from sparecall.pipeline.size import known_size, wait_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.flow import AdaptiveLimit, AdaptivePermit, Kind
    from sparecall.pipeline.answer import Summary
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request, Size
    from sparecall.pipeline.stage import Next

_LIGHT, _HEAVY = 1_000, 16_000  # tokens of prompt and answer: below the one, from the other on
_ANSWER = 500  # tokens, where the request does not bound it


def kind_of(request: Request) -> Kind:
    """The class of a call: by its priority, and of normal ones by its size."""
    if request.priority in ("critical", "high"):
        return "light"
    if request.priority == "low":
        return "heavy"
    size = known_size(request)
    tokens = size.prompt + (_ANSWER if size.at_most is None else min(size.at_most, _ANSWER))
    return "light" if tokens < _LIGHT else "standard" if tokens < _HEAVY else "heavy"


class AdaptiveLimitStage:
    """Makes calls wait for a place among those of `limit`, for at most `max_wait` seconds: then `LimitExceeded`.

    A place is held to the end of the answer, and given back by whoever leaves. The limit learns from each call's time and tokens.
    """

    __slots__ = ("_clock", "_max_wait", "_size", "limit")
    __name__ = "adaptive_limit"

    def __init__(
        self,
        limit: AdaptiveLimit,
        *,
        max_wait: float = 10.0,
        size: Callable[[Request], Size] = known_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self._max_wait, self._size, self._clock = max_wait, size, clock

    @property
    def gate(self) -> AdaptiveLimit:
        """What lets calls through."""
        return self.limit

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on in its turn."""
        asking = request.asking
        since = self._clock()
        permit = self.limit.acquire(
            kind_of(request),
            max_wait=wait_of(request, self._max_wait, since),
            prompt_tokens=self._size(request).prompt,
        )
        await permit.__aenter__()  # it is released by hand: a stream's place is held to its end
        try:
            if asking is not None:
                asking.waited += self._clock() - since
            reply = await begun(next(request))
        except BaseException as error:
            permit.release(error)
            raise
        if reply.stream is None:
            permit.report(outcome_of_reply(reply) if reply.status < 400 else reply.status)
        else:
            permit.answered()
        at_end(reply, lambda summary, error: _end(permit, summary, error))
        return reply


def _end(permit: AdaptivePermit, summary: Summary | None, error: BaseException | None) -> None:
    if summary is not None and (summary.completion_tokens or summary.prompt_tokens):
        # What the provider has in its own cache it need not read.
        permit.settle(summary.completion_tokens, prompt_tokens=max(0, summary.prompt_tokens - summary.cached_tokens))
    permit.release(error)
