"""The gateway's application inside another one: its middlewares see every reply, and paths go on without its prefix."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from gateway.site import KEY, QUESTION
from simulated import INSTANT
from sparecall import config as configuration
from sparecall import simulate
from sparecall.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def mounted(upstream: str) -> AsyncIterator[str]:
    @web.middleware
    async def stamped(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        response.headers["x-stamp"] = "mine"
        return response

    gateway = Gateway(configuration.load({"upstream": {"url": upstream}}))
    outer = web.Application(middlewares=[stamped])
    outer.add_subapp("/v1/ai", gateway.app())
    runner = web.AppRunner(outer)
    await runner.setup()
    try:
        await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
        yield f"{site.name.rstrip('/')}".replace(":0", f":{runner.addresses[0][1]}") + "/v1/ai"
    finally:
        await runner.cleanup()


async def test_a_mounted_gateway_answers_and_its_host_sees_the_replies() -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with (
        simulate.serve(provider) as upstream,
        mounted(upstream) as root,
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http,
    ):
        seen = []
        for _ in range(2):
            async with http.post(f"{root}/v1/chat/completions", json=QUESTION) as response:
                seen.append((response.status, response.headers["x-sparecall-cache"], response.headers["x-stamp"]))
        assert seen == [(200, "miss", "mine"), (200, "exact", "mine")]
        async with http.get(f"{root}/v1/models/gpt-4o") as response:
            assert (response.status, (await response.json())["id"]) == (200, "gpt-4o")
        async with http.get(f"{root}/readyz") as response:
            assert await response.json() == {"ready": True}
