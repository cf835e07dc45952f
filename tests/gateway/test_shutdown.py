"""A gateway that is told to stop: what runs may end, what remains is told so, what comes is refused."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gateway.site import (
    DONE,
    HELLO,
    KEY,
    QUESTION,
    USAGE_CHUNK,
    Gate,
    Script,
    scripted,
    scripted_site,
    send_events,
    until,
)
from served import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

STREAMS = 200


class Halves:
    """An upstream whose streams of an even `seed` end when they may, and whose others never do."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        even = (await http.json())["seed"] % 2 == 0
        response = await send_events(http, HELLO[:2])
        await (self.may_end if even else asyncio.Event()).wait()
        await response.write(b"".join([*HELLO[2:], USAGE_CHUNK, DONE]))
        return response


@asynccontextmanager
async def open_streams(url: str) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """Streams that have begun."""
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        AsyncExitStack() as exits,
        aiohttp.ClientSession(connector=connector, headers={"authorization": f"Bearer {KEY}"}) as session,
    ):

        async def one(seed: int) -> aiohttp.ClientResponse:
            body = {**QUESTION, "stream": True, "seed": seed}
            response = await exits.enter_async_context(session.post(f"{url}/chat/completions", json=body))
            await response.content.readuntil(b"\n\n")
            return response

        yield list(await asyncio.gather(*map(one, range(STREAMS))))


async def nobody_listens(url: str) -> None:
    """Waits until the gateway there takes no connection any more."""
    health = url.removesuffix("/v1") + "/healthz"
    async with aiohttp.ClientSession(headers={"connection": "close"}) as session:
        while True:
            try:
                async with session.get(health):
                    await asyncio.sleep(0.01)
            except aiohttp.ClientConnectionError:
                return


async def assert_the_even_are_whole_and_the_others_are_told(streams: list[aiohttp.ClientResponse]) -> None:
    for seed, rest in enumerate(await asyncio.gather(*[stream.content.read() for stream in streams])):
        if seed % 2 == 0:
            assert rest.endswith(DONE)
            assert b'"error"' not in rest
        else:
            assert DONE not in rest
            last = rest.rstrip(b"\n").rpartition(b"data: ")[2]
            assert msgspec.json.decode(last)["error"]["type"] == "upstream_error"


async def test_of_200_streams_half_end_within_the_grace_and_half_with_an_error_event() -> None:
    halves = Halves()
    async with AsyncExitStack() as streams_exits:
        async with scripted_site(halves, server={"shutdown_grace": 1.0}) as (site, _):
            streams = await streams_exits.enter_async_context(open_streams(site.url))
            asyncio.get_running_loop().call_later(0.1, halves.may_end.set)
        await assert_the_even_are_whole_and_the_others_are_told(streams)


async def test_a_process_with_200_open_streams_ends_well(tmp_path: Path) -> None:
    halves = Halves()
    path = tmp_path / "sparecall.toml"
    path.write_text("[server]\nshutdown_grace = 1.5\n")
    async with (
        scripted(Script(halves)) as upstream,
        serve("--config", str(path), "--upstream", upstream) as served,
        open_streams(served.url) as streams,
    ):
        ended = asyncio.create_task(served.end())
        await nobody_listens(served.url)
        halves.may_end.set()
        await assert_the_even_are_whole_and_the_others_are_told(streams)
        assert await ended == 0


async def test_a_kept_connection_is_refused_new_work_and_told_to_close() -> None:
    gate = Gate()
    async with AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}))
        site_exits = AsyncExitStack()
        site, script = await site_exits.enter_async_context(scripted_site(gate, server={"shutdown_grace": 5}))
        running = asyncio.create_task(session.post(f"{site.url}/chat/completions", json=QUESTION))
        await until(lambda: script.calls == 1)
        reader, writer = await site.raw(outlives=True)
        exits.callback(writer.close)
        ready = b"GET /readyz HTTP/1.1\r\nHost: gateway\r\n\r\n"
        writer.write(ready)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readuntil(b"}") == b'{"ready": true}'
        stopped = asyncio.create_task(site_exits.aclose())
        await until(lambda: not site.gateway.ready)
        writer.write(ready)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        assert await reader.readuntil(b"}") == b'{"ready": false}'
        with pytest.raises(OSError, match=r"(?i)connect"):
            await site.raw()
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in head.lower()
        assert msgspec.json.decode(body)["error"]["code"] == "stopping"
        gate.opened.set()
        async with await running as response:
            assert response.status == 200
        await stopped
        assert script.calls == 1


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
async def test_a_call_without_a_first_byte_when_the_grace_is_over_is_an_error_reply(path: str) -> None:
    async with AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}))
        async with scripted_site(Gate(), server={"shutdown_grace": 0}) as (site, script):
            running = asyncio.create_task(session.post(f"{site.url}/{path}", json=QUESTION))
            await until(lambda: script.calls == 1)
        async with await running as response:
            assert response.status == 503
            assert response.headers["connection"] == "close"
            assert (await response.json())["error"]["code"] == "stopping"


@pytest.mark.parametrize("kind", ["text/event-stream", "application/octet-stream"])
async def test_a_stream_that_is_passed_on_ends_with_the_grace_and_with_an_error_event_where_it_has_events(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparecall.gateway.shutdown.LINGER", 3600.0)  # not only when that is over, too

    async def endless(http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(http)
        await response.write(b"data: 1\n\n")
        await asyncio.Event().wait()
        return response

    async with asyncio.timeout(20), AsyncExitStack() as exits:
        session = await exits.enter_async_context(aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}))
        async with scripted_site(endless, server={"shutdown_grace": 0}) as (site, _):
            response = await exits.enter_async_context(session.post(f"{site.url}/audio/speech", json={}))
            assert await response.content.readuntil(b"\n\n") == b"data: 1\n\n"
        if kind == "text/event-stream":
            assert (await response.content.read()).startswith(b'event: error\ndata: {"error":')
        else:
            with pytest.raises(aiohttp.ClientPayloadError):  # cut off, which no client takes for its end
                await response.content.read()


async def test_a_client_that_does_not_read_cannot_hold_the_gateway_back() -> None:
    async def flood(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:1])
        while True:
            await response.write(HELLO[1] * 1000)

    before = asyncio.all_tasks()
    async with scripted_site(flood, server={"shutdown_grace": 0}) as (site, script):
        _, writer = await site.raw(outlives=True)
        body = msgspec.json.encode({**QUESTION, "stream": True})
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await until(lambda: script.calls == 1)
    writer.close()
    assert script.open == 0
    assert not asyncio.all_tasks() - before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    gate = Gate()
    script = Script(gate)
    async with (
        scripted(script) as upstream,
        serve("--upstream", upstream) as served,
        aiohttp.ClientSession() as session,
    ):
        running = asyncio.create_task(session.post(f"{served.url}/chat/completions", json=QUESTION))
        await until(lambda: script.calls == 1)
        served.process.send_signal(number)
        await nobody_listens(served.url)
        assert await served.end(number) == -number
        with pytest.raises(aiohttp.ClientConnectionError):
            await running
    gate.opened.set()
