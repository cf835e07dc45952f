"""The call to the provider over real loopback sockets: what crosses in both directions, and every way it can go wrong."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

import sparecall
from loop_steps import no_complaints, settled
from sparecall.errors import InvalidArgument, UpstreamError
from sparecall.pipeline import Digest, Pipeline, Reply, Request, Upstream, chat
from sparecall.pipeline.upstream import failure
from stages import asking, completion, events_of, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio

EVENTS = chat.render(completion(), include_usage=True)
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def framed(*events: bytes) -> bytes:
    return b"".join(b"data: " + event + b"\n\n" for event in events)


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    async def entry(http: web.Request) -> web.StreamResponse:
        return await handler(http)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", entry)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(answer: bytes, *, held: bool = False, reset: bool = False) -> AsyncIterator[str]:
    """A server that answers every request with the same bytes and then closes, resets, or holds the connection."""
    connections: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if held:
                await asyncio.Event().wait()
            if reset:
                await asyncio.sleep(0.01)
                writer.transport.abort()
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def calling(url: str, *, max_reply_bytes: int = 1 << 20, **upstream: Any) -> AsyncIterator[Pipeline]:
    config = sparecall.config.load({"upstream": {"url": url, **upstream}})
    stage = Upstream(config.upstream, max_reply_bytes=max_reply_bytes)
    async with Pipeline([Digest(), stage]) as pipeline, asyncio.timeout(20):
        yield pipeline


class Recorder:
    """Keeps what came in, and answers."""

    def __init__(self, status: int = 200, body: bytes | None = None, **headers: str) -> None:
        self.status = status
        self.body = completion() if body is None else body
        self.headers = {
            "content-type": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        self.seen: list[web.BaseRequest] = []
        self.bodies: list[Any] = []

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        self.seen.append(http)
        body = await http.read()
        self.bodies.append(msgspec.json.decode(body) if body else None)
        return web.Response(status=self.status, body=self.body, headers=self.headers)


async def sse(http: web.Request, *pieces: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", "x-request-id": "r-1"})
    await response.prepare(http)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


async def test_a_whole_answer_comes_back_to_the_byte() -> None:
    async with serving(recorder := Recorder(x_request_id="r-1")) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert (reply.status, reply.hit, reply.served_by, reply.complete) == (200, "miss", url, True)
        assert await reply.read() == completion()
        assert reply.headers == {"x-request-id": "r-1"}
        assert reply.summary == chat.Summary("gpt-4o", 1000, 100, True, 0)
        request = recorder.seen[0]
        assert (request.method, request.path, request.headers["content-type"]) == (
            "POST",
            "/v1/chat/completions",
            "application/json",
        )
        assert recorder.bodies == [msgspec.json.decode(asking().body)]


async def test_only_listed_headers_go_to_the_provider_and_each_once() -> None:
    sent = {
        "Content-Type": "application/json; charset=utf-8",
        "OpenAI-Organization": "org-1",
        "Idempotency-Key": "i-1",
        "traceparent": "00-1-1-01",
        "User-Agent": "mine/1",
        "Authorization": "Bearer sk-in-the-headers",
        "Cookie": "session=1",
        "Host": "evil.example",
        "X-Forwarded-For": "10.0.0.1",
        "x-api-key": "secret",
        "Connection": "close",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
        "x-sparecall-scope": "team",
    }
    async with serving(recorder := Recorder()) as url, calling(url) as pipeline:
        await pipeline(asking(headers=sent, key=None))
        got = recorder.seen[0].headers
        assert got.getall("content-type") == ["application/json; charset=utf-8"]
        assert (got["openai-organization"], got["idempotency-key"], got["traceparent"], got["user-agent"]) == (
            "org-1", "i-1", "00-1-1-01", "mine/1",
        )  # fmt: skip
        assert not {"authorization", "cookie", "x-forwarded-for", "x-api-key", "x-sparecall-scope"} & {
            name.lower() for name in got
        }
        assert got["host"].startswith("127.0.0.1")
        await pipeline(asking())
        assert recorder.seen[1].headers["user-agent"] == f"sparecall/{sparecall.__version__}"


@pytest.mark.parametrize(
    ("own", "client", "sent"),
    [
        (None, "sk-client", "Bearer sk-client"),
        ("sk-own", "sk-client", "Bearer sk-own"),
        ("sk-own", None, "Bearer sk-own"),
        (None, None, None),
    ],
)
async def test_the_client_s_key_is_passed_on_or_replaced_by_the_own_one(
    own: str | None, client: str | None, sent: str | None
) -> None:
    async with serving(recorder := Recorder()) as url, calling(url, **({"api_key": own} if own else {})) as pipeline:
        await pipeline(asking(key=client))
        assert recorder.seen[0].headers.get("authorization") == sent
        assert "sk-" not in repr(pipeline.stages)


@pytest.mark.parametrize(
    "bad", [{"key": "sk\r\nx-evil: 1"}, {"key": "sk\n"}, {"headers": {"traceparent": "a\r\nb: c"}}], ids=str
)
async def test_a_line_end_cannot_make_a_header(bad: dict[str, Any]) -> None:
    async with serving(recorder := Recorder()) as url, calling(url) as pipeline:
        with pytest.raises(InvalidArgument, match="line end") as caught:
            await pipeline(asking(**bad))
        assert "evil" not in str(caught.value)
        assert recorder.seen == []
        assert (await pipeline(asking())).status == 200


async def test_only_listed_headers_come_back() -> None:
    recorder = Recorder(
        set_cookie="a=1", x_request_id="r", retry_after="1", x_ratelimit_remaining_tokens="5", server="x", openai_model="m",
        access_control_allow_origin="*", x_sparecall_cache="exact",
    )  # fmt: skip
    async with serving(recorder) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert dict(reply.headers) == {
            "x-request-id": "r", "retry-after": "1", "x-ratelimit-remaining-tokens": "5", "openai-model": "m",
        }  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_the_provider_answers_with_is_a_reply(status: int, stream: bool) -> None:
    body = b'{"error": {"message": "no"}}'
    async with serving(Recorder(status, body, retry_after="2")) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=stream))
        assert (reply.status, reply.stream, reply.complete) == (status, None, False)
        assert await reply.read() == body
        assert reply.headers["retry-after"] == "2"


@pytest.mark.parametrize("stream", [False, True])
async def test_redirects_are_not_followed(stream: bool) -> None:
    async with serving(recorder := Recorder(307, b"", location="/elsewhere")) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=stream))
        assert (reply.status, len(recorder.seen)) == (307, 1)
        assert "location" not in reply.headers


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>busy</html>", "text/html"), (b"data: {}\n\n", "text/event-stream"), (b"ok", "text/plain")],
)
async def test_what_is_not_json_keeps_its_type_and_is_no_answer(body: bytes, kind: str) -> None:
    async with serving(Recorder(body=body, content_type=kind)) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert (await reply.read(), reply.headers["content-type"], reply.complete) == (body, kind, False)


async def test_a_stream_asked_for_and_not_given_is_a_whole_answer() -> None:
    async with serving(Recorder()) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=True))
        assert (reply.stream, reply.complete) == (None, True)
        assert (await events_of(reply))[0]["choices"][0]["delta"]["content"] == "Hi there"


async def test_gzip_is_undone() -> None:
    recorder = Recorder(body=gzip.compress(completion()), content_encoding="gzip")
    async with serving(recorder) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert await reply.read() == completion()
        assert "content-encoding" not in reply.headers


async def test_a_stream_is_followed_whatever_pieces_it_comes_in() -> None:
    data = framed(*EVENTS) + DONE
    for size in (1, 7, 100, len(data)):
        asked: list[Any] = []

        async def handler(http: web.Request, size: int = size, asked: list[Any] = asked) -> web.StreamResponse:
            asked.append(msgspec.json.decode(await http.read()))
            return await sse(http, *[data[start : start + size] for start in range(0, len(data), size)])

        async with serving(handler) as url, calling(url) as pipeline:
            reply = await pipeline(asking(stream=True))
            assert (reply.status, reply.hit, dict(reply.headers)) == (200, "miss", {"x-request-id": "r-1"})
            assert await text_of(reply) == "Hi there"
            assert (await reply.json())["usage"]["completion_tokens"] == 100
            assert asked[0]["stream_options"] == {"include_usage": True}


async def test_the_connection_of_a_whole_stream_is_used_again() -> None:
    ports: list[Any] = []

    async def handler(http: web.Request) -> web.StreamResponse:
        assert http.transport is not None
        ports.append(http.transport.get_extra_info("peername"))
        await http.read()
        return await sse(http, framed(*EVENTS) + DONE)

    async with serving(handler) as url, calling(url) as pipeline:
        for _ in range(3):
            await text_of(await pipeline(asking(stream=True)))
            await asyncio.sleep(0.01)
    assert len(set(ports)) == 1


async def code_of(url: str, *, stream: bool, **options: Any) -> str:
    """The word for how a call to `url` fails; at once, or when its stream is read."""
    async with no_complaints(), calling(url, **options) as pipeline:
        with pytest.raises(UpstreamError) as caught:
            await text_of(await pipeline(asking(stream=stream, content="a secret prompt")))
        assert url in str(caught.value)
        assert "secret" not in str(caught.value)
        return caught.value.code


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_is_not_there_is_unreachable(stream: bool) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert await code_of(f"http://127.0.0.1:{port}/v1", stream=stream) == "unreachable"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", STREAM_HEAD + framed(EVENTS[0])],
    ids=["before the head", "after the head", "in the middle of a stream"],
)
async def test_a_provider_that_falls_silent_is_a_timeout(stream: bool, answer: bytes) -> None:
    async with raw(answer, held=True) as url:
        assert await code_of(url, stream=stream, read_timeout=0.02) == "timeout"


BROKEN = {
    "no reply at all": b"",
    "no HTTP": b"garbage\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + completion()[:50],
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n50\r\nabc",
    "no gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n" + b"\x00" * 20,
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_a_whole_answer_that_breaks_off_is_broken(answer: bytes, reset: bool) -> None:
    async with raw(answer, reset=reset) as url:
        assert await code_of(url, stream=False) == "broken"


BROKEN_STREAMS = {
    "closed before its end": STREAM_HEAD + framed(EVENTS[0]),
    "closed inside an event": STREAM_HEAD + framed(*EVENTS)[:-5],
    "without [DONE]": STREAM_HEAD + framed(*EVENTS),
    "an error and no [DONE]": STREAM_HEAD + framed(EVENTS[0], b'{"error": {"message": "overloaded"}}'),
    "empty": STREAM_HEAD,
    "half a chunk": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n50\r\nabc",
    "no gzip": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n"
    + b"\x00" * 20,
    "an endless event": STREAM_HEAD + b"data: " + b"x" * 17_000_000,
}


@pytest.mark.parametrize("answer", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys())
async def test_a_stream_that_breaks_off_is_broken_and_nobody_waits_for_ever(answer: bytes) -> None:
    async with raw(answer) as url:
        assert await code_of(url, stream=True) == "broken"


async def test_events_before_a_break_are_delivered() -> None:
    async with raw(STREAM_HEAD + framed(EVENTS[0]), reset=True) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=True))
        events = reply.events()
        assert len(await anext(events)) == 1
        with pytest.raises(UpstreamError):
            await anext(events)


GARBAGE = {
    "no JSON": b"not json",
    "binary": b"\xff\xfe",
    "mixed indexes": b'{"choices": [{"index": "a", "delta": {}, "finish_reason": "stop"}]}',
    "a tool call that is none": b'{"choices": [{"index": 0, "delta": {"tool_calls": ["f"]}, "finish_reason": "stop"}]}',
    "an error": b'{"error": {"message": "overloaded"}}',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_in_a_stream_passes_through_and_makes_no_answer(garbage: bytes) -> None:
    async with (
        raw(STREAM_HEAD + framed(EVENTS[0], garbage, *EVENTS[1:]) + DONE) as url,
        calling(url) as pipeline,
        no_complaints(),
    ):
        reply = await pipeline(asking(stream=True))
        passed = [data async for events in reply.events(include_usage=True) for data in events]
        assert passed == [EVENTS[0], garbage, *EVENTS[1:]]
        with pytest.raises(UpstreamError) as caught:
            await reply.read()
        assert caught.value.code == "incomplete"


@pytest.mark.parametrize("limit", [1, 100, 300])
async def test_a_stream_over_the_size_limit_is_passed_on_in_one_call(limit: int) -> None:
    calls = 0
    events = chat.render(completion("x" * 2_000), include_usage=True)

    async def handler(http: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        await http.read()
        return await sse(http, framed(*events) + DONE)

    async with (
        serving(handler) as url,
        sparecall.open({"upstream": {"url": url}, "cache": {"max_reply_bytes": limit}, "scope": "s"}) as pipeline,
        asyncio.timeout(20),
    ):
        reply = await pipeline(asking(stream=True))
        assert await text_of(reply) == "x" * 2_000
        assert calls == 1
        await settled()
        assert (await pipeline(asking(stream=True))).hit == "miss"  # was not stored


async def test_who_leaves_a_stream_stops_the_provider() -> None:
    gone = asyncio.Event()

    async def handler(http: web.Request) -> web.StreamResponse:
        try:
            await http.read()
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(http)
            while True:
                await response.write(framed(EVENTS[0]))
                await asyncio.sleep(0.001)
        finally:
            gone.set()

    async with no_complaints(), serving(handler) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=True))
        await anext(reply.events())
        assert reply.stream is not None
        reply.stream.close()
        await gone.wait()


@pytest.mark.parametrize("connections", [1])
async def test_a_reply_let_go_of_at_once_gives_its_connection_back(connections: int) -> None:
    """Even before the first step of the task that reads it."""
    async with no_complaints(), raw(STREAM_HEAD, held=True) as url, calling(url, connections=connections) as pipeline:
        for _ in range(3):  # with one connection, the second call would wait for ever
            reply: Reply | None = await pipeline(asking(stream=True))
            assert reply is not None
            reply = None


@pytest.mark.parametrize("turns_before", [0, 1, 5])
async def test_closing_the_pipeline_ends_its_streams(turns_before: int) -> None:
    async with no_complaints(), raw(STREAM_HEAD, held=True) as url, asyncio.timeout(10):
        async with calling(url) as pipeline:
            reply = await pipeline(asking(stream=True))
            for _ in range(turns_before):
                await asyncio.sleep(0)
        with pytest.raises(UpstreamError, match="sparecall closed") as caught:
            await reply.read()
        assert caught.value.code == "broken"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_cancelled_while_waiting_leaves_no_connection(stream: bool) -> None:
    async with no_complaints(), raw(b"", held=True) as url, calling(url, connections=1) as pipeline:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pipeline(asking(stream=stream))


async def test_a_proxy_named_by_the_environment_is_used_and_no_proxy_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(proxy := Recorder()) as proxy_url, serving(direct := Recorder()) as url:
        monkeypatch.setenv("http_proxy", proxy_url.removesuffix("/v1"))
        async with calling("http://provider.invalid/v1") as pipeline:
            assert (await pipeline(asking())).status == 200
        assert [str(request.url) for request in proxy.seen] == ["http://provider.invalid/v1/chat/completions"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with calling(url) as pipeline:
            assert (await pipeline(asking())).status == 200
        assert (len(proxy.seen), len(direct.seen)) == (1, 1)


def test_every_failure_of_a_socket_has_a_word() -> None:
    key: Any = None
    failures = {
        aiohttp.ClientConnectorCertificateError(key, ssl.CertificateError("x")): "unreachable",
        aiohttp.ClientConnectorError(key, OSError(111, "refused")): "unreachable",
        aiohttp.ServerTimeoutError(): "timeout",
        aiohttp.ConnectionTimeoutError(): "timeout",
        TimeoutError(): "timeout",
        aiohttp.ServerDisconnectedError(): "broken",
        aiohttp.ClientPayloadError(): "broken",
        ConnectionResetError(): "broken",
    }
    for error, word in failures.items():
        assert failure(error, "http://host/v1").code == word


async def test_other_paths_are_sent_as_they_are() -> None:
    async with serving(recorder := Recorder(body=b"[]")) as url, calling(url) as pipeline:
        upstream: Upstream = pipeline.stage(Upstream)
        response = await upstream.send("GET", "/models?limit=1", Request(body=b"", key="sk-a"), None)
        assert await response.read() == b"[]"
        request = recorder.seen[0]
        assert (request.method, request.path_qs) == ("GET", "/v1/models?limit=1")
        assert "content-type" not in request.headers or not request.can_read_body
