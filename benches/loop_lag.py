"""What holds the event loop of a gateway under load: collections, with what is imported frozen or not, and the lag's own timer.

`python benches/loop_lag.py [--seconds 10] [--rounds 3]` serves hits and misses, half and half, to 32 connections, and
asks a timer every millisecond how late it is. Variants take turns, round after round; the table shows medians of rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import statistics
import sys
import time
import timeit
from typing import Any

from sparecall import config, simulate
from sparecall.exchange import new_event_loop
from sparecall.gateway import serving
from sparecall.gateway.lag import watched
from sparecall.metrics import Registry

CONNECTIONS = 32


async def serve(upstream: str, *, frozen: bool) -> None:
    """The gateway, until its standard input ends. Says what it saw."""
    pauses: list[float] = []
    lags: list[float] = []
    began = 0.0

    def collecting(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if info["generation"] == 2:
            if phase == "start":
                began = time.thread_time()
            else:
                pauses.append(time.thread_time() - began)

    settings = config.load({"upstream": {"url": upstream}, "server": {"port": 0}})
    async with serving(settings) as (_, url):
        gc.collect()
        if frozen:
            gc.freeze()
        print(url, flush=True)
        gc.callbacks.append(collecting)
        with watched(lags.append, interval=0.001):
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        gc.callbacks.remove(collecting)
        gc.collect()
        whole = timeit.timeit(gc.collect, timer=time.thread_time, number=20) / 20
    lags.sort()
    print(
        json.dumps(
            {
                "full collections": len(pauses),
                "the longest, ms of processor": max(pauses, default=0.0) * 1e3,
                "one at the end, ms of processor": whole * 1e3,
                "lag p50, ms": lags[len(lags) // 2] * 1e3,
                "lag p99, ms": lags[len(lags) * 99 // 100] * 1e3,
                "lag max, ms": lags[-1] * 1e3,
            }
        )
    )


async def load(url: str, seconds: float, numbers: itertools.count[int]) -> int:
    """Keeps every connection busy; returns how many requests were answered."""
    host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")
    until = time.monotonic() + seconds
    answered = 0

    async def client() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < until:
            for seed in (0, next(numbers)):
                question = [{"role": "user", "content": "Which module holds the retry policy? " * 20}]
                body = json.dumps({"model": "gpt-4o", "messages": question, "max_tokens": 100, "seed": seed}).encode()
                writer.write(
                    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-bench\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                answered += 1
        writer.close()

    await asyncio.gather(*[client() for _ in range(CONNECTIONS)])
    return answered


async def measure(*, frozen: bool, seconds: float, upstream: str, numbers: itertools.count[int]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", upstream, *(["--frozen"] if frozen else []),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    answered = await load(url, seconds, numbers)
    seen = json.loads((await process.communicate(b""))[0])
    return {"requests/s": answered / seconds, **seen}


async def compare(seconds: float, rounds: int) -> None:
    rows: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    numbers = itertools.count(1)
    provider = simulate.Provider(latency=simulate.Latency(first_token=0, per_token=0, jitter=0))
    async with simulate.serve(provider) as upstream:
        for _ in range(rounds):
            for frozen, seen in rows.items():
                seen.append(await measure(frozen=frozen, seconds=seconds, upstream=upstream, numbers=numbers))
    print("| | not frozen | frozen |\n|---|---|---|")
    for name in rows[False][0]:
        cells = [f"{statistics.median(row[name] for row in seen):.3g}" for seen in rows.values()]
        print(f"| {name} | {' | '.join(cells)} |")


async def cost_of_the_timer() -> float:
    """Seconds that one wake-up of the lag's timer takes."""
    observe = Registry().histogram("lag", "Lag.", buckets=(0.001, 0.01, 0.1, 1.0)).labels().observe
    count = 0

    def counted(lag: float) -> None:
        nonlocal count
        count += 1
        observe(lag)

    with contextlib.ExitStack() as exits:
        for _ in range(1000):
            exits.enter_context(watched(counted, interval=0.02))
        await asyncio.sleep(0.1)
        count, began = 0, time.thread_time()
        await asyncio.sleep(2)
        return (time.thread_time() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--frozen", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if arguments.serve:
            runner.run(serve(arguments.serve, frozen=arguments.frozen))
            return
        runner.run(compare(arguments.seconds, arguments.rounds))
        cost = runner.run(cost_of_the_timer())
    print(f"\nThe timer: {cost * 1e6:.2f} us a wake-up, {cost * 10:.1e} of a core at ten a second.")


if __name__ == "__main__":
    main()
