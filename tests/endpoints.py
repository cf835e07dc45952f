"""Endpoints without sockets, and pipelines that route to them, for tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

import virtual_time
from sparecall.flow import Retry
from sparecall.pipeline import Digest, Endpoint, FallbackStage, Pipeline, Reply, Request, RetryStage, RouteStage, Target
from sparecall.pipeline.outcome import passes
from stages import Provider, completion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def saying(text: str) -> Provider:
    """A provider that answers with its name."""
    return Provider(completion(text))


class Refusing:
    """A provider that answers with an error status, and may say when to come again."""

    __name__ = "upstream"

    def __init__(self, status: int, **headers: str) -> None:
        self.status, self.headers, self.calls = status, headers, 0

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.calls += 1
        await asyncio.sleep(0)
        body = msgspec.json.encode({"error": {"message": "no", "code": str(self.status)}})
        headers = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return Reply(status=self.status, hit="bypass" if request.bypass else "miss", body=body, headers=headers)


class Raising:
    """A provider whose calls raise."""

    __name__ = "upstream"

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self.error, self.calls = error, 0

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.calls += 1
        await asyncio.sleep(0)
        raise self.error()


def endpoint(name: str, *stages: Any, **options: Any) -> Endpoint:
    return Endpoint(name, stages, clock=virtual_time.clock, **options)


def routed(
    *endpoints: Endpoint, retry: Mapping[str, Any] | None = None, targets: Mapping[str, Sequence[Target]] | None = None
) -> Pipeline:
    """A digest, then whatever controls calls; in virtual time."""
    stages: list[Any] = [Digest()]
    if targets is not None:
        stages.append(FallbackStage(targets))
    if retry is not None:
        options = {"classify": passes, "clock": virtual_time.clock, "random": lambda: 0.5, **retry}
        stages.append(RetryStage(Retry(**options), clock=virtual_time.clock))
    stages.append(
        RouteStage(endpoints, random=lambda: 0.5, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
    )
    return Pipeline(stages)


async def passed(reply: Reply) -> list[str]:
    """Who was asked before, and why they did not serve."""
    assert reply.origin is not None
    return [f"{one.endpoint}={one.reason}" for one in reply.origin.passed]
