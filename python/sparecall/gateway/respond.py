"""A `Reply` becomes an HTTP response: whole, or as server-sent events."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from aiohttp import web

from sparecall.exchange import headers_of, live_of, whole_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparecall.pipeline import Reply

    Ok = Callable[[web.Request, Mapping[str, str], bytes], web.StreamResponse]


PIECE = 64 * 1024
"""What is larger is written in pieces of this size, each once the client has read most of the one before."""


def plain(_http: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """A 200 with these headers and this body, which whoever stands around the application may look at and change."""
    return web.Response(body=body, headers=headers)


async def respond(http: web.Request, reply: Reply, *, ok: Ok = plain) -> web.StreamResponse:
    """Sends the reply in the form the client asked for; `ok` makes the response of a whole answer."""
    if reply.stream is not None:
        return await _stream(http, reply)
    headers, body = whole_of(reply)
    if reply.status == 200 and len(body) <= PIECE:
        return ok(http, headers, body)
    return web.Response(status=reply.status, body=io.BytesIO(body), headers=headers)


async def write_pieces(response: web.StreamResponse, data: bytes) -> None:
    """Writes data of any size, no more of it at a time than may wait in a socket."""
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        await response.write(view[start : start + PIECE])


async def _stream(http: web.Request, reply: Reply) -> web.StreamResponse:
    """Sends a live stream, its head with the first event: where it breaks before that, an error reply is still possible."""
    assert reply.stream is not None  # noqa: S101 - for mypy; the caller has checked
    response = web.StreamResponse(headers=headers_of(reply, "text/event-stream"))
    try:
        async for data in live_of(reply):
            if not response.prepared:
                await response.prepare(http)
            await write_pieces(response, data)
    finally:
        reply.stream.close()
    await response.write_eof()
    return response
