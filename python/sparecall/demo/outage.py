"""A bad quarter of an hour in a few seconds: two simulated providers that hang, say 429 and fail in turn, and what the callers notice of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import openai

from sparecall import config, simulate
from sparecall.demo.figures import Change, Outage, PhaseFigures, quantiles
from sparecall.gateway import serving
from sparecall.pipeline import BreakerStage, HedgeStage, RetryStage, RouteStage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sparecall.pipeline import Pipeline
    from sparecall.simulate import Provider

NAMES = ("a", "b")
RATE = 40.0
"""Calls a second, whatever becomes of those before."""
LATENCY = simulate.Latency(first_token=0.02, per_token=0.0005)
_LOOK_EVERY = 0.01
_HANGS = simulate.Faults(stall=0.25, stall_for=30.0)
_LIMITED = simulate.Faults(rate_limit=1.0)
_FAILS = simulate.Faults(server_error=1.0)
_FALTERS = simulate.Faults(server_error=0.1)
_WELL = simulate.Faults()


class Phase(NamedTuple):
    """How the providers are for a while."""

    name: str
    a: simulate.Faults
    b: simulate.Faults


PHASES = (
    Phase("both well", _WELL, _WELL),
    Phase("b hangs in one call of four", _WELL, _HANGS),
    Phase("b says 429", _WELL, _LIMITED),
    Phase("a fails, and b in one call of ten", _FAILS, _FALTERS),
    Phase("both well again", _WELL, _WELL),
)


class _Asked(NamedTuple):
    phase: int
    seconds: float
    served_by: str
    """Empty where there was no answer."""
    passed: bool


def calls_of(seconds: float) -> int:
    """How many calls that takes."""
    return len(PHASES) * round(RATE * seconds / len(PHASES))


async def outage(*, seconds: float, seed: int, on_call: Callable[[], object]) -> Outage:
    """Makes calls at a steady rate for so long, a fifth of it in each phase."""
    providers = {name: simulate.Provider(seed=seed + number, latency=LATENCY) for number, name in enumerate(NAMES)}
    part = seconds / len(PHASES)
    async with contextlib.AsyncExitStack() as exits:
        urls = {name: await exits.enter_async_context(simulate.serve(one)) for name, one in providers.items()}
        gateway, url = await exits.enter_async_context(serving(_settings(urls, part)))
        http = await exits.enter_async_context(openai.DefaultAsyncHttpxClient(trust_env=False, verify=False))
        client = await exits.enter_async_context(
            openai.AsyncOpenAI(base_url=url, api_key="demo", max_retries=0, http_client=http)
        )
        breakers = await exits.enter_async_context(_watched(gateway.pipeline))
        asked = await _load(client, providers, part=part, on_call=on_call)
        return _figures(asked, seconds, providers, gateway.pipeline, breakers)


def _settings(urls: dict[str, str], part: float) -> config.Config:
    breaker = config.Breaker(minimum_calls=5, window=part, open_for=part / 2)
    return config.Config(
        scope="team",
        server=config.Server(port=0, shutdown_grace=1.0),
        upstreams={name: config.Upstream(url=url, breaker=breaker) for name, url in urls.items()},
        cache=config.Cache(enabled=False),
        semantic=config.Semantic(enabled=False),
        retry=config.Retry(attempts=8, base=0.05, budget=1.0),
        hedge=config.Hedge(minimum_calls=20, budget=0.1),
    )


async def _load(
    client: openai.AsyncOpenAI, providers: dict[str, Provider], *, part: float, on_call: Callable[[], object]
) -> list[_Asked]:
    tasks: list[asyncio.Task[_Asked]] = []
    calls = round(RATE * part)
    began = time.perf_counter()
    for number, phase in enumerate(PHASES):
        providers["a"].faults, providers["b"].faults = phase.a, phase.b
        for call in range(calls):
            await asyncio.sleep(max(0.0, began + part * (number + call / calls) - time.perf_counter()))
            tasks.append(asyncio.create_task(_ask(client, number, f"Call {number}.{call}: what failed?", on_call)))
    return await asyncio.gather(*tasks)


async def _ask(client: openai.AsyncOpenAI, phase: int, question: str, on_call: Callable[[], object]) -> _Asked:
    began = time.perf_counter()
    served_by, passed = "", False
    with contextlib.suppress(openai.OpenAIError):
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}], max_tokens=40
        )
        if raw.parse().choices[0].message.content:
            served_by = raw.headers["x-sparecall-served-by"]
            passed = "x-sparecall-passed" in raw.headers
    on_call()
    return _Asked(phase, time.perf_counter() - began, served_by, passed)


@contextlib.asynccontextmanager
async def _watched(pipeline: Pipeline) -> AsyncIterator[list[Change]]:
    """The states that breakers come to."""
    route = pipeline.stage(RouteStage)
    assert route is not None  # noqa: S101 - there are several upstreams
    found = [(one.name, stage.breaker) for one in route.endpoints for stage in one.stages if isinstance(stage, BreakerStage)]  # fmt: skip
    changes: list[Change] = []
    began = time.perf_counter()

    async def look() -> None:
        known = {name: "closed" for name, _ in found}
        while True:
            for name, breaker in found:
                if breaker.state != known[name]:
                    known[name] = breaker.state
                    changes.append(Change(time.perf_counter() - began, name, breaker.state))
            await asyncio.sleep(_LOOK_EVERY)

    task = asyncio.create_task(look())
    try:
        yield changes
    finally:
        task.cancel()
        await asyncio.wait([task])


def _figures(
    asked: list[_Asked], seconds: float, providers: dict[str, Provider], pipeline: Pipeline, breakers: list[Change]
) -> Outage:
    retry, hedge = pipeline.stage(RetryStage), pipeline.stage(HedgeStage)
    assert retry is not None  # noqa: S101 - the settings have both
    assert hedge is not None  # noqa: S101
    phases = []
    for number, phase in enumerate(PHASES):
        of = [one for one in asked if one.phase == number]
        answered = [one for one in of if one.served_by]
        by_a, by_b = (sum(one.served_by == name for one in answered) for name in NAMES)
        passed = sum(one.passed for one in answered)
        took = quantiles(phase.name, [one.seconds * 1e3 for one in answered])
        phases.append(PhaseFigures(phase.name, len(of), len(answered), by_a, by_b, passed, took))
    faults = providers["a"].faulted + providers["b"].faulted
    calls = sum(one.calls.total() for one in providers.values())
    stats = hedge.hedge.stats
    return Outage(seconds, phases, dict(faults), calls, retry.retries, stats.hedges, stats.won, list(breakers))
