"""pipeline: what an exact hit, a miss and a merged call cost in process, with a provider that answers at once and without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from sparecall.cache import BytesCache
from sparecall.pipeline import Coalesce, Digest, Exact, Pipeline, Reply, Request, Scope, chat

from .common import Benchmark

if TYPE_CHECKING:
    from sparecall.pipeline import Next

REQUESTS = 1_000
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "runs", "away", "from", "it"]


def request(number: int, size: int) -> Request:
    """A chat completion of about `size` bytes; each number asks for something else."""
    content = f"{number} " + " ".join(WORDS[index % len(WORDS)] for index in range(size // 5))
    return Request.of({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}, key="sk-bench")


class Provider:
    """The last stage: one answer of 2 kB for everybody, after one turn of the loop."""

    __name__ = "upstream"

    def __init__(self) -> None:
        message = {"role": "assistant", "content": "x" * 1_700}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 200, "completion_tokens": 400, "total_tokens": 600}
        self.body = msgspec.json.encode(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-4o",
                "choices": [choice],
                "usage": usage,
            }
        )
        self.calls = 0

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        self.calls += 1
        await asyncio.sleep(0)
        return Reply(status=200, hit="miss", body=self.body, summary=chat.summarise(self.body))


class Requests(Benchmark):
    params = ([1_000, 100_000],)
    param_names = ("body_bytes",)

    def setup(self, body_bytes: int) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.provider = Provider()
        self.cache = BytesCache(1 << 28)
        self.pipeline = Pipeline([Scope(), Digest(), Exact(self.cache), Coalesce(), self.provider])
        count = REQUESTS if body_bytes <= 1_000 else REQUESTS // 10
        self.different = [request(number, body_bytes) for number in range(count)]
        self.same = [request(0, body_bytes) for _ in range(count)]

    def teardown(self, body_bytes: int) -> None:
        self.loop.close()
        super().teardown(body_bytes)

    async def one_by_one(self, requests: list[Request]) -> list[str]:
        return [(await self.pipeline(request)).hit for request in requests]

    async def at_once(self, requests: list[Request]) -> list[str]:
        return [reply.hit for reply in await asyncio.gather(*[self.pipeline(request) for request in requests])]


class Hit(Requests):
    """1,000 requests of 1 kB, or 100 of 100 kB, that were all answered before."""

    def setup(self, body_bytes: int) -> None:
        super().setup(body_bytes)
        self.loop.run_until_complete(self.one_by_one(self.different))

    def time_exact_hits(self, body_bytes: int) -> None:
        self.loop.run_until_complete(self.one_by_one(self.different))

    def track_share_of_exact_hits(self, body_bytes: int) -> float:
        hits = self.loop.run_until_complete(self.one_by_one(self.different))
        return hits.count("exact") / len(hits)


class Miss(Requests):
    """As many that were never asked; the answers are stored."""

    def time_misses(self, body_bytes: int) -> None:
        self.cache.clear()
        self.loop.run_until_complete(self.one_by_one(self.different))

    def track_upstream_calls_per_miss(self, body_bytes: int) -> float:
        hits = self.loop.run_until_complete(self.one_by_one(self.different))
        return self.provider.calls / hits.count("miss")


class Merged(Requests):
    """As many identical cold requests at once."""

    def time_coalesced(self, body_bytes: int) -> None:
        self.cache.clear()
        self.loop.run_until_complete(self.at_once(self.same))

    def track_upstream_calls_for_identical_requests(self, body_bytes: int) -> int:
        self.loop.run_until_complete(self.at_once(self.same))
        return self.provider.calls
