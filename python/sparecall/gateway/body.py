"""What a client sends, read with a bound on its size and on the time it may take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from sparecall.exchange import Refusal

if TYPE_CHECKING:
    from aiohttp import StreamReader

# What the server's parser undoes, or refuses by itself where the library for it is missing.
CODINGS = frozenset({"identity", "gzip", "deflate", "br", "zstd"})
PROGRESS = 64 * 1024


async def read_whole(http: web.Request, *, limit: int, timeout: float) -> bytes:
    """The whole body, decompressed. Raises a 413 above `limit` bytes, a 408 when it takes longer than `timeout` seconds."""
    _check_coding(http)
    content = http.content
    if not content.is_eof():
        return await _arriving(http, limit, timeout)
    body = content.read_nowait() or await http.read()  # the latter where somebody around the application has read it
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _arriving(http: web.Request, limit: int, timeout: float) -> bytes:
    if http.content_length is not None and http.content_length > limit:
        raise _too_large(limit)
    content, body = http.content, bytearray()
    try:
        async with asyncio.timeout(timeout):
            while piece := await content.readany():
                body += piece
                if len(body) > limit:
                    if "content-encoding" in http.headers:
                        _hang_up(http)  # to undo what is left only to drop it is all that a bomb wants
                    raise _too_large(limit)
                await asyncio.sleep(0)  # what is compressed comes without a wait
    except TimeoutError:
        _hang_up(http)
        raise too_slow(timeout) from None
    return bytes(body)


class Upload:
    """A body on its way through, a piece at a time: no more is read than the other side takes.

    Every 64 KiB may take `timeout` seconds of waiting for the client. What the client did wrong stands in `failure`.
    """

    __slots__ = ("_content", "_http", "_since", "_timeout", "_waited", "failure", "length")

    def __init__(self, http: web.Request, *, timeout: float) -> None:
        _check_coding(http)
        self._http = http
        self._content: StreamReader = http.content
        self._timeout = timeout
        self._since = 0
        self._waited = 0.0
        self.failure: Exception | None = None
        self.length = None if "content-encoding" in http.headers else http.content_length
        """Bytes in all, where that is known."""

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        """The next piece. Raises what is also left in `failure`."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(self._timeout - self._waited):
                piece = await self._content.readany()
        except TimeoutError:
            _hang_up(self._http)
            self.failure = too_slow(self._timeout)
            raise self.failure from None
        except (web.RequestPayloadError, OSError) as error:
            self.failure = error
            raise
        if not piece:
            raise StopAsyncIteration
        self._waited += clock() - begun
        self._since += len(piece)
        if self._since >= PROGRESS:
            self._since, self._waited = 0, 0.0
        return piece


def _check_coding(http: web.Request) -> None:
    coding = http.headers.get("content-encoding")
    if coding is not None and coding.strip().lower() not in CODINGS:
        raise unreadable_coding()


def unreadable_coding() -> Refusal:
    """The refusal of a body that is compressed in a way that cannot be undone here."""
    message = "The Content-Encoding of this body cannot be undone here; send it as gzip, as deflate or as it is."
    return Refusal(415, message, code="unsupported_encoding")


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"The body is over {limit} bytes, the limit here.", code="too_large")


def too_slow(timeout: float) -> Refusal:
    """The refusal of a request that comes too slowly."""
    return Refusal(408, f"The request was not there within {timeout:g} seconds.", code="request_timeout")


def _hang_up(http: web.Request) -> None:
    """Read nothing more from this client once it has its reply."""
    http.protocol._lingering_time = 0.0
