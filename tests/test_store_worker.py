"""The thread behind `SqliteStore`: whatever a batch does, the next one is done, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sparecall.errors import StoreUnavailable
from sparecall.store import worker as module
from sparecall.store.worker import Job, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def doing(jobs: list[Job]) -> None:
    for job in jobs:
        try:
            job.result = job.work("file")
        except ValueError as error:
            job.error = error


def fails(error: Exception) -> Callable[[Any], None]:
    def work(_: Any) -> None:
        raise error

    return work


async def test_what_waits_is_one_batch_and_each_gets_its_own() -> None:
    gate, sizes = threading.Event(), []

    def perform(jobs: list[Job]) -> None:
        gate.wait(10)
        sizes.append(len(jobs))
        doing(jobs)

    worker = Worker("test", perform)
    first = asyncio.create_task(worker.do(lambda file: file))
    await asyncio.sleep(0.05)  # it is alone in its batch
    rest = [asyncio.create_task(worker.do(lambda _, n=n: n)) for n in range(100)]
    bad = asyncio.create_task(worker.do(fails(ValueError("mine"))))
    left = asyncio.create_task(worker.do(lambda _: "nobody waits"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await first == "file"
    assert await asyncio.gather(*rest) == list(range(100))
    with pytest.raises(ValueError, match="mine"):
        await bad
    assert sizes == [1, 101]
    await worker.close()
    await worker.close()


async def test_a_batch_that_ends_badly_ends_nothing_else() -> None:
    def perform(jobs: list[Job]) -> None:
        if any(job.durable for job in jobs):
            raise LookupError("a bug")
        doing(jobs)

    worker = Worker("test", perform)
    with pytest.raises(LookupError):
        await worker.do(lambda file: file, durable=True)
    assert await worker.do(lambda file: file) == "file"
    await worker.close()


async def test_too_many_who_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    gate = threading.Event()

    def perform(jobs: list[Job]) -> None:
        gate.wait(10)
        doing(jobs)

    worker = Worker("test", perform)
    held = asyncio.create_task(worker.do(lambda file: file))
    await asyncio.sleep(0.05)  # the thread is busy with it
    outcomes = asyncio.gather(*[worker.do(lambda file: file) for _ in range(30)], return_exceptions=True)
    await asyncio.sleep(0)
    gate.set()
    refused = [outcome for outcome in await outcomes if isinstance(outcome, StoreUnavailable)]
    assert len(refused) == 20
    assert await held == "file"
    await worker.close()


async def test_closing_does_what_waits_and_stops_once() -> None:
    stopped: list[str] = []
    worker = Worker("test", doing, stop=lambda: stopped.append(threading.current_thread().name))
    tasks = [asyncio.create_task(worker.do(lambda _, n=n: n)) for n in range(1000)]
    await asyncio.sleep(0)
    await worker.close()
    assert await asyncio.gather(*tasks) == list(range(1000))
    assert stopped == ["test"]
    assert "test" not in [thread.name for thread in threading.enumerate()]
