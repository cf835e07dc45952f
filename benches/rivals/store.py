"""An L2 over one Redis, asked by sparecall, redis-py itself, aiocache and cashews in turn: two markdown tables, one for each event loop.

Each gets and sets one answer of about 2 kB, and gets 64 of them in one call. redis-py moves bytes; the others give the object back, each by its own
default serialisation, sparecall's with scope, key, versions and a checksum that it verifies. SQLite stands beside for the cost of having no server.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiocache
import redis.asyncio
import uvloop
from aiocache.serializers import PickleSerializer
from cashews import Cache

import sparecall
from sparecall.store import Entry, RedisStore, SqliteStore
from sparecall.store.entries import dump

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS, CALLS, MANY = 25, 200, 64
logging.getLogger("aiocache").setLevel(logging.CRITICAL)
TEXT = (
    "A shared tier answers what another process has asked before, as long as nothing it depends on has changed since. "
)
ANSWER = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT * 16}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 120, "completion_tokens": 380, "total_tokens": 500},
}
KEYS = [f"{n:064x}" for n in range(MANY)]


def entry(key: str) -> Entry:
    now = time.time()
    return Entry(
        scope="team/user", key=key, value=ANSWER, created=now, expires=now + 3600, dead=now + 7200, marks=(1, 2, 3)
    )


class Server:
    """A redis-server for the length of a run."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = tempfile.mkdtemp()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.01)
        raise SystemExit("redis-server did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


Calls = dict[str, "Callable[[int], Awaitable[Any]]"]


def ways(port: int, folder: Path) -> tuple[dict[str, Calls], list[Callable[[], Awaitable[Any]]]]:
    """For each library how it gets, sets and gets many, and how all are closed."""
    plain = redis.asyncio.Redis(port=port)
    data = {key: dump(entry(key)) for key in KEYS}
    store = RedisStore(f"redis://127.0.0.1:{port}/1", timeout=5.0)
    file = SqliteStore(folder / "store", timeout=5.0)
    other = aiocache.RedisCache(endpoint="127.0.0.1", port=port, db=2, serializer=PickleSerializer(), namespace="bench")
    cashews = Cache()
    cashews.setup(f"redis://127.0.0.1:{port}/3")
    entries = {key: entry(key) for key in KEYS}
    found: dict[str, Calls] = {
        "redis-py, bytes": {
            "get": lambda n: plain.get(KEYS[n]),
            "get 64": lambda n: plain.mget(KEYS),
            "set": lambda n: plain.set(KEYS[n], data[KEYS[n]], px=7_200_000),
        },
        "sparecall, RedisStore": {
            "get": lambda n: store.get_many([KEYS[n]], scope="team/user"),
            "get 64": lambda n: store.get_many(KEYS, scope="team/user"),
            "set": lambda n: store.set_many([entries[KEYS[n]]]),
        },
        "aiocache, pickle": {
            "get": lambda n: other.get(KEYS[n]),
            "get 64": lambda n: other.multi_get(KEYS),
            "set": lambda n: other.set(KEYS[n], ANSWER, ttl=7200),
        },
        "cashews, pickle": {
            "get": lambda n: cashews.get(KEYS[n]),
            "get 64": lambda n: cashews.get_many(*KEYS),
            "set": lambda n: cashews.set(KEYS[n], ANSWER, expire=7200),
        },
        "sparecall, SqliteStore": {
            "get": lambda n: file.get_many([KEYS[n]], scope="team/user"),
            "get 64": lambda n: file.get_many(KEYS, scope="team/user"),
            "set": lambda n: file.set_many([entries[KEYS[n]]]),
        },
    }
    return found, [plain.aclose, store.close, file.close, other.close, cashews.close]


async def main(loop: str, port: int) -> None:
    """Prints one table."""
    folder = Path(tempfile.mkdtemp())
    calls, closers = ways(port, folder)
    times: dict[tuple[str, str], list[float]] = {}
    for way in calls.values():
        for n in range(MANY):
            await way["set"](n)
    for _ in range(ROUNDS):
        for what in ("get", "get 64", "set"):
            count = CALLS // 5 if what == "get 64" else CALLS
            for name, way in calls.items():
                call = way[what]
                start = time.perf_counter_ns()
                for n in range(count):
                    await call(n % MANY)
                times.setdefault((name, what), []).append((time.perf_counter_ns() - start) / count / 1000)
    print(f"\n{loop}: us a call, median of {ROUNDS}; in brackets the multiple of redis-py's time\n")
    print("| | get | get 64 | set |\n|---|---|---|---|")
    for name in calls:
        cells = []
        for what in ("get", "get 64", "set"):
            median = statistics.median(times[name, what])
            cells.append(f"{median:.0f} ({median / statistics.median(times['redis-py, bytes', what]):.2f}x)")
        print(f"| {name} | {' | '.join(cells)} |")
    for close in closers:
        await close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    if shutil.which("redis-server") is None:
        sys.exit("store: redis-server is not installed, so there is nothing to compare")
    server = Server()
    try:
        asyncio.run(main("asyncio", server.port))
        uvloop.run(main("uvloop", server.port))
    finally:
        server.stop()
