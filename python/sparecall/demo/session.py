"""One agent's long session, as it comes and through the context optimizer: what each costs under a provider's prefix cache.

The agent goes through the library file by file: the functions of a file, its text, and its text again once it was edited. What
it calls is scripted, so that both runs ask for the same; each step carries all that came before.
"""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall import config, simulate
from sparecall.context import Rates, Till
from sparecall.context.costs import Costs
from sparecall.context.grammar import faults
from sparecall.demo import questions, source
from sparecall.errors import SparecallError
from sparecall.pipeline import Context, Pipeline, Request, Upstream
from sparecall.prices import Prices

if TYPE_CHECKING:
    from sparecall.demo.task import Day
    from sparecall.pipeline import Next, Reply, Stage

MODEL = "gpt-4.1-mini"
BUDGET = 32_000
_LEAST_STEPS = 3
_CALLS_PER_STEP = 15  # of the day: how long a session is beside it is a choice


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a session of `steps` requests. Tokens are those of the provider's usage, dollars those of a prefix cache."""

    steps: int
    budget: int
    tokens_raw: int
    tokens: int
    dollars_raw: float
    dollars: float
    epochs: int
    """How often all was cut anew."""
    lossy: int
    """Requests of which something was gone."""
    valid: int
    """Requests that went out and keep to the provider's grammar."""
    within: int
    """Requests that went out within the budget."""


async def session(day: Day, *, latency: simulate.Latency) -> Session:
    """Runs it twice at once, each before a provider of its own."""
    steps = script(Random(day.seed), max(_LEAST_STEPS, day.calls // _CALLS_PER_STEP))
    raw, cut = await asyncio.gather(_run(steps, None, latency), _run(steps, BUDGET, latency))
    price = Prices().of(MODEL)
    assert price is not None  # noqa: S101 - it is in the list
    told = [reply.optimized for reply in cut.replies if reply.optimized is not None]
    return Session(
        steps=len(steps),
        budget=BUDGET,
        tokens_raw=raw.tokens,
        tokens=cut.tokens,
        dollars_raw=raw.till.total * price.input / 1e6,
        dollars=cut.till.total * price.input / 1e6,
        epochs=sum(one.prefix == "epoch" for one in told),
        lossy=sum(not one.lossless for one in told),
        valid=cut.valid,
        within=sum(one.after <= BUDGET for one in told if not one.why),
    )


def script(draw: Random, steps: int) -> list[list[dict[str, Any]]]:
    """The conversation as it is at each step."""
    found: list[list[dict[str, Any]]] = []
    conversation: list[dict[str, Any]] = [
        {"role": "system", "content": questions.SYSTEM},
        {"role": "user", "content": "Go through the library file by file and note what the functions have in common."},
    ]
    for module in source.modules(-(-steps // 3), draw):
        rows = [
            {
                "path": module.path,
                "name": one.name,
                "lines": one.source.count("\n") + 1,
                "documented": '"""' in one.source,
            }
            for one in module.functions
        ]
        results = (
            ("list_functions", json.dumps(rows)),
            ("read_file", module.text),
            ("read_file", questions.edited(module.text, len(found))),
        )
        for name, result in results:
            call = {"name": name, "arguments": json.dumps({"path": module.path})}
            id_ = f"call_{len(found)}"
            conversation = [
                *conversation,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": id_, "type": "function", "function": call}],
                },
                {"role": "tool", "tool_call_id": id_, "content": result},
            ]
            found.append(conversation)
    return found[:steps]


class _Run:
    """Stands where requests leave for the provider, and looks at each."""

    def __init__(self) -> None:
        self.till = Till(Costs(model=MODEL), Rates.of(MODEL))
        self.replies: list[Reply] = []
        self.tokens = 0
        self.valid = 0

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        body = msgspec.json.decode(request.body)
        self.till.charge(body["messages"], body["tools"])
        self.valid += not any(faults(body["messages"], form="openai", tools=body["tools"]))
        return await next(request)


async def _run(steps: list[list[dict[str, Any]]], budget: int | None, latency: simulate.Latency) -> _Run:
    run, provider = _Run(), simulate.Provider(latency=latency)
    async with simulate.serve(provider) as url:
        upstream = Upstream(config.Upstream(url=url, api_key="demo"))
        stages: list[Stage] = [run, upstream] if budget is None else [Context(budget=budget), run, upstream]
        async with Pipeline(stages) as pipeline:
            for messages in steps:
                body = {"model": MODEL, "messages": messages, "tools": questions.TOOLS, "temperature": 0}
                reply = await pipeline(Request.of(body))
                if reply.status != 200:
                    raise SparecallError(f"a step of the session failed, which should not happen: {reply.status}")
                run.replies.append(reply)
    run.tokens = provider.prompt_tokens
    return run
