"""A gateway before several providers, over sockets: who answers, what clients are told, and what is counted."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest
from aiohttp import web

import sparecall
from gateway.site import KEY, QUESTION, Gate, Script, completion, gateway_before, json_reply, scripted, until
from simulated import INSTANT
from sparecall import simulate
from sparecall.httpx import AsyncTransport
from sparecall.pipeline import RouteStage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.site import Site

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def providers(*made: simulate.Provider) -> AsyncIterator[list[str]]:
    async with AsyncExitStack() as exits:
        yield [await exits.enter_async_context(simulate.serve(one)) for one in made]


def provider(**options: Any) -> simulate.Provider:
    return simulate.Provider(latency=INSTANT, **options)


def failing() -> simulate.Provider:
    return provider(faults=simulate.Faults(server_error=1.0))


def endpoints(site: Site) -> dict[str, Any]:
    return {one.name: one for one in site.gateway.pipeline.stage(RouteStage).endpoints}


def asking(number: int, **fields: Any) -> dict[str, Any]:
    return {**QUESTION, "messages": [{"role": "user", "content": f"Question {number}"}], **fields}


async def test_a_provider_that_fails_is_passed_over_and_then_left_alone() -> None:
    down, up = failing(), provider()
    async with providers(down, up) as (first, second):
        upstreams = {"down": {"url": first, "breaker": {"minimum_calls": 3}}, "up": {"url": second, "priority": 1}}
        async with gateway_before(upstreams) as site:
            client = await site.sdk()
            create = client.chat.completions.with_raw_response.create
            told = []
            for number in range(6):
                raw = await create(**asking(number, stream=number % 2 == 1))
                told.append(raw.headers.get("x-sparecall-passed"))
                if number % 2:
                    chunks = [chunk async for chunk in raw.parse()]
                    assert chunks[-1].choices[0].finish_reason == "stop"
                assert raw.headers["x-sparecall-served-by"] == "up"
            assert told == ["down=500"] * 3 + [None] * 3
            assert (down.calls.total(), up.calls.total()) == (3, 6)
            again = await create(**asking(0))
            assert again.headers["x-sparecall-cache"] == "exact"
            assert "x-sparecall-served-by" not in again.headers
            text = await site.metrics()
    for sample in (
        'sparecall_upstream_calls_total{upstream="down",outcome="failure"} 3',
        'sparecall_upstream_calls_total{upstream="up",outcome="success"} 6',
        'sparecall_failovers_total{upstream="up"} 3',
        'sparecall_breaker_state{upstream="down",state="open"} 1',
        'sparecall_breaker_state{upstream="up",state="closed"} 1',
        'sparecall_upstream_running{upstream="up"} 0',
        'sparecall_queue_wait_seconds_count{upstream="up"} 6',
        "sparecall_retries_total 0",
    ):
        assert sample in text, sample


async def test_another_model_answers_says_so_and_is_not_remembered() -> None:
    down, up = failing(), provider()
    async with providers(down, up) as (first, second):
        upstreams = {"large": {"url": first, "models": ["gpt-4o"]}, "small": {"url": second, "models": ["gpt-4o-mini"]}}
        sections = {"fallback": {"gpt-4o": ["gpt-4o-mini"]}, "retry": {"attempts": 2, "base": 0.0}}
        async with gateway_before(upstreams, **sections) as site:
            client = await site.sdk()
            for _ in range(2):
                raw = await client.chat.completions.with_raw_response.create(**QUESTION)
                assert raw.headers["x-sparecall-cache"] == "miss"
                assert raw.headers["x-sparecall-model"] == raw.parse().model == "gpt-4o-mini"
                assert raw.headers["x-sparecall-passed"] == "large=500, large=500"
            text = await site.metrics()
            assert 'sparecall_fallbacks_total{upstream="small"} 2' in text
            assert "sparecall_retries_total 2" in text
        async with gateway_before(upstreams, **sections, cache={"other_models": True}) as site:
            client = await site.sdk()
            hits = [await client.chat.completions.with_raw_response.create(**QUESTION) for _ in range(2)]
            assert [raw.headers["x-sparecall-cache"] for raw in hits] == ["miss", "exact"]


async def test_embeddings_and_both_wires_find_their_upstreams() -> None:
    one, other, claude = failing(), provider(), provider()
    async with providers(one, other, claude) as (first, second, third):
        upstreams = {
            "one": {"url": first},
            "other": {"url": second, "priority": 1},
            "claude": {"url": third, "wire": "anthropic", "api_key": "sk-ant"},
        }
        async with gateway_before(upstreams, server={"client_keys": [KEY]}) as site:
            client = await site.sdk()
            vectors = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
            assert len(vectors.data) == 2
            assert (await client.responses.create(model="gpt-4o", input="Hello")).status == "completed"
            assert (await client.models.list()).data  # passed on as it is
            async with anthropic.AsyncAnthropic(base_url=site.root, api_key=KEY, max_retries=0) as messages:
                question = [{"role": "user", "content": "Hello"}]
                made = await messages.messages.create(model="claude-x", max_tokens=50, messages=question)  # type: ignore[arg-type]
                assert made.stop_reason in {"end_turn", "max_tokens"}
        assert other.calls == {("embeddings", "text-embedding-3-small"): 1, ("responses", "gpt-4o"): 1}
        assert claude.calls.total() == 1


async def test_who_is_shed_is_told_when_to_come_again_in_the_form_of_the_wire() -> None:
    async with providers(provider()) as (url,):
        limit = {"requests": 60, "burst": 1 / 60, "max_wait": 0.0}
        sections = {"anthropic": {"url": url, "limit": limit}}
        async with gateway_before({"one": {"url": url, "limit": limit}}, **sections, retry={"attempts": 1}) as site:
            client = await site.sdk()
            await client.chat.completions.create(**asking(1))
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(**asking(2))
            assert caught.value.code == "limit_exceeded"
            assert caught.value.response.headers["retry-after"] == "1"
            assert 0 < int(caught.value.response.headers["retry-after-ms"]) <= 1000
            async with anthropic.AsyncAnthropic(base_url=site.root, api_key=KEY, max_retries=0) as messages:

                async def message(text: str) -> Any:
                    question = [{"role": "user", "content": text}]
                    return await messages.messages.create(model="claude-x", max_tokens=50, messages=question)  # type: ignore[arg-type]

                await message("one")
                with pytest.raises(anthropic.RateLimitError) as refused:
                    await message("two")
                assert refused.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
                assert refused.value.response.headers["retry-after"] == "1"
            text = await site.metrics()
            assert 'sparecall_errors_total{code="limit_exceeded"} 2' in text


async def test_an_open_breaker_is_a_503_also_without_a_socket() -> None:
    async with scripted(Script(json_reply({"error": {"message": "no"}}, 500))) as url:
        upstream = {"url": url, "breaker": {"minimum_calls": 1}}
        async with gateway_before(url, upstream=upstream) as site:
            client = await site.sdk()
            for number, code in enumerate((None, "breaker_open")):
                with pytest.raises(openai.InternalServerError) as caught:
                    await client.chat.completions.create(**asking(number))
                assert caught.value.code == code
            assert caught.value.status_code == 503
            assert 20 < int(caught.value.response.headers["retry-after"]) < 40
        async with sparecall.open({"upstream": upstream}) as pipeline:
            own = httpx2.AsyncClient(transport=AsyncTransport(pipeline))
            async with openai.AsyncOpenAI(api_key=KEY, max_retries=0, http_client=own) as client:
                for number in range(2):
                    with pytest.raises(openai.InternalServerError) as caught:
                        await client.chat.completions.create(**asking(number))
                assert (caught.value.status_code, caught.value.code) == (503, "breaker_open")
                assert "retry-after" in caught.value.response.headers


async def test_a_deadline_is_the_client_s_to_set_and_junk_in_its_headers_a_400() -> None:
    gate = Gate()
    async with scripted(Script(gate)) as url, gateway_before(url) as site:  # a plain upstream heeds it as well
        client = await site.sdk()
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(**QUESTION, extra_headers={"x-sparecall-deadline": "0.05"})
        assert (caught.value.status_code, caught.value.code) == (504, "deadline")
        for name, values in {
            "x-sparecall-deadline": ("0", "-1", "nan", "inf", "1e9", "soon", ""),
            "x-sparecall-priority": ("urgent", ""),
        }.items():
            for value in values:
                with pytest.raises(openai.BadRequestError) as refused:
                    await client.chat.completions.create(**QUESTION, extra_headers={name: value})
                assert refused.value.code == "invalid_argument"
        gate.opened.set()
        fine = {"x-sparecall-deadline": "30", "x-sparecall-priority": "Low"}
        assert (await client.chat.completions.create(**QUESTION, extra_headers=fine)).choices


@pytest.mark.parametrize("stream", [False, True])
async def test_clients_who_leave_hold_nothing(stream: bool) -> None:
    started = asyncio.Event()

    async def endless(http: web.Request) -> web.StreamResponse:
        started.set()
        if not stream:
            await asyncio.sleep(30)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(http)
        while True:
            await response.write(b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n')
            await asyncio.sleep(0.01)

    async with scripted(Script(endless)) as url:
        upstream = {"one": {"url": url, "limit": {"requests": 6000}}}
        async with gateway_before(upstream) as site:
            client = await site.sdk()
            one = endpoints(site)["one"]

            async def call(number: int) -> None:
                made = await client.chat.completions.create(**asking(number, stream=stream))
                async for _ in made:
                    pass

            calls = [asyncio.create_task(call(number)) for number in range(5)]
            await until(lambda: one.running == 5)
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: one.running == 0)


async def test_series_are_bounded_and_hold_no_key() -> None:
    up = provider()
    async with (
        providers(up) as (url,),
        gateway_before({"up": {"url": url, "api_key": "sk-own-secret"}}, server={"client_keys": [KEY]}) as site,
    ):
        client = await site.sdk()
        for number in range(30):
            await client.chat.completions.create(**asking(number, model=f"model-{number}"))
        text = await site.metrics()
    of_calls = re.findall(r"^sparecall_(?:upstream|queue|breaker|retries|failovers|fallbacks)\S+", text, re.MULTILINE)
    assert 20 < len(of_calls) < 60
    assert "secret" not in text
    assert KEY not in text
    assert "model-29" not in "".join(of_calls)


async def test_places_second_calls_and_the_machine_are_counted() -> None:
    async with providers(provider()) as (url,):
        upstreams = {
            "one": {"url": url, "limit": {"concurrency": "adaptive"}},
            "two": {"url": url, "limit": {"concurrency": 3}},
        }
        sections: dict[str, Any] = {"hedge": {}, "system": {"memory_soft": 1.0, "memory_hard": 1.0}}
        async with gateway_before(upstreams, **sections) as site:
            client = await site.sdk()
            for number in range(4):
                assert (await client.chat.completions.create(**asking(number))).choices
            text = await site.metrics()
    for sample in (
        'sparecall_concurrency_limit{upstream="one"} 20',
        'sparecall_concurrency_limit{upstream="two"} 3',
        'sparecall_concurrency_used{upstream="two"} 0',
        'sparecall_queue_waiting{upstream="one"} 0',
        'sparecall_hedges_total{won="yes"} 0',
        'sparecall_system_short{of="memory_hard"} 0',
    ):
        assert sample in text, sample


async def test_what_the_upstream_says_of_a_stored_answer_is_its_own() -> None:
    async with scripted(Script(json_reply(completion()))) as url, gateway_before({"a": {"url": url}}) as site:
        assert repr(site.gateway) == f"<Gateway to a at {url}, ready>"
        client = await site.sdk()
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert raw.headers["x-sparecall-served-by"] == "a"
        assert "x-sparecall-passed" not in raw.headers
        assert "x-sparecall-model" not in raw.headers
