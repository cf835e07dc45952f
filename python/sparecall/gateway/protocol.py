"""The server around the gateway's application: a short way to its busiest route, and few words about what is no HTTP.

aiohttp quotes the line it could not read, to the client and in the log, and that line may be the one with a key.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sparecall.exchange import Refusal
from sparecall.gateway.errors import response_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("sparecall.gateway")


class _Handler(web.RequestHandler):
    __slots__ = ()

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
        log.warning("answered %d to what could not be read: %s", status, type(exc).__name__)
        response = response_of(Refusal(status, "This is no HTTP request that can be read.", code="bad_http"))
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An `AppRunner` whose connections keep what they read to themselves.

    A POST to exactly `path` goes to `handler` at once: resolving a route costs more than answering from memory. Such a
    request has no `match_info`. The application, which must have no middlewares, sees all others.
    """

    def __init__(self, app: web.Application, *, path: str, handler: Handler, **options: Any) -> None:
        super().__init__(app, **options)
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
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
