"""Embeddings through the gateway: each input is stored on its own, and only those that are missing go to the provider."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import numpy as np
import openai
import pytest
from aiohttp import web

from gateway.site import QUESTION, Site, json_reply, scripted_site, simulated_site
from sparecall import tokens
from sparecall.pipeline import Upstream

pytestmark = pytest.mark.anyio

MODEL = "text-embedding-3-small"


async def embed(client: openai.AsyncOpenAI, given: Any, **options: Any) -> tuple[str, dict[str, Any]]:
    raw = await client.embeddings.with_raw_response.create(model=MODEL, input=given, dimensions=8, **options)
    return raw.headers["x-sparecall-cache"], msgspec.json.decode(await raw.http_response.aread())


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("given", ["one text", ["one", "two", "one"], [1, 2, 3], [[1, 2], [3]]], ids=str)
async def test_what_comes_through_made_or_stored_is_what_the_provider_gives(given: Any, encoding: str) -> None:
    async with simulated_site() as (site, provider):
        http = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(
            base_url=site.gateway.pipeline.stage(Upstream).url, api_key="sk", max_retries=0, http_client=http
        ) as direct:
            raw = await direct.embeddings.with_raw_response.create(
                model=MODEL, input=given, dimensions=8, encoding_format=encoding
            )
            expected = msgspec.json.decode(await raw.http_response.aread())
        client = await site.sdk()
        assert await embed(client, given, encoding_format=encoding) == ("miss", expected)
        assert await embed(client, given, encoding_format=encoding) == ("exact", expected)
        assert provider.calls[("embeddings", MODEL)] == 2


async def test_one_entry_serves_both_encodings_to_the_bit() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        _, floats = await embed(client, "a text", encoding_format="float")
        hit, coded = await embed(client, "a text", encoding_format="base64")
        assert hit == "exact"
        vector = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
        assert vector.tolist() == np.array(floats["data"][0]["embedding"], dtype="<f4").tolist()


async def test_only_missing_inputs_are_asked_for_and_the_order_is_kept() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        _, alone = await embed(client, "two")
        hit, reply = await embed(client, ["one", "two", "three", "one"])
        assert hit == "miss"
        assert [item["index"] for item in reply["data"]] == [0, 1, 2, 3]
        assert reply["data"][1]["embedding"] == alone["data"][0]["embedding"]
        assert reply["data"][0]["embedding"] == reply["data"][3]["embedding"]
        assert provider.prompt_tokens == sum(tokens.count_many(["two", "one", "three"]))
        assert await embed(client, ["three", "one"]) == ("exact", {**reply, "data": [
            {**reply["data"][2], "index": 0}, {**reply["data"][0], "index": 1}],
            "usage": {"prompt_tokens": 2, "total_tokens": 2}})  # fmt: skip


async def test_what_shapes_a_vector_is_part_of_its_key_and_the_user_is_not() -> None:
    async with simulated_site() as (site, provider):
        client, other = await site.sdk(), await site.sdk("sk-bob")
        await embed(client, "text")
        assert (await embed(client, "text", user="ada"))[0] == "exact"
        assert (await embed(client, "text", extra_body={"dimensions": 9}))[0] == "miss"
        assert (await embed(client, "text", extra_body={"model": "text-embedding-3-large"}))[0] == "miss"
        assert (await embed(other, "text"))[0] == "miss"
        assert provider.calls.total() == 4


@pytest.mark.parametrize(
    ("control", "expected"),
    [("no-store", "bypass"), ("no-cache", "bypass"), ("max-age=0", "miss"), ("max-age=60", "exact")],
)
async def test_cache_control_is_obeyed(control: str, expected: str) -> None:
    now = 1000.0
    async with simulated_site() as (site, _):
        stage = next(stage for stage in site.gateway.pipeline.stages if type(stage).__name__ == "Embeddings")
        stage._clock = lambda: now
        client = await site.sdk()
        await embed(client, "text")
        now += 1
        assert (await embed(client, "text", extra_headers={"cache-control": control}))[0] == expected
        with pytest.raises(openai.APIStatusError) as refused:
            await embed(client, ["text", "new"], extra_headers={"cache-control": "only-if-cached"})
        assert refused.value.status_code == 504
        assert (await embed(client, "text", extra_headers={"cache-control": "only-if-cached"}))[0] == "exact"


class Slow:
    """A provider whose calls wait until they are let go, and that knows which inputs it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.broken: set[str] = set()

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        given = (await http.json())["input"]
        inputs = [given] if isinstance(given, str) else given
        self.asked.append(inputs)
        await self.gate.wait()
        if self.broken & set(inputs):
            return web.json_response({"error": {"message": "bad input"}}, status=400)
        data = [
            {"object": "embedding", "index": index, "embedding": [float(len(text)), 0.5]}
            for index, text in enumerate(inputs)
        ]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        return web.json_response({"object": "list", "data": data, "model": MODEL, "usage": usage})


async def ask(site: Site, inputs: list[str]) -> tuple[int, str, list[float]]:
    http = await site.http()
    async with http.post(f"{site.url}/embeddings", json={"model": MODEL, "input": inputs}) as response:
        body = await response.json()
        vectors = [item["embedding"][0] for item in body.get("data", [])]
        return response.status, response.headers["x-sparecall-cache"], vectors


async def started(slow: Slow, calls: int) -> None:
    async with asyncio.timeout(10):
        while len(slow.asked) < calls:  # noqa: ASYNC110 - a counter that cannot call back
            await asyncio.sleep(0.002)


async def test_an_input_that_another_call_is_asking_for_is_waited_for() -> None:
    async with scripted_site(slow := Slow()) as (site, _):
        first = asyncio.ensure_future(ask(site, ["a", "bb"]))
        await started(slow, 1)
        second = asyncio.ensure_future(ask(site, ["bb", "ccc"]))
        await started(slow, 2)
        third = asyncio.ensure_future(ask(site, ["ccc", "a"]))
        await asyncio.sleep(0.02)
        slow.gate.set()
        assert await asyncio.gather(first, second, third) == [
            (200, "miss", [1, 2]), (200, "miss", [2, 3]), (200, "coalesced", [3, 1]),
        ]  # fmt: skip
        assert slow.asked == [["a", "bb"], ["ccc"]]


async def test_a_call_that_fails_for_its_own_input_fails_nobody_else() -> None:
    async with scripted_site(slow := Slow()) as (site, _):
        slow.broken = {"bad"}
        first = asyncio.ensure_future(ask(site, ["good", "bad"]))
        await started(slow, 1)
        second = asyncio.ensure_future(ask(site, ["good"]))
        await asyncio.sleep(0.02)
        slow.gate.set()
        assert (await first)[0] == 400
        assert await second == (200, "miss", [4])
        assert slow.asked == [["good", "bad"], ["good"]]


async def test_the_one_who_asks_leaves_and_the_one_who_waits_is_answered() -> None:
    async with scripted_site(slow := Slow()) as (site, script):
        first = asyncio.ensure_future(ask(site, ["a"]))
        await started(slow, 1)
        second = asyncio.ensure_future(ask(site, ["a"]))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.02)
        slow.gate.set()
        assert await second == (200, "coalesced", [1])
        assert script.calls == 1


@pytest.mark.parametrize(
    "odd",
    [{"input": ""}, {"input": []}, {"input": [""]}, {"input": 5}, {"model": ""}, {"encoding_format": "hex"}],
    ids=str,
)
async def test_an_odd_body_is_the_provider_s_to_judge(odd: dict[str, Any]) -> None:
    async with simulated_site() as (site, _):
        http = await site.http()
        async with http.post(f"{site.url}/embeddings", json={"model": MODEL, "input": "x", **odd}) as response:
            assert (response.status, response.headers["x-sparecall-reason"]) == (400, "not_embeddings")


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": "###"}]},
        {"data": [{"index": 0, "embedding": []}]},
        QUESTION,
    ],
    ids=str,
)
async def test_an_answer_without_a_vector_for_each_input_is_passed_on_and_not_stored(answer: dict[str, Any]) -> None:
    async with scripted_site(json_reply(answer)) as (site, script):
        http = await site.http()
        for calls in (1, 2):
            async with http.post(f"{site.url}/embeddings", json={"model": MODEL, "input": "x"}) as response:
                assert (response.status, await response.json()) == (200, answer)
            assert script.calls == calls


async def test_many_inputs_are_made_and_stored_in_one_call() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        texts = [f"text {number}" for number in range(2048)]
        (made, first), (stored, second) = [await embed(client, texts) for _ in range(2)]
        assert (made, stored, first) == ("miss", "exact", second)
        assert provider.calls.total() == 1
