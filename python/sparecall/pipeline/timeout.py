"""Stage `timeout`: ends calls that take much longer than such calls do, by their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.errors import CallTimeout, UpstreamError
from sparecall.pipeline.outcome import begun
from sparecall.pipeline.size import known_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sparecall.flow import Timeout
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class TimeoutStage:
    """Gives each call the time that `timeout` has learned: a whole answer by what answers of its model came to and its prompt, a stream to its first event by its prompt.

    A call that is ended is an `UpstreamError`, code ``timeout``.
    """

    __slots__ = ("timeout",)
    __name__ = "timeout"

    def __init__(self, timeout: Timeout) -> None:
        self.timeout = timeout

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on."""
        route = request.wire if request.asking is None else request.asking.model
        streamed = request.inspection is not None and request.inspection.stream
        try:
            if streamed:
                return await self._stream(request, next, route)
            return await self.timeout.run(
                lambda: begun(next(request)),
                route=route,
                prompt_tokens=known_size(request).prompt,
                used=lambda reply: None if reply.summary is None else reply.summary.completion_tokens,
            )
        except CallTimeout as error:
            raise UpstreamError(f"the upstream took too long: {error}", code="timeout") from None

    async def _stream(self, request: Request, below: Next, route: str) -> Reply:
        async def first() -> AsyncIterator[Reply]:
            yield await begun(below(request))

        timed = self.timeout.stream(first, route=route, prompt_tokens=known_size(request).prompt)
        try:
            return await anext(timed)
        finally:
            await timed.aclose()
