"""Clients with the worst of manners, on every wire, through the gateway's sockets and in process: what they were answered, and how often."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx

from sparecall.httpx import AsyncTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.site import Site

CLIENTS = 16
QUESTIONS = 400
FAULTS = ("rate_limit", "server_error", "disconnect", "cut_stream", "garbage", "error_in_200", "no_done", "bad_length")
DIMENSIONS = 64


def _chat(number: int) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 60}


def _responses(number: int) -> dict[str, Any]:
    return {"model": "gpt-4o", "input": f"Question {number}", "max_output_tokens": 60}


def _messages(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Question {number}"}]
    return {"model": "claude-of-the-tests", "messages": messages, "max_tokens": 60}


def _embeddings(number: int) -> dict[str, Any]:
    texts = [f"Text {number}", f"Text {number + 1}"]
    form = ("float", "base64")[number % 2]
    return {
        "model": "text-embedding-3-small", "input": texts, "dimensions": DIMENSIONS, "encoding_format": form,
    }  # fmt: skip


BODIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "chat/completions": _chat, "responses": _responses, "messages": _messages, "embeddings": _embeddings,
}  # fmt: skip
SHARES = (6, 2, 2, 1)


def _whole(path: str, answer: dict[str, Any]) -> str:
    """The text of an answer that is one JSON object; LookupError where it is an error."""
    match path:
        case "chat/completions":
            return str(answer["choices"][0]["message"]["content"])
        case "responses":
            return str(answer["output"][0]["content"][0]["text"])
        case "messages":
            return str(answer["content"][0]["text"])
        case _:
            vectors = [one["embedding"] for one in answer["data"]]
            assert all(
                len(base64.b64decode(one)) == 4 * DIMENSIONS if isinstance(one, str) else len(one) == DIMENSIONS
                for one in vectors
            )
            return json.dumps(vectors)


def _streamed(path: str, raw: bytes) -> str | None:
    """The text of a stream, or None where it is not whole."""
    data = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: ")]
    ended = bool(data) and data[-1] == b"[DONE]"
    events = [json.loads(event) for event in (data[:-1] if ended else data)]
    if path == "chat/completions":
        deltas = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ())]
        return "".join(deltas) if ended else None
    if not events or events[-1]["type"] not in {"response.completed", "response.incomplete", "message_stop"}:
        return None
    if path == "responses":
        return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield bytes(50_000)
        await asyncio.sleep(0)


class Crowd:
    """Asks the same few questions over and over, breaks in, walks out, and remembers each answer that came whole."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.draw = random.Random(seed)
        self.answers: dict[tuple[str, int], str] = {}
        self.whole: Counter[str] = Counter()
        self.left = self.failed = 0

    async def run(self, requests: int) -> None:
        """Makes so many requests."""
        todo = iter(range(requests))

        async def client() -> None:
            async with AsyncExitStack() as exits:
                http = await exits.enter_async_context(aiohttp.ClientSession())
                transport = AsyncTransport(self.site.gateway.pipeline)
                in_process = await exits.enter_async_context(httpx.AsyncClient(transport=transport))
                for _ in todo:
                    kind = self.draw.random()
                    if kind < 0.92:
                        await self._ask(http, in_process if kind < 0.2 else None)
                    elif kind < 0.97:
                        await self._pass_through(http)
                    else:
                        await self._stop_midway()

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())

    async def _ask(self, http: aiohttp.ClientSession, in_process: httpx.AsyncClient | None) -> None:
        draw = self.draw
        number = min(int(draw.expovariate(8 / QUESTIONS)), QUESTIONS - 1)
        path = draw.choices(list(BODIES), SHARES)[0]
        body = BODIES[path](number)
        if path != "embeddings":
            body["stream"] = draw.random() < 0.5
        headers = {"authorization": f"Bearer sk-{draw.randrange(3)}", "anthropic-version": "2023-06-01"}
        if draw.random() < 0.1:
            headers["x-simulate-fault"] = draw.choice(FAULTS)
        if draw.random() < 0.05:
            headers["cache-control"] = draw.choice(["no-store", "no-cache", "max-age=0"])
        leaves = draw.random() < 0.1
        try:
            async with asyncio.timeout(draw.random() * 0.004 if leaves else 60):
                if in_process is not None:
                    reply = await in_process.post(f"https://provider.test/v1/{path}", json=body, headers=headers)
                    raw, type_ = reply.content, reply.headers["content-type"]
                else:
                    async with http.post(f"{self.site.url}/{path}", json=body, headers=headers) as response:
                        raw, type_ = await response.read(), response.content_type
            streamed = type_.startswith("text/event-stream")
            text = _streamed(path, raw) if streamed else _whole(path, json.loads(raw))
        except TimeoutError:
            assert leaves
            self.left += 1
        except (aiohttp.ClientError, httpx.HTTPError, ValueError, LookupError):
            self.failed += 1
        else:
            if text is None:
                self.failed += 1
                return
            self.whole[path] += 1
            assert self.answers.setdefault((path, number), text) == text

    async def _pass_through(self, http: aiohttp.ClientSession) -> None:
        """Other paths: a list, and an upload that nobody here takes."""
        url, headers = self.site.url, {"authorization": "Bearer sk-0"}
        if self.draw.random() < 0.5:
            call, expected = http.get(f"{url}/models", headers=headers), 200
        else:
            call, expected = http.post(f"{url}/uploads", data=_pieces(), headers=headers), 404
        async with call as response:
            assert response.status == expected
            await response.read()

    async def _stop_midway(self) -> None:
        """A client that goes away within its own request."""
        reader, writer = await self.site.raw(outlives=True)
        path = self.draw.choice([*BODIES, "uploads"])
        request = b"POST /v1/%b HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5000\r\n\r\n%b" % (
            path.encode(),
            b" " * 1000,
        )
        writer.write(request[: self.draw.randrange(1, len(request))])
        await writer.drain()
        if self.draw.random() < 0.5:
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 30)
        writer.transport.abort()
