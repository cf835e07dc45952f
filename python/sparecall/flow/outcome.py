"""What an ended call says of the endpoint it went to: it answered, it failed, it wants less of us, or it has no part in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from sparecall.errors import (
    BreakerOpen,
    CallTimeout,
    EmbedderError,
    LimitExceeded,
    NoEndpoint,
    Overloaded,
    StoreUnavailable,
    UpstreamError,
)
from sparecall.flow.headers import read

Outcome = Literal["success", "failure", "limited", "ignored"]
"""``success`` it answered; ``failure`` it did not, as it should; ``limited`` it, or a limit before it, wants the caller to wait;
``ignored`` the call says nothing of it, as after a cancellation or the caller's own mistake."""

OUTCOMES: frozenset[str] = frozenset({"success", "failure", "limited", "ignored"})
# A bug in the caller's code is no reason to leave an endpoint alone.
_MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, BufferError, ImportError, LookupError, MemoryError, NameError,
    NotImplementedError, RecursionError, TypeError, ValueError, Warning,
)  # fmt: skip


def outcome_of_status(status: int) -> Outcome:
    """The outcome of a reply with this HTTP status: 408 and 5xx ``failure``, 429 ``limited``, other 4xx ``ignored``."""
    if status < 400:
        return "success"
    if status == 429:
        return "limited"
    return "failure" if status == 408 or status >= 500 else "ignored"


def outcome_of(error: BaseException | None) -> Outcome:
    """The outcome of a call that ended with `error`, or well with None.

    An error that carries an HTTP status is judged by it: ``status_code`` (the OpenAI and Anthropic SDKs), ``status``
    (aiohttp) or ``response.status_code`` (httpx). Else a timeout, a connection's failure and any exception of a library's own kind are a
    ``failure``; Python's own kinds for mistakes, such as ``TypeError`` and ``KeyError``, and all that is no ``Exception``,
    such as a cancellation, are ``ignored``.
    """
    if error is None:
        return "success"
    if not isinstance(error, Exception):
        return "ignored"
    if isinstance(error, BreakerOpen | LimitExceeded | NoEndpoint | Overloaded):
        return "ignored" if error.retry_after is None else "limited"
    if isinstance(error, CallTimeout) and error.code == "deadline":
        return "ignored"  # another endpoint would have had as little time
    status = status_of(error)
    if status is not None:
        found = outcome_of_status(status)
        # An exception is no success, whatever status it carries: a body that cannot be read comes with a 200.
        return "failure" if found == "success" else found
    if isinstance(error, OSError | UpstreamError | EmbedderError | StoreUnavailable):  # TimeoutError is an OSError
        return "failure"
    return "ignored" if isinstance(error, _MISTAKES) else "failure"


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of an SDK or HTTP client carries, or None."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            value: Any = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
                return value
    return None


def retry_after_of(error: BaseException, *, wall: float) -> float | None:
    """The seconds that `error` asks to wait: its ``retry_after``, or its reply's header of that name. `wall`: Unix seconds, for dates."""
    seconds = getattr(error, "retry_after", None)
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < math.inf:
        return float(seconds)
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None)
        if isinstance(headers, Mapping):
            found = read(headers, wall=wall).retry_after
            if found is not None:
                return found
    return None
