"""Budgets for contexts over real sockets: what the official SDKs are told, what the provider gets, handles, metrics, and silence."""

from __future__ import annotations

import logging
from typing import Any

import anthropic
import httpx2
import msgspec
import openai
import pytest
from aiohttp import web

from gateway.site import KEY, Script, completion, gateway_before, scripted, simulated_site
from gateway.test_metrics import scrape, value
from simulated import INSTANT
from sparecall import cli, simulate
from sparecall.context import validate
from test_pipeline_context import booking, talk

pytestmark = pytest.mark.anyio
BUDGET = {"context": {"budget": 3_000}}
SECRET = "box3x7"


async def said(client: openai.AsyncOpenAI, messages: list[dict[str, Any]], **fields: Any) -> dict[str, str]:
    """Our headers, without their prefix; a stream is read to its end."""
    raw: Any = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages, **fields)  # type: ignore[arg-type]
    reply = raw.parse()
    if fields.get("stream"):
        assert [chunk async for chunk in reply]
    prefix = "x-sparecall-"
    return {name.removeprefix(prefix): text for name, text in raw.headers.items() if name.startswith(prefix)}


async def test_the_sdk_gets_its_answer_and_is_told_what_went_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulated_site(**BUDGET) as (site, provider):
        client = await site.sdk()
        for stream in (False, True):
            headers = await said(client, talk(30), stream=stream)
            assert headers["cache"] == "miss"
            before, after, kind = headers["optimized"].split(", ")
            assert int(before.removeprefix("before=")) > 3_000 >= int(after.removeprefix("after="))
            assert kind == "lossy"
        assert provider.prompt_tokens <= 2 * 3_000
        assert "optimized" not in await said(client, talk(2))
        lossless = await said(client, booking())
        assert "lossy" not in lossless["optimized"]
        assert "removed" not in lossless
        families = await scrape(site)
        text = await site.metrics()
    outcomes = {"lossy": 2, "whole": 1, "lossless": 1}
    for outcome, count in outcomes.items():
        assert value(families, "sparecall_context_requests_total", outcome=outcome) == count
    tokens = {way: value(families, "sparecall_context_tokens_total", direction=way) for way in ("in", "out")}
    kinds = ("dropped", "cut", "compact")
    spared = [value(families, "sparecall_context_saved_tokens_total", change=kind) for kind in kinds]
    assert sum(spared) == tokens["in"] - tokens["out"] > 0
    assert value(families, "sparecall_context_dollars_total", kind="spared") > 0
    assert value(families, "sparecall_context_prefixes_total", why="first") >= 1
    assert value(families, "sparecall_context_seconds_count") == 4
    logged = "".join(
        one.getMessage() for one in caplog.records if one.name.startswith(("sparecall", "aiohttp", "asyncio"))
    )
    for place in (text, logged):
        assert SECRET not in place
        assert headers["removed"].split(", ")[0] not in place


async def test_the_sdk_of_anthropic_gets_its_answer_too() -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with (
        simulate.serve(provider) as upstream,
        gateway_before(upstream, **BUDGET, anthropic={"url": upstream}) as site,
        anthropic.AsyncAnthropic(
            base_url=site.root,
            api_key=KEY,
            max_retries=0,
            http_client=httpx2.AsyncClient(trust_env=False),
        ) as client,
    ):
        raw = await client.messages.with_raw_response.create(
            model="claude-sonnet-5",
            max_tokens=50,
            messages=talk(30),  # type: ignore[arg-type]
        )
        assert raw.headers["x-sparecall-optimized"].endswith("lossy")
        assert (await raw.parse()).content
    assert provider.prompt_tokens <= 3_000


async def test_what_is_gone_is_fetched_in_its_own_scope_alone() -> None:
    async with simulated_site(**BUDGET) as (site, _):
        removed = (await said(await site.sdk(), talk(30)))["removed"].split(", ")
        assert 0 < len(removed) <= 32

        async def get(handle: str, key: str | None = KEY, **headers: str) -> tuple[int, Any]:
            async with (await site.http(key)).get(f"{site.root}/sparecall/context/{handle}", headers=headers) as found:
                assert "no-store" in found.headers["cache-control"]
                return found.status, await found.json()

        status, found = await get(removed[0])
        assert (status, found["handle"]) == (200, removed[0])
        assert "Day" in found["text"]
        unknown = await get("h:0123456789abcdef")
        assert (unknown[0], unknown[1]["error"]["code"]) == (404, "unknown_handle")
        assert await get(removed[0], "sk-other") == unknown
        assert await get(removed[0], None) == unknown
        assert await get(removed[0], **{"x-sparecall-scope": "thread"}) == unknown
        assert await get(removed[0] + "%2F..%2Fx") == unknown
        async with (await site.http()).post(f"{site.root}/sparecall/context/{removed[0]}") as response:
            assert response.status == 405


async def test_without_a_budget_nothing_is_cut_and_nothing_kept() -> None:
    async with simulated_site() as (site, _):
        assert "optimized" not in await said(await site.sdk(), talk(30))
        async with (await site.http()).get(f"{site.root}/sparecall/context/h:0123456789abcdef") as response:
            assert response.status == 404


async def test_what_cannot_fit_is_refused_in_the_form_of_the_wire_where_told() -> None:
    section = {"context": {"budget": 30, "cannot_fit": "refuse"}}
    async with simulated_site(**section) as (site, provider):
        with pytest.raises(openai.BadRequestError) as refused:
            await said(await site.sdk(), talk(9))
        assert refused.value.code == "context_length_exceeded"
        assert "30" in refused.value.message
        assert SECRET not in refused.value.message
    assert provider.calls.total() == 0
    async with simulated_site(context={"budget": 30}) as (site, provider):
        assert (await said(await site.sdk(), talk(9)))["optimized"] == "cannot_fit"
        families = await scrape(site)
        assert value(families, "sparecall_context_requests_total", outcome="cannot_fit") == 1
    assert provider.prompt_tokens > 1_000


async def test_an_answer_from_memory_counts_no_context_and_says_if_it_lost_something() -> None:
    section = {"context": {"budget": 3_000, "store_optimized": True}}
    async with simulated_site(**section) as (site, provider):
        client = await site.sdk()
        first, second = [await said(client, talk(30)) for _ in range(2)]
        assert (first["cache"], second["cache"]) == ("miss", "exact")
        assert second["optimized"] == first["optimized"]
        families = await scrape(site)
        assert value(families, "sparecall_context_requests_total", outcome="lossy") == 1
    assert provider.calls.total() == 1


async def test_retries_send_the_same_bytes_and_another_turn_the_same_beginning() -> None:
    async def flaky(_: web.Request) -> web.StreamResponse:
        if script.calls == 1:
            return web.json_response({"error": {"message": "busy"}}, status=503)
        return web.json_response(completion())

    script = Script(flaky)
    retry = {"attempts": 3, "base": 0.0}
    async with scripted(script) as upstream, gateway_before(upstream, **BUDGET, retry=retry) as site:
        client = await site.sdk()
        await said(client, booking()[:-1])
        await said(client, booking())
    first, again, later = (msgspec.json.decode(body, type=dict[str, msgspec.Raw]) for body in script.bodies)
    assert first == again
    assert bytes(later["messages"]).startswith(bytes(first["messages"])[:-1])
    validate(msgspec.json.decode(later["messages"]), form="openai")


def test_the_command_hands_the_budget_to_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--context-budget", "0"]) == 2
    assert "context.budget is 0; allowed: 1 to 2^53 tokens" in capsys.readouterr().err
