"""Stage `hedge`: a second call, to another upstream, where the first is late to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.pipeline.endpoint import asking_of
from sparecall.pipeline.outcome import ONCE, FailedReply, answered
from sparecall.pipeline.size import known_size

if TYPE_CHECKING:
    from sparecall.flow import Hedge
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class HedgeStage:
    """Calls twice what is late, as `hedge` has it; whichever answers first, of a stream with its first event, is the answer, and the other is ended.

    The second goes to another endpoint than the first, where there is one. Calls that change a state of the provider's are made once.
    """

    __slots__ = ("hedge",)
    __name__ = "hedge"

    def __init__(self, hedge: Hedge) -> None:
        self.hedge = hedge

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on, once or twice."""
        if request.cache_control.only_if_cached:
            return await next(request)
        asking = asking_of(request)
        first = msgspec.structs.replace(request, asking=asking)

        def second() -> Request:
            other = msgspec.structs.replace(asking, avoid=asking.at, at="")
            return msgspec.structs.replace(request, asking=other)

        try:
            return await self.hedge.run(
                lambda: answered(next(first)),
                second=lambda: answered(next(second())),
                idempotent=request.bypass not in ONCE,
                route=asking.model,
                tokens=known_size(first).prompt,
            )
        except FailedReply as failed:
            return failed.reply
