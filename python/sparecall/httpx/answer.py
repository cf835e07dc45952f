"""A request of an HTTP client, answered by a pipeline on the running loop: what the gateway would answer, without its sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sparecall.errors import SparecallError
from sparecall.exchange import (
    Refusal,
    headers_of,
    key_of,
    live_of,
    pass_on,
    provider_of,
    refusal_of,
    request_of,
    whole_of,
    wire_of,
)
from sparecall.pipeline import Scope
from sparecall.pipeline.reply import no_call
from sparecall.pipeline.upstream import SOCKET_ERRORS, failure
from sparecall.pipeline.wire import CHAT, WIRES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import aiohttp

    from sparecall.pipeline import Pipeline, Request
    from sparecall.pipeline.wire import Wire

T = TypeVar("T")
_WIRES = {wire.path: wire for wire in WIRES.values()}


class OutOfPatience(Exception):
    """Nothing came for as long as the client would wait."""


class Outcome(NamedTuple):
    """What is answered: whole, or with a body that is still to come."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Live


class Live:
    """A body that is still to come, to be read by one reader and closed on the loop that it came from."""

    __slots__ = ("_chunks", "_close", "_first", "_patience")

    def __init__(self, chunks: AsyncIterator[bytes], close: Callable[[], object], *, patience: float | None) -> None:
        self._chunks = chunks
        self._close = close
        self._patience = patience
        self._first: bytes | None = None

    async def begun(self) -> Live:
        """The same, once its first chunk is here: what breaks before that can be an error reply. Patience is the caller's."""
        self._first = await self._next(None)
        return self

    async def read(self) -> bytes | None:
        """The next chunk, or None after the last one."""
        if self._first is not None:
            chunk, self._first = self._first, None
            return chunk
        return await self._next(self._patience)

    async def _next(self, patience: float | None) -> bytes | None:
        try:
            return await within(patience, anext(self._chunks, None))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leaves the call. May be called more than once."""
        self._close()


async def within(seconds: float | None, awaited: Awaitable[T]) -> T:
    """What is awaited, or `OutOfPatience`."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await awaited
    except TimeoutError:
        if limit.expired():
            raise OutOfPatience from None
        raise


async def answer(
    pipeline: Pipeline, method: str, target: str, headers: Mapping[str, str], body: bytes, *, patience: float | None
) -> Outcome:
    """Answers one request. `target` is its path with the query, `patience` the seconds of silence its client stands.

    An error of a stage that is none of `sparecall.errors` is raised as it is: here it meets nobody but its own process.
    """
    path = target.partition("?")[0]
    below = path[len(prefix_of(path)) :]
    wire = _WIRES.get(below) if method == "POST" else None
    try:
        return await within(patience, _answer(pipeline, wire, method, target, headers, body, patience))
    except Refusal as raised:
        refusal = raised
    except SparecallError as error:
        refusal = refusal_of(error)
    return Outcome(refusal.status, refusal.headers(), refusal.body(wire or wire_of(below)))


async def _answer(
    pipeline: Pipeline,
    wire: Wire | None,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    patience: float | None,
) -> Outcome:
    scope: Scope | None = pipeline.stage(Scope)
    request = request_of(
        headers,
        body,
        key=key_of(headers) or None,
        cache_control=headers.get("cache-control"),
        scoped=scope is not None and scope.scope is not None,
        wire=CHAT.name if wire is None else wire.name,
    )
    if headers.get("content-encoding", "identity") != "identity":
        raise Refusal(400, "The body is encoded; without a socket in between send it as it is.", code="invalid_body")
    path, _, query = target.partition("?")
    if wire is None:
        prefix = prefix_of(path)
        return await _pass_through(pipeline, request, method, path, prefix=prefix, query=query, patience=patience)
    reply = await pipeline(request)
    if reply.stream is None:
        return Outcome(reply.status, *whole_of(reply))
    live = Live(live_of(reply), reply.stream.close, patience=patience)
    return Outcome(200, headers_of(reply, "text/event-stream"), await live.begun())


async def _pass_through(
    pipeline: Pipeline, request: Request, method: str, path: str, *, prefix: str, query: str, patience: float | None
) -> Outcome:
    """Any other call, sent on unchanged."""
    below = path[len(prefix) :]
    if below in {"", "/"}:
        raise Refusal(404, "No such path here.", code="not_found")
    upstream = provider_of(pipeline, below)
    if request.cache_control.only_if_cached:
        reply = no_call("wire", wire_of(below).name)
        return Outcome(reply.status, *whole_of(reply))
    response, headers = await pass_on(pipeline, upstream, request, method, path, prefix=prefix, query=query)
    return Outcome(response.status, headers, Live(_content(response, upstream.url), response.close, patience=patience))


async def _content(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for data in response.content.iter_any():
            yield data
    except SOCKET_ERRORS as error:
        raise failure(error, url) from None


def prefix_of(path: str) -> str:
    """What of a path belongs to the client's base URL: all up to its first part `v1`, or nothing where it has no such part."""
    before, part, _ = f"{path}/".partition("/v1/")
    return f"{before}/v1" if part else ""
