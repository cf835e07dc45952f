"""Connections to a provider: warm ones, ones that were closed while idle, names that lead nowhere, and the limits on how long a call may take."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

import sparecall
from gateway.site import until
from providers import DONE, EVENTS, STREAM_HEAD, calling, framed, raw
from sparecall.errors import UpstreamError
from sparecall.pipeline import connector
from stages import asking, completion, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
BODY = completion()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


class Closing:
    """A server that answers `answers` requests of each connection and closes it at the next, or `idle_for` seconds later."""

    def __init__(self, *, answers: int = 1, idle_for: float | None = None, first: bytes = b"") -> None:
        self.answers, self.idle_for, self.first = answers, idle_for, first
        self.connections = 0
        self.requests = 0
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Closing]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for _ in range(self.answers):
                await self._request(reader)
                writer.write(ANSWER)
                await writer.drain()
            if self.idle_for is not None:
                await asyncio.sleep(self.idle_for)
                return
            await self._request(reader)
            writer.write(self.first)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))


async def test_a_connection_that_was_closed_while_it_was_idle_costs_nobody_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connector, "STALE_AFTER", 0.0)
    async with Closing().serving() as server, calling(server.url) as pipeline:
        for number in range(3):
            reply = await pipeline(asking(content=str(number)))
            assert reply.status == 200
        assert (server.connections, server.requests) == (3, 5)  # two met a connection that was being closed


async def test_a_connection_that_has_just_served_was_not_closed_for_being_idle() -> None:
    async with Closing().serving() as server, calling(server.url) as pipeline:
        await pipeline(asking())
        with pytest.raises(UpstreamError) as caught:
            await pipeline(asking(content="again"))
        assert (caught.value.code, server.requests) == ("broken", 2)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200", ANSWER[:-5]])
async def test_a_call_that_was_being_answered_is_not_made_again(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(connector, "STALE_AFTER", 0.0)
    async with Closing(first=first).serving() as server, calling(server.url) as pipeline:
        await pipeline(asking())
        with pytest.raises(UpstreamError) as caught:
            await pipeline(asking(content="again"))
        assert (caught.value.code, server.requests) == ("broken", 2)


async def test_a_call_that_changes_what_the_provider_keeps_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "STALE_AFTER", 0.0)
    async with Closing().serving() as server, calling(server.url) as pipeline:
        await pipeline(asking())
        with pytest.raises(UpstreamError):
            await pipeline(asking(wire="responses", bypass="state", input="Hello"))
        assert server.requests == 2


async def test_idle_connections_that_a_server_closes_are_dropped() -> None:
    async with Closing(idle_for=0.0).serving() as server, calling(server.url) as pipeline:
        for number in range(5):
            assert (await pipeline(asking(content=str(number)))).status == 200
            await asyncio.sleep(0.02)
        assert (server.connections, server.requests) == (5, 5)


async def test_connections_are_made_before_anybody_asks() -> None:
    async with (
        Closing(answers=100).serving() as server,
        sparecall.open({"upstream": {"url": server.url, "warm": 3}}) as pipeline,
    ):
        assert await pipeline.upstreams[0].warmed() == 3
        assert (server.connections, server.requests) == (3, 0)
        replies = await asyncio.gather(*[pipeline(asking(content=str(number))) for number in range(3)])
        assert [reply.status for reply in replies] == [200] * 3
        assert server.connections == 3


async def test_a_provider_that_is_not_there_at_the_start_keeps_nobody_waiting() -> None:
    async with sparecall.open({"upstream": {"url": "http://127.0.0.1:1/v1", "warm": 2}}) as pipeline:
        assert await pipeline.upstreams[0].warmed() == 0
    # And the pipeline may close before they are made.
    async with raw(b"", held=True) as url, sparecall.open({"upstream": {"url": url, "warm": 50}}) as pipeline:
        assert pipeline.upstreams


async def test_a_name_that_leads_nowhere_is_another_s_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_resolver: Any, host: str, *_others: Any, **_options: Any) -> list[Any]:
        raise OSError(None, f"{host} leads nowhere")

    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)
    async with Closing(answers=100).serving() as server:
        upstreams = {
            "gone": {"url": "http://nowhere.invalid/v1", "api_key": "k"},
            "here": {"url": server.url, "priority": 1},
        }
        async with sparecall.open({"upstream": upstreams}) as pipeline:
            reply = await pipeline(asking())
            assert (reply.status, reply.origin.passed[0].reason) == (200, "unreachable")


async def test_a_stream_that_does_not_begin_is_a_timeout_and_a_slow_one_is_not() -> None:
    async with raw(STREAM_HEAD, held=True) as url, calling(url, first_byte_timeout=0.05) as pipeline:
        with pytest.raises(UpstreamError, match="began no stream within") as caught:
            await pipeline(asking(stream=True))
        assert caught.value.code == "timeout"
        await until(lambda: not pipeline.upstreams[0]._pumps)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM_HEAD)
        for event in EVENTS:
            writer.write(framed(event))
            await asyncio.sleep(0.2)
        writer.write(DONE)
        writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        async with calling(url, first_byte_timeout=0.3) as pipeline:
            assert await text_of(await pipeline(asking(stream=True))) == "Hi there"
    finally:
        server.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_may_take_so_long_in_all(stream: bool) -> None:
    answer = STREAM_HEAD + framed(EVENTS[0]) if stream else ANSWER[:-5]
    async with raw(answer, held=True) as url, calling(url, total_timeout=0.1) as pipeline:
        began = time.monotonic()
        with pytest.raises(UpstreamError) as caught:
            await text_of(await pipeline(asking(stream=stream)))
        assert caught.value.code == "timeout"
        assert time.monotonic() - began >= 0.1


async def test_the_client_s_key_goes_only_where_it_may() -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        for client_key in (None, True, False):
            async with sparecall.open({"upstream": {"one": {"url": url, "client_key": client_key}}}) as pipeline:
                await pipeline(asking(key="sk-mine"))
    finally:
        server.close()
    assert [b"sk-mine" in head for head in seen] == [True, True, False]
    assert msgspec.json.decode(BODY)["model"] == "gpt-4o"
