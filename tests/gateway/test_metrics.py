"""`/metrics` is well-formed Prometheus text, and says what was driven."""

from __future__ import annotations

import math
import re
from typing import Any

import openai
import pytest
from aiohttp import web

from gateway.site import QUESTION, Site, completion, scripted_site, simulated_site
from sparecall.pipeline import Event, Reply, Request, chat
from sparecall.prices import Prices

pytestmark = pytest.mark.anyio

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """Families with their types, and samples. Every line must be well-formed and in its place."""
    types: dict[str, str] = {}
    samples: Samples = {}
    helped: set[str] = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if found := re.fullmatch(rf"# HELP ({NAME}) \S.*", line):
            assert found[1] not in helped
            helped.add(found[1])
        elif found := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            assert found[1] in helped
            assert found[1] not in types
            types[found[1]] = found[2]
        else:
            found = SAMPLE.fullmatch(line)
            assert found, "neither a comment nor a sample"
            family = found[1] if found[1] in types else re.sub(r"_(bucket|sum|count)\Z", "", found[1])
            assert family == list(types)[-1], "samples stand under their family"
            labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            assert (found[1], labels) not in samples
            samples[found[1], labels] = float(found[3])
    return types, samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def tokens_of(samples: Samples, *, kind: str) -> dict[tuple[str, str], float]:
    """Tokens by direction and model."""
    found = [(dict(labels), count) for (name, labels), count in samples.items() if name == "sparecall_tokens_total"]
    return {(labels["direction"], labels["model"]): count for labels, count in found if labels["kind"] == kind}


async def scrape(site: Site) -> Samples:
    return parse(await site.metrics())[1]


async def drive(site: Site) -> None:
    """2 misses, 3 exact hits, 1 bypass, 1 pass-through, 1 refusal, 1 error of the provider."""
    client = await site.sdk()
    for stream in (False, True, False):
        answer = await client.chat.completions.create(**QUESTION, stream=stream)
        if stream:
            assert [part async for part in answer]
    other = {**QUESTION, "model": 'made-up\n"model\\'}
    for _ in range(2):
        stream = await client.chat.completions.create(**other, stream=True)
        assert [part async for part in stream]
    await client.chat.completions.create(**QUESTION, temperature=2)
    await client.models.list()
    http = await site.http()
    async with http.post(f"{site.url}/chat/completions", data=b"{") as response:
        assert response.status == 400
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**QUESTION, seed=1, extra_headers={"x-simulate-fault": "server_error"})


async def test_counts_match_what_was_driven() -> None:
    async with simulated_site() as (site, provider):
        await drive(site)
        samples = await scrape(site)
        requests = {
            tuple(sorted(labels)): count
            for (name, labels), count in samples.items()
            if name == "sparecall_requests_total"
        }
        assert requests == {
            (("cache", "miss"), ("status", "2xx")): 2,
            (("cache", "exact"), ("status", "2xx")): 3,
            (("cache", "bypass"), ("status", "2xx")): 2,
            (("cache", "miss"), ("status", "5xx")): 1,
        }
        assert value(samples, "sparecall_errors_total", code="invalid_body") == 1
        assert value(samples, "sparecall_cache_entries") == 2
        assert value(samples, "sparecall_cache_bytes") > 0
        assert value(samples, "sparecall_calls_in_flight") == 0
        spent = tokens_of(samples, kind="spent")
        assert {direction for direction, _ in spent} == {"input", "output"}
        assert {model for _, model in spent} == {"gpt-4o", r"made-up\n\"model\\"}
        for direction, counted in (("input", provider.prompt_tokens), ("output", provider.completion_tokens)):
            assert sum(count for (of, _), count in spent.items() if of == direction) == counted
        spared = tokens_of(samples, kind="spared")
        assert set(spared) == set(spent)
        assert all(count > 0 for count in spared.values())
        for cache, count in (("miss", 3), ("exact", 3), ("bypass", 1)):
            assert value(samples, "sparecall_request_seconds_count", cache=cache) == count
            assert value(samples, "sparecall_request_seconds_bucket", cache=cache, le="+Inf") == count


async def test_dollars_follow_from_prices_and_tokens() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        answers = [await client.chat.completions.create(**QUESTION) for _ in range(3)]
        usage = answers[0].usage
        assert usage is not None
        cost = Prices().cost("gpt-4o", usage.prompt_tokens, usage.completion_tokens)
        assert cost
        samples = await scrape(site)
        assert value(samples, "sparecall_cost_dollars_total", kind="spent", model="gpt-4o") == pytest.approx(cost)
        assert value(samples, "sparecall_cost_dollars_total", kind="spared", model="gpt-4o") == pytest.approx(2 * cost)
        await client.chat.completions.create(**{**QUESTION, "model": "made-up"})
        samples = await scrape(site)
        assert value(samples, "sparecall_unpriced_total", model="made-up") == 1
        assert not any("made-up" in dict(labels).values() for name, labels in samples if "dollars" in name)


async def test_the_provider_s_own_prompt_cache_makes_a_call_cheaper() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 800}}

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(completion(usage=usage))

    async with scripted_site(reply) as (site, _):
        await (await site.sdk()).chat.completions.create(**QUESTION)
        spent = value(await scrape(site), "sparecall_cost_dollars_total", kind="spent", model="gpt-4o")
    assert spent == pytest.approx(Prices().cost("gpt-4o", 1000, 0, cached_tokens=800))


async def test_histograms_only_grow_towards_infinity() -> None:
    async with simulated_site() as (site, _):
        await drive(site)
        samples = await scrape(site)
    buckets: dict[Any, list[tuple[float, float]]] = {}
    for (name, labels), count in samples.items():
        if name == "sparecall_request_seconds_bucket":
            bound = float(dict(labels)["le"])
            buckets.setdefault(dict(labels)["cache"], []).append((bound, count))
    assert set(buckets) == {"miss", "exact", "bypass"}
    for series in buckets.values():
        counts = [count for _, count in sorted(series)]
        assert counts == sorted(counts)
        assert max(series)[0] == math.inf


async def test_series_stay_bounded_whatever_models_and_paths_come() -> None:
    async def reply(http: web.Request) -> web.StreamResponse:
        return web.json_response(completion(model=http.headers.get("x-client-request-id", "gpt-4o")))

    async with scripted_site(reply, cache={"max_bytes": 1_000_000}) as (site, script):
        http = await site.http()
        for number in range(1_200):
            headers = {"x-client-request-id": f"model-{number}"}
            body = {**QUESTION, "model": f"model-{number}"}
            async with http.post(f"{site.url}/chat/completions", json=body, headers=headers) as response:
                assert response.status == 200
            async with http.get(f"{site.url}/path-{number}?x={number}") as response:
                assert response.status == 200
        assert script.calls == 2_400
        metrics = site.gateway._metrics
        request = Request.of(QUESTION)
        for number in range(100_000):  # the rest by the hook that every request goes through
            summary = chat.Summary(f"made-up-{number}", 10, 5, True)
            metrics.observe(
                Event(Reply(status=200, hit="miss", trace=request.trace), summary, 0.001, number % 2 or None)
            )
        samples = await scrape(site)
        assert len(samples) < 4_000
        assert value(samples, "sparecall_unpriced_total", model="other") >= 49_000
        counted = tokens_of(samples, kind="spent")
        assert sum(counted.values()) >= 15 * 100_000
        assert counted["output", "other"] >= 5 * 100_000
        assert len(counted) == 2 * 257
        assert not [labels for _, labels in samples if any("path-" in text for text in dict(labels).values())]
