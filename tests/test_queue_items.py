"""`Queue`: things from threads for one coroutine, and what becomes of one more than it holds."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sparecall.errors import InvalidArgument, Overloaded, UnknownName
from sparecall.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("many", [1, 4])
def test_what_threads_put_in_comes_out_once_and_in_each_thread_s_order(
    run: Callable[[Coroutine[Any, Any, Any]], Any], many: int
) -> None:
    queue: Queue[tuple[int, int]] = Queue(64)

    def produce(producer: int) -> None:
        for number in range(1_000):
            queue.put((producer, number))

    async def consume() -> list[tuple[int, int]]:
        threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(many)]
        for thread in threads:
            thread.start()
        return [await queue.get() for _ in range(many * 1_000)]

    found = run(consume())
    for producer in range(many):
        assert [number for one, number in found if one == producer] == list(range(1_000))
    assert len(queue) == queue.tokens == 0


async def test_deadlines_order_a_class_and_are_told_once_they_have_passed() -> None:
    now = 10.0
    queue: Queue[str] = Queue(10, clock=lambda: now)
    queue.put("plain")
    queue.put("late", deadline=20.0)
    queue.put("soon", deadline=10.5)
    queue.put("sooner", deadline=10.25)
    assert queue.take() == ("sooner",)
    now = 10.75
    assert queue.expired() == ["soon"]
    assert queue.expired() == []
    assert [queue.take(), queue.take(), queue.take()] == [("plain",), ("late",), None]


async def test_a_full_queue_refuses_and_says_for_how_long() -> None:
    now = 0.0
    queue: Queue[int] = Queue(160, overflow="reject", clock=lambda: now)
    for number in range(160):
        queue.put(number)
    with pytest.raises(Overloaded, match="160 items wait") as refusal:
        queue.put(160)
    assert (refusal.value.code, refusal.value.retry_after) == ("full", 1.0)
    for _ in range(40):
        now += 0.01
        queue.take()
        queue.put(0)
    with pytest.raises(Overloaded) as refusal:
        queue.put(160)
    assert refusal.value.retry_after == pytest.approx(0.1)


async def test_a_full_queue_drops_the_oldest_of_the_lowest_class() -> None:
    queue: Queue[str] = Queue(3, overflow="drop", clock=lambda: 0.0)
    assert queue.put("low 1", priority="low").dropped == []
    low = queue.put("low 2", priority="low", tokens=7)
    queue.put("high", priority="high")
    assert queue.put("normal").dropped == ["low 1"]
    assert queue.put("low 3", priority="low", tokens=5).dropped == ["low 2"]
    assert not low.cancel()
    assert queue.put("critical", priority="critical").dropped == ["low 3"]
    assert queue.put("critical 2", priority="critical").dropped == ["normal"]
    with pytest.raises(Overloaded):
        queue.put("low 4", priority="low")
    assert (len(queue), queue.tokens) == (3, 3)


def test_a_thread_waits_for_room_and_not_for_ever() -> None:
    queue: Queue[int] = Queue(1)
    queue.put(1)
    start = time.monotonic()
    with pytest.raises(Overloaded):
        queue.put(2, timeout=0.02)
    assert time.monotonic() - start >= 0.02
    with pytest.raises(Overloaded):
        queue.put(2, timeout=0)
    thread = threading.Thread(target=queue.put, args=(3,))
    thread.start()
    assert queue.take() == (1,)
    thread.join(10)
    assert not thread.is_alive()
    ticket = queue.put  # the place is taken again, and is given back by a cancellation
    assert queue.take() == (3,)
    held = ticket(4)
    thread = threading.Thread(target=queue.put, args=(5,))
    thread.start()
    assert held.cancel()
    thread.join(10)
    assert queue.take() == (5,)


async def test_a_loop_is_never_held_up_by_a_full_queue() -> None:
    queue: Queue[int] = Queue(1)
    queue.put(1)
    with pytest.raises(RuntimeError, match="await ready"):
        queue.put(2)
    waiting = [asyncio.ensure_future(queue.ready()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting, timeout=0.01)
    assert [task.done() for task in waiting] == [True, False, False]
    assert queue.take() == (1,)
    await asyncio.gather(*waiting[1:])
    queue.put(2)


async def test_one_consumer_waits_and_a_wait_that_is_cancelled_takes_nothing() -> None:
    queue: Queue[int] = Queue(8)
    first = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one consumer"):
        await queue.get()
    queue.put(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await queue.get() == 1
    for _ in range(1_000):
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0):
                await queue.get()
    threading.Thread(target=queue.put, args=(2,)).start()
    assert await queue.get() == 2


async def test_what_is_cancelled_gives_its_place_back() -> None:
    queue: Queue[object] = Queue(2, overflow="reject")
    for _ in range(5_000):
        tickets = [queue.put(object(), tokens=10, deadline=1.0), queue.put(object(), tokens=5)]
        assert (len(queue), queue.tokens) == (2, 15)
        assert [ticket.cancel() for ticket in tickets] == [True, True]
        assert not tickets[0].cancel()
        assert (len(queue), queue.tokens) == (0, 0)
    assert queue.take() is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_items": 0}, InvalidArgument),
        ({"max_items": -1}, InvalidArgument),
        ({"overflow": "block"}, InvalidArgument),
        ({"clock": 5}, TypeError),
        ({"max_items": "5"}, TypeError),
    ],
)
async def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Queue(**{"max_items": 1, **options})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tokens": -1}, InvalidArgument),
        ({"deadline": float("nan")}, InvalidArgument),
        ({"timeout": -1.0}, InvalidArgument),
        ({"priority": "urgent"}, UnknownName),
        ({"priority": 5}, TypeError),
        ({"tokens": "1"}, TypeError),
    ],
)
async def test_bad_arguments_are_refused_and_nothing_goes_in(options: dict[str, Any], error: type[Exception]) -> None:
    queue: Queue[int] = Queue(1)
    with pytest.raises(error):
        queue.put(1, **options)
    assert len(queue) == 0


async def test_a_clock_that_fails_loses_nothing() -> None:
    fails = False

    def clock() -> float:
        if fails:
            raise ValueError("no time")
        return 0.0

    queue: Queue[int] = Queue(2, clock=clock)
    queue.put(1)
    fails = True
    for call in (lambda: queue.put(2), queue.take, queue.expired):
        with pytest.raises(ValueError, match="no time"):
            call()
    fails = False
    assert (queue.take(), queue.take()) == ((1,), None)
