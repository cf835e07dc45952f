"""Requests that two readers could read differently are refused, and nothing of a request becomes a header of another."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web

from gateway.site import completion, scripted_site, scripted_socket, simulated_site
from gateway.test_http import BODY, POST, error_of, exchange, read_reply

pytestmark = pytest.mark.anyio

LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

AMBIGUOUS = {
    "a length beside chunks": LENGTH + CHUNKED + b"\r\n" + IN_CHUNKS,
    "chunks beside a length": CHUNKED + LENGTH + b"\r\n" + IN_CHUNKS,
    "two lengths": LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "the same length twice": LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": b"Content-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY,
    "a signed length": b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a length in hexadecimal": b"Content-Length: 0x10\r\n\r\n" + BODY,
    "a negative length": b"Content-Length: -1\r\n\r\n" + BODY,
    "an unknown transfer encoding": b"Transfer-Encoding: x\r\n\r\n" + IN_CHUNKS,
    "chunked, but not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n" + IN_CHUNKS,
    "chunked twice": CHUNKED + CHUNKED + b"\r\n" + IN_CHUNKS,
    "a space before the colon": b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY,
    "a folded line": b"X-A: 1\r\n 2\r\n" + LENGTH + b"\r\n" + BODY,
    "a bare carriage return": b"X-A: 1\r2\r\n" + LENGTH + b"\r\n" + BODY,
    "a bare line feed": b"X-A: 1\nX-B: 2\r\n" + LENGTH + b"\r\n" + BODY,
    "a zero byte": b"X-A: 1\x002\r\n" + LENGTH + b"\r\n" + BODY,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_whose_end_is_a_matter_of_opinion_is_refused_and_the_connection_closed(name: str) -> None:
    async with simulated_site() as (site, provider):
        reader, writer = await site.raw()
        writer.write(POST + b"Authorization: Bearer sk\r\n" + AMBIGUOUS[name])
        status, _, said = await read_reply(reader)
        assert (status, error_of(said)["code"]) == (400, "bad_http")
        assert await reader.read() == b"", "what follows is not taken for a request"
        assert provider.calls.total() == 0


@pytest.mark.parametrize("host", [b"x/#@y", b"a b", b"http://evil", b"evil:80@gateway", b"[::1", b"%00", b"", b"x?y#z"])
async def test_a_host_of_any_kind_changes_nothing(host: bytes) -> None:
    seen: list[str] = []

    async def note(http: web.Request) -> web.StreamResponse:
        seen.append(http.headers["host"])
        return web.json_response(completion())

    async with scripted_site(note) as (site, script):
        base = site.gateway.pipeline.stages[-1].url.removeprefix("http://").removesuffix("/v1")  # type: ignore[attr-defined]
        data = (
            POST.replace(b"Host: gateway", b"Host: " + host) + b"Authorization: Bearer sk\r\n" + LENGTH + b"\r\n" + BODY
        )
        listing = b"GET /v1/models HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        for request in (data, listing):
            reader, writer = await site.raw()
            writer.write(request)
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
            assert status in {200, 400}
        assert set(seen) <= {base}
        assert script.calls == len(seen)


@pytest.mark.parametrize(
    "target", [b"http://evil.invalid/v1/models", b"//evil.invalid/v1/models", b"evil.invalid:443", b"*"]
)
async def test_an_address_in_the_request_line_is_not_gone_to(target: bytes) -> None:
    async def note(http: web.Request) -> web.StreamResponse:
        return web.json_response({"host": http.host})

    async with scripted_site(note) as (site, script):
        reader, writer = await site.raw()
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 10)
        assert b"evil" not in said
        assert b'{"host": "127.0.0.1' in said if script.calls else b" 40" in said


@pytest.mark.parametrize("value", ["sk\r\nx-evil: 1", "sk\nx-evil: 1", "sk\rx-evil: 1", "sk\x00"])
async def test_a_line_end_in_a_value_makes_no_header(value: str) -> None:
    heads: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with scripted_socket(take) as site:
        for name in ("Authorization: Bearer ", "OpenAI-Organization: ", "X-Sparecall-Scope: ", "X-Client-Request-Id: "):
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{name}{value}\r\n"
            status, _, _ = await exchange(site, head.encode() + LENGTH + b"\r\n" + BODY)
            assert status >= 400
    for head in heads:  # only CR LF ends a line: there the rest was a header of the request's own, and is not passed on
        assert value.startswith("sk\r\n")
        assert b"evil" not in head


async def test_hop_by_hop_headers_cross_in_neither_direction_and_named_ones_neither() -> None:
    body = msgspec.json.encode(completion())
    heads: list[bytes] = []
    hop = (
        b"connection: keep-alive, x-request-id\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n"
        b"trailer: x-a\r\nupgrade: h2c\r\nproxy-authorization: Basic eDp5\r\nte: trailers\r\n"
    )

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 1\r\nset-cookie: a=b\r\n"
        writer.write(reply + hop + b"content-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    named = hop.replace(b"x-request-id", b"openai-project").replace(b"upgrade: h2c\r\n", b"")
    async with scripted_socket(take) as site:
        for request in (POST + LENGTH, b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n"):
            reader, writer = await site.raw()
            writer.write(
                request + named + b"openai-project: p\r\ncookie: c=d\r\n\r\n" + (BODY if LENGTH in request else b"")
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert b" 200 " in head
            for name in (
                b"keep-alive:",
                b"proxy-",
                b"trailer:",
                b"upgrade:",
                b"set-cookie:",
                b"x-request-id:",
                b"connection: keep",
            ):
                assert name not in head
    for head in heads:
        for name in (b"keep-alive:", b"proxy-", b"trailer:", b"te:", b"cookie:", b"openai-project:"):
            assert b"\r\n" + name not in head
    assert len(heads) == 2
