"""Everything under /v1 but chat completions goes to the provider and back as it is, and says so."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from yarl import URL

from gateway.site import scripted_site

pytestmark = pytest.mark.anyio


async def echo_path(http: web.Request) -> web.Response:
    return web.json_response({"path": http.raw_path, "method": http.method})


@pytest.mark.parametrize(
    "path", ["../admin", "a/../../admin", "%2e%2e/admin", "a/.%2E/b", "./models", "a/..%2fb", ".."]
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
