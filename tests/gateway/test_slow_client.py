"""Clients that send or read slowly, or not at all, cost neither memory nor anybody else's time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from gateway.site import (
    DONE,
    HELLO,
    QUESTION,
    Gate,
    Site,
    chunk,
    completion,
    scripted_site,
    scripted_socket,
    send_events,
    simulated_site,
    until,
)
from gateway.test_churn import resident
from gateway.test_http import POST, error_of, read_reply
from sparecall.gateway import protocol
from sparecall.pipeline import Coalesce

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

BODY = msgspec.json.encode(QUESTION)
ASK = POST + b"Authorization: Bearer sk-alice\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
UNSENT = 256 * 1024


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """A byte every few milliseconds, until the other side has had enough."""
    with contextlib.suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes before the connection ends, and be it by a reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1000):
            received += data
    return received


LORIS = {
    "head": b"POST /v1/chat/completions HTTP/1.1\r\n" + b"x-header: " + b"a" * 5000,
    "body": POST + b"Content-Length: 5000\r\n\r\n" + b" " * 5000,
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1000,
}


@pytest.mark.parametrize("part", LORIS)
async def test_who_sends_byte_by_byte_is_answered_408_and_closed_beside_healthy_traffic(part: str) -> None:
    data = LORIS[part]
    quick = data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0
    async with simulated_site(server={"request_timeout": 0.2}) as (site, _):
        reader, writer = await site.raw()
        writer.write(data[:quick])
        trickling = asyncio.create_task(trickle(writer, data[quick:]))
        client = await site.sdk()
        reading = asyncio.create_task(all_of(reader))
        healthy = 0
        while not reading.done():
            assert (await client.chat.completions.create(**QUESTION)).choices
            healthy += 1
        said = await reading
        trickling.cancel()
        assert healthy > 5
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert error_of(body)["code"] == "request_timeout"
        assert b"private, no-store" in head.lower()
        assert b"connection: close" in head.lower()


async def test_a_slow_head_on_a_connection_that_served_before_is_a_408_too() -> None:
    async with simulated_site(server={"request_timeout": 0.05}) as (site, _):
        reader, writer = await site.raw()
        for _ in range(2):
            writer.write(ASK)
            assert (await read_reply(reader))[0] == 200
        await asyncio.sleep(0.15)
        writer.write(ASK[:20])
        assert (await reader.read()).startswith(b"HTTP/1.1 408")


async def test_an_idle_connection_and_one_that_waits_for_its_answer_are_not_timed() -> None:
    gate = Gate()
    async with scripted_site(gate, server={"request_timeout": 0.05}) as (site, _):
        reader, writer = await site.raw()
        writer.write(ASK[:30])
        await asyncio.sleep(0.01)
        writer.write(ASK[30:])
        await asyncio.sleep(0.2)
        gate.opened.set()
        assert (await read_reply(reader))[0] == 200
        await asyncio.sleep(0.2)
        writer.write(ASK)
        assert (await read_reply(reader))[0] == 200


@pytest.mark.usefixtures("many_files")
async def test_2000_idle_connections_hold_little_memory_and_nobody_up() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        await client.chat.completions.create(**QUESTION)
        before = resident()
        for start in range(0, 2000, 250):
            opened = await asyncio.gather(*(site.raw() for _ in range(250)))
            for number, (_, writer) in enumerate(opened, start):
                if number % 2:
                    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
        for _ in range(20):
            assert (await client.chat.completions.create(**QUESTION)).choices
        assert resident() - before < 120_000_000  # both ends of each, in this process


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The most that waits in one of the gateway's sockets."""
    handlers: list[protocol._Handler] = []
    usual = protocol._Handler.connection_made

    def connection_made(self: protocol._Handler, transport: asyncio.BaseTransport) -> None:
        handlers.append(self)
        # The system's own buffer would swallow megabytes.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        usual(self, transport)

    monkeypatch.setattr(protocol._Handler, "connection_made", connection_made)
    return lambda: max(
        (handler.transport.get_write_buffer_size() for handler in handlers if handler.transport), default=0
    )


async def stalled(site: Site, **body: Any) -> asyncio.StreamWriter:
    """A client that asks and reads nothing."""
    content = msgspec.json.encode({**QUESTION, **body})
    _, writer = await site.raw(receive_buffer=4096)
    writer.write(POST + b"Authorization: Bearer sk-alice\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    return writer


@pytest.mark.parametrize("stream", [False, True])
async def test_a_long_stored_answer_waits_for_its_reader_outside_the_socket(
    stream: bool, unsent: Callable[[], int]
) -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        return web.json_response(completion("word " * 600_000))

    async with scripted_site(long) as (site, _):
        client = await site.sdk()
        asked = await client.chat.completions.create(**QUESTION)
        await stalled(site, stream=stream)
        await until(lambda: unsent() > 0)
        for _ in range(20):
            assert unsent() <= UNSENT
            await asyncio.sleep(0.01)
        again = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert again.headers["x-sparecall-cache"] == "exact"
        assert again.parse() == asked
        text = "".join(
            [
                part.choices[0].delta.content or ""
                async for part in await client.chat.completions.create(**QUESTION, stream=True)
            ]
        )
        assert text == "word " * 600_000


@pytest.mark.parametrize("joins", ["first", "late"])
async def test_a_reader_that_stalls_in_a_live_stream_piles_up_nothing_and_holds_no_other_up(
    joins: str, unsent: Callable[[], int]
) -> None:
    piece = chunk({"content": "x" * 50_000})
    go_on = asyncio.Event()

    async def live(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:1])
        for number in range(60):
            if number == 40:
                await go_on.wait()
            await response.write(piece)
        for event in (HELLO[-1], DONE):
            await response.write(event)
        return response

    async with scripted_site(live) as (site, script):
        client = await site.sdk()
        if joins == "first":
            await stalled(site, stream=True)
            await until(lambda: script.calls == 1)
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        parts = [await anext(stream) for _ in range(40)]
        if joins == "late":
            await stalled(site, stream=True)
            await until(
                lambda: len(next(iter(site.gateway.pipeline.stage(Coalesce)._live.values())).stream.log._places) == 2
            )
        for _ in range(20):
            assert unsent() <= UNSENT
            await asyncio.sleep(0.005)
        go_on.set()
        parts += [part async for part in stream]
        assert sum(len(part.choices[0].delta.content or "") for part in parts) == 60 * 50_000
        assert unsent() <= UNSENT
        assert script.calls == 1


async def test_a_file_that_passes_through_waits_at_the_provider(unsent: Callable[[], int]) -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        packed = gzip.compress(bytes(100_000_000))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed))
        for start in range(0, len(packed), 1000):
            writer.write(packed[start : start + 1000])
            await writer.drain()

    async with scripted_socket(send) as site:
        before = resident()
        _, writer = await site.raw(receive_buffer=4096)
        writer.write(b"GET /v1/files/1/content HTTP/1.1\r\nHost: gateway\r\n\r\n")
        await until(lambda: unsent() > 0)
        for _ in range(20):
            assert unsent() <= UNSENT
            await asyncio.sleep(0.01)
        assert resident() - before < 30_000_000
        writer.transport.abort()


async def test_one_event_larger_than_what_may_wait_is_sent_in_pieces(unsent: Callable[[], int]) -> None:
    async def live(http: web.Request) -> web.StreamResponse:
        return await send_events(http, [HELLO[0], chunk({"content": "x" * 3_000_000}), HELLO[-1], DONE])

    async with scripted_site(live) as (site, _):
        writer = await stalled(site, stream=True)
        await until(lambda: unsent() > 0)
        for _ in range(20):
            assert unsent() <= UNSENT
            await asyncio.sleep(0.005)
        writer.transport.abort()
