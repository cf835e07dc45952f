"""Identical calls in flight are one call, whoever leaves and whenever they come."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
from aiohttp import web

from gateway.site import (
    DONE,
    HELLO,
    QUESTION,
    USAGE_CHUNK,
    Gate,
    completion,
    scripted_site,
    send_events,
    simulated_site,
    until,
)
from sparecall import simulate
from sparecall.cache import BytesCache
from sparecall.pipeline import Coalesce, Digest, Exact, Next, Pipeline, Reply, Request, Scope, chat

pytestmark = pytest.mark.anyio


async def test_who_comes_between_the_answer_and_its_storing_makes_no_call() -> None:
    calls = 0
    newcomers: list[asyncio.Task[Reply]] = []

    async def provider(request: Request, next: Next) -> Reply:  # noqa: A002
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        # Its first step comes after this reply is there and before the one who asked for it runs again.
        newcomers.append(asyncio.create_task(pipeline(QUESTION)))
        body = msgspec.json.encode(completion())
        return Reply(status=200, hit="miss", body=body, summary=chat.summarise(body))

    async with Pipeline([Scope(scope="test"), Digest(), Exact(BytesCache(10_000)), Coalesce(), provider]) as pipeline:
        assert (await pipeline(QUESTION)).hit == "miss"
        assert (await newcomers[0]).hit == "coalesced"
        assert (await pipeline(QUESTION)).hit == "exact"
        assert calls == 1
        await asyncio.sleep(0)
        assert len(pipeline.stage(Coalesce)) == 0


def paced(first_token: float = 0.05, per_token: float = 0.0) -> simulate.Provider:
    return simulate.Provider(latency=simulate.Latency(first_token=first_token, per_token=per_token, jitter=0))


@pytest.mark.usefixtures("many_files")
async def test_a_thousand_identical_cold_requests_over_sockets_make_one_call() -> None:
    provider = paced(0.3)
    headers = {"authorization": "Bearer sk-alice"}
    async with (
        simulated_site(provider) as (site, _),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as http,
    ):

        async def ask(number: int) -> tuple[str, str]:
            stream = number % 2 == 1
            async with http.post(f"{site.url}/chat/completions", json={**QUESTION, "stream": stream}) as response:
                body = await response.read()
                assert response.status == 200
                whole = body.endswith(DONE) if stream else bool(msgspec.json.decode(body)["choices"])
                return response.headers["x-sparecall-cache"], "whole" if whole else "broken"

        replies = Counter(await asyncio.gather(*(ask(number) for number in range(1000))))
        assert provider.calls.total() == 1
        assert replies["miss", "whole"] == 1
        assert {how for _, how in replies} == {"whole"}
        assert {hit for hit, _ in replies} <= {"miss", "coalesced", "exact"}
        assert len(site.gateway.pipeline.stage(Coalesce)) == 0


async def test_who_joins_a_stream_midway_gets_all_of_it_in_either_form() -> None:
    middle = asyncio.Event()

    async def slow(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:2])
        await middle.wait()
        for event in (*HELLO[2:], USAGE_CHUNK, DONE):
            await response.write(event)
        return response

    async with scripted_site(slow) as (site, script):
        client = await site.sdk()
        first = await client.chat.completions.create(**QUESTION, stream=True)
        parts = [await anext(first), await anext(first)]
        joining = asyncio.create_task(client.chat.completions.with_raw_response.create(**QUESTION))
        second = await client.chat.completions.with_raw_response.create(**QUESTION, stream=True)
        late = second.parse()
        late_parts = [await anext(late), await anext(late)]
        (live,) = site.gateway.pipeline.stage(Coalesce)._live.values()
        await until(lambda: len(live.stream.log._places) == 3)
        middle.set()
        parts += [part async for part in first]
        late_parts += [part async for part in late]
        joined = await joining
        for stream in (parts, late_parts):
            assert "".join(part.choices[0].delta.content or "" for part in stream) == "Hello."
            assert all(part.usage is None for part in stream)
        assert joined.parse().choices[0].message.content == "Hello."
        assert [raw.headers["x-sparecall-cache"] for raw in (second, joined)] == ["coalesced", "coalesced"]
        assert script.calls == 1
        assert msgspec.json.decode(script.bodies[0])["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_leader_that_leaves_fails_nobody(stream: bool) -> None:
    gate = Gate()
    async with scripted_site(gate) as (site, script):
        leader, follower = await site.sdk(), await site.sdk()

        async def ask(client: Any) -> Any:
            raw = await client.chat.completions.with_raw_response.create(**QUESTION, stream=stream)
            parsed = raw.parse()
            return raw.headers["x-sparecall-cache"], [part async for part in parsed] if stream else parsed

        leading = asyncio.create_task(ask(leader))
        await until(lambda: site.waiting() == 1)
        following = asyncio.create_task(ask(follower))
        await until(lambda: site.waiting() == 2)
        leading.cancel()
        await until(lambda: site.waiting() == 1)
        gate.opened.set()
        hit, answer = await following
        assert hit == "miss", "who is left stands for the call"
        assert len(answer) == len(HELLO) if stream else answer.choices
        assert script.calls == 1
        raw = await follower.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-sparecall-cache"] == "exact"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_have_left_the_call_is_given_up(stream: bool) -> None:
    async with simulated_site(paced(30.0)) as (site, provider):
        clients = [await site.sdk() for _ in range(3)]
        asking = [asyncio.create_task(client.chat.completions.create(**QUESTION, stream=stream)) for client in clients]
        await until(lambda: provider.in_flight == 1)
        for task in asking:
            task.cancel()
        await until(lambda: provider.in_flight == 0)
        await until(lambda: len(site.gateway.pipeline.stage(Coalesce)) == 0)
        assert provider.calls.total() == 1


async def test_callers_of_different_scopes_are_not_merged() -> None:
    async with simulated_site(paced(0.02)) as (site, provider):
        clients = [await site.sdk(key) for key in ("sk-alice", "sk-bob")]
        await asyncio.gather(*(client.chat.completions.create(**QUESTION) for client in clients))
        assert provider.calls.total() == 2


async def test_an_error_is_shared_by_those_who_wait_and_kept_for_nobody() -> None:
    arrived = asyncio.Event()

    async def fail(_: web.Request) -> web.StreamResponse:
        await arrived.wait()
        return web.json_response({"error": {"message": "failed"}}, status=500)

    async with scripted_site(fail) as (site, script):
        client = await site.sdk()
        asking = [asyncio.create_task(client.chat.completions.create(**QUESTION)) for _ in range(5)]
        await until(lambda: site.waiting() == 5)
        arrived.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(result) for result in results] == [openai.InternalServerError] * 5
        assert script.calls == 1
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**QUESTION)
        assert script.calls == 2
