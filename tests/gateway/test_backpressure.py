"""Who does not read holds back what is made for it: nothing piles up in memory."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web

from gateway.site import HELLO, QUESTION, Site, completion, scripted_site, send_events, until

pytestmark = pytest.mark.anyio

BODY = msgspec.json.encode({**QUESTION, "stream": True})
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-alice\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


async def test_a_client_that_stops_reading_holds_the_provider_back() -> None:
    written = 0

    async def flood(http: web.Request) -> web.StreamResponse:
        nonlocal written
        response = await send_events(http, HELLO[:1])
        event = HELLO[1].replace(b"Hel", b"x" * 60_000)
        while True:
            await response.write(event)
            written += len(event)

    async with scripted_site(flood, cache={"max_reply_bytes": 1_000_000}) as (site, script):
        reader, writer = await site.raw()
        writer.write(POST + BODY)
        await reader.readexactly(1000)
        last = -1
        while written != last:
            last = written
            await asyncio.sleep(0.1)
        assert written < 60_000_000
        writer.transport.abort()
        await until(lambda: script.open == 0)


async def test_a_client_that_asks_on_without_reading_is_answered_no_further() -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        return web.json_response(completion("word " * 200_000))

    body = msgspec.json.encode(QUESTION)
    one = POST.replace(b"Length: %d" % len(BODY), b"Length: %d" % len(body)) + body
    async with scripted_site(long) as (site, _):
        assert (await (await site.sdk()).chat.completions.create(**QUESTION)).choices
        _, writer = await site.raw()
        writer.write(one * 200)
        answered = -1.0
        while answered != (now := await hits(site)):
            answered = now
            await asyncio.sleep(0.1)
        assert answered < 100, "200 MB would wait in memory"
        writer.transport.abort()


async def hits(site: Site) -> float:
    (line,) = [line for line in (await site.metrics()).splitlines() if line.startswith("sparecall_request_seconds_count")
               and "exact" in line] or ["0 0"]  # fmt: skip
    return float(line.split()[-1])
