"""Redis paused, killed, flushed, reset, failed over to an older replica, under load: no wrong value, no waiting, no storm, no noise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from fault_proxy import FaultProxy
from outages import Client, History, Tiered, load
from redis_servers import SERVER, RedisServer
from sparecall.store import RedisStore
from stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")]


@pytest.fixture
def anyio_backend() -> str:
    """One loop: this takes seconds, and the calls' own tests run on both."""
    return "asyncio"


class Log(logging.Handler):
    """What the stores have logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Log]:
    log, logger = Log(), logging.getLogger("sparecall.store")
    before = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    yield log
    logger.setLevel(before)
    logger.removeHandler(log)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextlib.asynccontextmanager
async def under_load(
    url: str, log: Log, kind: type[Any], modes: tuple[str, ...] = ("pubsub", "pubsub", "tracking")
) -> AsyncIterator[list[Any]]:
    """Processes on one server, each with its store, working until the end; then there is no wrong value among all reads."""
    history, stop = History(), asyncio.Event()
    stores: list[Any] = [RedisStore(url, coherence=mode, interval=0.25) for mode in modes]  # type: ignore[arg-type]
    clients = [kind(store, history) for store in stores]
    task = asyncio.create_task(load(clients, stop))
    try:
        await until(
            lambda: all(store.coherent for store in stores) and all(history.reads[source] for source in kind.sources)
        )
        yield clients
        before = dict(history.reads)
        await until(
            lambda: (
                all(store.coherent and store.state == "closed" for store in stores)
                and all(history.reads[source] > before[source] + 10 for source in kind.sources)
            ),
            seconds=30,
        )
        for store in stores:
            assert len(store._link.connections) <= kind.connections
    finally:
        stop.set()
        await task
        for client in clients:
            await client.close()
    assert history.wrong == []
    lines = [line for line in log.lines if urlsplit(url).netloc in line]
    away, back = [sum(what in line for line in lines) for what in ("left alone", "used again")]
    assert away == back == sum(store.stats().opened for store in stores)
    deaf, hearing = [sum(what in line for line in lines) for what in ("are not heard", "are heard")]
    assert deaf <= hearing <= deaf + len(stores), "the first attempt may fail, too"
    assert len(lines) == away + back + deaf + hearing


async def paused(folder: Path, log: Log, kind: type[Any], seconds: float) -> None:
    server = RedisServer(folder)
    try:
        async with under_load(server.url(), log, kind) as clients:
            await asyncio.to_thread(server.admin.execute_command, "CLIENT", "PAUSE", int(seconds * 1000), "ALL")
            await until(lambda: all(client.store.state == "open" for client in clients))
            await asyncio.sleep(0.1)  # calls that were under way as it opened
            for client in clients:
                client.refused.clear()
            before = [(client.unavailable, client.store.stats().unavailable) for client in clients]
            await asyncio.sleep(seconds - 1)
            for client, (refused, asked) in zip(clients, before, strict=True):
                waits = sorted(client.refused)
                assert client.unavailable - refused > 100 * seconds
                assert waits[len(waits) * 99 // 100] <= 0.005
                assert client.store.stats().unavailable - asked <= 3 + seconds / 3, (
                    "asked now and then whether it is back, by one call"
                )
    finally:
        server.stop()


async def killed(folder: Path, log: Log, kind: type[Any], times: int) -> None:
    server = RedisServer(folder)
    try:
        async with under_load(server.url(), log, kind) as clients:
            for _ in range(times):
                server.admin.save()
                await asyncio.sleep(0.3)  # what is invalidated from here on the restarted server does not know
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.start)
                await until(lambda: all(client.store.coherent for client in clients))
    finally:
        server.stop()


async def flushed(folder: Path, log: Log, kind: type[Any], times: int) -> None:
    server = RedisServer(folder)
    try:
        async with under_load(server.url(), log, kind):
            for _ in range(times):
                server.admin.flushall()
                await asyncio.sleep(random.random() * 0.05)
    finally:
        server.stop()


async def reset(folder: Path, log: Log, kind: type[Any], times: int) -> None:
    server = RedisServer(folder)
    try:
        async with FaultProxy(server.port) as proxy, under_load(f"redis://127.0.0.1:{proxy.port}/0", log, kind):
            for n in range(times):
                await asyncio.sleep(random.random() * 0.1)
                proxy.delay = random.choice([0.0, 0.001, 0.03])
                proxy.cut_after = random.choice([None, None, random.randrange(3000)])
                proxy.black_hole = n % 5 == 0
                if n % 2:
                    proxy.reset()
            proxy.delay, proxy.cut_after, proxy.black_hole = 0.0, None, False
            proxy.reset()
    finally:
        server.stop()


async def failed_over(folder: Path, log: Log, kind: type[Any], times: int) -> None:
    """To a replica that is older than what its primary had acknowledged, and back to where that was."""
    folders = [folder / "one", folder / "other"]
    for each in folders:
        each.mkdir()
    servers = [RedisServer(each, "--repl-diskless-sync-delay", "0") for each in folders]
    try:
        async with (
            FaultProxy(servers[0].port) as proxy,
            under_load(f"redis://127.0.0.1:{proxy.port}/0", log, kind) as clients,
        ):
            for n in range(times):
                primary, replica = servers[n % 2], servers[(n + 1) % 2]
                await asyncio.to_thread(replica.admin.execute_command, "REPLICAOF", "127.0.0.1", str(primary.port))
                await until(lambda replica=replica: replica.admin.info("replication")["master_link_status"] == "up")
                replica.admin.execute_command("REPLICAOF", "127.0.0.1", "1")  # it hears no more, and stays a replica
                await asyncio.sleep(0.3)
                proxy.target = replica.port
                proxy.reset()
                await asyncio.sleep(0.5)
                replica.admin.execute_command("REPLICAOF", "NO", "ONE")
                await until(lambda: all(client.store.coherent for client in clients), seconds=20)
    finally:
        for server in servers:
            server.stop()


async def prove(tmp_path: Path, log: Log, scale: float, seconds: float) -> None:
    scenarios: list[tuple[Callable[[Path, Log, type[Any], Any], Coroutine[Any, Any, None]], float]] = [
        (paused, seconds), (killed, round(2 * scale)), (flushed, round(40 * scale)), (reset, round(40 * scale)), (failed_over, round(2 * scale)),
    ]  # fmt: skip
    (tmp_path / "warm").mkdir()
    await flushed(tmp_path / "warm", log, Client, 5)
    sizes = [resident()]

    async def watch() -> None:
        await asyncio.sleep(1)  # all clients are there, and at work
        sizes[0] = max(sizes[0], resident())
        while True:
            await asyncio.sleep(0.1)
            sizes.append(resident())

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            for scenario, amount in scenarios:
                folder = tmp_path / scenario.__name__
                folder.mkdir()
                group.create_task(scenario(folder, log, Client, amount))
    finally:
        watching.cancel()
    assert max(sizes) <= 1.1 * sizes[0], [size >> 20 for size in sizes[:: len(sizes) // 20 + 1]]


@pytest.mark.timeout(100)
async def test_no_outage_gives_a_wrong_value_or_keeps_anyone_waiting(tmp_path: Path, log: Log) -> None:
    await prove(tmp_path, log, 1.0, 10.0)


async def test_a_tiered_cache_over_a_failing_redis_gives_no_wrong_value(tmp_path: Path, log: Log) -> None:
    async with asyncio.TaskGroup() as group:
        for scenario, times in ((killed, 2), (flushed, 20), (reset, 20), (failed_over, 2)):
            folder = tmp_path / scenario.__name__
            folder.mkdir()
            group.create_task(scenario(folder, log, Tiered, times))


@pytest.mark.soak
async def test_long_outages_give_no_wrong_value_either(tmp_path: Path, log: Log) -> None:
    await prove(tmp_path, log, 8.0, 90.0)
