"""A gateway on a loopback socket before an upstream, with the official SDK in front of it, for tests."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import openai
from aiohttp import web

from simulated import INSTANT
from sparecall import config as configuration
from sparecall import simulate
from sparecall.gateway import serving
from sparecall.pipeline import Coalesce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from sparecall.gateway import Gateway

KEY = "sk-alice"
QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Explain json.decoder."}]}


class Site:
    """One running gateway, and the clients that tests talk to it with."""

    def __init__(self, gateway: Gateway, url: str, exits: AsyncExitStack) -> None:
        self.gateway = gateway
        self.url = url
        self.root = url.removesuffix("/v1")
        self._exits = exits

    async def sdk(self, key: str = KEY, **options: Any) -> openai.AsyncOpenAI:
        """The official asynchronous client; it retries nothing unless told to."""
        http = openai.DefaultAsyncHttpxClient(verify=False)
        client = openai.AsyncOpenAI(
            **{"base_url": self.url, "api_key": key, "max_retries": 0, "http_client": http, **options}
        )
        return await self._exits.enter_async_context(client)

    def sync_sdk(self, key: str = KEY) -> openai.OpenAI:
        """The official synchronous client: call it in a thread."""
        http = openai.DefaultHttpxClient(verify=False)
        return self._exits.enter_context(openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, http_client=http))

    async def http(self, key: str | None = KEY) -> aiohttp.ClientSession:
        """A bare HTTP client."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self._exits.enter_async_context(aiohttp.ClientSession(headers=headers))

    async def raw(
        self, *, outlives: bool = False, receive_buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare socket, closed before the gateway stops unless it `outlives` it."""
        host, _, port = self.root.removeprefix("http://").partition(":")
        own = socket.socket()
        own.setblocking(False)
        if receive_buffer is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
        except OSError:
            own.close()
            raise
        reader, writer = await asyncio.open_connection(sock=own)
        if not outlives:
            self._exits.callback(writer.close)
        return reader, writer

    def waiting(self) -> int:
        """How many callers wait for a call in flight that has not been answered yet."""
        calls = self.gateway.pipeline.stage(Coalesce)._flight._calls
        return sum(len(call.waiters) for call in calls.values())

    async def metrics(self) -> str:
        """The text of `/metrics`."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.root}/metrics") as response:
            return await response.text()


@asynccontextmanager
async def gateway_before(upstream: str | dict[str, Any], /, **sections: Any) -> AsyncIterator[Site]:
    """A gateway before the provider at that base URL, or before several by their names; `sections` are those of a configuration."""
    given = {
        **sections,
        "server": {"port": 0, "shutdown_grace": 1.0, **sections.get("server", {})},
        "upstream": {"url": upstream, **sections.get("upstream", {})} if isinstance(upstream, str) else upstream,
    }
    async with AsyncExitStack() as exits:
        gateway, url = await exits.enter_async_context(serving(configuration.load(given)))
        yield Site(gateway, url, exits)


@asynccontextmanager
async def simulated_site(
    provider: simulate.Provider | None = None, /, **sections: Any
) -> AsyncIterator[tuple[Site, simulate.Provider]]:
    """A gateway before a simulated provider that answers at once."""
    provider = provider or simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with simulate.serve(provider) as upstream, gateway_before(upstream, **sections) as site:
        yield site, provider


class Script:
    """An upstream that does what a test says, and counts its calls."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self.calls = 0
        self.bodies: list[bytes] = []
        self.open = 0
        """Calls whose connection is still there."""
        self._handler = handler

    async def answer(self, http: web.Request) -> web.StreamResponse:
        self.calls += 1
        self.open += 1
        try:
            self.bodies.append(await http.read())
            return await self._handler(http)
        finally:
            self.open -= 1


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """That upstream on a loopback socket; its base URL."""
    app = web.Application()
    app.router.add_route("*", "/v1/{path:.*}", script.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scripted_socket(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **sections: Any
) -> AsyncIterator[Site]:
    """A gateway before an upstream that is a bare socket: `handler` gets each connection, and is cancelled at the end."""
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the gateway has hung up
            await handler(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(handle(reader, writer))
        writers.append(writer)
        running.add(task)
        task.add_done_callback(running.discard)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        async with gateway_before(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", **sections) as site:
            yield site
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for writer in writers:
            writer.close()


@asynccontextmanager
async def scripted_site(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **sections: Any
) -> AsyncIterator[tuple[Site, Script]]:
    """A gateway before an upstream whose every call is answered by `handler`."""
    script = Script(handler)
    async with scripted(script) as upstream, gateway_before(upstream, **sections) as site:
        yield site, script


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
HEAD = {"id": "chatcmpl-1", "created": 1_750_000_000, "model": "gpt-4o"}


def completion(content: str = "Hello.", *, finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **fields}


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    """One event of a stream."""
    part = {
        **HEAD,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + msgspec.json.encode({**part, **fields}) + b"\n\n"


USAGE_CHUNK = (
    b"data: "
    + msgspec.json.encode({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    + b"\n\n"
)
DONE = b"data: [DONE]\n\n"
HELLO = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({}, "stop"),
]


async def send_events(http: web.Request, events: Iterable[bytes]) -> web.StreamResponse:
    """Sends these bytes as an event stream."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(http)
    for event in events:
        await response.write(event)
    return response


class Gate:
    """An upstream that answers in the form it is asked for, once the gate is open."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        await self.opened.wait()
        if (await http.json()).get("stream"):
            return await send_events(http, [*HELLO, USAGE_CHUNK, DONE])
        return web.json_response(completion())


async def until(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds; the test's own time limit is the bound."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, none of which can call back
            await asyncio.sleep(0.002)


def json_reply(body: Any, status: int = 200) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return reply
