"""Stage `upstream`: the call to the provider, over one keep-alive aiohttp session. The only stage with sockets."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import urllib.request
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp

from sparecall import __version__, sse
from sparecall.errors import InvalidArgument, InvalidDocument, UpstreamError
from sparecall.pipeline import connector
from sparecall.pipeline.answer import NO_ENDING
from sparecall.pipeline.connector import Connector
from sparecall.pipeline.log import ReplyLog
from sparecall.pipeline.outcome import ONCE, begun
from sparecall.pipeline.reply import Reply, no_call
from sparecall.pipeline.wire import WIRES, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Collection, Mapping
    from types import TracebackType

    from sparecall.config import Upstream as UpstreamConfig
    from sparecall.pipeline.answer import Ending
    from sparecall.pipeline.reply import Hit
    from sparecall.pipeline.request import Request, WireName
    from sparecall.pipeline.stage import Next

# Both directions are closed lists: what is not named here does not cross.
REQUEST_HEADERS: frozenset[str] = frozenset({
    "accept", "accept-language", "content-type", "anthropic-beta", "anthropic-version", "idempotency-key", "openai-beta", "openai-organization",
    "openai-project", "traceparent", "tracestate", "user-agent", "x-client-request-id",
    "x-simulate-fault",
})  # fmt: skip
REPLY_HEADERS = frozenset({"anthropic-organization-id", "openai-model", "openai-organization", "openai-processing-ms", "openai-version", "retry-after",
                           "request-id", "retry-after-ms", "x-request-id", "x-should-retry"})  # fmt: skip
REPLY_HEADER_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-", "x-simulate", "x-sparecall-simulated")
MAX_WHOLE_BYTES = 256 * 1024 * 1024
"""The largest reply that is read whole, inflated; more where `max_reply_bytes` is. 2,048 embeddings of 3,072 numbers come to 190 MB where each has a line of its own."""
# To put so many bytes together takes 0.1 ms, and from here on Python does it without holding the other threads up.
_INLINE_BYTES = 1024 * 1024
# The second is what a damaged gzip body raises.
SOCKET_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, TimeoutError, OSError)


class Upstream:
    """Sends requests of its `wires` to `config.url` and returns what comes, complete or as a stream.

    An answer of any status is a `Reply`. No answer is an `UpstreamError`: ``unreachable``, ``timeout`` or ``broken``. A call on a connection that
    had been idle, and that ends without a byte of a reply, met a provider that was closing it: it is sent once more on a new one, unless the provider
    keeps a state that it changes.
    """

    __slots__ = ("_config", "_key", "_max_reply_bytes", "_pumps", "_session", "_warming", "url", "wires")

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        wires: Collection[WireName] = ("chat", "responses", "embeddings"),
        max_reply_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.wires = frozenset(wires)
        self._config = config
        self._key = config.key()
        self._max_reply_bytes = max_reply_bytes
        self._pumps: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._warming: asyncio.Task[int] | None = None
        self.url = config.url.rstrip("/")

    def __repr__(self) -> str:
        return f"<Upstream {self.url}>"

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=self._config.total_timeout,
            sock_connect=self._config.connect_timeout,
            sock_read=self._config.read_timeout,
        )
        connections = Connector(limit=self._config.connections)
        proxy = _proxy_for(self.url)
        self._session = aiohttp.ClientSession(
            connector=connections,
            timeout=timeout,
            proxy=proxy,
            headers={"user-agent": f"sparecall/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        if self._config.warm and proxy is None:  # a proxy's connections are its own affair
            warming = connections.warm(self.url, self._config.warm, self._session, timeout=self._config.connect_timeout)
            self._warming = asyncio.get_running_loop().create_task(warming, name="sparecall warming")
        return self

    async def warmed(self) -> int:
        """Waits for the connections that are made at the start; returns how many there are."""
        return 0 if self._warming is None else await asyncio.shield(self._warming)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        tasks: list[asyncio.Task[Any]] = [*self._pumps]
        if self._warming is not None:
            self._warming.cancel()
            tasks.append(self._warming)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def stop(self) -> None:
        """Ends every stream that runs: its readers get an error."""
        for pump in self._pumps:
            pump.cancel()

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Makes the call, unless the client forbids one."""
        if request.cache_control.only_if_cached:  # no cache stands above that could have said so
            return no_call(request.bypass or "absent", request.wire)
        limit = self._config.first_byte_timeout
        if limit is None or request.inspection is None or not request.inspection.stream:
            return await self._call(request)
        try:
            async with asyncio.timeout(limit) as timer:
                return await begun(self._call(request))
        except TimeoutError:
            if not timer.expired():
                raise
            raise UpstreamError(
                f"{self.url} began no stream within {limit:g} s; raise its first_byte_timeout or call again",
                code="timeout",
            ) from None

    async def _call(self, request: Request) -> Reply:
        wire = WIRES[request.wire]
        stream = request.inspection is not None and request.inspection.stream
        body = request.body
        if stream and request.inspection is not None and not request.inspection.include_usage:
            body = wire.prepared(body)
        response = await self._sent(wire, request, body)
        hit: Hit = "bypass" if request.bypass else "miss"
        headers = reply_headers(response.headers)
        date = response.headers.get("date", "")
        if stream and response.status == 200 and response.content_type == "text/event-stream":
            headers.pop("content-type", None)
            log = self._follow(response, wire)
            return Reply(
                status=200,
                hit=hit,
                wire=wire.name,
                reason=request.bypass,
                stream=log.reader(),
                headers=headers,
                date=date,
                served_by=self.url,
            )
        try:
            content = await self._whole(response)
        except SOCKET_ERRORS as error:
            raise failure(error, self.url) from None
        finally:
            response.close()  # one that was read to its end has given its connection back already
        return Reply(
            status=response.status,
            hit=hit,
            wire=wire.name,
            reason=request.bypass,
            body=content,
            summary=wire.summarise(content) if response.status == 200 else None,
            headers=headers,
            date=date,
            served_by=self.url,
        )

    async def _sent(self, wire: Wire, request: Request, body: bytes) -> aiohttp.ClientResponse:
        """The response to a call; once more on a new connection where the provider was about to close the first."""
        try:
            return await self._request("POST", wire.path, request, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # Part of a reply's head, or no connection at all: neither is a connection that was closed while it was idle.
            answered = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
            made = isinstance(error, aiohttp.ClientConnectorError)
            if answered or made or request.bypass in ONCE or Connector.idle() < connector.STALE_AFTER:
                raise failure(error, self.url) from None
        except SOCKET_ERRORS as error:
            raise failure(error, self.url) from None
        with Connector.fresh():
            return await self.send("POST", wire.path, request, body)

    async def send(
        self,
        method: str,
        path: str,
        request: Request,
        body: bytes | AsyncIterable[bytes] | None,
        *,
        length: int | None = None,
    ) -> aiohttp.ClientResponse:
        """Sends one call and returns its response with the body not read yet. Follows no redirect.

        A body that comes in pieces goes out as it comes; `length` says how many bytes there will be, if known.
        """
        try:
            return await self._request(method, path, request, body, length=length)
        except SOCKET_ERRORS as error:
            raise failure(error, self.url) from None

    async def _request(
        self,
        method: str,
        path: str,
        request: Request,
        body: bytes | AsyncIterable[bytes] | None,
        *,
        length: int | None = None,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the pipeline is not open: use `async with`")
        # In lower case, or a client's Content-Type would go out beside our own.
        kept_back = _of_this_connection(request.headers)
        allowed = REQUEST_HEADERS - kept_back if kept_back else REQUEST_HEADERS
        headers = {name.lower(): value for name, value in request.headers.items() if name.lower() in allowed}
        if body is not None:
            headers.setdefault("content-type", "application/json")
        if length is not None:
            headers["content-length"] = str(length)
        key = request.key if self._key is None and self._config.client_key is not False else self._key
        if key is not None:
            # Anthropic's own keys go by this name; a client's token goes by the one it came by.
            own = "messages" in self.wires and (self._key is not None or "x-api-key" in request.headers)
            headers["x-api-key" if own else "authorization"] = key if own else f"Bearer {key}"
        try:
            return await self._session.request(
                method, self.url + path, data=body, headers=headers, allow_redirects=False
            )
        except SOCKET_ERRORS:  # some of which are values' errors, too
            raise
        except ValueError:
            raise InvalidArgument(
                "the key or a header holds a character that no header may hold, such as a line end"
            ) from None

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, inflated. Raises `UpstreamError` where it is over the limit, which is found out before it is held."""
        plain = "content-encoding" not in response.headers
        announced = response.content_length
        if plain and announced is not None and announced <= _INLINE_BYTES:
            return await response.read()
        limit = max(self._max_reply_bytes, MAX_WHOLE_BYTES)
        too_large = UpstreamError(f"{self.url} sent a reply of over {limit} bytes, the limit here", code="broken")
        if plain and announced is not None and announced > limit:
            raise too_large
        pieces: list[bytes] = []
        size = 0
        while piece := await response.content.readany():
            size += len(piece)
            if size > limit:
                raise too_large
            if pieces:
                await asyncio.sleep(0)  # what is compressed comes without a wait
            pieces.append(piece)
        return b"".join(pieces) if size <= _INLINE_BYTES else await asyncio.to_thread(b"".join, pieces)

    def _follow(self, response: aiohttp.ClientResponse, wire: Wire) -> ReplyLog[Ending]:
        """Starts to write a streaming response into a log; stops when nobody reads it any more."""
        log: ReplyLog[Ending] = ReplyLog(limit=self._max_reply_bytes, abandoned=lambda: pump.cancel())
        pump = asyncio.get_running_loop().create_task(self._pump(response, log, wire))
        self._pumps.add(pump)
        pump.add_done_callback(functools.partial(self._stopped, response, log))
        return log

    def _stopped(self, response: aiohttp.ClientResponse, log: ReplyLog[Ending], pump: asyncio.Task[None]) -> None:
        """Cleans up after a pump, however it ended: one that is cancelled before its first step runs no code of its own."""
        self._pumps.discard(pump)
        # Returns the connection to the pool only where the whole response was read; any other is closed.
        response.close()
        error = UpstreamError("sparecall closed while a stream was running; call again", code="broken")
        if not pump.cancelled() and (cause := pump.exception()) is not None:
            error = failure(cause, self.url)
        if not log.ended:
            log.fail(error)

    async def _pump(self, response: aiohttp.ClientResponse, log: ReplyLog[Ending], wire: Wire) -> None:
        await self._copy(response, log, wire)
        await _drain(response)

    async def _copy(self, response: aiohttp.ClientResponse, log: ReplyLog[Ending], wire: Wire) -> None:
        parser = sse.Parser(max_event_bytes=max(self._max_reply_bytes, sse.DEFAULT_MAX_EVENT_BYTES))
        assembler = wire.assembler()
        async for data in response.content.iter_any():
            for event in parser.feed(data):
                kept = assembler.add(event)
                if kept is not None:
                    log.append(kept)
                if assembler.complete:
                    log.end(NO_ENDING if log.overflowed else assembler.finish())
                    return
            await log.paced()
        log.fail(UpstreamError(f"{self.url} ended a stream before its end mark; call again", code="broken"))


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Reads the few bytes that follow the end mark, so that the connection can serve another call."""
    async with asyncio.timeout(1.0):
        while not response.content.at_eof():
            await response.content.readany()


def _proxy_for(url: str) -> str | None:
    """The proxy the environment names for `url`; looked up once, since that takes longer than a call.

    This machine itself is never behind one, whatever `NO_PROXY` leaves out: a proxy would look for the port on its own machine.
    """
    parts = urlsplit(url)
    if parts.hostname is None or _is_loopback(parts.hostname) or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_this_connection(headers: Mapping[str, str]) -> frozenset[str]:
    """The headers that a `Connection` header names: they end here, whatever else would let them pass."""
    named = [value for name, value in headers.items() if name.lower() == "connection"]
    return frozenset(name.strip().lower() for value in named for name in value.split(","))


def reply_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The provider's headers that may pass to the client."""
    passed = {}
    kept_back = _of_this_connection(headers)
    for name, value in headers.items():
        lower = name.lower()
        odd_type = lower == "content-type" and not value.startswith("application/json")
        named = odd_type or lower in REPLY_HEADERS or lower.startswith(REPLY_HEADER_PREFIXES)
        # Bytes that are no UTF-8 are no text that could be sent on.
        if named and lower not in kept_back and value.isprintable():
            passed[lower] = value
    return passed


def failure(error: BaseException, url: str) -> UpstreamError:
    """The `UpstreamError` for what a socket raised. Names the provider, quotes nothing of the call."""
    if isinstance(error, aiohttp.ConnectionTimeoutError | TimeoutError):
        return UpstreamError(f"{url} did not answer in time; raise upstream.read_timeout or call again", code="timeout")
    if isinstance(error, InvalidDocument):
        return UpstreamError(f"{url} sent an event that cannot be read: {error}", code="broken")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return UpstreamError(f"{url} cannot be reached: the proxy answered {error.status}", code="unreachable")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamError(f"{url} cannot be reached ({error.os_error.strerror or 'no address'})", code="unreachable")
    return UpstreamError(f"{url} broke off its answer ({type(error).__name__}); call again", code="broken")
