"""Embeddings of many clients through the gateway's sockets: fewer calls than requests, and what /metrics says of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from gateway.site import Site, scripted_site
from gateway.test_metrics import parse, value
from sparecall import tokens

pytestmark = pytest.mark.anyio

MODEL, ENCODING = "text-embedding-3-small", "cl100k_base"


class Gated:
    """A provider whose calls wait until they are let go; what it takes for one input is in `bad`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.bad: set[str] = set()

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        given = (await http.json())["input"]
        inputs = [given] if isinstance(given, str) else given
        self.asked.append(inputs)
        self.keys.append(http.headers["authorization"])
        await self.gate.wait()
        if self.bad & set(inputs):
            return web.json_response({"error": {"message": f"bad: {inputs}"}}, status=400)
        data = [{"index": index, "embedding": [float(len(text)), 0.5]} for index, text in enumerate(inputs)]
        used = sum(tokens.count_many(inputs, ENCODING))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return web.json_response({"object": "list", "data": data, "model": MODEL, "usage": usage})


async def ask(site: Site, text: str, key: str = "sk-alice") -> tuple[int, Any]:
    http = await site.http(key)
    async with http.post(f"{site.url}/embeddings", json={"model": MODEL, "input": text}) as response:
        body = await response.json()
        if response.status != 200:
            return response.status, body["error"]["message"]
        assert response.headers["x-sparecall-cache"] == "miss"
        assert body["usage"]["prompt_tokens"] == tokens.count(text, ENCODING)
        return 200, body["data"][0]["embedding"]


async def waiting(site: Site, requests: int) -> None:
    """Until so many requests have arrived at the stage."""
    stage = next(stage for stage in site.gateway.pipeline.stages if type(stage).__name__ == "Embeddings")
    async with asyncio.timeout(10):
        while len(stage) < requests:  # type: ignore[arg-type]  # noqa: ASYNC110 - a counter that cannot call back
            await asyncio.sleep(0.002)


async def test_what_waits_goes_in_one_call_for_each_client() -> None:
    provider = Gated()
    async with scripted_site(provider, embeddings={"max_concurrent": 1, "max_wait": 60.0}) as (site, _):
        asking = [asyncio.ensure_future(ask(site, "the first", key)) for key in ("sk-alice", "sk-bob")]
        await waiting(site, 2)
        asking += [
            asyncio.ensure_future(ask(site, f"{'x' * number}", key))
            for key in ("sk-alice", "sk-bob")
            for number in range(1, 21)
        ]
        await waiting(site, 42)
        provider.gate.set()
        assert (
            await asyncio.gather(*asking)
            == [(200, [9, 0.5])] * 2 + [(200, [number, 0.5]) for number in range(1, 21)] * 2
        )
        assert sorted(map(len, provider.asked)) == [1, 1, 20, 20]
        assert sorted(provider.keys) == ["Bearer sk-alice"] * 2 + ["Bearer sk-bob"] * 2
        _, samples = parse(await (await (await site.http()).get(f"{site.root}/metrics")).text())
        assert value(samples, "sparecall_batches_total", reason="permit") == 4
        assert value(samples, "sparecall_batch_requests_sum") == 42
        assert value(samples, "sparecall_batch_requests_bucket", le="16") == 2
        assert value(samples, "sparecall_batch_wait_seconds_count") == 4
        assert value(samples, "sparecall_batch_isolation_calls_total") == 0
        assert value(samples, "sparecall_batch_alone") == 0
        assert value(samples, "sparecall_tokens_total", kind="spent", direction="input", model=MODEL) == 2 * sum(
            tokens.count_many(["the first", *("x" * number for number in range(1, 21))], ENCODING)
        )


async def test_a_refused_input_is_found_and_those_who_waited_too_long_go_alone() -> None:
    provider = Gated()
    provider.bad = {"bad"}
    async with scripted_site(provider, embeddings={"max_concurrent": 1, "max_wait": 60.0}) as (site, _):
        asking = [asyncio.ensure_future(ask(site, "the first"))]
        await waiting(site, 1)
        asking += [asyncio.ensure_future(ask(site, text)) for text in ("a", "bb", "bad", "cccc")]
        await waiting(site, 5)
        provider.gate.set()
        assert (await asyncio.gather(*asking))[1:] == [
            (200, [1, 0.5]), (200, [2, 0.5]), (400, "bad: ['bad']"), (200, [4, 0.5]),
        ]  # fmt: skip
        _, samples = parse(await (await (await site.http()).get(f"{site.root}/metrics")).text())
        assert value(samples, "sparecall_batch_isolation_calls_total") == 4
    provider = Gated()
    async with scripted_site(provider, embeddings={"max_concurrent": 1, "max_wait": 0.0}) as (site, _):
        asking = [asyncio.ensure_future(ask(site, text)) for text in ("a", "bb", "ccc")]
        async with asyncio.timeout(10):
            while len(provider.asked) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        provider.gate.set()
        assert [status for status, _ in await asyncio.gather(*asking)] == [200] * 3
        _, samples = parse(await (await (await site.http()).get(f"{site.root}/metrics")).text())
        assert value(samples, "sparecall_batch_alone") >= 1


async def test_it_can_be_turned_off() -> None:
    provider = Gated()
    async with scripted_site(provider, embeddings={"batch": False, "max_concurrent": 1}) as (site, _):
        asking = [asyncio.ensure_future(ask(site, "x" * number)) for number in range(1, 11)]
        async with asyncio.timeout(10):
            while len(provider.asked) < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        provider.gate.set()
        await asyncio.gather(*asking)
        text = await (await (await site.http()).get(f"{site.root}/metrics")).text()
        assert "sparecall_batches_total{" not in text
        assert [len(inputs) for inputs in provider.asked] == [1] * 10
