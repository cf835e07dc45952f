"""One stored answer, fetched through each transport: one markdown table, microseconds a request.

Beside sparecall's transports: its gateway over loopback, in a process of its own; hishel, the HTTP cache for httpx2, which answers no POST and
is here shown a GET with a digest of the body as its key, its SQLite in memory; a mock transport that only hands out the bytes, as the floor.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import re
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if not sys.flags.safe_path:
    raise SystemExit("this file has the name of a library it imports: start it with `benches/rivals/run httpx`")

import anysqlite
import hishel
import hishel.httpx2
import httpx2
import openai
import uvloop

import sparecall
from sparecall import simulate
from sparecall.httpx import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, CALLS, KEY = 9, 300, "sk-bench"
CONTENT = "Which module of this project holds the retry policy, and why there? " * 15
QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": CONTENT}]}
FLOOR = "mock transport, the bytes only"


class Disguised(hishel.httpx2.AsyncCacheTransport):
    """hishel, shown a GET where there is a POST, and keyed by the body: what it needs to remember answers of a model."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        caching = {"caching": {"key": hashlib.sha256(await request.aread()).hexdigest()}}
        get = httpx2.Request("GET", request.url, headers=request.headers, extensions={**request.extensions, **caching})
        return await super().handle_async_request(get)


def mock(content: bytes) -> httpx2.MockTransport:
    headers = {"content-type": "application/json"}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, content=content, headers=headers))


def bare(client: Any) -> Callable[[], Any]:
    """A request of the HTTP library alone."""
    return functools.partial(client.post, "/chat/completions", json=QUESTION)


def sdk(client: Any) -> Callable[[], Any]:
    """The same by the official SDK."""
    asynchronous = isinstance(client, httpx2.AsyncClient)
    made: Any = (openai.AsyncOpenAI if asynchronous else openai.OpenAI)(
        api_key=KEY, base_url=str(client.base_url), max_retries=0, http_client=client
    )
    return functools.partial(made.chat.completions.create, **QUESTION)


async def seconds(call: Callable[[], Any], *, synchronous: bool) -> float:
    gc.collect()
    start = time.perf_counter()
    if synchronous:
        for _ in range(CALLS):
            call()
    else:
        for _ in range(CALLS):
            await call()
    return (time.perf_counter() - start) / CALLS


@contextlib.contextmanager
def gateway(upstream: str) -> Any:
    """A gateway in a process of its own: its base URL."""
    command = [sys.executable, "-m", "sparecall.cli", "serve", "--upstream", upstream, "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert running.stdout is not None
        for line in running.stdout:
            if found := re.search(r"http://[\d.]+:\d+/v1", line):
                yield found[0]
                return
        raise SystemExit("the gateway did not start")
    finally:
        running.terminate()
        running.wait(10)


async def main() -> None:
    """Prints the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    headers = {"authorization": f"Bearer {KEY}"}
    async with contextlib.AsyncExitStack() as exits:
        provider = simulate.Provider(latency=simulate.Latency(first_token=0, per_token=0))
        upstream = await exits.enter_async_context(simulate.serve(provider))
        pipeline = await exits.enter_async_context(sparecall.open({"upstream": {"url": upstream}}))
        url = await asyncio.to_thread(exits.enter_context, gateway(upstream))
        make = functools.partial(httpx2.AsyncClient, base_url="http://any/v1", headers=headers)
        ours = await exits.enter_async_context(make(transport=AsyncTransport(pipeline)))
        content = (await bare(ours)()).content
        database = await anysqlite.connect(":memory:")
        storage = hishel.AsyncSqliteStorage(connection=database)
        synchronous = httpx2.Client(
            base_url="http://any/v1", headers=headers, transport=Transport({"upstream": {"url": upstream}})
        )
        exits.enter_context(synchronous)
        clients: dict[str, Any] = {
            FLOOR: make(transport=mock(content)),
            "**sparecall, AsyncTransport**": ours,
            "**sparecall, Transport** (synchronous)": synchronous,
            "sparecall, gateway over loopback": make(base_url=url, transport=httpx2.AsyncHTTPTransport()),
            "hishel, shown a GET": make(transport=Disguised(mock(content), storage=storage)),
        }
        for name, client in clients.items():  # the call that fills the memory, and the proof that there is one
            for _ in range(2):
                reply = await asyncio.to_thread(bare(client)) if client is synchronous else await bare(client)()
            stored = reply.headers.get("x-sparecall-cache") == "exact" or name == FLOOR
            caching = reply.extensions.get("caching", {"from_cache": False})
            assert stored or caching["from_cache"], (name, reply.headers)
            assert reply.json()["choices"], name
        times: dict[tuple[str, bool], list[float]] = {}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                for by_sdk, way in ((False, bare), (True, sdk)):
                    taken = await seconds(way(client), synchronous=client is synchronous)
                    times.setdefault((name, by_sdk), []).append(taken * 1e6)
        middle = {key: statistics.median(values) for key, values in times.items()}
        print("| an exact hit, us | httpx2 alone | above the floor | openai SDK | above the floor |")
        print("|---|---|---|---|---|")
        for name in clients:
            cells = []
            for by_sdk in (False, True):
                cells += [f"{middle[name, by_sdk]:,.0f}", f"{middle[name, by_sdk] - middle[FLOOR, by_sdk]:+,.0f}"]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    uvloop.run(main())
