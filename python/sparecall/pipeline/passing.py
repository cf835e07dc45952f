"""Calls that the pipeline does not read: what stands before their upstream and need not know what is sent stands before them too."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from sparecall.pipeline.breaker import BreakerStage
from sparecall.pipeline.outcome import by
from sparecall.pipeline.rate_limit import RateLimitStage
from sparecall.pipeline.reply import Reply
from sparecall.pipeline.request import Asking, Size
from sparecall.pipeline.route import RouteStage
from sparecall.pipeline.upstream import reply_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    import aiohttp

    from sparecall.pipeline import Pipeline
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next, Stage
    from sparecall.pipeline.upstream import Upstream

_UNREAD = b"{}"  # in place of a body that is passed on without a look


async def send(
    pipeline: Pipeline,
    upstream: Upstream,
    method: str,
    path: str,
    request: Request,
    body: bytes | AsyncIterable[bytes] | None,
    *,
    length: int | None = None,
) -> aiohttp.ClientResponse:
    """What `Upstream.send` does, past the upstream's breaker, and with POST within its limit of calls, by the request's deadline.

    Its tokens are not counted, nor does it take one of the places of calls at once: what it does, and for how long, is not known. Raises
    what the breaker and the limit do, and `DeadlineExceeded`.
    """
    response: aiohttp.ClientResponse | None = None

    async def sent(_request: Request) -> Reply:
        nonlocal response
        response = await upstream.send(method, path, request, body, length=length)
        headers, date = reply_headers(response.headers), response.headers.get("date", "")
        return Reply(
            status=response.status, hit="bypass", wire=request.wire, reason="wire", body=_UNREAD, headers=headers,
            date=date, served_by=upstream.url,
        )  # fmt: skip

    run: Next = sent
    for stage in reversed(_before(pipeline, upstream)):
        if isinstance(stage, BreakerStage) or (isinstance(stage, RateLimitStage) and method == "POST"):
            run = functools.partial(stage, next=run)
    asking = Asking("", "", size=Size(prompt=0, at_most=0))
    call = run(msgspec.structs.replace(request, asking=asking))
    try:
        await (call if request.deadline is None else by(request.deadline, call))
    except BaseException:
        if response is not None:
            response.close()
        raise
    assert response is not None  # noqa: S101 - a stage raises or passes on
    return response


def _before(pipeline: Pipeline, upstream: Upstream) -> tuple[Stage, ...]:
    """The stages of the endpoint that ends with `upstream`."""
    route = pipeline.stage(RouteStage)
    endpoints = () if route is None else route.endpoints
    return next((one.stages for one in endpoints if one.stages[-1] is upstream), ())
