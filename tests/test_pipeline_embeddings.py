"""The embeddings stage by itself: what happens between its turns of the loop. Through sockets: tests/gateway/test_embeddings.py."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from loop_steps import settled, turns
from sparecall.cache import BytesCache
from sparecall.pipeline import Digest, Embeddings, Pipeline, Reply, Request, Scope

pytestmark = pytest.mark.anyio

MANY = [f"text {number}" for number in range(2000)]


class Provider:
    """Answers once its gate is open, and knows what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.asked.append(msgspec.json.decode(request.body)["input"])
        await self.gate.wait()
        data = [{"index": index, "embedding": [float(index), 0.5]} for index in range(len(self.asked[-1]))]
        return Reply(status=200, hit="miss", body=msgspec.json.encode({"data": data, "model": "m"}))


class Stage:
    def __init__(self) -> None:
        self.provider = Provider()
        self.embeddings = Embeddings(BytesCache(100_000_000))
        self.pipeline = Pipeline([Scope(scope="s"), Digest(), self.embeddings, self.provider])

    def ask(self, inputs: list[str], **fields: Any) -> asyncio.Task[Reply]:
        request = Request.of({"model": "m", "input": inputs}, wire="embeddings", **fields)
        return asyncio.ensure_future(self.pipeline(request))


async def test_an_input_that_lands_while_many_others_are_looked_up_is_not_asked_for_again() -> None:
    stage = Stage()
    provider = stage.provider
    provider.gate.set()
    await stage.ask(MANY)
    provider.gate.clear()
    first = stage.ask(["x"])
    await settled()
    second = stage.ask(["x", *MANY])
    async with asyncio.timeout(10):
        while not stage.embeddings._lookups:
            await turns(1)
    provider.gate.set()
    await first
    assert stage.embeddings._lookups, "the second is still looking"
    assert ((await first).hit, (await second).hit) == ("miss", "exact")
    assert provider.asked == [MANY, ["x"]]
    assert not stage.embeddings._lookups


async def test_one_who_leaves_while_looking_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.provider.gate.set()
    await stage.ask(MANY)
    leaving = stage.ask(MANY)
    async with asyncio.timeout(10):
        while not stage.embeddings._lookups:
            await turns(1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not stage.embeddings._lookups
    assert len(stage.embeddings) == 0


async def test_many_inputs_leave_the_loop_its_turns() -> None:
    stage = Stage()
    stage.provider.gate.set()
    for hit in ("miss", "exact"):
        asking = stage.ask(MANY)
        count = 0
        while not asking.done():
            await turns(1)
            count += 1
        assert (await asking).hit == hit
        assert count >= 3 * (len(MANY) // 128)  # for keys, for what is stored, for the reply
