"""The call to the provider over real loopback sockets: every way it can go wrong, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import sparecall
from loop_steps import no_complaints, settled
from providers import DONE, EVENTS, STREAM_HEAD, calling, framed, raw, serving, sse
from sparecall.errors import UpstreamError
from sparecall.pipeline import Reply, chat
from sparecall.pipeline.upstream import failure
from stages import asking, completion, text_of

pytestmark = pytest.mark.anyio


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
