"""`sparecall serve --workers N` as real processes: one port, one /metrics, one end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gateway.test_metrics import parse, value
from served import serve
from simulated import QUESTION, running
from sparecall import simulate
from sparecall.gateway.workers import Process, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


def children(parent: int) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout  # noqa: S607
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, above, state in rows if int(above) == parent and not state.startswith("Z")}


def alive(number: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False)  # noqa: S607
    return listed.stdout.strip()[:1] not in {"", "Z"}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.05)


async def asked(url: str, times: int) -> None:
    """Asks that often, each time on a connection of its own, so that every worker gets some."""
    for _ in range(times):
        async with (
            aiohttp.ClientSession(headers={"authorization": "Bearer any"}) as session,
            session.post(f"{url}/chat/completions", json=QUESTION) as response,
        ):
            assert response.status == 200


async def scraped(url: str) -> tuple[float, float]:
    """Requests answered and answers held, over all workers."""
    async with aiohttp.ClientSession() as session, session.get(url.removesuffix("/v1") + "/metrics") as response:
        samples = parse(await response.text())[1]
    answered = sum(count for (name, _), count in samples.items() if name == "sparecall_requests_total")
    return answered, value(samples, "sparecall_cache_entries")


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_workers_share_a_port_and_its_counts_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    snapshot = tmp_path / "cache.bin"
    async with (
        running() as (_, client),
        serve("--upstream", str(client.base_url), "--workers", "2", "--snapshot", str(snapshot)) as served,
    ):
        assert ", 2 workers" in next(line for line in served.lines if "listening on" in line)
        workers = children(served.process.pid)
        assert len(workers) == 2
        await asked(served.url, 30)
        async with asyncio.timeout(20):
            while await scraped(served.url) != (30, 2):  # each has a cache of its own; one may be silent for a moment
                pass
        for _ in range(4):
            assert (await scraped(served.url))[0] == 30, "whoever answers"
        victim = min(workers)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(children(served.process.pid) - workers) == 1)
        answered, _ = await scraped(served.url)
        assert answered == 30
        await until(lambda: not alive(victim))
        assert await served.end() == 0
        assert any("ended with status -9" in line for line in served.lines)
    assert not any(alive(worker) for worker in workers)
    saved = set(os.listdir(tmp_path))
    assert saved  # the new one may have been stopped before it served, and saves nothing then
    assert saved <= {"cache.bin.0", "cache.bin.1"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    started: list[Process] = []

    async def start(number: int) -> Process:
        options = ["--port", "0", "--workers", "2", "--worker", str(number), str(tmp_path)]
        started.append(await Process.start(options))
        return started[-1]

    ready = asyncio.Event()
    supervisor = Supervisor(start, 1, hung_after=3.0)
    running = asyncio.create_task(supervisor.run(ready.set))
    await ready.wait()
    os.kill(victim := started[0].pid, signal.SIGSTOP)
    await until(lambda: len(started) == 2)
    assert not alive(victim)
    supervisor.stop()
    assert await running == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_workers_do_not_outlive_their_supervisor() -> None:
    async with serve("--workers", "2") as served:
        workers = children(served.process.pid)
        assert await served.end(signal.SIGKILL) == -signal.SIGKILL
        await until(lambda: not any(alive(worker) for worker in workers))


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_second_signal_ends_the_workers_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hold(_: float) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with (
        running(latency=simulate.Latency(first_token=1), sleep=hold) as (_, client),
        serve("--upstream", str(client.base_url), "--workers", "2", TMPDIR=str(tmp_path)) as served,
    ):
        assert [name.startswith("sparecall-") for name in os.listdir(tmp_path)] == [True]
        workers = children(served.process.pid)
        asking = asyncio.create_task(asked(served.url, 1))
        await arrived.wait()
        served.process.send_signal(signal.SIGINT)
        await until(lambda: sum(map(alive, workers)) == 1)  # the idle one has nothing to wait for
        assert await served.end(signal.SIGINT) == -signal.SIGINT
        await until(lambda: not any(alive(worker) for worker in workers))
        with pytest.raises(aiohttp.ClientConnectionError):
            await asking
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_workers_share_a_limit(tmp_path: Path) -> None:
    async with running() as (provider, client):
        config = tmp_path / "sparecall.toml"
        config.write_text(
            f"""
            [cache]
            enabled = false
            [upstream]
            url = "{client.base_url}"
            [upstream.limit]
            requests = 20
            per = 3600
            burst = 1.0
            max_wait = 0
            """
        )
        statuses = []
        async with serve("--config", str(config), "--workers", "2") as served:
            for _ in range(80):  # each on a connection of its own, so that every worker gets some
                async with (
                    aiohttp.ClientSession(headers={"authorization": "Bearer any"}) as session,
                    session.post(f"{served.url}/chat/completions", json=QUESTION) as response,
                ):
                    statuses.append(response.status)
        assert provider.calls.total() == statuses.count(200) == 20
        assert statuses.count(429) == 60
