"""What the tests of shared calls for embeddings have in common: a provider without sockets, and the stages before it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from sparecall import tokens
from sparecall.cache import BytesCache
from sparecall.config import Embeddings as EmbeddingsConfig
from sparecall.pipeline import Digest, Embeddings, Pipeline, Reply, Request, Scope, vectors

MODEL, ENCODING = "text-embedding-3-small", "cl100k_base"


def vector_of(given: Any) -> list[float]:
    return [float(len(given)), float(sum(map(ord, given)) if isinstance(given, str) else sum(given))]


class Provider:
    """Takes `seconds` a call, refuses inputs that are `bad`, and remembers what it was asked."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.requests: list[Request] = []
        self.bad: set[Any] = set()
        self.status = 200
        self.error: Exception | None = None
        self.lists = True
        self.running = self.most = self.cancelled = self.charged = 0

    @property
    def asked(self) -> list[Any]:
        return [msgspec.json.decode(request.body)["input"] for request in self.requests]

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        body = msgspec.json.decode(request.body)
        inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if self.status != 200:
            return self.refusal(self.status, "busy")
        if bad := [each for each in inputs if isinstance(each, str) and each in self.bad]:
            return self.refusal(400, f"bad input {bad[0]}")
        if not self.lists and len(inputs) > 1:
            inputs = inputs[:1]
        used = sum(tokens.count(each, ENCODING) if isinstance(each, str) else len(each) for each in inputs)
        self.charged += used
        data = [{"index": index, "embedding": vector_of(each)} for index, each in enumerate(inputs)]
        content = msgspec.json.encode({"data": data, "model": body["model"], "usage": {"prompt_tokens": used}})
        return Reply(status=200, hit="miss", body=content, summary=vectors.summarise(content), served_by="p")

    @staticmethod
    def refusal(status: int, message: str) -> Reply:
        content = msgspec.json.encode({"error": {"message": message}})
        return Reply(status=status, hit="miss", body=content, headers={"retry-after": "7"}, served_by="p")


class Site:
    """The stages around a provider, and its clients."""

    def __init__(self, provider: Provider, **options: Any) -> None:
        self.provider = provider
        self.events: list[Any] = []
        config = EmbeddingsConfig(**{"max_concurrent": 1, "max_wait": 1000.0, **options})
        self.stage = Embeddings(BytesCache(100_000_000), batch=config, on_batch=self.events.append)
        self.pipeline = Pipeline([Scope(), Digest(), self.stage, provider])

    def ask(self, given: Any, *, key: str = "sk-a", headers: dict[str, str] | None = None, **fields: Any) -> Any:
        own = {name: fields.pop(name) for name in ("scope", "cache_control", "priority", "deadline") if name in fields}
        body = {"model": MODEL, "input": given, **fields}
        return asyncio.ensure_future(
            self.pipeline(Request.of(body, wire="embeddings", key=key, headers=headers or {}, **own))
        )

    async def busy(self) -> asyncio.Task[Reply]:
        """One call that runs, so that whoever comes now has to wait."""
        task = self.ask("the first")
        await asyncio.sleep(0.1)
        return task


def answer(reply: Reply) -> tuple[list[list[float]], int]:
    """The vectors of a reply, and the tokens it states."""
    body = msgspec.json.decode(reply.body or b"")
    return [item["embedding"] for item in body["data"]], body["usage"]["prompt_tokens"]
