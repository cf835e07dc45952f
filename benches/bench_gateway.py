"""gateway: hits, replayed streams and misses over one loopback connection, with a simulated provider that answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import msgspec

from sparecall import config, simulate
from sparecall.exchange import new_event_loop
from sparecall.gateway import serving

from .common import Benchmark

REQUESTS = 100
AT_ONCE = simulate.Latency(first_token=0, per_token=0, jitter=0)


class Requests(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.loop = new_event_loop()
        self.numbers = itertools.count()
        self.exits = contextlib.AsyncExitStack()
        self.loop.run_until_complete(self.start())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.exits.aclose())
        self.loop.close()
        super().teardown()

    async def start(self) -> None:
        self.provider = simulate.Provider(latency=AT_ONCE)
        upstream = await self.exits.enter_async_context(simulate.serve(self.provider))
        settings = config.load({"upstream": {"url": upstream}, "server": {"port": 0}})
        _, url = await self.exits.enter_async_context(serving(settings))
        host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.exits.callback(self.writer.close)
        await self.ask(0)

    async def ask(self, number: int, *, stream: bool = False) -> bytes:
        question = [{"role": "user", "content": f"Question {number}. {'Which module holds the retry policy? ' * 20}"}]
        body = msgspec.json.encode({"model": "gpt-4o", "messages": question, "stream": stream, "max_tokens": 100})
        self.writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-bench\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await self.reader.readexactly(length)
        return head

    async def repeats(self, *, stream: bool = False) -> int:
        return sum([b"x-sparecall-cache: exact" in await self.ask(0, stream=stream) for _ in range(REQUESTS)])

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
