"""Everything under /v1 but chat completions goes to the provider and back as it is, and says so."""

from __future__ import annotations

import asyncio

import openai
import pytest
from aiohttp import web
from yarl import URL

from gateway.site import Script, gateway_before, scripted, scripted_site, send_events, simulated_site, until

pytestmark = pytest.mark.anyio


async def echo_path(http: web.Request) -> web.Response:
    return web.json_response({"path": http.raw_path, "method": http.method})


@pytest.mark.parametrize(
    "path", ["../admin", "a/../../admin", "%2e%2e/admin", "a/.%2E/b", "./models", "a/..%2fb", "..", "../%761/models"]
)
async def test_no_path_leads_out_of_the_base_url_of_the_provider(path: str) -> None:
    async with scripted_site(echo_path) as (site, script):
        http = await site.http()
        async with http.get(URL(f"{site.url}/{path}", encoded=True)) as response:
            assert response.status == 404
            assert (await response.json())["error"]["code"] == "not_found"
        assert script.calls == 0


async def test_path_and_query_reach_the_provider_as_they_were_sent() -> None:
    async with scripted_site(echo_path) as (site, _):
        http = await site.http()
        for path in ("/files/a%2Fb?x=%2B&y=", "/files/..a/.b", "/a%20b"):
            async with http.get(URL(site.url + path, encoded=True)) as response:
                assert (await response.json())["path"] == "/v1" + path


@pytest.mark.parametrize("how", ["reset", "silence"])
async def test_a_reply_that_the_provider_breaks_off_is_broken_off_for_the_client(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def half(http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(http)
        await response.write(b"first half")
        if how == "silence":
            await asyncio.sleep(10)
        assert http.transport is not None
        http.transport.abort()
        return response

    async with scripted_site(half, upstream={"read_timeout": 0.05}) as (site, _):
        reader, writer = await site.raw()
        writer.write(b"GET /v1/files/1/content HTTP/1.1\r\nHost: gateway\r\n\r\n")
        received = await reader.read()
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\na\r\nfirst half\r\n"), "neither an end nor a second reply"
    assert {record.levelname for record in caplog.records} == {"WARNING"}


async def test_models_pass_through_and_say_so() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        assert "gpt-4o" in [model.id async for model in await client.models.list()]
        assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("no-such-model")
        raw = await client.models.with_raw_response.list()
        assert (raw.headers["x-sparecall-cache"], raw.headers["x-sparecall-reason"]) == ("bypass", "wire")


async def test_the_synchronous_sdk_passes_through_alike() -> None:
    async with simulated_site() as (site, _):
        client = site.sync_sdk()
        assert "gpt-4o" in [model.id for model in await asyncio.to_thread(lambda: list(client.models.list()))]


async def test_a_body_of_any_type_passes_both_ways_as_it_is() -> None:
    async def mirror(http: web.Request) -> web.Response:
        return web.Response(body=await http.read(), content_type=http.content_type, status=206)

    content = bytes(range(256)) * 500
    async with scripted_site(mirror) as (site, _):
        http = await site.http()
        headers = {"content-type": "audio/mpeg"}
        async with http.put(f"{site.url}/files/1", data=content, headers=headers) as response:
            assert (response.status, response.content_type) == (206, "audio/mpeg")
            assert await response.read() == content


async def test_a_stream_of_another_wire_comes_as_it_is_made() -> None:
    go_on = asyncio.Event()

    async def events(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, [b"event: speech.audio.delta\ndata: {}\n\n"])
        await go_on.wait()
        await response.write(b"data: [DONE]\n\n")
        return response

    async with scripted_site(events) as (site, _):
        http = await site.http()
        async with http.post(f"{site.url}/audio/speech", json={"stream": True}) as response:
            assert response.content_type == "text/event-stream"
            assert await response.content.readuntil(b"\n\n") == b"event: speech.audio.delta\ndata: {}\n\n"
            go_on.set()
            assert await response.read() == b"data: [DONE]\n\n"


async def test_a_client_that_leaves_gives_up_the_call() -> None:
    async def endless(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, [b"x" * 100])
        while True:
            await response.write(b"x" * 100)
            await asyncio.sleep(0.002)

    async with scripted_site(endless) as (site, script):
        http = await site.http()
        async with http.get(f"{site.url}/files/1/content") as response:
            await response.content.readexactly(500)
            response.close()
        await until(lambda: script.open == 0)


async def test_what_is_not_read_keeps_to_the_limit_of_calls_and_to_what_the_provider_says_of_it() -> None:
    said: list[web.Response] = []

    async def answer(_: web.Request) -> web.Response:
        return said.pop() if said else web.json_response({"any": "thing"})

    script = Script(answer)
    async with scripted(script) as upstream:
        limit = {"requests": 3, "per": 3600, "burst": 1.0, "tokens": 1, "max_wait": 0}
        async with gateway_before({"a": {"url": upstream, "limit": limit}}) as site:
            http = await site.http()
            for _ in range(5):
                async with http.get(f"{site.url}/files") as response:
                    assert response.status == 200, "reading is not counted"
            for expected in (200, 200, 200, 429):
                async with http.post(f"{site.url}/moderations", data=b"x" * 100_000) as response:
                    assert response.status == expected, "nor are tokens"
                    said_last = await response.json()
            assert said_last["error"]["code"] == "limit_exceeded"
            assert int(response.headers["retry-after"]) > 1000
            assert script.calls == 8
        async with gateway_before({"a": {"url": upstream, "limit": {**limit, "requests": 100}}}) as site:
            http = await site.http()
            said.append(web.json_response({}, status=429, headers={"retry-after": "30"}))
            for expected in (429, 429):
                async with http.post(f"{site.url}/moderations", json={}) as response:
                    assert response.status == expected
                    said_last = await response.json()
            assert said_last["error"]["code"] == "limit_exceeded", "the provider said it once"
            assert script.calls == 9


async def test_what_is_not_read_goes_past_the_breaker_and_by_the_deadline() -> None:
    down = True

    async def answer(_: web.Request) -> web.Response:
        if not down:
            await asyncio.sleep(30)
        return web.json_response({}, status=500 if down else 200)

    script = Script(answer)
    async with scripted(script) as upstream:
        breaker = {"minimum_calls": 3, "open_for": 60}
        async with gateway_before({"a": {"url": upstream, "breaker": breaker}}) as site:
            http = await site.http()
            for expected in (500, 500, 500, 503):
                async with http.get(f"{site.url}/models") as response:
                    assert response.status == expected
                    said_last = await response.json()
            assert said_last["error"]["code"] == "breaker_open"
            assert script.calls == 3
        down = False
        for upstreams in ({"a": {"url": upstream}}, upstream):
            async with gateway_before(upstreams) as site:
                http = await site.http()
                async with http.get(f"{site.url}/models", headers={"x-sparecall-deadline": "0.05"}) as response:
                    assert response.status == 504
                await until(lambda: script.open == 0)
