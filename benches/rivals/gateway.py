"""The gateway beside a bare aiohttp + uvloop handler and a bare pass-through: 1 kB in, 2 kB out, loopback, one process each.

Needs `wrk` (Debian package of that name). Servers are loaded in turn, round after round; the table shows medians of rounds.
`--litellm` adds LiteLLM's proxy where its `litellm` command is on the PATH. `--wide` compares whole and streamed answers (20 events)
at 1, 16 and 256 connections instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from aiohttp import web

import sparecall

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve()
WIDE = (1, 16, 256)
QUESTION = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a careful engineer. Answer in plain words. " * 10},
        {"role": "user", "content": "Which module of this project holds the retry policy, and why there? " * 5},
    ],
    "temperature": 0.2,
    "max_tokens": 512,
    "seed": 10000000,
}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The retry policy. " * 98},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 400, "total_tokens": 600},
    }
).encode()
_HEAD = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o"}
_DELTAS = [
    {"index": 0, "delta": {"role": "assistant", "content": "The retry policy. " * 5}, "finish_reason": None}
    for _ in range(19)
] + [{"index": 0, "delta": {}, "finish_reason": "stop"}]
_USAGE = {"choices": [], "usage": {"prompt_tokens": 200, "completion_tokens": 400, "total_tokens": 600}}
STREAM = b"".join(
    b"data: %b\n\n" % json.dumps({**_HEAD, **part}).encode()
    for part in [*({"choices": [delta]} for delta in _DELTAS), _USAGE]
)
STREAM += b"data: [DONE]\n\n"
# A script without request() lets `wrk` make its request once: it must not be what is measured.
REPEATED = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer bench"
wrk.body = [==[{body}]==]
"""
# A seed that was never used before makes each request another one.
UNIQUE = """
local head, tail = wrk.body:match("^(.*)10000000(.*)$")
local seed = {seed}
function request()
  seed = seed + 1
  return wrk.format(nil, nil, nil, head .. string.format("%d", seed) .. tail)
end
"""


async def serve(role: str, port: int, upstream: str) -> None:
    """One of the servers that sparecall is measured beside."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def bare(request: web.Request) -> web.StreamResponse:
        if b'"stream": true' in await request.read():
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(STREAM)
            await response.write_eof()
            return response
        return web.Response(body=ANSWER, headers={"content-type": "application/json"})

    async def pass_through(request: web.Request) -> web.StreamResponse:
        headers = {"content-type": "application/json", "authorization": request.headers["authorization"]}
        body = await request.read()
        async with session.post(upstream + "/chat/completions", data=body, headers=headers) as answer:
            if answer.content_type == "text/event-stream":
                response = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await response.prepare(request)
                async for data in answer.content.iter_any():
                    await response.write(data)
                await response.write_eof()
                return response
            return web.Response(
                status=answer.status, body=await answer.read(), headers={"content-type": "application/json"}
            )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", pass_through if role == "pass-through" else bare)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    async with session:
        await asyncio.Event().wait()


@contextlib.contextmanager
def process(*command: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; enters once its port answers."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > deadline or running.poll() is not None:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.1)
        yield running
    finally:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
        running.kill()


def load(
    port: int, *, connections: int, seconds: int, unique: bool, folder: Path, streamed: bool = False
) -> tuple[float, float, float]:
    """Requests per second, median and 99th percentile in milliseconds."""
    load.seed += 1_000_000  # type: ignore[attr-defined]
    script = folder / "load.lua"
    text = REPEATED.replace("{body}", json.dumps({**QUESTION, "stream": True} if streamed else QUESTION))
    if unique:
        text += UNIQUE.replace("{seed}", str(load.seed))  # type: ignore[attr-defined]
    script.write_text(text)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/v1/chat/completions"], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"the server on port {port} refused requests:\n{text}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    return rate, _milliseconds(text, "50"), _milliseconds(text, "99")


load.seed = 10_000_000  # type: ignore[attr-defined]


def _milliseconds(text: str, percentile: str) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s)\s*$", text, re.MULTILINE)
    assert found is not None
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def wide(servers: dict[str, int], rounds: int, seconds: int, folder: Path) -> None:
    """Whole and streamed answers at few and many connections, one table."""
    print("| | answer | " + " | ".join(f"{count} connections: p50 / p99, rate" for count in WIDE) + " |")
    print("|---|---|" + "---|" * len(WIDE))
    results: dict[tuple[str, bool, int], list[tuple[float, float, float]]] = {}
    for connections in WIDE:
        for _ in range(rounds):
            for streamed in (False, True):
                for name, port in servers.items():
                    measured = load(
                        port,
                        connections=connections,
                        seconds=seconds,
                        unique="miss" in name or "pass-through" in name,
                        folder=folder,
                        streamed=streamed,
                    )
                    results.setdefault((name, streamed, connections), []).append(measured)
    for streamed in (False, True):
        for name in servers:
            cells = []
            for connections in WIDE:
                rate, p50, p99 = (
                    statistics.median(column) for column in zip(*results[name, streamed, connections], strict=True)
                )
                cells.append(f"{p50:.2f} / {p99:.2f} ms, {rate:,.0f}/s")
            print(f"| {name} | {'streamed' if streamed else 'whole'} | {' | '.join(cells)} |")


def main() -> None:
    """Runs all servers at once, loads them in turn, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--litellm", action="store_true")
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("ROLE", "PORT", "UPSTREAM"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        role, port, upstream = arguments.serve
        uvloop.run(serve(role, int(port), upstream))
        return
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("build sparecall with --release first")
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs `wrk` (Debian package wrk)")
    upstream = "http://127.0.0.1:9101/v1"
    servers = {
        "bare handler": 9102,
        "sparecall, exact hit": 9103,
        "bare pass-through": 9104,
        "sparecall, miss, cache growing": 9103,
        "sparecall, miss, cache full": 9106,
    }
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        for role, port in (("mock", 9101), ("bare", 9102), ("pass-through", 9104)):
            running.enter_context(process(sys.executable, str(HERE), "--serve", role, str(port), upstream, port=port))
        gateway = running.enter_context(
            process(sys.executable, "-m", "sparecall.cli", "serve", "--upstream", upstream, "--port", "9103", port=9103)
        )
        # New answers take memory that nobody has touched before, which costs page faults, until the cache is at its bound.
        small = folder / "small.toml"
        small.write_text("[cache]\nmax_bytes = 8_000_000\n")
        command = ("serve", "--config", str(small), "--upstream", upstream, "--port", "9106")
        running.enter_context(process(sys.executable, "-m", "sparecall.cli", *command, port=9106))
        idle = {"sparecall": resident_mb(gateway.pid)}
        if arguments.litellm:
            servers["LiteLLM proxy, pass-through"] = 9105
            config = folder / "litellm.yaml"
            parameters = f"{{model: openai/gpt-4o, api_base: '{upstream}', api_key: x}}"
            config.write_text(f"model_list: [{{model_name: gpt-4o, litellm_params: {parameters}}}]\n")
            # Neither downloads nor keys: the others check none.
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            os.environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
            command = ("litellm", "--config", str(config), "--port", "9105", "--num_workers", "1")
            proxy = running.enter_context(process(*command, port=9105))
            idle["LiteLLM proxy"] = resident_mb(proxy.pid)
        if arguments.wide:
            wide(servers, arguments.rounds, arguments.seconds, folder)
            print(
                f"\nsparecall, resident: {idle['sparecall']:.0f} MB idle, {resident_mb(gateway.pid):.0f} MB at the end."
            )
            return
        results: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for connections in (1, 16):
            for _ in range(arguments.rounds):
                for name, port in servers.items():
                    unique = "miss" in name or "pass-through" in name
                    measured = load(
                        port, connections=connections, seconds=arguments.seconds, unique=unique, folder=folder
                    )
                    results.setdefault((name, connections), []).append(measured)
        loaded = resident_mb(gateway.pid)
    middle = {key: [statistics.median(column) for column in zip(*runs, strict=True)] for key, runs in results.items()}
    print("| | 1 connection p50 / p99 | added p50 | 16 connections | of the bare one |")
    print("|---|---|---|---|---|")
    for name in servers:
        beside = "bare handler" if name in {"bare handler", "sparecall, exact hit"} else "bare pass-through"
        (_, p50, p99), (rate, _, _) = middle[name, 1], middle[name, 16]
        added, ratio = p50 - middle[beside, 1][1], rate / middle[beside, 16][0]
        print(f"| {name} | {p50:.3f} / {p99:.3f} ms | {added:+.3f} ms | {rate:,.0f}/s | {ratio:.2f}x |")
    print("\nResident, idle: " + ", ".join(f"{name} {size:.0f} MB" for name, size in idle.items()) + ".")
    print(
        f"sparecall after the load, with {arguments.rounds * arguments.seconds * 2} seconds of misses in its cache: {loaded:.0f} MB."
    )


if __name__ == "__main__":
    main()
