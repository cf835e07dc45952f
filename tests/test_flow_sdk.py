"""Hedges, timeouts and routes around the official SDK, over real sockets: who loses is really gone, at the provider too."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from loop_steps import no_complaints
from simulated import QUESTION, running, text_of
from sparecall import simulate
from sparecall.errors import CallTimeout
from sparecall.flow import Choice, Features, Hedge, Route, Router, Timeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import openai

pytestmark = pytest.mark.anyio
NEVER = simulate.Latency(first_token=3600, per_token=0, jitter=0)


async def streamed(client: openai.AsyncOpenAI) -> AsyncGenerator[str, None]:
    async with await client.chat.completions.create(**QUESTION, stream=True) as stream:
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""


async def has(provider: simulate.Provider, calls: int) -> None:
    """Returns once so many calls wait for this provider."""
    while provider.in_flight != calls:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("way", ["run", "stream"])
async def test_the_loser_is_closed_at_its_provider(way: str) -> None:
    told: list[Choice] = []
    async with no_complaints(), running(latency=NEVER) as (slow, slow_client), running() as (_, fast_client):
        clients = {"slow": slow_client, "fast": fast_client}
        router = Router({"m": ["slow", "fast"]}, random=lambda: 0.0, explore=0.0, on_event=told.append)
        hedge = Hedge(minimum_calls=1, least=0.0)
        hedge._credit = 1.0
        await hedge.run(lambda: asyncio.sleep(0), idempotent=True)

        async def whole(route: Route) -> str:
            return await text_of(clients[route.endpoint])

        async def pieces(*avoid: str) -> AsyncIterator[str]:
            async with (
                router.route(Features(), avoid=avoid) as route,
                aclosing(streamed(clients[route.endpoint])) as stream,
            ):
                async for piece in stream:
                    route.answered()
                    yield piece

        if way == "run":

            async def again() -> str:
                await has(slow, 1)
                return await router.run(whole, avoid=["slow"])

            answer = await hedge.run(lambda: router.run(whole), second=again, idempotent=True)
        else:

            async def anew() -> AsyncIterator[str]:
                await has(slow, 1)
                async for piece in pieces("slow"):
                    yield piece

            stream = hedge.stream(pieces, second=anew, idempotent=True)
            answer = "".join([piece async for piece in stream])
        assert answer == await text_of(fast_client)
        await has(slow, 0)
        assert hedge.stats.won == 1
        assert sorted((choice.endpoint, choice.outcome) for choice in told) == [
            ("fast", "success"),
            ("slow", "ignored"),
        ]
        assert slow.calls.total() == 1


async def test_a_stream_that_does_not_begin_is_closed_at_its_provider() -> None:
    async with no_complaints(), running(latency=NEVER) as (slow, client):
        timeout = Timeout(least=0.01, most=0.2)
        with pytest.raises(CallTimeout) as caught:
            _ = [piece async for piece in timeout.stream(lambda: streamed(client))]
        assert caught.value.code == "first_item"
        await has(slow, 0)
