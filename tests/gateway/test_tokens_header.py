"""`x-sparecall-tokens`: what a whole answer took, on every kind of hit, as the provider counted it."""

from __future__ import annotations

import msgspec
import pytest
from aiohttp import web

from gateway.site import QUESTION, completion, scripted_site, simulated_site

pytestmark = pytest.mark.anyio


async def test_a_whole_answer_says_its_tokens_and_a_live_stream_cannot_yet() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        live = await client.chat.completions.with_raw_response.create(**QUESTION, stream=True)
        assert "x-sparecall-tokens" not in live.headers
        assert [part async for part in live.parse()]
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-sparecall-cache"] == "exact"
        usage = raw.parse().usage
        assert usage is not None
        said = f"input={usage.prompt_tokens}, output={usage.completion_tokens}"
        assert raw.headers["x-sparecall-tokens"] == said
        replayed = await client.chat.completions.with_raw_response.create(**QUESTION, stream=True)
        assert replayed.headers["x-sparecall-tokens"] == said
        miss = await client.chat.completions.with_raw_response.create(**QUESTION, seed=5)
        assert miss.headers["x-sparecall-cache"] == "miss"
        assert miss.headers["x-sparecall-tokens"].startswith(f"input={usage.prompt_tokens}, output=")
        bypass = await client.chat.completions.with_raw_response.create(**QUESTION, temperature=2)
        assert bypass.headers["x-sparecall-cache"] == "bypass"
        assert "x-sparecall-tokens" in bypass.headers


async def test_an_answer_without_usage_and_an_error_say_nothing_of_tokens() -> None:
    async def reply(http: web.Request) -> web.StreamResponse:
        if b"fail" in await http.read():
            return web.json_response({"error": {"message": "no"}}, status=400)
        answer = completion()
        del answer["usage"]
        return web.json_response(answer)

    async with scripted_site(reply) as (site, _):
        http = await site.http()
        for question in ("whole", "whole", "fail"):
            body = msgspec.json.encode({**QUESTION, "messages": [{"role": "user", "content": question}]})
            async with http.post(f"{site.url}/chat/completions", data=body) as response:
                assert response.status == (400 if question == "fail" else 200)
                assert "x-sparecall-tokens" not in response.headers
        assert "sparecall_tokens_total{" not in await site.metrics()
