"""Many clients' embeddings through the gateway: calls, latency and throughput, one call each and in batches of so many calls at once.

`python -m benches.embeddings [--seconds 4] [--rounds 3] [--latency 0.1] [--limit CALLS_A_MINUTE]` lets clients ask for one new text after the other. The gateway is a
process of its own; provider (simulated) and clients share another. Variants take turns; the table shows medians of rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time

import aiohttp

from sparecall import config, simulate
from sparecall.exchange import new_event_loop
from sparecall.gateway import serving

CLIENTS = (1, 16, 64, 256)
VARIANTS: dict[str, dict[str, object]] = {
    "one call each": {"batch": False},
    "1 at once": {"max_concurrent": 1},
    "4 at once": {"max_concurrent": 4},
    "16 at once": {"max_concurrent": 16},
    "64 at once": {"max_concurrent": 64},
}
_numbers = itertools.count()


async def serve(upstream: str, embeddings: dict[str, object]) -> None:
    """The gateway, until its standard input ends."""
    settings = config.load({"upstream": {"url": upstream}, "server": {"port": 0}, "embeddings": embeddings})
    async with serving(settings) as (_, url):
        print(url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def client(http: aiohttp.ClientSession, url: str, end: float, latencies: list[float], failed: list[int]) -> None:
    """Asks for one text after the other."""
    while (start := time.perf_counter()) < end:
        body = {"model": "text-embedding-3-small", "dimensions": 16, "input": f"Text {next(_numbers)} of a document."}
        async with http.post(f"{url}/embeddings", json=body) as response:
            await response.read()
        if response.status == 200:
            latencies.append(time.perf_counter() - start)
        else:
            failed.append(response.status)
            await asyncio.sleep(0.05)


async def measured(clients: int, variant: str, options: argparse.Namespace) -> tuple[float, ...]:
    """Calls per answer, answers a second, mean and p99 in ms, refused; processor seconds of the gateway per thousand answers."""
    provider = simulate.Provider(
        latency=simulate.Latency(first_token=options.latency, per_token=0, per_prompt_token=1e-5),
        requests_per_minute=options.limit,
    )
    async with simulate.serve(provider) as upstream:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benches.embeddings", "--serve", upstream, "--embeddings", json.dumps(VARIANTS[variant])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        url = (await child.stdout.readline()).decode().strip()
        latencies: list[float] = []
        failed: list[int] = []
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer sk-bench"}) as http:
            await client(http, url, time.perf_counter() + 0.3, [], [])
            before, begin = provider.calls.total(), time.perf_counter()
            end = begin + options.seconds
            await asyncio.gather(*(client(http, url, end, latencies, failed) for _ in range(clients)))
            seconds = time.perf_counter() - begin
        child.stdin.close()
        await child.wait()
    latencies.sort()
    calls = (provider.calls.total() - before) / max(len(latencies), 1)
    p99 = latencies[int(len(latencies) * 0.99)]
    return calls, len(latencies) / seconds, statistics.fmean(latencies) * 1000, p99 * 1000, len(failed)


async def compared(options: argparse.Namespace) -> None:
    """Prints the table."""
    print(f"| clients | |{'|'.join(VARIANTS)}|\n|{'---|' * (2 + len(VARIANTS))}")
    for clients in options.clients:
        seen: dict[str, list[tuple[float, ...]]] = {name: [] for name in VARIANTS}
        for _ in range(options.rounds):
            for name in VARIANTS:
                seen[name].append(await measured(clients, name, options))
        median = {
            name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seen.items()
        }
        for index, (row, form) in enumerate(
            [
                ("calls an answer", "{:.2f}"),
                ("answers a second", "{:.0f}"),
                ("mean ms", "{:.1f}"),
                ("p99 ms", "{:.0f}"),
                ("refused", "{:.0f}"),
            ]
        ):
            print(
                f"| {clients} | {row} | " + " | ".join(form.format(median[name][index]) for name in VARIANTS) + " |",
                flush=True,
            )


def main() -> None:
    """Runs one role."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--serve")
    parser.add_argument("--embeddings", type=json.loads)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(options.serve, options.embeddings) if options.serve else compared(options))


if __name__ == "__main__":
    main()
