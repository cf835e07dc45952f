"""Through the transports every wire is answered as the gateway answers it: responses, embeddings and Anthropic's messages."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx2
import pytest

import sparecall
from simulated import INSTANT
from sparecall import simulate
from sparecall.httpx import AsyncTransport, Transport
from transports import async_sdk, in_thread

pytestmark = pytest.mark.anyio

QUESTION: dict[str, Any] = {"model": "gpt-4o", "input": "Explain json.decoder."}
MESSAGE: dict[str, Any] = {
    "model": "claude-of-the-tests",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Explain json.decoder."}],
}


def provider() -> simulate.Provider:
    return simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)


async def test_responses_and_embeddings_are_made_once_and_the_same_by_every_way() -> None:
    async with simulate.serve(made := provider()) as url, sparecall.open({"upstream": {"url": url}}) as pipeline:
        async with async_sdk(pipeline) as client:
            whole = await client.responses.create(**QUESTION)
            async with await client.responses.create(**QUESTION, stream=True) as stream:
                events = [event async for event in stream]
            assert events[-1].response == whole
            vectors = [await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]) for _ in "12"]
            assert vectors[0].data == vectors[1].data
        assert made.calls.total() == 2

        def synchronous() -> Any:
            with in_thread(url) as other:
                return other.responses.create(**QUESTION), other.embeddings.create(
                    model="text-embedding-3-small", input=["a", "b"]
                )

        again, vectors_again = await asyncio.to_thread(synchronous)
        assert (again, vectors_again.data) == (whole, vectors[0].data)


async def test_anthropic_s_client_is_answered_through_the_transports() -> None:
    async with simulate.serve(made := provider()) as url:
        config = {"upstream": {"url": url}, "anthropic": {"url": url}}
        async with sparecall.open(config) as pipeline:
            http = httpx2.AsyncClient(transport=AsyncTransport(pipeline))
            async with anthropic.AsyncAnthropic(api_key="sk-ada", max_retries=0, http_client=http) as client:
                whole = await client.messages.create(**MESSAGE)
                async with client.messages.stream(**MESSAGE) as stream:
                    final = await stream.get_final_message()
                assert (final.content[0].text, final.usage) == (whole.content[0].text, whole.usage)  # type: ignore[union-attr]
                with pytest.raises(anthropic.RateLimitError):
                    await client.messages.create(
                        **{**MESSAGE, "max_tokens": 7}, extra_headers={"x-simulate-fault": "rate_limit"}
                    )
        assert made.calls.total() == 2

        def synchronous() -> Any:
            with httpx2.Client(transport=Transport(config)) as http_client:
                client = anthropic.Anthropic(api_key="sk-ada", max_retries=0, http_client=http_client)
                return client.messages.create(**MESSAGE)

        assert await asyncio.to_thread(synchronous) == whole


async def test_without_an_anthropic_provider_its_client_is_told_so() -> None:
    async with simulate.serve(provider()) as url, sparecall.open({"upstream": {"url": url}}) as pipeline:
        http = httpx2.AsyncClient(transport=AsyncTransport(pipeline))
        async with anthropic.AsyncAnthropic(api_key="sk-ada", max_retries=0, http_client=http) as client:
            with pytest.raises(anthropic.NotFoundError, match=r"configure \[anthropic\]"):
                await client.messages.create(**MESSAGE)
