"""Clients that leave and servers that stop leave nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.site import (
    DONE,
    HELLO,
    QUESTION,
    USAGE_CHUNK,
    Gate,
    Site,
    gateway_before,
    scripted_site,
    send_events,
    simulated_site,
    until,
)
from sparecall.pipeline import Coalesce, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web


pytestmark = pytest.mark.anyio

BODY = msgspec.json.encode({**QUESTION, "stream": True})
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-alice\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


def nothing_left(site: Site, before: set[asyncio.Task[object]]) -> Callable[[], bool]:
    """No call in flight, no stream being read, and no task that was not there before."""
    coalesce, upstream = site.gateway.pipeline.stage(Coalesce), site.gateway.pipeline.stage(Upstream)
    return lambda: len(coalesce) == 0 and not upstream._pumps and not (asyncio.all_tasks() - before)


async def endless(http: web.Request) -> web.StreamResponse:
    response = await send_events(http, HELLO[:2])
    while True:
        await response.write(HELLO[1])
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("sent", [1, 60, len(POST), len(POST) + 20])
async def test_a_client_that_leaves_while_it_asks_leaves_nothing_behind(sent: int) -> None:
    async with simulated_site() as (site, provider):
        before = asyncio.all_tasks()
        _, writer = await site.raw()
        writer.write((POST + BODY)[:sent])
        await writer.drain()
        await until(lambda: len(asyncio.all_tasks() - before) > 0)
        writer.close()
        await until(nothing_left(site, before))
        assert provider.calls.total() == 0


@pytest.mark.parametrize("received", [0, 1, 200, 1000, 5000])
async def test_a_client_that_leaves_while_it_is_answered_leaves_nothing_behind(received: int) -> None:
    async with scripted_site(endless) as (site, script):
        before = asyncio.all_tasks()
        reader, writer = await site.raw()
        writer.write(POST + BODY)
        if received:
            await reader.readexactly(received)
        else:
            await until(lambda: script.open == 1)
        writer.transport.abort()
        await until(lambda: script.open == 0)
        await until(nothing_left(site, before))
        assert script.calls == 1


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_a_client_that_leaves_while_a_whole_answer_is_made_gives_the_call_up(path: str) -> None:
    gate = Gate()
    async with scripted_site(gate) as (site, script):
        before = asyncio.all_tasks()
        _, writer = await site.raw()
        whole = msgspec.json.encode(QUESTION)
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk\r\nContent-Length: {len(whole)}\r\n\r\n"
        writer.write(head.encode() + whole)
        await until(lambda: script.open == 1)
        writer.transport.abort()
        await until(lambda: script.open == 0)
        await until(nothing_left(site, before))
        assert script.calls == 1


async def test_a_gateway_that_stops_ends_streams_within_its_grace_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with scripted_site(endless, server={"shutdown_grace": 0.1}) as (site, script):
        reader, writer = await site.raw(outlives=True)
        writer.write(POST + BODY)
        await reader.readexactly(1000)
        gateway = site.gateway
    rest = await reader.read()
    assert DONE not in rest
    writer.close()
    assert not gateway.ready
    assert script.open == 0
    assert not asyncio.all_tasks() - before


async def test_a_stream_that_ends_within_the_grace_is_whole_and_saved(tmp_path: object) -> None:
    go_on = asyncio.Event()

    async def slow(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:2])
        await go_on.wait()
        await response.write(b"".join([*HELLO[2:], USAGE_CHUNK, DONE]))
        return response

    snapshot = {"snapshot": f"{tmp_path}/cache.bin"}
    async with scripted_site(slow, cache=snapshot, server={"shutdown_grace": 5}) as (site, _):
        upstream = site.gateway.pipeline.stage(Upstream).url
        reader, writer = await site.raw(outlives=True)
        writer.write(POST + BODY)
        await reader.readuntil(HELLO[1])
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert DONE in await reader.read()
    writer.close()
    async with gateway_before(upstream, cache=snapshot) as site:
        raw = await (await site.sdk()).chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-sparecall-cache"] == "exact"


async def test_readiness_follows_the_gateway_s_life() -> None:
    async with simulated_site() as (site, _):
        http = await site.http(None)
        async with http.get(f"{site.root}/readyz") as response:
            assert (response.status, await response.json()) == (200, {"ready": True})
        site.gateway.ready = False
        async with http.get(f"{site.root}/readyz") as response:
            assert (response.status, await response.json()) == (503, {"ready": False})
        async with http.get(f"{site.root}/healthz") as response:
            assert (response.status, (await response.json())["status"]) == (200, "ok")


async def test_a_handler_that_is_cancelled_hands_its_call_over() -> None:
    gate = Gate()
    async with scripted_site(gate) as (site, script):
        _, writer = await site.raw()
        writer.write(POST + BODY)
        await until(lambda: site.waiting() == 1)
        client = await site.sdk()
        following = asyncio.create_task(client.chat.completions.with_raw_response.create(**QUESTION))
        await until(lambda: site.waiting() == 2)
        writer.transport.abort()
        await until(lambda: site.waiting() == 1)
        gate.opened.set()
        raw = await following
        assert raw.headers["x-sparecall-cache"] == "miss", "who is left stands for the call"
        assert raw.parse().choices
        again = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert again.headers["x-sparecall-cache"] == "exact"
        assert script.calls == 1


async def test_a_client_that_gives_up_gives_the_call_up() -> None:
    async with scripted_site(endless) as (site, script):
        client = await site.sdk()
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        assert [await anext(stream) for _ in range(3)]
        await stream.close()
        await until(lambda: script.open == 0)
