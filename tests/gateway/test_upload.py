"""A body that passes through is streamed: of any size, no faster than the provider takes it, and in little memory."""

from __future__ import annotations

import asyncio
import gc
import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway.site import scripted_socket, until
from gateway.test_churn import resident

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

PIECE = bytes(range(256)) * 256  # 64 KiB
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\r\n\r\n")).lower()


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_of_100_mb_passes_in_flat_memory(chunked: bool) -> None:
    count = 1600
    received, grown, heads = 0, 0, []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received, grown
        heads.append(await head_of(reader))
        before = resident()
        if chunked:
            while size := int(await reader.readline(), 16):
                received += len(await reader.readexactly(size))
                await reader.readline()
            await reader.readline()
        else:
            while received < count * len(PIECE):
                received += len(await reader.read(1 << 20))
        grown = resident() - before
        writer.write(REPLY)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield PIECE

    async with scripted_socket(take, server={"max_body_bytes": 1_000_000}) as site:
        http = await site.http()
        headers = {} if chunked else {"content-length": str(count * len(PIECE))}
        async with http.post(f"{site.url}/files", data=pieces(), headers=headers) as response:
            assert (response.status, await response.read()) == (200, b"{}")
    assert received == count * len(PIECE)
    assert grown < 30_000_000
    assert (b"transfer-encoding: chunked" in heads[0]) == chunked
    assert (b"content-length: %d" % (count * len(PIECE)) in heads[0]) != chunked


async def test_a_provider_that_does_not_read_holds_the_client_back() -> None:
    go_on = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await go_on.wait()
        writer.write(REPLY)
        writer.close()

    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield PIECE
            sent += len(PIECE)

    async with scripted_socket(wait) as site:
        http = await site.http()
        uploading = asyncio.ensure_future(http.post(f"{site.url}/files", data=pieces()))
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.1)
        assert sent < 50_000_000
        go_on.set()
        async with await uploading as response:
            assert response.status == 200, "an answer that comes before the end of the upload is passed on"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_that_leaves_during_its_upload_leaves_nothing_behind(chunked: bool) -> None:
    states: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        states.append("begun")
        try:
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
        states.append("ended")
        writer.close()

    async with scripted_socket(take) as site:
        before = asyncio.all_tasks()
        _, writer = await site.raw()
        framing = b"Transfer-Encoding: chunked\r\n\r\nff\r\n" if chunked else b"Content-Length: 1000\r\n\r\n"
        writer.write(b"POST /v1/files HTTP/1.1\r\nHost: gateway\r\n" + framing + b"x" * 100)
        await until(lambda: states == ["begun"])
        writer.transport.abort()
        await until(lambda: states == ["begun", "ended"])
        await until(lambda: not asyncio.all_tasks() - before)
        gc.collect()


async def test_an_upload_that_is_not_as_announced_is_a_400() -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()
        writer.close()

    async with scripted_socket(take) as site:
        reader, writer = await site.raw()
        writer.write(b"POST /v1/files HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"no size\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")


async def test_a_compressed_upload_goes_on_plain() -> None:
    bodies: list[tuple[bytes, bytes]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await head_of(reader), b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        bodies.append((head, body))
        writer.write(REPLY)

    packed = gzip.compress(PIECE)
    async with scripted_socket(take) as site:
        reader, writer = await site.raw()
        writer.write(
            b"PUT /v1/files/1 HTTP/1.1\r\nHost: gateway\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            % len(packed)
            + packed[:50]
        )
        await asyncio.sleep(0.05)
        writer.write(packed[50:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    ((head, body),) = bodies
    assert body == PIECE
    assert b"content-encoding" not in head


async def test_an_upload_that_stops_is_a_408_and_ends_the_call() -> None:
    ended = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()
        ended.set()
        writer.close()

    async with scripted_socket(take, server={"request_timeout": 0.05}) as site:
        reader, writer = await site.raw()
        writer.write(b"POST /v1/files HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\nx")
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        await ended.wait()


async def test_a_slow_provider_costs_the_client_none_of_its_time() -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        left = 100 * len(PIECE)
        while left:
            left -= len(await reader.read(1 << 20))
            await asyncio.sleep(0.01)
        writer.write(REPLY)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield PIECE

    async with scripted_socket(take, server={"request_timeout": 0.1}) as site:
        http = await site.http()
        headers = {"content-length": str(100 * len(PIECE))}
        async with http.post(f"{site.url}/files", data=pieces(), headers=headers) as response:
            assert response.status == web.HTTPOk.status_code
