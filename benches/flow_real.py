"""Real processes: `sparecall serve` before three simulated providers of which one is killed, one turned slow and one says 429.

    python -m benches.flow_real [--seconds 60] [--rate 40] [--rounds 1]
    python -m benches.flow_real trace --azure FOLDER [--seconds 60] [--speed 20] [--rounds 1]

The second is the public Azure trace of code completions of 2023 (FOLDER holds its `code.csv.gz`), so many times faster, against one model server of limited
capacity; see `benches/model_server.py`. In the first, the providers are processes, the gateway is one, and this one is the clients: requests come at their times whatever became of those before
(open loop), a quarter of them streams, no two alike, and no client tries again. Six phases of equal length; what one changes stays until another says
otherwise. A request succeeded where its answer came whole; the latency is that to the whole answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import gzip
import json
import os
import random
import signal
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from sparecall import simulate
from sparecall.simulate.quota import Quota

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

FAST = {"first_token": 0.03, "per_token": 0.0005}
SLOW = {"first_token": 1.0, "per_token": 0.005}
NAMES = ("a", "b", "c")
PATIENCE = 5.0  # seconds until the deadline of a request of the trace
PHASES: tuple[tuple[str, dict[str, dict[str, Any] | None]], ...] = (
    ("all well", {}),
    ("a killed (-9)", {"a": None}),
    ("and b 30 times slower", {"b": SLOW}),
    ("and c says 429 above 15/s", {"c": {"requests_per_minute": 900}}),
    ("a is back", {"a": FAST}),
    ("all are", {"b": FAST, "c": {"requests_per_minute": None}}),
)
CONFIG = """
[server]
port = 0

[upstream.a]
url = "{a}"
warm = 4
[upstream.a.breaker]
minimum_calls = 5
open_for = 1

[upstream.b]
url = "{b}"
warm = 4

[upstream.c]
url = "{c}"
warm = 4
[upstream.c.limit]
learn = true
"""


class Asked(msgspec.Struct):
    """What became of one request."""

    at: float
    status: int
    whole: bool
    seconds: float
    passed: str
    served_by: str
    streamed: bool


# --- a provider's process ---


async def provide(port: int) -> None:
    """A simulated provider that is told on its standard input how to be."""
    provider = simulate.Provider(latency=simulate.Latency(**FAST))

    def told(line: str) -> None:
        wish = json.loads(line)
        if "requests_per_minute" in wish:
            provider._quota = Quota(requests_per_minute=wish["requests_per_minute"])
        else:
            provider.latency = simulate.Latency(**wish)

    async with simulate.serve(provider, port=port) as url:
        print(url, flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            told(line)


class Process:
    """A child that says its address in the first line that has one."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self.arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        assert self.process.stdout is not None
        lines = ""
        while "http" not in lines:
            line = (await self.process.stdout.readline()).decode()
            if not line:
                raise RuntimeError(f"{' '.join(self.arguments)} ended: {lines}")
            lines += line
        self.url = next(word for word in lines.split() if word.startswith("http")).rstrip(",")
        self.rest = asyncio.ensure_future(self.process.stdout.read())  # nothing may block on a full pipe

    def tell(self, wish: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish).encode() + b"\n")

    async def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()


# --- the clients ---


async def ask(session: aiohttp.ClientSession, url: str, number: int, *, streamed: bool, origin: float) -> Asked:
    question = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": f"Question {number}: where is the retry policy?"}],
        "stream": streamed,
        "max_tokens": 100,
    }
    began = time.perf_counter()
    status, whole, passed, served_by = 0, False, "", ""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
        async with session.post(f"{url}/chat/completions", json=question) as response:
            status, passed = response.status, response.headers.get("x-sparecall-passed", "")
            served_by = response.headers.get("x-sparecall-served-by", "")
            body = await response.read()
            whole = status == 200 and (body.endswith(b"data: [DONE]\n\n") if streamed else b'"choices"' in body)
    return Asked(began - origin, status, whole, time.perf_counter() - began, passed, served_by, streamed)


async def load(url: str, *, rate: float, seconds: float, seed: int) -> list[Asked]:
    """Requests at Poisson's times."""
    times = random.Random(seed)
    tasks: list[asyncio.Task[Asked]] = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"authorization": "Bearer sk-bench"},
        timeout=aiohttp.ClientTimeout(total=60),
    ) as session:  # fmt: skip
        origin = due = time.perf_counter()
        while (due := due + times.expovariate(rate)) < origin + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            number = seed * 1_000_000 + len(tasks)
            asking = ask(session, url, number, streamed=times.random() < 0.25, origin=origin)
            tasks.append(asyncio.create_task(asking))
        return list(await asyncio.gather(*tasks))


@contextlib.asynccontextmanager
async def running(config: Callable[[dict[str, str]], str]) -> AsyncIterator[tuple[str, dict[str, Process]]]:
    """Three providers and a gateway before them."""
    providers = {name: Process("benches.flow_real", "provider") for name in NAMES}
    gateway: Process | None = None
    try:
        for one in providers.values():
            await one.start()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sparecall.toml"
            path.write_text(config({name: one.url for name, one in providers.items()}))
            gateway = Process("sparecall.cli", "serve", "--config", str(path))
            await gateway.start()
            yield gateway.url, providers
    finally:
        for process in (*providers.values(), *([gateway] if gateway is not None else [])):
            await process.kill()


async def change(providers: dict[str, Process], name: str, wish: dict[str, Any] | None) -> None:
    one = providers[name]
    if wish is None:
        await one.kill()
    elif one.process is not None and one.process.returncode is None:
        one.tell(wish)
    else:
        port = one.url.rpartition(":")[2].partition("/")[0]
        providers[name] = again = Process("benches.flow_real", "provider", "--port", port)
        await again.start()


async def failover(*, rate: float, seconds: float, seed: int) -> list[Asked]:
    """One round."""
    async with running(lambda urls: CONFIG.format(**urls)) as (url, providers):
        await load(url, rate=rate, seconds=2.0, seed=1000 + seed)  # the first calls of a process load its vocabulary
        loading = asyncio.create_task(load(url, rate=rate, seconds=seconds, seed=seed))
        began = time.perf_counter()
        for number, (_, changes) in enumerate(PHASES):
            await asyncio.sleep(max(0.0, began + number * seconds / len(PHASES) - time.perf_counter()))
            for name, wish in changes.items():
                await change(providers, name, wish)
        return await loading


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def told(asked: list[Asked], seconds: float) -> str:
    """The table."""
    rows = [
        "| from then on | requests | succeeded | broken in their stream | another answered | p50 | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    length = seconds / len(PHASES)
    for number, name in [*enumerate(name for name, _ in PHASES), (None, "in all")]:
        some = [one for one in asked if number is None or int(one.at / length) == number]
        took = [one.seconds for one in some if one.whole]
        broken = sum(one.status == 200 and not one.whole for one in some)
        rows.append(
            f"| {name} | {len(some):,} | {sum(one.whole for one in some) / max(1, len(some)):.2%} | {broken} | "
            f"{sum(bool(one.passed) for one in some) / max(1, len(some)):.1%} | {quantile(took, 0.5) * 1000:.0f} ms | {quantile(took, 0.99) * 1000:.0f} ms |"
        )
    failures: dict[str, int] = {}
    for one in asked:
        if not one.whole:
            why = f"{one.status}{' ' + one.passed if one.passed else ''}"
            failures[why] = failures.get(why, 0) + 1
    return "\n".join([*rows, "", f"failures: {failures}"])


# --- the trace ---


LIMITS = {
    "no limit": "",
    "16, what the server has": "limit = { concurrency = 16, max_wait = 5.0 }",
    "64, set too high": "limit = { concurrency = 64, max_wait = 5.0 }",
    "adaptive": 'limit = { concurrency = "adaptive", max_wait = 5.0 }',
}


def trace_of(folder: Path, *, speed: float, seconds: float) -> list[tuple[float, int, int]]:
    """When each request comes, and its tokens: of the prompt and of the answer."""
    found = []
    with gzip.open(folder / "code.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            stamp = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            found.append((stamp, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    origin = found[0][0]
    paced = [((stamp - origin) / speed, prompt, made) for stamp, prompt, made in found]
    return [each for each in paced if each[0] < seconds]


async def complete(session: aiohttp.ClientSession, url: str, prompt: int, made: int, number: int) -> Asked:
    question = {"model": "code", "messages": [{"role": "user", "content": f"{number} " + "word " * (prompt * 4 // 5)}]}
    began = time.perf_counter()
    status, whole = 0, False
    headers = {"x-sparecall-deadline": str(PATIENCE)}
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
        async with session.post(
            f"{url}/chat/completions", json={**question, "max_tokens": made}, headers=headers
        ) as response:
            status = response.status
            whole = status == 200 and b'"choices"' in await response.read()
    return Asked(0.0, status, whole, time.perf_counter() - began, "", "", streamed=False)


async def replay(limit: str, trace: list[tuple[float, int, int]]) -> tuple[list[Asked], dict[str, float]]:
    """The trace through a gateway with this limit; what became of its requests, and what the server says of itself."""
    server = Process("benches.model_server")
    gateway: Process | None = None
    try:
        await server.start()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sparecall.toml"
            path.write_text(
                f'[server]\nport = 0\n[cache]\nenabled = false\n[upstream]\nurl = "{server.url}"\n{limit}\n'
            )
            gateway = Process("sparecall.cli", "serve", "--config", str(path))
            await gateway.start()
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), headers={"authorization": "Bearer sk"}
            ) as session:
                tasks = []
                origin = time.perf_counter()
                for number, (at, prompt, made) in enumerate(trace):
                    await asyncio.sleep(max(0.0, origin + at - time.perf_counter()))
                    tasks.append(asyncio.create_task(complete(session, gateway.url, prompt, made, number)))
                asked = list(await asyncio.gather(*tasks))
                async with session.get(server.url.removesuffix("/v1") + "/told") as response:
                    return asked, await response.json()
    finally:
        for process in (server, *([gateway] if gateway is not None else [])):
            await process.kill()


def replayed(folder: Path, *, speed: float, seconds: float, rounds: int) -> str:
    """The table; the limits take turns."""
    trace = trace_of(folder, speed=speed, seconds=seconds)
    asked: dict[str, list[Asked]] = {name: [] for name in LIMITS}
    most = dict.fromkeys(LIMITS, 0.0)
    for _ in range(rounds):
        for name, limit in LIMITS.items():
            some, told = asyncio.run(replay(limit, trace))
            asked[name] += some
            most[name] = max(most[name], told["most"])
    rows = [
        f"{len(trace):,} requests in {seconds:g} s, each with {PATIENCE:g} s until its deadline; rounds: {rounds}",
        "",
        "| calls at once | answered in time | refused (429) | too late | p50 | p99 | most at once in the server |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, all_asked in asked.items():
        took = [one.seconds for one in all_asked if one.whole]
        share = len(all_asked) / 100
        late = sum(not one.whole and one.status != 429 for one in all_asked)
        rows.append(
            f"| {name} | {len(took) / share:.1f} % | {sum(one.status == 429 for one in all_asked) / share:.1f} % | {late / share:.1f} % | "
            f"{quantile(took, 0.5):.2f} s | {quantile(took, 0.99):.2f} s | {most[name]:.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="failover", choices=["failover", "provider", "trace"])
    parser.add_argument("--azure", type=Path, help="the folder of the trace")
    parser.add_argument("--speed", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.what == "provider":
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(provide(options.port))
        os._exit(0)
    if options.what == "trace":
        if options.azure is None:
            parser.error("trace wants --azure FOLDER")
        print(replayed(options.azure, speed=options.speed, seconds=options.seconds, rounds=options.rounds))
        return
    asked: list[Asked] = []
    for seed in range(options.rounds):
        work: Coroutine[Any, Any, list[Asked]] = failover(rate=options.rate, seconds=options.seconds, seed=seed)
        asked += asyncio.run(work)
    print(told(asked, options.seconds))


if __name__ == "__main__":
    main()
