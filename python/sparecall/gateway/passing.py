"""Calls that the pipeline knows nothing of: sent on as they come, and their replies back, both ways a piece at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from sparecall.errors import UpstreamError
from sparecall.exchange import pass_on
from sparecall.gateway.respond import write_pieces
from sparecall.gateway.shutdown import stopping
from sparecall.pipeline.upstream import SOCKET_ERRORS, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.gateway.body import Upload
    from sparecall.pipeline import Pipeline, Request, Upstream

log = logging.getLogger("sparecall.gateway")
# Ends a stream of a wire that is only passed on; the SDKs raise for it.
ERROR_EVENT = b"event: error\ndata: %b\n\n"


async def pass_through(
    http: web.Request,
    pipeline: Pipeline,
    upstream: Upstream,
    request: Request,
    upload: Upload | None,
    *,
    answered: Callable[[int], None],
    is_stopping: Callable[[], bool],
) -> web.StreamResponse:
    """Sends the call to `upstream`, its body from the request or from `upload`, and streams back what comes.

    `answered` is told the status of the reply. A stream that is cancelled when the gateway `is_stopping` ends with an error.
    """
    route = http.match_info.route.resource
    assert route is not None  # noqa: S101 - for mypy; the application adds it with one
    prefix = route.canonical.removesuffix("/{path}")  # "/v1", below where the application is mounted
    query, length = http.rel_url.raw_query_string, None if upload is None else upload.length
    try:
        answer, headers = await pass_on(
            pipeline,
            upstream,
            request,
            http.method,
            http.rel_url.raw_path,
            prefix=prefix,
            query=query,
            upload=upload,
            length=length,
        )
    except UpstreamError:
        if upload is not None and upload.failure is not None:
            raise upload.failure from None
        raise
    try:
        response = web.StreamResponse(status=answer.status, headers=headers)
        answered(answer.status)
        await response.prepare(http)
        try:
            while data := await _next_piece(answer, http, upstream.url):
                await write_pieces(response, data)
        except asyncio.CancelledError:
            if not is_stopping() or not headers["content-type"].startswith("text/event-stream"):
                raise
            await response.write(ERROR_EVENT % stopping().body())
        await response.write_eof()
        return response
    finally:
        answer.close()


async def _next_piece(answer: aiohttp.ClientResponse, http: web.Request, url: str) -> bytes:
    try:
        return await answer.content.readany()
    except SOCKET_ERRORS as error:
        # Too late for a status: the client sees a reply that is cut off, as the gateway did.
        log.warning("%s", failure(error, url))
        if http.transport is not None:
            http.transport.abort()
        raise ConnectionError("the provider broke off its answer") from None
