"""The official SDKs' calls as one table, and the ways a call may go: straight to a provider, through a gateway, through a transport."""

from __future__ import annotations

import asyncio
import inspect
import re
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import httpx2
import openai

import sparecall
from gateway.site import KEY, gateway_before
from sparecall.httpx import AsyncTransport, Transport
from sparecall.pipeline import Coalesce, Embeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sparecall.pipeline import Pipeline

CLAUDE = "claude-of-the-tests"  # the SDK warns of real ones, each from some day on
SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Explain json.decoder."}]
TO_READ = [{"role": "user", "content": "Call read_file for json/decoder.py."}]
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


class Call(NamedTuple):
    """One call of an SDK."""

    sdk: str
    method: str
    arguments: dict[str, Any]

    @property
    def stream(self) -> bool:
        """Whether it asks for a stream."""
        return bool(self.arguments.get("stream"))

    def with_(self, **arguments: Any) -> Call:
        """The same with other arguments."""
        return self._replace(arguments={**self.arguments, **arguments})

    def headed(self, **headers: str) -> Call:
        """The same with more headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.with_(extra_headers={**self.arguments.get("extra_headers", {}), **named})

    def whole(self) -> Call:
        """The same question, not as a stream."""
        named = {name: value for name, value in self.arguments.items() if not name.startswith("stream")}
        return self._replace(arguments=named)

    def streamed(self) -> Call:
        """The same question as a stream, with its usage."""
        return self.with_(**USAGE) if "chat" in self.method else self.with_(stream=True)


def _chat(**fields: Any) -> Call:
    return Call("openai", "chat.completions.create", {"model": "gpt-4o", "messages": ASKED, **fields})


def _response(**fields: Any) -> Call:
    return Call("openai", "responses.create", {"model": "gpt-4o", "input": "Explain json.decoder.", **fields})


def _message(**fields: Any) -> Call:
    return Call("anthropic", "messages.create", {"model": CLAUDE, "max_tokens": 400, "messages": ASKED, **fields})


_FUNCTION = {"name": "read_file", "parameters": SCHEMA}
WHOLE: dict[str, Call] = {
    "chat": _chat(),
    "chat tools": _chat(messages=TO_READ, tools=[{"type": "function", "function": _FUNCTION}]),
    "responses": _response(),
    "responses tools": _response(
        input="Call read_file for json/decoder.py.", tools=[{"type": "function", "strict": True, **_FUNCTION}]
    ),
    "responses cut": _response(max_output_tokens=16),
    "messages": _message(),
    "messages tools": _message(messages=TO_READ, tools=[{"name": "read_file", "input_schema": SCHEMA}]),
    "messages cut": _message(max_tokens=5),
}
"""Calls that may be asked whole or as a stream."""
STREAMS = {f"{name} stream": call.streamed() for name, call in WHOLE.items()}
OTHERS: dict[str, Call] = {
    "embeddings": Call("openai", "embeddings.create", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
    "count_tokens": Call("anthropic", "messages.count_tokens", {"model": CLAUDE, "messages": ASKED}),
}
CALLS: dict[str, Call] = {**WHOLE, **STREAMS, **OTHERS}
"""Every kind of call."""
WIRES = ("chat", "responses", "messages")
KINDS = [*WIRES, *(f"{wire} stream" for wire in WIRES), *OTHERS]
"""One call of each form."""


class Told(NamedTuple):
    """What a caller gets to see: the answer or the events of a stream, then the error if there is one, and the headers."""

    items: list[dict[str, Any]]
    error: dict[str, Any] | None
    headers: dict[str, str]

    @property
    def seen(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """All but the headers."""
        return self.items, self.error

    @property
    def hit(self) -> str:
        """How the reply came to be, and why."""
        return f"{self.headers['x-sparecall-cache']} {self.headers.get('x-sparecall-reason', '')}".strip()


def _heard(error: Exception) -> dict[str, Any]:
    """Every field of an error that is the caller's to read."""
    fields = ("status_code", "code", "param", "type", "body", "message", "request_id")
    found = {name: getattr(error, name, None) for name in fields}
    return {"error": type(error), "text": str(error), **found}


class Way:
    """One pair of clients, OpenAI's and Anthropic's, asynchronous or not; `pipeline` is what stands behind them."""

    def __init__(self, clients: dict[str, Any], pipeline: Callable[[], Pipeline | None], *, threads: bool) -> None:
        self._clients = clients
        self._pipeline = pipeline
        self._threads = threads

    async def run(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        """Calls a function of the SDK, in a thread where it would block."""
        if self._threads:
            return await asyncio.to_thread(function, *given, **named)
        return await function(*given, **named)

    async def started(self, call: Call) -> Any:
        """The raw response of a call."""
        found = self._clients[call.sdk]
        *path, method = call.method.split(".")
        for name in path:
            found = getattr(found, name)
        return await self.run(getattr(found.with_raw_response, method), **call.arguments)

    async def parsed(self, raw: Any) -> Any:
        """What a raw response holds; one of the SDKs may have to wait for it."""
        parsed = raw.parse()
        return await parsed if inspect.isawaitable(parsed) else parsed

    async def next_of(self, stream: Any) -> dict[str, Any] | None:
        """The next event of a stream, or None after the last."""
        item = await (self.run(next, stream, None) if self._threads else anext(stream, None))
        return None if item is None else item.model_dump()

    async def tell(self, call: Call) -> Told:
        """Makes the call, and reads it to its end."""
        items: list[dict[str, Any]] = []
        headers: dict[str, str] = {}
        try:
            raw = await self.started(call)
            headers = dict(raw.headers)
            parsed = await self.parsed(raw)
            if not call.stream:
                items.append(parsed.model_dump() if hasattr(parsed, "model_dump") else {"text": parsed})
            else:
                while (item := await self.next_of(parsed)) is not None:
                    items.append(item)
        except Exception as error:  # noqa: BLE001 - what the SDKs stumble over is compared too
            headers = headers or dict(getattr(getattr(error, "response", None), "headers", {}))
            return Told(items, _heard(error), headers)
        return Told(items, None, headers)

    def waiting(self) -> int:
        """How many callers wait for a reply that has not begun."""
        pipeline = self._pipeline()
        if pipeline is None:
            return 0
        calls = [*pipeline.stage(Coalesce)._flight._calls.values(), *pipeline.stage(Embeddings)._flight._calls.values()]
        return sum(len(call.waiters) for call in calls)

    def reading(self) -> int:
        """How many callers read a stream that has not ended."""
        pipeline = self._pipeline()
        live = () if pipeline is None else pipeline.stage(Coalesce)._live.values()
        return sum(len(reply.stream.log._places) for reply in live if reply.stream is not None)


@asynccontextmanager
async def _clients(http: Any, url: str, options: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    given = {"max_retries": 0, "api_key": KEY, **options}
    async with (
        http(0) as first,
        http(1) as second,
        openai.AsyncOpenAI(base_url=url, http_client=first, **given) as one,
        anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), http_client=second, **given) as other,
    ):
        yield {"openai": one, "anthropic": other}


@contextmanager
def _in_thread(config: dict[str, Any], url: str, options: dict[str, Any]) -> Iterator[Way]:
    given = {"max_retries": 0, "api_key": KEY, **options}
    transport = Transport(config)
    with transport, httpx2.Client(transport=transport) as http:
        clients = {
            "openai": openai.OpenAI(base_url=url, http_client=http, **given),
            "anthropic": anthropic.Anthropic(base_url=url.removesuffix("/v1"), http_client=http, **given),
        }
        thread = transport._thread
        assert thread is not None
        yield Way(clients, lambda: thread.pipeline, threads=True)


DIRECT, GATEWAY, ASYNC, SYNC = "direct", "gateway", "AsyncTransport", "Transport"
THROUGH = (GATEWAY, ASYNC, SYNC)


@asynccontextmanager
async def ways_to(
    url: str, *, names: tuple[str, ...] = (DIRECT, *THROUGH), client: dict[str, Any] | None = None, **sections: Any
) -> AsyncIterator[dict[str, Way]]:
    """The ways to a provider at that base URL, each with a memory of its own where it has one."""
    options = client or {}
    config = {"anthropic": {"url": url, **sections.pop("anthropic", {})}, **sections}
    whole = {**config, "upstream": {"url": url, **config.get("upstream", {})}}
    ways: dict[str, Way] = {}
    async with AsyncExitStack() as exits:
        for name in names:
            if name == SYNC:
                ways[name] = exits.enter_context(_in_thread(whole, url, options))
            elif name == ASYNC:
                pipeline = await exits.enter_async_context(sparecall.open(whole))
                made = lambda _, own=pipeline: httpx2.AsyncClient(transport=AsyncTransport(own))  # noqa: E731
                clients = await exits.enter_async_context(_clients(made, url, options))
                ways[name] = Way(clients, lambda own=pipeline: own, threads=False)  # type: ignore[misc]
            else:
                base, own = url, None
                if name == GATEWAY:
                    site = await exits.enter_async_context(gateway_before(url, **config))
                    base, own = site.url, site.gateway.pipeline
                plain = (openai.DefaultAsyncHttpxClient, anthropic.DefaultAsyncHttpxClient)
                clients = await exits.enter_async_context(
                    _clients(lambda number, kinds=plain: kinds[number](verify=False), base, options)
                )
                ways[name] = Way(clients, lambda own=own: own, threads=False)  # type: ignore[misc]
        yield ways


def alike(found: dict[str, Any], beside: str, why: object = "") -> None:
    """Every way was told the same."""
    for way, told in found.items():
        assert told == found[beside], (why, way)


_ONE_TIME = re.compile(r"req_sim_\d+| \(\w+Error\)")


def plain(found: Any) -> Any:
    """The same without what no two calls have in common."""
    match found:
        case Told():
            return found._replace(items=plain(found.items), error=plain(found.error))
        case list():
            return [plain(item) for item in found]
        case dict():
            return {name: plain(value) for name, value in found.items()}
        case str():
            return _ONE_TIME.sub("", found)
    return found
