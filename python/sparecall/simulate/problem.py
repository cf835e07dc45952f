"""Requests that are answered with an error: what is wrong with them, in the words of OpenAI's error object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparecall.simulate.quota import Limit


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
        limit: Limit | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers, self.limit = status, headers or {}, limit
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}


def rate_limited(limit: Limit) -> Problem:
    """Return the reply to a request over the limit, with the time to wait in both of OpenAI's headers."""
    seconds = limit.reset_in
    return Problem(
        429,
        f"Rate limit reached for {limit.name} per minute (simulated). Please try again in {seconds:.3g}s.",
        kind=limit.name,
        code="rate_limit_exceeded",
        headers={"retry-after": str(max(1, math.ceil(seconds))), "retry-after-ms": str(math.ceil(seconds * 1000))},
        limit=limit,
    )


def server_error() -> Problem:
    """Return the reply of a provider that failed."""
    return Problem(500, "The server had an error while processing your request (simulated).", kind="server_error")


def overloaded() -> Problem:
    """Return the reply of a provider that has more work than it can do."""
    return Problem(503, "The engine is currently overloaded, please try again later (simulated).", kind="server_error")
