"""A `Reply` becomes an HTTP response: whole, or as server-sent events."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from aiohttp import web

from sparecall import __version__
from sparecall.errors import UpstreamError
from sparecall.gateway.errors import PRIVATE, error_body
from sparecall.pipeline import chat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparecall.pipeline import Reply

    Ok = Callable[[web.Request, Mapping[str, str], bytes], web.StreamResponse]

PIECE = 64 * 1024
"""What is larger is written in pieces of this size, each once the client has read most of the one before."""
DONE = b"data: [DONE]\n\n"
SERVER = f"sparecall/{__version__}"


def _headers(reply: Reply, content_type: str) -> dict[str, str]:
    headers = {
        "content-type": content_type,
        "server": SERVER,
        **PRIVATE,
        "x-sparecall-cache": reply.hit,
        "x-sparecall-micros": ", ".join([f"{name}={micros}" for name, micros in reply.micros.items()]),
        **reply.headers,
    }
    if reply.reason:
        headers["x-sparecall-reason"] = reply.reason
    if reply.hit == "exact":
        headers["age"] = str(int(reply.age))
    return headers


def _frame(events: list[bytes]) -> bytes:
    return b"".join([b"data: %b\n\n" % event for event in events])


def plain(_http: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """A 200 with these headers and this body, which whoever stands around the application may look at and change."""
    return web.Response(body=body, headers=headers)


async def respond(http: web.Request, reply: Reply, *, ok: Ok = plain) -> web.StreamResponse:
    """Sends the reply in the form the client asked for; `ok` makes the response of a whole answer."""
    asked = reply.inspection
    if reply.stream is None:
        body = reply.body or b""
        if asked is not None and asked.stream and reply.status == 200 and reply.summary is not None:
            framed = _frame(chat.render(body, include_usage=asked.include_usage)) + DONE
            headers, body = _headers(reply, "text/event-stream"), framed
        else:
            headers = _headers(reply, "application/json")
        if reply.status == 200 and len(body) <= PIECE:
            return ok(http, headers, body)
        return web.Response(status=reply.status, body=io.BytesIO(body), headers=headers)
    return await _stream(http, reply, include_usage=asked is not None and asked.include_usage)


async def write_pieces(response: web.StreamResponse, data: bytes) -> None:
    """Writes data of any size, no more of it at a time than may wait in a socket."""
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        await response.write(view[start : start + PIECE])


async def _stream(http: web.Request, reply: Reply, *, include_usage: bool) -> web.StreamResponse:
    """Sends a live stream. One that breaks before its first event is an error reply, later an error event, never `[DONE]`."""
    assert reply.stream is not None  # noqa: S101 - for mypy; the caller has checked
    response = web.StreamResponse(headers=_headers(reply, "text/event-stream"))
    try:
        async for events in reply.events(include_usage=include_usage):
            if not response.prepared:
                await response.prepare(http)
            if events:
                await write_pieces(response, _frame(events))
        ending = DONE
    except UpstreamError as error:
        if not response.prepared:
            raise
        ending = _frame([error_body(f"Upstream: {error}.", code=f"upstream_{error.code}", kind="upstream_error")])
    finally:
        reply.stream.close()
    if not response.prepared:
        await response.prepare(http)
    await response.write(ending)
    await response.write_eof()
    return response
