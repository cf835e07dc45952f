"""A simulated provider on a loopback socket with the official SDK, for tests: instant and with a fixed date unless told otherwise."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import openai

from sparecall import simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INSTANT = simulate.Latency(first_token=0, per_token=0, jitter=0)
QUESTION: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "Explain the json.decoder module."}],
}


class Timer:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[simulate.Provider, openai.AsyncOpenAI]]:
    provider = simulate.Provider(**{"latency": INSTANT, "wall_clock": lambda: 1_750_000_000.0, **options})
    async with (
        simulate.serve(provider) as base_url,
        openai.AsyncOpenAI(
            base_url=base_url, api_key="any", max_retries=0, http_client=openai.DefaultAsyncHttpxClient(verify=False)
        ) as client,
    ):
        yield provider, client


@asynccontextmanager
async def posting(**options: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async with (
        running(**options) as (_, client),
        aiohttp.ClientSession(headers={"authorization": "Bearer any"}) as session,
    ):
        yield session, str(client.base_url).rstrip("/")


async def text_of(client: openai.AsyncOpenAI, **request: Any) -> str:
    return str((await client.chat.completions.create(**{**QUESTION, **request})).choices[0].message.content)


RAISED_BY_FAULT: list[tuple[str, type[Exception]]] = [
    ("rate_limit", openai.RateLimitError),
    ("server_error", openai.InternalServerError),
    ("overloaded", openai.InternalServerError),
    ("disconnect", openai.APIConnectionError),
    ("cut_stream", openai.APIConnectionError),
    ("bad_length", openai.APIConnectionError),
    ("garbage", UnicodeDecodeError),
    ("truncated_json", json.JSONDecodeError),
]
"""What OpenAI's client raises for each fault, whole or streamed."""


def forced(fault: str) -> dict[str, str]:
    """The header that makes a request go wrong."""
    return {simulate.FAULT_HEADER: fault}
