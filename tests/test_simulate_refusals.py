"""What the simulated provider refuses, each as the SDK's own exception, and how long it takes otherwise."""

from __future__ import annotations

from typing import Any

import aiohttp
import openai
import pytest

from simulated import QUESTION, Timer, posting, running, text_of
from sparecall import simulate

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"model": ""}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 1000}, "n"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
    ],
)
async def test_a_bad_request_names_the_field(change: dict[str, Any], param: str) -> None:
    async with running() as (provider, client):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post("/chat/completions", body={**QUESTION, **change}, cast_to=object)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert provider.calls == {}


@pytest.mark.parametrize("missing", ["model", "messages"])
async def test_a_missing_field_is_named(missing: str) -> None:
    async with running() as (_, client):
        body = {name: value for name, value in QUESTION.items() if name != missing}
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post("/chat/completions", body=body, cast_to=object)
        assert caught.value.param == missing


@pytest.mark.parametrize("value", ["", [], [""], ["a", 1], [[]], [1.5]])
async def test_an_embedding_needs_an_input(value: Any) -> None:
    async with running() as (_, client):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post("/embeddings", body={"model": "m", "input": value}, cast_to=object)
        assert caught.value.param == "input"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"model": "\\ud800"}', b"NaN"])
async def test_a_body_that_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    async with posting() as (session, url), session.post(url + "/chat/completions", data=body) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]["type"] == "invalid_request_error"


async def test_other_paths_and_methods_answer_with_error_objects() -> None:
    async with posting() as (session, url):
        for method, path, status in [
            ("GET", "/nothing", 404),
            ("POST", "/models", 405),
            ("GET", "/chat/completions", 405),
        ]:
            async with session.request(method, url + path) as reply:
                assert reply.status == status
                assert path in (await reply.json())["error"]["message"]


async def test_a_key_is_demanded_unless_told_otherwise() -> None:
    async with (
        running() as (_, client),
        running(require_key=False) as (_, open_client),
        aiohttp.ClientSession() as session,
    ):
        for header in ({}, {"authorization": "Bearer "}, {"authorization": "Basic abc"}):
            async with session.post(f"{client.base_url}chat/completions", json=QUESTION, headers=header) as reply:
                assert reply.status == 401
            async with session.post(f"{open_client.base_url}chat/completions", json=QUESTION, headers=header) as reply:
                assert reply.status == 200
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(default_headers={"authorization": "Basic abc"}).models.list()


async def test_latency_follows_the_model_and_is_the_same_for_stream_and_whole() -> None:
    timer = Timer()
    latency = simulate.Latency(first_token=2.0, per_token=0.5, jitter=0, per_prompt_token=0.25)
    async with running(latency=latency, clock=timer.clock, sleep=timer.sleep) as (_, client):
        usage = (await client.chat.completions.create(**QUESTION)).usage
        assert usage is not None
        expected = 2.0 + 0.25 * usage.prompt_tokens + 0.5 * usage.completion_tokens
        assert timer.slept == pytest.approx([expected])
        timer.slept.clear()
        async for _ in await client.chat.completions.create(**QUESTION, stream=True):
            pass
        assert timer.slept[0] == pytest.approx(2.0 + 0.25 * usage.prompt_tokens)
        assert sum(timer.slept) == pytest.approx(expected)
        assert len(timer.slept) > 10


async def test_jitter_is_seeded_by_the_request_and_bounded() -> None:
    taken: dict[int, list[float]] = {}
    for seed in (0, 0, 1):
        timer = Timer()
        latency = simulate.Latency(first_token=1.0, per_token=0, jitter=0.2)
        async with running(seed=seed, latency=latency, clock=timer.clock, sleep=timer.sleep) as (_, client):
            for number in range(8):
                await text_of(client, seed=number)
        assert taken.setdefault(seed, timer.slept) == timer.slept
        assert all(0.8 <= seconds <= 1.2 for seconds in timer.slept)
        assert len(set(timer.slept)) == 8
    assert taken[0] != taken[1]


async def test_without_latency_nothing_sleeps() -> None:
    timer = Timer()
    async with running(clock=timer.clock, sleep=timer.sleep) as (_, client):
        await text_of(client)
        async for _ in await client.chat.completions.create(**QUESTION, stream=True):
            pass
    assert timer.slept == []


async def test_requests_above_the_limit_are_told_when_to_come_back() -> None:
    timer = Timer()
    async with running(requests_per_minute=2, clock=timer.clock) as (provider, client):
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        assert raw.headers["x-ratelimit-reset-requests"] == "1m0s"
        assert "x-ratelimit-limit-tokens" not in raw.headers
        timer.now += 17.5
        await text_of(client)
        with pytest.raises(openai.RateLimitError) as caught:
            await text_of(client)
        assert caught.value.code == "rate_limit_exceeded"
        headers = caught.value.response.headers
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("43", "42500")
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-ratelimit-reset-requests"] == "42.5s"
        timer.now += 42.5
        await text_of(client)
        assert provider.calls.total() == 4


async def test_tokens_above_the_limit_are_refused_and_not_counted() -> None:
    timer = Timer()
    async with running(clock=timer.clock) as (provider, client):
        await text_of(client)
        used = provider.prompt_tokens + provider.completion_tokens
    async with running(tokens_per_minute=2 * used + 1, clock=timer.clock) as (provider, client):
        await text_of(client)
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-ratelimit-remaining-tokens"] == "1"
        with pytest.raises(openai.RateLimitError, match="tokens per minute"):
            await text_of(client)
        assert provider.prompt_tokens + provider.completion_tokens == 2 * used
