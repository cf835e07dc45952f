"""The supervisor of `--workers`: when it starts, what it waits, what it passes on, how it ends. No processes here."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import pytest

from sparecall.errors import ConfigError
from sparecall.gateway.listen import reserved
from sparecall.gateway.workers import Backoff, Supervisor

pytestmark = pytest.mark.anyio


def test_the_wait_doubles_up_to_its_bound_and_begins_anew_after_a_healthy_life() -> None:
    backoff = Backoff(first=0.1, most=1.0, healthy=60.0)
    assert [backoff.after(lived) for lived in (0, 1, 59, 0, 0, 0)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [backoff.after(lived) for lived in (60, 0, 0)] == [0.1, 0.2, 0.4]


LOOK = 10.0  # three of them make `hung_after`


class Fake:
    """A worker that ends when a test says so, or at a signal."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.beats = 0
        self.signals: list[int] = []
        self.serves: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ready(self) -> bool:
        return await self.serves

    async def wait(self) -> int:
        return await self.ended

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)

    def end(self, status: int) -> None:
        if not self.serves.done():
            self.serves.set_result(False)
        self.ended.set_result(status)


class Stage:
    """A supervisor of fakes, its clock and its waits."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.looks: list[asyncio.Future[None]] = []
        self.hold = False
        self.started: list[Fake] = []
        self.failures = 0
        self.announced = 0
        self.supervisor = Supervisor(self.start, count, clock=lambda: self.now, sleep=self.sleep)
        self.running = asyncio.create_task(self.supervisor.run(self.announce))

    def announce(self) -> None:
        self.announced += 1

    async def start(self, number: int) -> Fake:
        if self.failures:
            self.failures -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.started.append(Fake(number))
        return self.started[-1]

    async def sleep(self, seconds: float) -> None:
        if seconds == LOOK:
            self.looks.append(asyncio.get_running_loop().create_future())
            await self.looks[-1]
            return
        self.waits.append(seconds)
        if self.hold:
            await asyncio.Event().wait()

    async def look(self) -> None:
        """Lets the time go by between two looks at each worker."""
        looks, self.looks = self.looks, []
        for due in looks:
            if not due.done():  # cancelled, as its worker has ended
                due.set_result(None)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def serving(self) -> list[Fake]:
        """All that run, once they serve."""
        await self.settle()
        running = [fake for fake in self.started if not fake.ended.done()]
        for fake in running:
            if not fake.serves.done():
                fake.serves.set_result(True)
        await self.settle()
        return running


async def test_it_says_once_that_all_serve_and_passes_a_signal_on() -> None:
    stage = Stage(3)
    await stage.settle()
    assert [fake.number for fake in stage.started] == [0, 1, 2]
    assert not stage.announced
    fakes = await stage.serving()
    assert stage.announced == 1
    stage.supervisor.stop(signal.SIGTERM)
    assert [fake.signals for fake in fakes] == [[signal.SIGTERM]] * 3
    fakes[0].end(0)
    fakes[1].end(0)
    await stage.settle()
    assert not stage.running.done(), "the last one ends it"
    fakes[2].end(0)
    assert await stage.running == 0
    assert len(stage.started) == 3
    assert stage.waits == []


async def test_a_dead_worker_starts_again_later_each_time_and_the_others_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(2)
    await stage.serving()
    for _ in range(4):
        last = next(fake for fake in reversed(stage.started) if fake.number == 1)
        last.end(-9)
        await stage.serving()
    assert stage.waits == [0.1, 0.2, 0.4, 0.8]
    assert [fake.number for fake in stage.started] == [0, 1, 1, 1, 1, 1]
    stage.now += 3600
    stage.started[-1].end(1)
    await stage.serving()
    assert stage.waits[-1] == 0.1
    assert stage.announced == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 5
    assert "worker 1 ended with status -9" in caplog.text
    stage.supervisor.stop()
    for fake in stage.started:
        if not fake.ended.done():
            fake.end(0)
    assert await stage.running == 0


async def test_one_that_hangs_is_killed_and_starts_again_and_one_that_beats_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(2)
    hung, well = await stage.serving()
    for beats in (1, 1, 1, 2, 2, 2):  # twice silent, then heard again
        hung.beats, well.beats = beats, well.beats + 1
        await stage.look()
        assert hung.signals == []
    await stage.look()
    assert (hung.signals, well.signals) == ([signal.SIGKILL], [])
    assert "worker 0 hangs: nothing heard of it for 30 s" in caplog.text
    hung.end(-9)
    await stage.serving()
    assert [fake.number for fake in stage.started] == [0, 1, 0]
    assert stage.waits == [0.1]
    stage.supervisor.stop()
    for fake in stage.started[1:]:
        fake.end(0)
    assert await stage.running == 0


async def test_one_that_is_not_ready_yet_may_take_its_time() -> None:
    stage = Stage(1)
    await stage.settle()
    assert stage.looks == []
    stage.supervisor.stop()
    stage.started[0].end(0)
    assert await stage.running == 0


async def test_one_that_waits_to_start_again_does_not_hold_the_end_back() -> None:
    stage = Stage(2)
    one, two = await stage.serving()
    stage.hold = True
    one.end(1)
    await stage.settle()
    stage.supervisor.stop()
    two.end(0)
    assert await stage.running == 0
    assert len(stage.started) == 2


async def test_a_refused_configuration_ends_all_with_its_status() -> None:
    stage = Stage(2)
    one, two = await stage.serving()
    one.end(2)
    await stage.settle()
    assert two.signals == [signal.SIGTERM]
    two.end(0)
    assert await stage.running == 2


async def test_a_worker_that_fails_while_it_stops_shows_in_the_status() -> None:
    stage = Stage(2)
    one, two = await stage.serving()
    stage.supervisor.stop()
    one.end(-9)
    two.end(0)
    assert await stage.running == 1


async def test_a_worker_that_is_stopped_before_it_serves_has_not_failed() -> None:
    stage = Stage(1)
    await stage.settle()
    stage.supervisor.stop()
    stage.started[0].end(-15)
    assert await stage.running == 0
    assert not stage.announced


async def test_a_process_that_cannot_be_made_is_tried_again() -> None:
    stage = Stage(1)
    stage.failures = 3
    (fake,) = await stage.serving()
    assert stage.waits == [0.1, 0.2, 0.4]
    stage.supervisor.stop()
    fake.end(0)
    assert await stage.running == 0


def test_a_reserved_port_is_picked_shared_and_refused_to_a_second_supervisor() -> None:
    with reserved("127.0.0.1", 0) as (address, port), socket.socket() as worker:
        assert address == "127.0.0.1"
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind((address, port))
        worker.listen()
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: "), reserved("127.0.0.1", port):
            pass
    with reserved("127.0.0.1", port) as again:
        assert again == ("127.0.0.1", port)


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0: "), reserved("192.0.2.1", 0):
        pass
