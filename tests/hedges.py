"""A provider that answers as told and keeps what is open, and hedges that have learned; in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import virtual_time
from loop_steps import no_complaints
from sparecall.flow import Hedge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


class Provider:
    """Answers as told: a number of seconds, or those and an error; keeps what is open, and what became of each call."""

    def __init__(self, *plan: float | tuple[float, BaseException], ending: float = 0.0, items: int = 2) -> None:
        self.plan, self.ending, self.items = list(plan), ending, items
        self.open = 0
        self.calls: list[float] = []
        self.ended: list[str] = []

    async def __call__(self) -> str:
        self.calls.append(virtual_time.clock() - 1000)
        name = f"answer {len(self.calls)}"
        step = self.plan.pop(0) if self.plan else 0.0
        seconds, error = step if isinstance(step, tuple) else (step, None)
        self.open += 1
        how = "cancelled"
        try:
            await asyncio.sleep(seconds)
            how = "failed" if error else "answered"
            if error:
                raise error
            return name
        finally:
            try:
                await asyncio.sleep(self.ending)
            finally:
                self.ended.append(how)
                self.open -= 1

    async def stream(self) -> AsyncIterator[str]:
        self.open += 1
        try:
            name = await self()
            for number in range(self.items):
                yield f"{name}.{number}"
                await asyncio.sleep(0.1)
        finally:
            self.open -= 1


def learned(seconds: float = 1.0, **options: Any) -> Hedge:
    """A hedge that has learned that calls take so long, and may make second calls."""
    options.setdefault("least", 0.0)
    hedge = Hedge(clock=virtual_time.clock, **options)
    seen = hedge._lane("").seen
    for _ in range(100):
        seen.add(seconds)
    hedge._credit = 5.0
    return hedge


def run(work: Coroutine[Any, Any, Any], *, collected: bool = True) -> Any:
    """What `work` returns, and no task is left; nor, with ``collected``, which costs a collection of all garbage, an error that nobody saw."""

    async def main() -> Any:
        async with no_complaints() if collected else nullcontext():
            result = await work
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return virtual_time.run(main())


async def asked(hedge: Hedge, provider: Provider, way: str = "run", **options: Any) -> Any:
    options = {"idempotent": True} | options
    if way == "run":
        return await hedge.run(provider, **options)
    return [item async for item in hedge.stream(provider.stream, **options)]
