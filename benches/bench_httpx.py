"""httpx: hits, replayed streams and misses through the transports, with a simulated provider that answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import Any

import httpx2

import sparecall
from sparecall import simulate
from sparecall.exchange import new_event_loop
from sparecall.httpx import AsyncTransport, Transport

from .common import Benchmark

REQUESTS = 100
URL = "http://any/v1/chat/completions"
HEADERS = {"authorization": "Bearer sk-bench"}


def question(number: int, *, stream: bool = False) -> dict[str, Any]:
    content = f"Question {number}. {'Which module holds the retry policy? ' * 20}"
    messages = [{"role": "user", "content": content}]
    return {"model": "gpt-4o", "messages": messages, "stream": stream, "max_tokens": 100}


def provider() -> simulate.Provider:
    return simulate.Provider(latency=simulate.Latency(first_token=0, per_token=0, jitter=0))


class Asynchronous(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.loop = new_event_loop()
        self.numbers = itertools.count(1)
        self.exits = contextlib.AsyncExitStack()
        self.loop.run_until_complete(self.start())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.exits.aclose())
        self.loop.close()
        super().teardown()

    async def start(self) -> None:
        upstream = await self.exits.enter_async_context(simulate.serve(provider()))
        pipeline = await self.exits.enter_async_context(sparecall.open({"upstream": {"url": upstream}}))
        client = httpx2.AsyncClient(transport=AsyncTransport(pipeline), headers=HEADERS)
        self.client = await self.exits.enter_async_context(client)
        await self.ask(0)

    async def ask(self, number: int, *, stream: bool = False) -> bool:
        reply = await self.client.post(URL, json=question(number, stream=stream))
        return bool(reply.headers["x-sparecall-cache"] == "exact")

    async def repeats(self, *, stream: bool = False) -> int:
        return sum([await self.ask(0, stream=stream) for _ in range(REQUESTS)])

    async def misses(self) -> None:
        for number in itertools.islice(self.numbers, REQUESTS):
            await self.ask(number)

    def time_100_hits(self) -> None:
        self.loop.run_until_complete(self.repeats())

    def time_100_hits_as_streams(self) -> None:
        self.loop.run_until_complete(self.repeats(stream=True))

    def time_100_misses(self) -> None:
        self.loop.run_until_complete(self.misses())

    def track_hits_of_100_repeats(self) -> int:
        return self.loop.run_until_complete(self.repeats())


class Synchronous(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.provider_loop = new_event_loop()
        self.stop = asyncio.Event()
        serving = threading.Event()
        self.thread = threading.Thread(target=lambda: self.provider_loop.run_until_complete(self.serve(serving)))
        self.thread.start()
        serving.wait()
        self.client = httpx2.Client(transport=Transport({"upstream": {"url": self.upstream}}), headers=HEADERS)
        self.client.post(URL, json=question(0))

    def teardown(self) -> None:
        self.client.close()
        self.provider_loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.provider_loop.close()
        super().teardown()

    async def serve(self, serving: threading.Event) -> None:
        async with simulate.serve(provider()) as self.upstream:
            serving.set()
            await self.stop.wait()

    def time_100_hits(self) -> None:
        for _ in range(REQUESTS):
            self.client.post(URL, json=question(0))

    def time_100_hits_as_streams(self) -> None:
        for _ in range(REQUESTS):
            self.client.post(URL, json=question(0, stream=True))
