"""OpenAI's error object and the replies that carry it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from aiohttp import web


class Problem(Exception):
    """A request that is answered with an error object instead of what it asked for."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}

    def body(self) -> bytes:
        """Return the error object as the JSON that is sent."""
        return msgspec.json.encode({"error": self.error})

    def response(self) -> web.Response:
        """Return the HTTP reply."""
        return web.Response(status=self.status, body=self.body(), headers=self.headers, content_type="application/json")


def rate_limited(what: str, seconds: float) -> Problem:
    """Return the reply to a request over the limit, with the time to wait in both of OpenAI's headers."""
    return Problem(
        429,
        f"Rate limit reached for {what} per minute (simulated). Please try again in {seconds:.3g}s.",
        kind=what,
        code="rate_limit_exceeded",
        headers={"retry-after": str(max(1, math.ceil(seconds))), "retry-after-ms": str(math.ceil(seconds * 1000))},
    )


def server_error() -> Problem:
    """Return the reply of a provider that failed."""
    return Problem(500, "The server had an error while processing your request (simulated).", kind="server_error")


def overloaded() -> Problem:
    """Return the reply of a provider that has more work than it can do."""
    return Problem(503, "The engine is currently overloaded, please try again later (simulated).", kind="server_error")
