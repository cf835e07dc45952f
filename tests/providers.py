"""Providers on loopback sockets, for the tests of the upstream stage: real ones by aiohttp, odd ones by their bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

import sparecall
from sparecall.pipeline import Digest, Pipeline, Upstream, chat
from stages import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

EVENTS = chat.render(completion(), include_usage=True)
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def framed(*events: bytes) -> bytes:
    return b"".join(b"data: " + event + b"\n\n" for event in events)


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    async def entry(http: web.Request) -> web.StreamResponse:
        return await handler(http)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", entry)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(answer: bytes, *, held: bool = False, reset: bool = False) -> AsyncIterator[str]:
    """A server that answers every request with the same bytes and then closes, resets, or holds the connection."""
    connections: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if held:
                await asyncio.Event().wait()
            if reset:
                await asyncio.sleep(0.01)
                writer.transport.abort()
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def calling(url: str, *, max_reply_bytes: int = 1 << 20, **upstream: Any) -> AsyncIterator[Pipeline]:
    config = sparecall.config.load({"upstream": {"url": url, **upstream}})
    stage = Upstream(config.upstream, max_reply_bytes=max_reply_bytes)
    async with Pipeline([Digest(), stage]) as pipeline, asyncio.timeout(20):
        yield pipeline


class Recorder:
    """Keeps what came in, and answers."""

    def __init__(self, status: int = 200, body: bytes | None = None, **headers: str) -> None:
        self.status = status
        self.body = completion() if body is None else body
        self.headers = {
            "content-type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        self.seen: list[web.BaseRequest] = []
        self.bodies: list[Any] = []

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        self.seen.append(http)
        body = await http.read()
        self.bodies.append(msgspec.json.decode(body) if body else None)
        return web.Response(status=self.status, body=self.body, headers=self.headers)


async def sse(http: web.Request, *pieces: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", "x-request-id": "r-1"})
    await response.prepare(http)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response
