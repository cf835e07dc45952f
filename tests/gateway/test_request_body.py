"""How much a client may send, and what of it is read: sizes count once decompressed, and no size is believed."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import sys
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD

from gateway.site import QUESTION, completion, scripted_site, simulated_site, until
from gateway.test_http import POST, error_of, exchange, read_reply
from sparecall import queue
from sparecall.gateway import body as request_body

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

MISSING = [name for name, there in (("br", HAS_BROTLI), ("zstd", HAS_ZSTD)) if not there]
LIMIT = {"max_body_bytes": 100_000}


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    async with simulated_site(server=LIMIT) as (site, provider):
        for length in (100_001, 10**15):
            reader, writer = await site.raw()
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % length)
            status, head, said = await read_reply(reader)
            assert (status, error_of(said)["code"]) == (413, "too_large")
            assert b"connection: close" in head
        assert provider.calls.total() == 0


async def test_a_body_in_endless_chunks_is_refused_at_the_limit() -> None:
    async with simulated_site(server=LIMIT) as (site, _):
        reader, writer = await site.raw()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"2710\r\n%b\r\n" % (b" " * 10_000) * 11)
        status, _, said = await read_reply(reader)
        assert (status, error_of(said)["code"]) == (413, "too_large")


BOMBS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
if HAS_ZSTD:
    zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    BOMBS["zstd"] = zstd.compress


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_bomb_is_undone_up_to_the_limit_and_no_further(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = BOMBS[coding](bytes(60_000_000))
    undone = 0
    usual = asyncio.sleep

    async def sleep(seconds: float) -> None:  # stands between one piece and the next
        nonlocal undone
        undone += 1
        await usual(seconds)

    async with simulated_site(server={"max_body_bytes": 3_000_000}) as (site, provider):
        monkeypatch.setattr(request_body.asyncio, "sleep", sleep)
        data = POST + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(bomb)) + bomb
        status, _, said = await exchange(site, data)
        assert (status, error_of(said)["code"]) == (413, "too_large")
        assert 0 < undone < 20
        assert provider.calls.total() == 0


@pytest.mark.parametrize("path", ["chat/completions", "files"])
@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "x", *MISSING])
async def test_a_coding_that_cannot_be_undone_is_a_415(path: str, coding: str) -> None:
    async with simulated_site() as (site, provider):
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: gateway\r\nContent-Encoding: {coding}\r\nContent-Length: 9\r\n\r\n"
        status, said_head, said = await exchange(site, head.encode() + b"(\xb5/\xfd\0\0\0\0\0")
        assert (status, error_of(said)["code"]) == (415, "unsupported_encoding")
        assert b"private, no-store" in said_head
        assert provider.calls.total() == 0


async def test_a_chunk_that_is_none_ends_the_wait_for_the_rest() -> None:
    async with simulated_site() as (site, _):
        reader, writer = await site.raw()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await until(lambda: len(asyncio.all_tasks()) > 2)
        await asyncio.sleep(0.02)
        writer.write(b"no size\r\n")
        status, _, said = await read_reply(reader)
        assert (status, error_of(said)["code"]) == (400, "invalid_body")


ODD = {
    "nested deep": b'{"model": "gpt-4o", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "never closed": b"[" * 100_000,
    "NaN": b'{"model": "gpt-4o", "temperature": NaN}',
    "Infinity": b'{"model": "gpt-4o", "temperature": -Infinity}',
    "a number without end": b'{"model": "gpt-4o", "seed": 1' + b"0" * 200_000 + b"x}",
    "a key twice": b'{"model": "gpt-4o", "mod\\u0065l": "gpt-4o-mini"}',
}


@pytest.mark.parametrize("name", ODD)
async def test_json_that_no_reader_should_guess_at_is_a_400(name: str) -> None:
    body = ODD[name]
    async with simulated_site() as (site, provider):
        status, _, said = await exchange(site, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (status, error_of(said)["code"]) == (400, "invalid_body")
        assert len(said) < 500
        assert provider.calls.total() == 0


PASSED = {
    "1e999": b'{"model": "gpt-4o", "temperature": 1e999, "messages": [{"role": "user", "content": "x"}]}',
    "-1e999": b'{"model": "gpt-4o", "seed": -1e999, "messages": [{"role": "user", "content": "x"}]}',
    "a lone surrogate": b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "no object": b'"hello"',
    "empty messages": b'{"model": "gpt-4o", "messages": []}',
    "an unknown model": b'{"model": "no-such-model", "messages": [{"role": "user", "content": "x"}]}',
}


@pytest.mark.parametrize("name", PASSED)
async def test_json_that_is_only_odd_reaches_the_provider_byte_for_byte(name: str) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "odd"}}, status=400)

    async with scripted_site(refuse) as (site, script):
        http = await site.http()
        async with http.post(f"{site.url}/chat/completions", data=PASSED[name]) as response:
            assert (response.status, await response.json()) == (400, {"error": {"message": "odd"}})
        assert script.bodies == [PASSED[name]]


async def test_a_large_body_is_read_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    away: list[float] = []
    usual = queue.run

    async def run(work: queue.Work[Any], **options: Any) -> Any:
        away.append(work.seconds)
        return await usual(work, **options)

    monkeypatch.setattr(queue, "run", run)
    large = msgspec.json.encode({**QUESTION, "messages": [{"role": "user", "content": "x" * 300_000}]})

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(completion())

    async with scripted_site(answer) as (site, script):
        http = await site.http()
        for data in (large, msgspec.json.encode(QUESTION), large):
            async with http.post(f"{site.url}/chat/completions", data=data) as response:
                assert response.status == 200
        assert len(away) == 2
        assert script.calls == 2
