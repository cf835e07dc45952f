"""Stage `breaker`: leaves an upstream alone that failed lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.pipeline.outcome import at_end, begun, leave, outcome_of_reply

if TYPE_CHECKING:
    from sparecall.flow import Breaker
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class BreakerStage:
    """Passes on what `breaker` lets through, and tells it how that went: a stream by its end, which is a failure where it breaks.

    Raises `BreakerOpen`. A caller who leaves says nothing of the upstream.
    """

    __slots__ = ("breaker",)
    __name__ = "breaker"

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker

    @property
    def gate(self) -> Breaker:
        """What lets calls through."""
        return self.breaker

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on, or refuses it."""
        permit = self.breaker.call()
        await permit.__aenter__()  # it is left by hand: the permit of a stream is held to its end
        try:
            reply = await begun(next(request))
        except BaseException as error:
            leave(permit, error)
            raise
        permit.answered()
        if reply.stream is None:
            permit.report(outcome_of_reply(reply))
        at_end(reply, lambda _summary, error: leave(permit, error))
        return reply
