"""No address in a request is ever gone to: where a call goes is the configuration's to say alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from gateway.site import QUESTION, completion, scripted_site
from sparecall.pipeline.upstream import _proxy_for

pytestmark = pytest.mark.anyio


def fields(trap: str) -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": f"{trap}/latest/meta-data"}}
    return [
        {"api_base": trap},
        {"base_url": trap, "api_key": "sk-other", "api_type": "azure", "api_version": "1"},
        {"extra_headers": {"host": trap, "authorization": "Bearer sk-other"}, "extra_body": {"base_url": trap}},
        {"custom_llm_provider": "openai", "litellm_params": {"api_base": trap}, "model": f"openai/{trap}"},
        {"fallbacks": [{"api_base": trap}], "callbacks": [trap], "webhook": trap, "proxy": trap},
        {"messages": [{"role": "user", "content": [image]}]},
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": trap}]},
    ]


async def test_addresses_in_a_body_or_header_are_passed_on_and_never_gone_to() -> None:
    caught: list[object] = []

    async def catch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(reader)
        writer.close()

    seen: list[web.BaseRequest] = []

    async def answer(http: web.Request) -> web.StreamResponse:
        seen.append(http)
        return web.json_response(completion())

    async with await asyncio.start_server(catch, "127.0.0.1", 0) as server:
        trap = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with scripted_site(answer, upstream={"api_key": "sk-own"}) as (site, script):
            http = await site.http()
            headers = {"x-forwarded-host": trap, "x-api-base": trap, "forwarded": f"host={trap}", "referer": trap,
                       "x-original-url": f"{trap}/", "x-rewrite-url": f"{trap}/"}  # fmt: skip
            for count, extra in enumerate(fields(trap), 1):
                async with http.post(
                    f"{site.url}/chat/completions", json={**QUESTION, **extra}, headers=headers
                ) as reply:
                    assert reply.status == 200
                async with http.post(f"{site.url}/responses?base_url={trap}", json=extra, headers=headers) as reply:
                    assert reply.status == 200
                assert script.calls == 2 * count
        for request in seen:
            assert request.headers["authorization"] == "Bearer sk-own"
            assert not [name for name, value in request.headers.items() if trap in value]
            assert request.path in {"/v1/chat/completions", "/v1/responses"}
    assert caught == []


def test_the_environment_s_proxy_is_for_providers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    assert _proxy_for("https://api.openai.com/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert _proxy_for("https://api.openai.com/v1") == "http://proxy:3128"
    assert _proxy_for("http://api.openai.com/v1") is None
    for local in ("https://127.0.0.1/v1", "https://localhost:8080/v1", "https://[::1]/v1"):
        assert _proxy_for(local) is None
    monkeypatch.setenv("NO_PROXY", "openai.com")
    assert _proxy_for("https://api.openai.com/v1") is None
