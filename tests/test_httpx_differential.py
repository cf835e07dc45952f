"""What the official SDK gets is the same field by field: from the provider, through a gateway, and through the transports."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai
import pytest

from gateway.site import KEY, QUESTION, gateway_before
from simulated import INSTANT
from sparecall import simulate
from transports import in_process, in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Client = openai.AsyncOpenAI | openai.OpenAI

pytestmark = pytest.mark.anyio

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "read_file",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "lines": {"type": "integer", "minimum": 1}},
                "required": ["path", "lines"],
            },
        },
    }
]
ASKING_TO_READ = {**QUESTION, "messages": [{"role": "user", "content": "read_file json/decoder.py"}], "tools": TOOLS}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
USAGE = {"stream_options": {"include_usage": True}}

CALLS: dict[str, dict[str, Any]] = {
    "chat": QUESTION,
    "tools": ASKING_TO_READ,
    "schema": {**QUESTION, "response_format": FORMAT},
    "several choices": {**QUESTION, "n": 2},
    "cut short": {**QUESTION, "max_tokens": 3},
    "hot": {**QUESTION, "temperature": 1.5},
}
REFUSED: dict[str, dict[str, Any]] = {
    "rate limit": {**QUESTION, "extra_headers": {"x-simulate-fault": "rate_limit"}},
    "server error": {**QUESTION, "extra_headers": {"x-simulate-fault": "server_error"}},
    "overloaded": {**QUESTION, "extra_headers": {"x-simulate-fault": "overloaded"}},
    "no messages": {**QUESTION, "messages": []},
    "odd temperature": {**QUESTION, "temperature": "warm"},
    "error in 200": {**QUESTION, "extra_headers": {"x-simulate-fault": "error_in_200"}},
    "no JSON": {**QUESTION, "extra_headers": {"x-simulate-fault": "garbage"}},
    "HTML": {**QUESTION, "extra_headers": {"x-simulate-fault": "html"}},
}
# Where the provider gives no whole answer, a gateway has words of its own for it.
BROKEN: dict[str, dict[str, Any]] = {
    "reset": {**QUESTION, "extra_headers": {"x-simulate-fault": "disconnect"}},
    "cut": {**QUESTION, "extra_headers": {"x-simulate-fault": "cut_stream"}},
    "short": {**QUESTION, "extra_headers": {"x-simulate-fault": "bad_length"}},
    "no end": {**QUESTION, "extra_headers": {"x-simulate-fault": "no_done"}},
    "a bad scope": {**QUESTION, "extra_headers": {"x-sparecall-scope": "a//b"}},
    "only from memory": {**QUESTION, "extra_headers": {"cache-control": "only-if-cached"}},
}


@asynccontextmanager
async def ways() -> AsyncIterator[dict[str, Client]]:
    """The clients, each before a memory of its own where there is one."""
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(simulate.serve(provider))
        site = await exits.enter_async_context(gateway_before(url))
        http = openai.DefaultAsyncHttpxClient(verify=False)
        direct = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http)
        yield {
            "direct": await exits.enter_async_context(direct),
            "gateway": await site.sdk(),
            "asynchronous": await exits.enter_async_context(in_process(url)),
            "asynchronous, httpx": await exits.enter_async_context(in_process(url, library=httpx)),
            "synchronous": exits.enter_context(in_thread(url)),
        }


def heard(error: Exception) -> dict[str, Any]:
    """What a caller sees of an error."""
    status, body = getattr(error, "status_code", None), getattr(error, "body", None)
    return {"error": type(error).__name__, "message": str(error), "status": status, "body": body}


async def told(client: Client, **call: Any) -> list[Any]:
    """The answer, or the chunks of a stream, and the error at the end if there is one."""
    if isinstance(client, openai.OpenAI):
        return await asyncio.to_thread(told_synchronously, client, **call)
    found: list[Any] = []
    try:
        answer = await client.chat.completions.create(**call)
        if not call.get("stream"):
            return [answer.model_dump() if hasattr(answer, "model_dump") else answer]
        async for chunk in answer:
            found.append(chunk.model_dump())  # noqa: PERF401 - those before an error count too
    except (openai.OpenAIError, ValueError) as error:
        found.append(heard(error))
    return found


def told_synchronously(client: openai.OpenAI, **call: Any) -> list[Any]:
    """The same of the synchronous client."""
    found: list[Any] = []
    try:
        answer = client.chat.completions.create(**call)
        if not call.get("stream"):
            return [answer.model_dump() if hasattr(answer, "model_dump") else answer]
        for chunk in answer:
            found.append(chunk.model_dump())  # noqa: PERF401
    except (openai.OpenAIError, ValueError) as error:
        found.append(heard(error))
    return found


def alike(results: dict[str, list[Any]], beside: str) -> None:
    for way, result in results.items():
        assert result == results[beside], way


@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": True, **USAGE}], ids=["whole", "stream", "usage"])
async def test_answers_are_the_provider_s_and_replays_the_gateway_s(stream: dict[str, Any]) -> None:
    async with ways() as clients:
        for name, call in CALLS.items():
            live = {way: await told(client, **call, **stream) for way, client in clients.items()}
            assert "error" not in live["direct"][0], name
            alike(live, "direct")
            del live["direct"]
            again = {way: await told(clients[way], **call, **stream) for way in live}
            alike(again, "gateway")
            other = {} if stream else {"stream": True, **USAGE}
            alike({way: await told(clients[way], **call, **other) for way in live}, "gateway")


# With usage, which a gateway always asks for: the simulated provider counts chunks to find the middle of a stream.
@pytest.mark.parametrize("stream", [{}, {"stream": True, **USAGE}], ids=["whole", "stream"])
async def test_what_the_provider_refuses_or_garbles_is_the_same_everywhere(stream: dict[str, Any]) -> None:
    async with ways() as clients:
        for call in REFUSED.values():
            alike({way: await told(client, **call, **stream) for way, client in clients.items()}, "direct")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_breaks_is_worded_as_the_gateway_words_it(stream: bool) -> None:
    async with ways() as clients:
        del clients["direct"]
        for call in BROKEN.values():
            alike({way: await told(client, **call, stream=stream) for way, client in clients.items()}, "gateway")


async def test_other_calls_are_the_provider_s() -> None:
    async def asked(client: Client) -> list[Any]:
        if isinstance(client, openai.OpenAI):
            models = await asyncio.to_thread(lambda: [model.model_dump() for model in client.models.list()])
            create = client.embeddings.create
            vectors = await asyncio.to_thread(create, model="text-embedding-3-small", input=["a", "b"])
            return [models, vectors.model_dump()]
        models = [model.model_dump() async for model in client.models.list()]
        vectors = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        return [models, vectors.model_dump()]

    async with ways() as clients:
        alike({way: await asked(client) for way, client in clients.items()}, "direct")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_headers_of_replies_are_the_gateway_s(stream: bool) -> None:
    # A socket's own, and what no two calls have in common.
    its_own = {"date", "transfer-encoding", "connection", "content-length"}
    one_time = {"x-request-id", "x-sparecall-micros", "openai-processing-ms"}

    async def headers(client: Client, path: str, **body: Any) -> dict[str, str]:
        arguments: dict[str, Any] = {"cast_to": httpx2.Response, "body": body, "options": {}}
        if isinstance(client, openai.OpenAI):
            reply = await asyncio.to_thread(client.post, path, **arguments)
        else:
            reply = await client.post(path, **arguments)
        found = reply.headers if isinstance(reply, httpx2.Response | httpx.Response) else {}
        return {name: "" if name in one_time else value for name, value in found.items() if name not in its_own}

    async with ways() as clients:
        del clients["direct"]
        for _ in range(2):
            alike(
                {
                    way: [await headers(client, "/chat/completions", **QUESTION, stream=stream)]
                    for way, client in clients.items()
                },
                "gateway",
            )
        found = {way: [await headers(client, "/embeddings", model="m", input="a")] for way, client in clients.items()}
        alike(found, "gateway")
        assert found["gateway"][0]["x-sparecall-reason"] == "absent"
