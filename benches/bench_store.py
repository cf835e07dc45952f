"""store: what an answer takes from a shared tier and into one, Redis and SQLite; what a refusal takes while Redis is away."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sparecall.errors import StoreUnavailable
from sparecall.store import Entry, RedisStore, SqliteStore
from sparecall.store.entries import dump, load

from .common import Benchmark

TEXT = (
    "A shared tier answers what another process has asked before, as long as nothing it depends on has changed since. "
)
ANSWER = {"model": "gpt-4o-mini", "choices": [{"message": {"role": "assistant", "content": TEXT * 16}}]}
KEYS = [f"{n:064x}" for n in range(64)]
CALLS = 100


def entry(key: str) -> Entry:
    now = time.time()
    return Entry(scope="team", key=key, value=ANSWER, created=now, expires=now + 3600, dead=now + 7200, marks=(1, 2, 3))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Forms(Benchmark):
    """An entry of about 2 kB as bytes and back."""

    def setup(self) -> None:
        super().setup()
        self.entry = entry(KEYS[0])
        self.data = dump(self.entry)

    def time_dump(self) -> None:
        dump(self.entry)

    def time_load(self) -> None:
        load(self.data, scope="team", key=KEYS[0])


class Stores(Benchmark):
    """`CALLS` calls, one after the other."""

    params = (["redis", "sqlite"],)
    param_names = ("store",)

    def setup(self, kind: str) -> None:
        super().setup(kind)
        self.folder = Path(tempfile.mkdtemp())
        self.server: subprocess.Popen[bytes] | None = None
        self.loop = asyncio.new_event_loop()
        self.store: Any
        if kind == "sqlite":
            self.store = SqliteStore(self.folder / "store", timeout=5.0)
        else:
            program = shutil.which("redis-server")
            if program is None:
                raise NotImplementedError("redis-server is not installed")
            port = free_port()
            command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
            self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            self.store = RedisStore(f"redis://127.0.0.1:{port}", timeout=5.0)
            for _ in range(200):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.01)
        self.entries = [entry(key) for key in KEYS]
        self.loop.run_until_complete(self.store.set_many(self.entries))

    def teardown(self, kind: str) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        shutil.rmtree(self.folder)
        super().teardown(kind)

    async def calls(self, call: Any) -> None:
        for _ in range(CALLS):
            await call()

    def time_100_gets(self, kind: str) -> None:
        self.loop.run_until_complete(self.calls(lambda: self.store.get_many(KEYS[:1], scope="team")))

    def time_100_gets_of_64(self, kind: str) -> None:
        self.loop.run_until_complete(self.calls(lambda: self.store.get_many(KEYS, scope="team")))

    def time_100_sets(self, kind: str) -> None:
        self.loop.run_until_complete(self.calls(lambda: self.store.set_many(self.entries[:1])))

    def time_100_looks_at_4_versions(self, kind: str) -> None:
        self.loop.run_until_complete(self.calls(lambda: self.store.versions(["a", "b", "c", "d"])))


class Away(Benchmark):
    """Calls to a Redis that has failed: what a service pays for a cache that is not there."""

    def setup(self) -> None:
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.store = RedisStore(f"redis://127.0.0.1:{free_port()}")
        self.loop.run_until_complete(self.refused(10))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        super().teardown()

    async def refused(self, count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(StoreUnavailable):
                await self.store.get_many(KEYS[:1], scope="team")

    def time_100_refusals(self) -> None:
        self.loop.run_until_complete(self.refused(CALLS))
