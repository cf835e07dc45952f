"""The server around the gateway's application: a short way to its busiest route, and few words about what is no HTTP.

aiohttp quotes the line it could not read, to the client and in the log, and that line may be the one with a key.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import ContentEncodingError

from sparecall.exchange import ERROR_HEADERS, Refusal
from sparecall.gateway.body import too_slow, unreadable_coding
from sparecall.gateway.errors import response_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("sparecall.gateway")


class _Handler(web.RequestHandler):
    __slots__ = ("_head_timeout", "_head_timer")

    def __init__(self, manager: web.Server, *, head_timeout: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_timeout = head_timeout
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # a request has begun and its head is not there
            if self._head_timer is None and data:
                self._head_timer = self._loop.call_later(self._head_timeout, self._give_up)
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._current_request is not None and self._messages:
            last, content = self._messages[-1][0], self._current_request.content
            if not (isinstance(last, RawRequestMessage) or content.is_eof()):
                # aiohttp tells nobody who waits for the rest of a body that it cannot be read.
                content.set_exception(web.RequestPayloadError())

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        """Answers a client that sends a head byte by byte, so as to hold the connection, and closes it."""
        if self.transport is not None:
            refusal = too_slow(self._head_timeout)
            fields = "".join([f"{name}: {value}\r\n" for name, value in ERROR_HEADERS.items()])
            body = refusal.body()
            head = f"HTTP/1.1 408 Request Timeout\r\n{fields}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.force_close()

    def log_exception(self, *args: Any, **options: Any) -> None:
        error = options.get("exc_info")
        log.warning("a connection ended with %s", type(error).__name__)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("part of a reply was sent already")
        if isinstance(exc, ContentEncodingError):
            refusal = unreadable_coding()
        else:
            refusal = Refusal(status, "This is no HTTP request that can be read.", code="bad_http")
        log.warning("answered %d to what could not be read: %s", refusal.status, type(exc).__name__)
        response = response_of(refusal)
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, handler: Handler, *, head_timeout: float, **options: Any) -> None:
        super().__init__(handler, **options)  # type: ignore[arg-type]  # requests are made by the application's factory
        self._head_timeout = head_timeout

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, head_timeout=self._head_timeout, **self._kwargs)


class Runner(web.AppRunner):
    """An `AppRunner` whose connections keep what they read to themselves.

    A POST to exactly `path` goes to `handler` at once: resolving a route costs more than answering from memory. Such a
    request has no `match_info`. The application, which must have no middlewares, sees all others. The head of a request may
    take `head_timeout` seconds from its first byte on.
    """

    def __init__(
        self, app: web.Application, *, path: str, handler: Handler, head_timeout: float, **options: Any
    ) -> None:
        super().__init__(app, **options)
        self._head_timeout = head_timeout
        self._path = path
        self._handler = handler

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        path, handler, usual = self._path, self._handler, made.request_handler

        async def handle(http: web.BaseRequest) -> web.StreamResponse:
            short = http.raw_path == path and http.method == "POST" and "expect" not in http.headers
            return await (handler if short else usual)(http)  # type: ignore[arg-type]  # made by the application's factory

        return _Server(
            handle,
            head_timeout=self._head_timeout,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
