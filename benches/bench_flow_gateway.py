"""flow-gateway: what control costs a call in process: none of it, a route alone, one upstream with all before it, and three of them with a retry and a hedge around."""

from __future__ import annotations

import asyncio
from typing import Any

from sparecall.flow import AdaptiveLimit, Breaker, Hedge, RateLimit, Retry, Timeout
from sparecall.pipeline import (
    AdaptiveLimitStage,
    BreakerStage,
    Digest,
    Endpoint,
    HedgeStage,
    Pipeline,
    RateLimitStage,
    RetryStage,
    RouteStage,
    TimeoutStage,
)
from sparecall.pipeline.outcome import passes

from .bench_pipeline import Provider, request
from .common import Benchmark

CALLS = 200


def guarded(name: str) -> Endpoint:
    """An upstream with everything before it."""
    limits = [RateLimitStage(RateLimit(requests=1e9, tokens=1e12)), AdaptiveLimitStage(AdaptiveLimit())]
    return Endpoint(name, [*limits, BreakerStage(Breaker()), TimeoutStage(Timeout()), Provider()])


CHAINS: dict[str, Any] = {
    "none": lambda: [Provider()],
    "route": lambda: [RouteStage([Endpoint("a", [Provider()])])],
    "one": lambda: [RouteStage([guarded("a")])],
    "three": lambda: [
        RetryStage(Retry(classify=passes)),
        HedgeStage(Hedge()),
        RouteStage([guarded(name) for name in "abc"]),
    ],
}


class Calls(Benchmark):
    params = (list(CHAINS),)
    param_names = ("control",)

    def setup(self, control: str) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.pipeline = Pipeline([Digest(), *CHAINS[control]()])
        self.request = request(0, 1_000)
        self.loop.run_until_complete(self.calls())

    def teardown(self, control: str) -> None:
        self.loop.close()
        super().teardown()

    async def calls(self) -> None:
        for _ in range(CALLS):
            await self.pipeline(self.request)

    def time_200_calls(self, control: str) -> None:
        self.loop.run_until_complete(self.calls())
