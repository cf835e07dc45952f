"""One HTTP exchange around a call of the pipeline, without a server: what the gateway and the SDKs' transports have in common."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import time
from typing import TYPE_CHECKING

from sparecall import __version__
from sparecall.errors import (
    BreakerOpen,
    CannotFit,
    ConfigError,
    DeadlineExceeded,
    InvalidArgument,
    InvalidDocument,
    LimitExceeded,
    Overloaded,
    SparecallError,
    UnknownName,
    UpstreamError,
)
from sparecall.pipeline import CacheControl, Request, Upstream
from sparecall.pipeline.request import DEFAULT_CACHE_CONTROL
from sparecall.pipeline.upstream import reply_headers
from sparecall.pipeline.wire import CHAT, MESSAGES, WIRES, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    import aiohttp

    from sparecall.pipeline import Judged, Origin, Pipeline, Priority, Reply, Trimmed
    from sparecall.pipeline.request import WireName

LONGEST_DEADLINE = 86400
"""Seconds that `x-sparecall-deadline` may ask for."""
_PRIORITIES: dict[str, Priority] = {"critical": "critical", "high": "high", "normal": "normal", "low": "low"}
SERVER = f"sparecall/{__version__}"
PRIVATE = {"cache-control": "private, no-store"}
"""On every reply, whoever made it: nobody on the way may keep it."""
ERROR_HEADERS = {
    "content-type": "application/json",
    "server": SERVER,
    **PRIVATE,
    "x-sparecall-cache": "bypass",
}
_STORED = frozenset({"exact", "semantic"})
# A part of a path that a URL parser resolves away, spelled out or escaped.
_DOTS = re.compile(r"(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?=/|\\|%2f|%5c|\Z)", re.IGNORECASE)


class Refusal(Exception):
    """An error reply on its way out of a handler."""

    __slots__ = ("code", "kind", "message", "retry_after", "status")

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        kind: str = "invalid_request_error",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code)
        self.retry_after = retry_after
        self.status = status
        self.code = code
        self.kind = kind
        self.message = message

    def body(self, wire: Wire = CHAT) -> bytes:
        """The error object of the wire, so that SDKs raise their own types."""
        return wire.error(self.message, status=self.status, code=self.code, kind=self.kind)

    def headers(self) -> dict[str, str]:
        """The headers of the reply: when to come again, where that is known."""
        if self.retry_after is None:
            return ERROR_HEADERS
        milliseconds = math.ceil(max(0.0, self.retry_after) * 1000)
        seconds = str(max(1, math.ceil(milliseconds / 1000)))  # 0 would say at once
        return {**ERROR_HEADERS, "retry-after": seconds, "retry-after-ms": str(milliseconds)}


def refusal_of(error: SparecallError) -> Refusal:
    """The reply for an error of the pipeline."""
    match error:
        case InvalidDocument():
            return Refusal(400, f"The request body cannot be used: {error}.", code="invalid_body")
        case ConfigError():
            return Refusal(404, f"{str(error)[:1].upper()}{str(error)[1:]}.", code="not_found")
        case InvalidArgument():
            return Refusal(400, str(error), code="invalid_argument")
        case CannotFit():
            # The code that OpenAI has for it, so that clients know what to do.
            return Refusal(400, f"Sparecall: {error}.", code="context_length_exceeded")
        case UpstreamError():
            status = 504 if error.code == "timeout" else 502
            return Refusal(status, f"Upstream: {error}.", code=f"upstream_{error.code}", kind="upstream_error")
        case UnknownName():
            return Refusal(404, f"{str(error)[:1].upper()}{str(error)[1:]}.", code="model_not_found")
        case DeadlineExceeded():
            return Refusal(504, f"Sparecall: {error}.", code="deadline", kind="timeout_error")
        case LimitExceeded():
            return _shed(429, error, "limit_exceeded", "rate_limit_error", error.retry_after)
        case BreakerOpen():
            return _shed(503, error, "breaker_open", "overloaded_error", error.retry_after)
        case Overloaded():
            return _shed(503, error, "overloaded", "overloaded_error", error.retry_after)
        case _:
            return Refusal(500, "sparecall failed on this request.", code="internal_error", kind="server_error")


def _shed(status: int, error: SparecallError, code: str, kind: str, retry_after: float | None) -> Refusal:
    """The reply to a request that no call was made for."""
    return Refusal(status, f"Sparecall: {error}.", code=code, kind=kind, retry_after=retry_after)


def key_of(headers: Mapping[str, str]) -> str:
    """The key the client presents, as bearer token or in Anthropic's own header; empty where there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def request_of(
    headers: Mapping[str, str],
    body: bytes,
    *,
    key: str | None,
    cache_control: str | None,
    scoped: bool,
    wire: WireName = "chat",
) -> Request:
    """What the pipeline is asked. `cache_control` joins all headers of that name; `scoped`: a scope is configured."""
    # Only narrows: who says nothing of themselves cannot name a memory to share.
    known = key is not None or scoped
    return Request(
        body=body,
        wire=wire,
        key=key,
        scope=headers.get("x-sparecall-scope") if known else None,
        headers=headers,
        deadline=_deadline(headers.get("x-sparecall-deadline")),
        priority=_priority(headers.get("x-sparecall-priority")),
        cache_control=DEFAULT_CACHE_CONTROL if cache_control is None else CacheControl.parse(cache_control),
    )


def _deadline(header: str | None) -> float | None:
    """The time of `time.monotonic` at which the client gives up."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_DEADLINE:
        raise InvalidArgument(
            f"x-sparecall-deadline is no number of seconds from now on; allowed: above 0, up to {LONGEST_DEADLINE}"
        )
    return time.monotonic() + seconds


def _priority(header: str | None) -> Priority:
    if header is None:
        return "normal"
    priority = _PRIORITIES.get(header.strip().lower())
    if priority is None:
        raise InvalidArgument(f"x-sparecall-priority is none; allowed: {', '.join(_PRIORITIES)}")
    return priority


def headers_of(reply: Reply, content_type: str) -> dict[str, str]:
    """The headers of a reply: the provider's own from a closed list, and how the reply came to be."""
    headers = {
        "content-type": content_type,
        "server": SERVER,
        **PRIVATE,
        "x-sparecall-cache": reply.hit,
        "x-sparecall-micros": _micros(reply.trace),
        **reply.headers,
    }
    if reply.reason:
        headers["x-sparecall-reason"] = reply.reason
    counted = reply.summary
    if counted is not None and (counted.prompt_tokens or counted.completion_tokens):  # both 0: nobody counted
        headers["x-sparecall-tokens"] = f"input={counted.prompt_tokens}, output={counted.completion_tokens}"
    if reply.hit in _STORED:
        headers["age"] = str(int(reply.age))
    if reply.semantic is not None:
        headers |= _judged(reply.semantic)
    if reply.origin is not None:
        headers |= _made_by(reply.origin)
    if reply.optimized is not None:
        headers |= _trimmed(reply.optimized)
    return headers


def _trimmed(done: Trimmed) -> dict[str, str]:
    """What of the context went out; nothing where it went as it came, unless that was for want of a way."""
    if done.why:
        return {"x-sparecall-optimized": done.why}
    if done.before == done.after:
        return {}
    said = f"before={done.before}, after={done.after}"
    if done.lossless:
        return {"x-sparecall-optimized": said}
    return {"x-sparecall-optimized": f"{said}, lossy", "x-sparecall-removed": ", ".join(done.handles)}


def _made_by(origin: Origin) -> dict[str, str]:
    """Which of several upstreams answered, and why not another. What a client has named is repeated only where a header may hold it."""
    headers = {"x-sparecall-served-by": origin.upstream}
    if origin.substitute:
        headers["x-sparecall-model"] = origin.model
    if origin.passed:
        headers["x-sparecall-passed"] = ", ".join([f"{one.endpoint}={one.reason}" for one in origin.passed])
    return headers


def _judged(judged: Judged) -> dict[str, str]:
    """What the semantic cache says of a reply."""
    headers = {"x-sparecall-why": judged.why}
    if judged.id:
        headers["x-sparecall-semantic-id"] = judged.id
    if judged.similarity is not None:
        headers["x-sparecall-similarity"] = f"{judged.similarity:.4f}"
    if judged.probability is not None:
        headers["x-sparecall-probability"] = f"{judged.probability:.4f}"
    if judged.max_error is not None:
        headers["x-sparecall-max-error"] = f"{judged.max_error:g}"
    return headers


def _micros(trace: Mapping[str, int]) -> str:
    """`Reply.micros` as text, without the dict: every hit pays for this."""
    stages = itertools.pairwise(trace.items())
    return ", ".join([f"{name}={(until - since) // 1000}" for (name, since), (_, until) in stages])


def whole_of(reply: Reply) -> tuple[dict[str, str], bytes]:
    """Headers and body of a reply that is not live, in the form the client asked for: an answer as a stream where it wants one."""
    asked = reply.inspection
    body = reply.body or b""
    if asked is not None and asked.stream and reply.status == 200 and reply.summary is not None:
        wire = WIRES[reply.wire]
        framed = wire.frame(wire.render(body, include_usage=asked.include_usage)) + wire.end
        return headers_of(reply, "text/event-stream"), framed
    return headers_of(reply, "application/json"), body


async def live_of(reply: Reply) -> AsyncIterator[bytes]:
    """The bytes of a live stream as they come; the first may be empty, and says that the stream has begun.

    One that breaks before it raises `UpstreamError`; one that breaks later ends with an error event, never in order.
    """
    assert reply.stream is not None  # noqa: S101 - for mypy; the caller has checked
    begun = False
    wire = WIRES[reply.wire]
    include_usage = reply.inspection is not None and reply.inspection.include_usage
    try:
        async for events in reply.events(include_usage=include_usage):
            begun = True
            yield wire.frame(events)
        ending = wire.end
    except UpstreamError as error:
        if not begun:
            raise
        ending = wire.frame(
            [wire.error_event(f"Upstream: {error}.", code=f"upstream_{error.code}", kind="upstream_error")]
        )
    finally:
        reply.stream.close()
    yield ending


def wire_of(path: str) -> Wire:
    """Whose provider and whose errors belong to a call that is only passed on: what stands below Anthropic's wire is Anthropic's."""
    return MESSAGES if path.lstrip("/").startswith("messages/") else CHAT


def provider_of(pipeline: Pipeline, path: str) -> Upstream:
    """Who gets a call that is only passed on. Raises a 404 where there is none."""
    wire = wire_of(path)
    for stage in pipeline.upstreams:
        if wire.name in stage.wires:
            return stage
    raise Refusal(404, "There is no provider for this path here.", code="not_found")


async def pass_on(
    upstream: Upstream,
    request: Request,
    method: str,
    path: str,
    *,
    prefix: str,
    query: str,
    upload: AsyncIterable[bytes] | None = None,
    length: int | None = None,
) -> tuple[aiohttp.ClientResponse, dict[str, str]]:
    """Sends a call that the pipeline knows nothing of, to what follows `prefix` in its path: the response, to be closed, and its headers.

    The body is that of the request, or comes from `upload`, of `length` bytes where that is known.
    """
    below = path.removeprefix(prefix)
    if not path.startswith(prefix) or _DOTS.search(below):
        # Would reach paths of the provider outside its base URL, with a key of ours.
        raise Refusal(404, "A path with . or .. as a part, or an escaped prefix, is not passed on.", code="not_found")
    body = upload if upload is not None else request.body or None
    answer = await upstream.send(method, below + (f"?{query}" if query else ""), request, body, length=length)
    return answer, {
        "content-type": answer.headers.get("content-type", "application/json"),
        **reply_headers(answer.headers),
        "server": SERVER,
        **PRIVATE,
        "x-sparecall-cache": "bypass",
        "x-sparecall-reason": "wire",
    }


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where there is one, else asyncio's own."""
    try:
        import uvloop  # absent on some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
