"""What the provider refuses, and how it fails, reaches the SDK as the SDK's own errors."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import openai
import pytest
from aiohttp import web

from gateway.site import QUESTION, completion, gateway_before, scripted_site, simulated_site
from simulated import INSTANT
from sparecall import simulate

pytestmark = pytest.mark.anyio


async def refused(client: openai.AsyncOpenAI, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(**QUESTION, **options)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
async def test_a_429_keeps_its_headers_and_is_not_stored(stream: bool) -> None:
    provider = simulate.Provider(latency=INSTANT, requests_per_minute=1)
    async with simulated_site(provider) as (site, _):
        client = await site.sdk()
        await client.models.list()
        await client.chat.completions.create(**QUESTION)
        other = {"extra_headers": {"x-sparecall-scope": "other"}, "stream": stream}
        for calls in (2, 3):
            error = await refused(client, **other)
            assert isinstance(error, openai.RateLimitError)
            assert error.code == "rate_limit_exceeded"
            headers = error.response.headers
            assert int(headers["retry-after"]) > 0
            assert int(headers["retry-after-ms"]) > 0
            assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("1", "0")
            assert headers["x-request-id"] == error.request_id
            assert headers["x-sparecall-cache"] == "miss"
            assert provider.calls.total() == calls


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("server_error", openai.InternalServerError, 500),
        ("overloaded", openai.InternalServerError, 503),
        ("disconnect", openai.InternalServerError, 502),
        ("cut_stream", openai.InternalServerError, 502),
        ("bad_length", openai.InternalServerError, 502),
        ("html", None, 200),
        ("garbage", None, 200),
        ("truncated_json", None, 200),
    ],
)
async def test_a_fault_is_shown_and_the_next_call_succeeds(
    fault: str, kind: type[Exception] | None, status: int
) -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        if kind is not None:
            error = await refused(client, extra_headers={"x-simulate-fault": fault})
            assert (type(error), error.status_code) == (kind, status)
        else:
            raw = await client.chat.completions.with_raw_response.create(
                **QUESTION, extra_headers={"x-simulate-fault": fault}
            )
            assert (raw.status_code, raw.headers["x-sparecall-cache"]) == (status, "miss")
        assert (await client.chat.completions.create(**QUESTION)).choices
        assert provider.calls.total() == 2


async def test_a_provider_that_is_down_is_a_502() -> None:
    async with gateway_before("http://127.0.0.1:1/v1") as site:
        for stream in (False, True):
            error = await refused(await site.sdk(), stream=stream)
            assert (error.status_code, error.code, error.type) == (502, "upstream_unreachable", "upstream_error")
            assert error.response.headers["x-sparecall-cache"] == "bypass"


async def test_a_provider_that_says_nothing_is_a_504() -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with scripted_site(silent, upstream={"read_timeout": 0.05}) as (site, script):
        client = await site.sdk()
        for stream in (False, True):
            error = await refused(client, stream=stream)
            assert (error.status_code, error.code) == (504, "upstream_timeout")
        http = await site.http()
        async with http.get(f"{site.url}/models") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (504, "upstream_timeout")
        assert script.calls == 3


async def test_the_sdk_retries_a_429_and_then_gets_its_answer() -> None:
    calls = 0

    async def second_time(_: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 1:
            return web.json_response({"error": {"message": "slow"}}, status=429, headers={"retry-after-ms": "1"})
        return web.json_response(completion())

    async with scripted_site(second_time) as (site, _):
        client = await site.sdk(max_retries=1)
        assert (await client.chat.completions.create(**QUESTION)).choices[0].message.content == "Hello."


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    async with scripted_site(redirect) as (site, script):
        http = await site.http()
        async with http.post(f"{site.url}/chat/completions", json=QUESTION, allow_redirects=False) as response:
            assert response.status == 302
        assert script.calls == 1


async def test_the_gateway_s_own_key_replaces_the_client_s_and_other_headers_do_not_cross() -> None:
    seen: dict[str, str] = {}

    async def note(http: web.Request) -> web.StreamResponse:
        seen.update({name.lower(): value for name, value in http.headers.items()})
        return web.json_response(completion(), headers={"set-cookie": "a=b", "server-timing": "x"})

    async with scripted_site(note, upstream={"api_key": "sk-own"}) as (site, _):
        client = await site.sdk()
        raw = await client.chat.completions.with_raw_response.create(
            **QUESTION, extra_headers={"cookie": "c=d", "x-forwarded-for": "10.0.0.1", "openai-organization": "org-1"}
        )
        assert (seen["authorization"], seen["openai-organization"]) == ("Bearer sk-own", "org-1")
        assert not {"cookie", "x-forwarded-for", "x-stainless-lang"} & set(seen)
        assert not {"set-cookie", "server-timing"} & set(raw.headers)


async def test_a_header_of_the_provider_that_is_no_text_is_left_out() -> None:
    body = msgspec.json.encode(completion())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: \xff\xfe\r\nconnection: close\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with gateway_before(f"http://{host}:{port}/v1") as site:
            raw = await (await site.sdk()).chat.completions.with_raw_response.create(**QUESTION)
            assert "x-request-id" not in raw.headers
            assert raw.parse().choices
