"""What is said, and logged, about bytes that are no HTTP request: what is wrong, and nothing of what came.

aiohttp quotes the line it could not read, to the client and in the log, and that line may be the one with a key.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from sparecall.gateway.errors import Refusal

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
        response = Refusal(status, "This is no HTTP request that can be read.", code="bad_http").response()
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An `AppRunner` whose connections keep what they read to themselves."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
