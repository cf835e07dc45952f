"""The gateway: an OpenAI-compatible HTTP server around the pipeline. `sparecall serve` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.web_urldispatcher import _default_expect_handler

from sparecall import __version__, pipeline
from sparecall.errors import ConfigError, SparecallError
from sparecall.exchange import PRIVATE, Refusal, key_of, provider_of, refusal_of, request_of, wire_of
from sparecall.gateway import context, feedback
from sparecall.gateway.body import Upload, read_whole
from sparecall.gateway.errors import response_of
from sparecall.gateway.lag import watched
from sparecall.gateway.listen import listen
from sparecall.gateway.metrics import Metrics
from sparecall.gateway.passing import pass_through
from sparecall.gateway.protocol import Runner
from sparecall.gateway.respond import plain, respond
from sparecall.gateway.shutdown import LINGER, drain, stopping
from sparecall.gateway.snapshot import SemanticSnapshot, Snapshot
from sparecall.gateway.whole import whole
from sparecall.pipeline import Exact, Pipeline, Request, Semantic
from sparecall.pipeline.reply import no_call
from sparecall.pipeline.wire import CHAT, WIRES, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sparecall.config import Config
    from sparecall.gateway.peers import Peers
    from sparecall.gateway.respond import Ok
    from sparecall.pipeline.request import WireName

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["LOOPBACK", "Gateway", "serving"]

log = logging.getLogger("sparecall.gateway")
WARM_FOR = 2.0
"""Seconds that the first requests wait for connections that are made at the start."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _own_keys(config: Config) -> bool:
    return any(one.key() is not None for one in config.providers().values())


def addresses(config: Config) -> str:
    """The providers of a gateway, as people are told of them."""
    if not config.upstreams:
        return config.upstream.url
    return ", ".join([f"{name} at {one.url}" for name, one in config.upstreams.items()])


class Gateway:
    """Routes, client keys and readiness around one pipeline."""

    __slots__ = (
        "_config",
        "_key_hashes",
        "_metrics",
        "_passing",
        "_peers",
        "_semantic_snapshot",
        "_snapshot",
        "_stopping",
        "pipeline",
        "ready",
    )

    def __init__(self, config: Config, *, peers: Peers | None = None) -> None:
        server = config.server
        if server.host not in LOOPBACK and _own_keys(config) and not server.client_keys:
            raise ConfigError(
                f"server.host is {server.host} and the gateway holds a key of its own, but server.client_keys is empty: "
                "anyone who reaches the port could spend that key; list the keys that clients must present"
            )
        self._config = config
        # Only hashes are compared, so the time a comparison takes says nothing of a key.
        self._key_hashes = frozenset(hashlib.sha256(key.encode()).digest() for key in server.client_keys)
        self._snapshot = None if config.cache.snapshot is None else Snapshot(config.cache.snapshot)
        self._semantic_snapshot = None
        if config.cache.snapshot is not None and config.semantic.enabled:
            self._semantic_snapshot = SemanticSnapshot(config.cache.snapshot)
        self._metrics = Metrics()
        self._passing: set[asyncio.Task[Any]] = set()
        self._peers = peers
        self.pipeline: Pipeline = pipeline.open(
            config,
            on_event=self._metrics.observe,
            on_batch=self._metrics.batched,
            on_call=self._metrics.calls.observe,
        )
        self.ready = False
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Gateway to {addresses(self._config)}, {'ready' if self.ready else 'not ready'}>"

    def app(self) -> web.Application:
        """The aiohttp application; its pipeline opens and closes with it. It may be mounted in another one."""
        app = web.Application(client_max_size=self._config.server.max_body_bytes)
        app.cleanup_ctx.append(self._lifespan)
        add = functools.partial(app.router.add_route, expect_handler=self._expecting(CHAT))
        for wire in WIRES.values():
            handler = self._guarded(functools.partial(self._call, wire), wire)
            add("POST", f"/v1{wire.path}", handler, expect_handler=self._expecting(wire))
        add("*", "/v1/{path:.+}", self._guarded(self._pass_through))
        for path, handler in {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._scrape}.items():
            app.router.add_get(path, handler, expect_handler=self._expecting(CHAT))
        add("POST", feedback.PATH, self._guarded(self._feedback))
        add("GET", context.PATH + "{handle}", self._guarded(self._fetch))
        add("*", "/{path:.*}", self._guarded(self._nowhere))
        return app

    def runner(self) -> Runner:
        """What serves `app()`, for a site of aiohttp's."""
        return Runner(
            self.app(),
            path=f"/v1{CHAT.path}",
            handler=self._guarded(functools.partial(self._call, CHAT, ok=whole), CHAT),
            head_timeout=self._config.server.request_timeout,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=LINGER / 10,  # for what `stop` could not end
        )

    async def stop(self, runner: Runner) -> None:
        """Takes no new work, gives what runs its grace, and ends the rest with an error. `runner` is to be cleaned up after."""
        self.ready, self._stopping = False, True
        await drain(runner, grace=self._config.server.shutdown_grace, cut=self._cut)

    def _cut(self) -> None:
        for stage in self.pipeline.upstreams:
            stage.stop()
        for task in self._passing:
            task.cancel()

    async def _lifespan(self, app: web.Application) -> AsyncIterator[None]:
        exact = self.pipeline.stage(Exact)
        async with contextlib.AsyncExitStack() as exits:
            await exits.enter_async_context(self.pipeline)
            if exact is not None and self._snapshot is not None:
                every = self._config.cache.snapshot_every
                await exits.enter_async_context(self._snapshot.kept(exact.cache, every=every))
            semantic = self.pipeline.stage(Semantic)
            if semantic is not None and self._semantic_snapshot is not None:
                every = self._config.cache.snapshot_every
                await exits.enter_async_context(self._semantic_snapshot.kept(semantic, every=every))
            if self._peers is not None:
                render = functools.partial(self._metrics.render, self.pipeline)
                await exits.enter_async_context(self._peers.answering(render))
            exits.enter_context(watched(self._metrics.loop_lag.observe))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WARM_FOR):
                    await asyncio.gather(*[upstream.warmed() for upstream in self.pipeline.upstreams])
            self.ready = True
            yield
            self.ready = False

    def _guarded(self, handler: Handler, wire: Wire | None = None) -> Handler:
        """The handler, with refusals and errors turned into replies of the wire, or of that of the path."""

        async def guarded(http: web.Request) -> web.StreamResponse:
            try:
                if not self._stopping:
                    return await handler(http)
                refusal = stopping()
            except Refusal as raised:
                refusal = raised
            except asyncio.CancelledError:
                if not self._stopping or http.writer.output_size > 0:
                    raise
                refusal = stopping()
            except SparecallError as error:
                refusal = refusal_of(error)
            except web.RequestPayloadError:
                refusal = Refusal(400, "The body cannot be read as its headers announce it.", code="invalid_body")
            except web.HTTPException:
                raise
            except ConnectionError:
                # The client has left. A raised error would be logged with its traceback; a reply that cannot be sent is not.
                return web.Response()
            except Exception as error:  # noqa: BLE001 - the last resort of a server
                # Neither message nor traceback: both may quote a prompt or a key.
                log.error("%s in %s", type(error).__name__, http.method)  # noqa: TRY400
                refusal = refusal_of(SparecallError())
            self._metrics.refused(refusal.code)
            if http.writer.output_size > 0 and http.transport is not None:
                # Part of a reply was sent: a second one behind it would be read as its rest.
                http.transport.abort()
            response = response_of(refusal, wire or wire_of(http.match_info.get("path", "")))
            if self._stopping:
                response.force_close()
            return response

        return guarded

    def _expecting(self, wire: Wire) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
        """What answers an `Expect` header before the handler is asked."""

        async def expecting(http: web.Request) -> web.StreamResponse | None:
            try:
                await _default_expect_handler(http)
            except web.HTTPExpectationFailed:  # a page of text that quotes the header
                refusal = Refusal(417, "Of Expect headers only 100-continue is met here.", code="expectation_failed")
                self._metrics.refused(refusal.code)
                return response_of(refusal, wire)
            return None

        return expecting

    def _client_key(self, http: web.Request) -> str | None:
        """The key the client presents. Raises a 401 where a listed one is demanded and it has none."""
        presented = key_of(http.headers)
        try:
            token = presented.encode()
        except UnicodeEncodeError:
            raise Refusal(401, "The bearer token is not UTF-8.", code="invalid_api_key") from None
        if self._key_hashes and hashlib.sha256(token).digest() not in self._key_hashes:
            raise Refusal(401, "This gateway demands one of its client keys as bearer token.", code="invalid_api_key")
        return presented or None

    def _request(self, http: web.Request, key: str | None, body: bytes, wire: WireName = "chat") -> Request:
        control = http.headers.getall("cache-control", None)
        return request_of(
            http.headers,
            body,
            key=key,
            cache_control=None if control is None else ",".join(control),
            scoped=self._config.scope is not None,
            wire=wire,
        )

    async def _call(self, wire: Wire, http: web.Request, *, ok: Ok = plain) -> web.StreamResponse:
        key = self._client_key(http)
        request = self._request(http, key, await self._read(http), wire.name)
        return await respond(http, await self.pipeline(request), ok=ok)

    def _read(self, http: web.Request) -> Awaitable[bytes]:
        server = self._config.server
        return read_whole(http, limit=server.max_body_bytes, timeout=server.request_timeout)

    async def _pass_through(self, http: web.Request) -> web.StreamResponse:
        """Sends any other call under /v1 on unchanged and streams back what comes."""
        key = self._client_key(http)
        # What has not come yet is not waited for: it may be an upload of any size.
        upload = None if http.content.is_eof() else Upload(http, timeout=self._config.server.request_timeout)
        request = self._request(http, key, b"" if upload is not None else await self._read(http))
        path = http.match_info["path"]
        if request.cache_control.only_if_cached:
            return await respond(http, no_call("wire", wire_of(path).name))
        provider = provider_of(self.pipeline, path)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        self._passing.add(task)
        try:
            return await pass_through(
                http,
                provider,
                request,
                upload,
                answered=self._metrics.passed_on,
                is_stopping=lambda: self._stopping,
            )
        finally:
            self._passing.discard(task)

    async def _feedback(self, http: web.Request) -> web.StreamResponse:
        key = self._client_key(http)
        feedback.take(self.pipeline, self._request(http, key, await self._read(http)))
        return web.Response(status=204, headers=PRIVATE)

    async def _fetch(self, http: web.Request) -> web.StreamResponse:
        request = self._request(http, self._client_key(http), b"")
        found = context.fetched(self.pipeline, request, http.match_info["handle"])
        return web.Response(body=found, content_type="application/json", headers=PRIVATE)

    async def _nowhere(self, http: web.Request) -> web.StreamResponse:
        if http.path in {"/healthz", "/readyz", "/metrics"} or http.path.startswith(context.PATH):
            raise Refusal(405, "This path is only read: use GET.", code="method_not_allowed")
        if http.path == feedback.PATH:
            raise Refusal(405, "Feedback is given by POST.", code="method_not_allowed")
        if http.path.startswith("/openai/"):
            message = "Azure's paths are not spoken here. Give this gateway an upstream.url that ends in /openai/v1, and clients of the OpenAI class the base_url of its /v1."
            raise Refusal(404, message, code="not_found")
        raise Refusal(404, "No such path here. The API is under /v1.", code="not_found")

    async def _health(self, http: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": __version__}, headers=PRIVATE)

    async def _readiness(self, http: web.Request) -> web.Response:
        return web.json_response({"ready": self.ready}, status=200 if self.ready else 503, headers=PRIVATE)

    async def _scrape(self, http: web.Request) -> web.Response:
        text = self._metrics.render(self.pipeline) if self._peers is None else await self._peers.text()
        return web.Response(
            body=text.encode(), headers={**PRIVATE, "content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )


@contextlib.asynccontextmanager
async def serving(config: Config, *, peers: Peers | None = None) -> AsyncIterator[tuple[Gateway, str]]:
    """Runs a gateway on the running loop: gives it and its base URL. Port 0 picks a free one.

    On the way out it takes no new work and gives running requests `server.shutdown_grace` seconds to end.
    With `peers` it is one of several workers, which share the port.
    """
    gateway = Gateway(config, peers=peers)
    runner = gateway.runner()
    await runner.setup()
    try:
        yield gateway, await listen(runner, config.server.host, config.server.port, shared=peers is not None)
    finally:
        try:
            await gateway.stop(runner)
        finally:
            await runner.cleanup()
