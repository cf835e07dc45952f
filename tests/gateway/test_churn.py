"""Mixed traffic, a failing provider and callers who leave: every whole answer is the right one, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gateway.site import Site, simulated_site, until
from simulated import INSTANT
from sparecall import simulate
from sparecall.pipeline import Coalesce, Exact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

CLIENTS = 16
QUESTIONS = 400
MAX_BYTES = 200_000  # a part of what is asked: answers come and go
FAULTS = ("rate_limit", "server_error", "disconnect", "cut_stream", "garbage", "error_in_200", "no_done", "bad_length")
STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")
SOAK = 600_000  # about a quarter of an hour on each loop


def resident() -> int:
    """Bytes of this process in memory, or 0 where the system does not say."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


def open_files() -> int:
    """Descriptors of this process, or 0 where the system does not say."""
    return len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.exists() else 0


def text_of(raw: bytes, *, stream: bool) -> str | None:
    """The text of a reply, or None where it is not whole."""
    if not stream:
        return str(json.loads(raw)["choices"][0]["message"]["content"])
    events = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        return None
    choices = [choice for event in events[:-1] for choice in json.loads(event).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices) or None


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield bytes(50_000)
        await asyncio.sleep(0)


class Crowd:
    """Clients that ask the same few questions over and over, with the worst of manners."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.draw = random.Random(seed)
        self.answers: dict[int, str] = {}
        self.whole = self.left = self.failed = 0

    async def run(self, requests: int) -> None:
        todo = iter(range(requests))

        async def client() -> None:
            async with aiohttp.ClientSession() as http:
                for _ in todo:
                    kind = self.draw.random()
                    if kind < 0.9:
                        await self._ask(http)
                    elif kind < 0.97:
                        await self._pass_through(http)
                    else:
                        await self._stop_midway()

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())

    async def _pass_through(self, http: aiohttp.ClientSession) -> None:
        """Other wires: a list, embeddings, and an upload that nobody here takes."""
        url, headers = self.site.url, {"authorization": "Bearer sk-0"}
        match self.draw.randrange(3):
            case 0:
                call, expected = http.get(f"{url}/models", headers=headers), 200
            case 1:
                body = {"model": "text-embedding-3-small", "input": [f"Text {self.draw.randrange(100)}"]}
                call, expected = http.post(f"{url}/embeddings", json=body, headers=headers), 200
            case _:
                call, expected = http.post(f"{url}/uploads", data=pieces(), headers=headers), 404
        async with call as response:
            assert response.status == expected
            await response.read()

    async def _stop_midway(self) -> None:
        """A client that goes away within its own request."""
        reader, writer = await self.site.raw(outlives=True)
        path = self.draw.choice([b"chat/completions", b"uploads"])
        request = b"POST /v1/%b HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5000\r\n\r\n%b" % (path, b" " * 1000)
        writer.write(request[: self.draw.randrange(1, len(request))])
        await writer.drain()
        if self.draw.random() < 0.5:
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 30)
        writer.transport.abort()

    async def _ask(self, http: aiohttp.ClientSession) -> None:
        draw = self.draw
        number = min(int(draw.expovariate(8 / QUESTIONS)), QUESTIONS - 1)
        stream = draw.random() < 0.5
        body: dict[str, Any] = {
            "model": "gpt-4o", "messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 60, "stream": stream,
        }  # fmt: skip
        headers = {"authorization": f"Bearer sk-{draw.randrange(3)}"}
        if draw.random() < 0.1:
            headers["x-simulate-fault"] = draw.choice(FAULTS)
        if draw.random() < 0.05:
            headers["cache-control"] = draw.choice(["no-store", "no-cache", "max-age=0"])
        leaves = draw.random() < 0.1
        try:
            async with asyncio.timeout(draw.random() * 0.004 if leaves else 60):
                async with http.post(f"{self.site.url}/chat/completions", json=body, headers=headers) as response:
                    raw = await response.read()
                    text = text_of(raw, stream=response.content_type == "text/event-stream")
        except TimeoutError:
            assert leaves
            self.left += 1
        except (aiohttp.ClientError, ValueError, LookupError):
            self.failed += 1
        else:
            if text is None:
                self.failed += 1
                return
            self.whole += 1
            assert self.answers.setdefault(number, text) == text


@pytest.mark.parametrize("requests", [1_200, pytest.param(SOAK, marks=pytest.mark.soak)])
async def test_a_crowd_leaves_nothing_behind_and_gets_no_wrong_answer(requests: int) -> None:
    latency = simulate.Latency(first_token=0.002, per_token=0.0001) if requests == SOAK else INSTANT
    cache = {"max_bytes": MAX_BYTES}
    async with simulated_site(simulate.Provider(latency=latency), cache=cache) as (site, provider):
        crowd = Crowd(site, seed=requests)
        await crowd.run(requests // 2)
        before, files = resident(), open_files()
        await crowd.run(requests // 2)
        exact, coalesce = site.gateway.pipeline.stage(Exact), site.gateway.pipeline.stage(Coalesce)
        await until(lambda: provider.in_flight == len(coalesce) == 0)
        assert 0 < exact.cache.stats().weight <= MAX_BYTES
        assert exact.cache.stats().evictions["size"] > 0
        await until(lambda: len(asyncio.all_tasks()) <= 2 * CLIENTS)  # those of kept connections
        assert resident() - before < 16_000_000
        assert open_files() - files <= 2 * CLIENTS  # both ends of connections kept for the next call
        assert min(crowd.left, crowd.failed) > requests / 200
        assert crowd.whole > requests / 2
        assert provider.calls.total() < requests
        lines = (await site.metrics()).splitlines()
        assert len([line for line in lines if not line.startswith("#")]) < 200
