"""Identical calls in flight are one call, whoever leaves and whenever they come."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.site import QUESTION, completion
from sparecall.cache import BytesCache
from sparecall.pipeline import Coalesce, Digest, Exact, Next, Pipeline, Reply, Request, Scope, chat

pytestmark = pytest.mark.anyio


async def test_who_comes_between_the_answer_and_its_storing_makes_no_call() -> None:
    calls = 0
    newcomers: list[asyncio.Task[Reply]] = []

    async def provider(request: Request, next: Next) -> Reply:  # noqa: A002
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        # Its first step comes after this reply is there and before the one who asked for it runs again.
        newcomers.append(asyncio.create_task(pipeline(QUESTION)))
        body = msgspec.json.encode(completion())
        return Reply(status=200, hit="miss", body=body, summary=chat.summarise(body))

    async with Pipeline([Scope(scope="test"), Digest(), Exact(BytesCache(10_000)), Coalesce(), provider]) as pipeline:
        assert (await pipeline(QUESTION)).hit == "miss"
        assert (await newcomers[0]).hit == "coalesced"
        assert (await pipeline(QUESTION)).hit == "exact"
        assert calls == 1
        await asyncio.sleep(0)
        assert len(pipeline.stage(Coalesce)) == 0
