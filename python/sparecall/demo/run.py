"""One run of a day: a fresh simulated provider, a gateway before it, the SDK before that; nothing is left afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import openai

from sparecall import config, simulate
from sparecall.demo.drive import EMBEDDER, drive, index
from sparecall.errors import SparecallError
from sparecall.gateway import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.demo.drive import Outcome
    from sparecall.demo.task import Day


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a day, as the clients saw it and as the provider counted it."""

    outcomes: list[Outcome]
    seconds: float
    provider_calls: int
    provider_prompt_tokens: int
    provider_completion_tokens: int
    vectors: list[list[float]]
    """Of the functions that were asked about, embedded after the day."""
    vector_calls: int
    vector_seconds: float


async def run(day: Day, *, cache: bool, latency: simulate.Latency, on_call: Callable[[], object]) -> Run:
    """Makes every call of the day through a gateway of its own, with its cache on or off."""
    provider = simulate.Provider(seed=day.seed, latency=latency)
    async with simulate.serve(provider) as upstream:
        settings = config.Config(
            scope="team",  # one memory for all agents: they may see each other's answers
            server=config.Server(port=0, shutdown_grace=1.0),
            upstream=config.Upstream(url=upstream),
            cache=config.Cache(enabled=cache),
            semantic=config.Semantic(enabled=cache, audit_share=0.0),
        )
        async with (
            serving(settings) as (_, url),
            # Loopback: no proxy of the environment, and no certificates, which take a while to load.
            openai.DefaultAsyncHttpxClient(trust_env=False, verify=False) as http,
            openai.AsyncOpenAI(base_url=url, api_key="demo", max_retries=0, http_client=http) as client,
        ):
            start = time.perf_counter()
            try:
                outcomes = await drive(day, client, on_call)
                seconds = time.perf_counter() - start
                calls, read, written = provider.calls.total(), provider.prompt_tokens, provider.completion_tokens
                start = time.perf_counter()
                vectors = await index(day, client)
            except* openai.OpenAIError as group:
                error = group.exceptions[0]
                raise SparecallError(f"a call failed, which should not happen: {error!r}") from None
            vector_seconds = time.perf_counter() - start
    vector_calls = provider.calls["embeddings", EMBEDDER]
    return Run(outcomes, seconds, calls, read, written, vectors, vector_calls, vector_seconds)
