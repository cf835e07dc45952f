"""Work on the native workers, and results for event loops: asyncio and uvloop, several of them, closed ones, forks, exits, cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sparecall import queue
from sparecall._core import _queue_hold, _queue_let_go, _queue_pause
from sparecall.errors import InternalError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def runs(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return asyncio.run if request.param == "asyncio" else uvloop.run


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def idle() -> None:
    """Until no work waits and what was begun is done."""
    while queue.workers()[0]:  # noqa: ASYNC110 - workers set no event
        await asyncio.sleep(0.001)
    await queue.run(_queue_pause(0, None), priority="low")


@pytest.fixture(autouse=True)
def _held_work_ends() -> Iterator[None]:
    yield
    _queue_let_go()


async def begun() -> None:
    """Until all work was begun."""
    await asyncio.sleep(0)
    while queue.workers()[0]:  # noqa: ASYNC110 - workers set no event
        await asyncio.sleep(0.001)


async def block() -> list[asyncio.Task[None]]:
    """Has every worker busy until `_queue_let_go`."""
    await idle()
    blocked = [asyncio.ensure_future(queue.run(_queue_hold(None), priority="high")) for _ in range(queue.workers()[2])]
    await begun()
    return blocked


async def test_a_result_comes_and_errors_are_those_of_the_core() -> None:
    value = object()
    assert await queue.run(_queue_pause(0.001, value)) is value
    with pytest.raises(InternalError):
        await queue.run(_queue_pause(float("nan"), value))
    assert await queue.run(_queue_pause(0, value)) is value


async def test_work_is_done_once() -> None:
    work = _queue_pause(0, 5)
    assert await queue.run(work) == 5
    with pytest.raises(RuntimeError, match="begun before"):
        await queue.run(work)


async def test_a_priority_that_is_none_is_refused_and_nothing_is_begun() -> None:
    work = _queue_pause(0, 5)
    with pytest.raises(UnknownName, match="critical, high, normal, low"):
        await queue.run(work, priority="urgent")  # type: ignore[arg-type]
    assert await queue.run(work) == 5


def test_without_a_loop_there_is_no_port() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        queue.port()


async def test_the_highest_class_is_served_by_its_weight() -> None:
    blocked = await block()
    order: list[str] = []

    async def one(priority: queue.Priority) -> None:
        await queue.run(_queue_pause(0.002, None), priority=priority)
        order.append(priority)

    low = [asyncio.ensure_future(one("low")) for _ in range(8)]
    critical = [asyncio.ensure_future(one("critical")) for _ in range(8)]
    await asyncio.sleep(0)
    _queue_let_go()
    await asyncio.gather(*blocked, *low, *critical)
    # Of equal work eight of the class are done for one of the lowest.
    assert order[:8].count("critical") >= 6


async def test_what_is_urgent_does_not_stand_behind_what_can_wait() -> None:
    await idle()
    low = [asyncio.ensure_future(queue.run(_queue_hold(None), priority="low")) for _ in range(queue.workers()[2])]
    await asyncio.sleep(0)
    assert await queue.run(_queue_pause(0.001, 5), priority="critical") == 5
    assert await queue.run(_queue_pause(0.001, 6), priority="high") == 6
    assert not any(task.done() for task in low)
    _queue_let_go()
    await asyncio.gather(*low)


async def test_more_than_a_drain_s_worth_comes_whole() -> None:
    port, loop = queue.port(), asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(2_000)]

    def thread() -> None:
        for number, future in enumerate(futures):
            if number % 5:
                port.resolve(future, number)
            else:
                port.fail(future, ValueError(number))

    threading.Thread(target=thread).start()
    results = await asyncio.gather(*futures, return_exceptions=True)
    for number, result in enumerate(results):
        if number % 5:
            assert result == number
        else:
            assert isinstance(result, ValueError)
            assert result.args == (number,)


async def test_others_have_their_turn_between_drains() -> None:
    port, loop = queue.port(), asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(1_000)]
    for future in futures:
        port.resolve(future, None)
    seen = []
    while not futures[-1].done():
        await asyncio.sleep(0)
        seen.append(sum(future.done() for future in futures))
    assert [count for count in sorted(set(seen)) if count] == [256, 512, 768, 1_000]


async def test_futures_that_are_done_are_passed_over() -> None:
    port, loop = queue.port(), asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(10)]
    for place, future in enumerate(futures):
        port.resolve(future, place)
        port.resolve(future, None)
    for future in futures[::2]:
        future.cancel()
    assert await asyncio.gather(*futures[1::2]) == [1, 3, 5, 7, 9]
    assert all(future.cancelled() for future in futures[::2])


async def test_what_is_cancelled_before_it_is_begun_is_dropped_at_once() -> None:
    class Value:
        pass

    blocked = await block()
    value = Value()
    gone = weakref.ref(value)
    waiting = asyncio.ensure_future(queue.run(_queue_pause(60, value), priority="critical"))
    del value
    await asyncio.sleep(0)
    assert queue.workers()[0] == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting
    assert queue.workers()[0] == 0
    assert gone() is None
    _queue_let_go()
    await asyncio.gather(*blocked)


async def test_what_is_cancelled_while_it_runs_is_dropped_when_it_is_done() -> None:
    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    running = asyncio.ensure_future(queue.run(_queue_hold(value)))
    del value
    await begun()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    del running
    assert gone() is not None
    _queue_let_go()
    await queue.run(_queue_pause(0, None))
    while gone() is not None:  # noqa: ASYNC110 - or the test's timeout ends
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("turns", [200, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_a_hundred_cancellations_a_turn_leave_nothing(turns: int) -> None:
    done = cancelled = 0
    for turn in range(turns):
        tasks = [
            asyncio.ensure_future(queue.run(_queue_pause(0, number), priority=("low", "high")[number % 2]))
            for number in range(100)
        ]
        for _ in range(turn % 4):
            await asyncio.sleep(0)
        for task in tasks[:: 1 + turn % 3]:
            task.cancel()
        for number, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            if isinstance(result, asyncio.CancelledError):
                cancelled += 1
            else:
                assert result == number
                done += 1
    assert done + cancelled == 100 * turns
    assert cancelled > 25 * turns
    await idle()
    assert queue.workers()[0] == 0


def test_each_loop_has_its_port_and_several_threads_run_theirs_at_once(
    runs: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    found: list[list[int]] = []

    async def main(first: int) -> None:
        found.append(
            await asyncio.gather(*(queue.run(_queue_pause(0.0005, number)) for number in range(first, first + 50)))
        )

    threads = [threading.Thread(target=lambda place=place: runs(main(place * 1_000))) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [list(range(place * 1_000, place * 1_000 + 50)) for place in range(4)]


def test_loops_closed_under_their_work_leave_no_descriptor_and_no_value(
    runs: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    class Value:
        pass

    gone: list[weakref.ref[Value]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            value = Value()
            gone.append(weakref.ref(value))
            queue.submit(_queue_pause(0.0005, value), loop.create_future())
        value = Value()
        gone.append(weakref.ref(value))
        queue.port().resolve(loop.create_future(), value)

    async def after() -> None:
        await idle()

    runs(after())
    gc.collect()
    before = descriptors()
    for _ in range(50):
        runs(main())
    runs(after())
    runs(after())
    gc.collect()
    assert descriptors() <= before + 2
    assert [one for one in gone if one() is not None] == []


def test_a_loop_that_is_closed_can_still_be_written_to() -> None:
    kept: list[Any] = []

    async def main() -> None:
        kept.extend((queue.port(), asyncio.get_running_loop().create_future()))

    asyncio.run(main())
    port, future = kept
    port.resolve(future, 5)
    assert not future.done()
    port.drain()  # as nobody does: its loop cannot be told, and that is not an error of whoever drains
    assert future.result() == 5


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_parent_s_loop_alone_and_gives_the_child_workers(
    runs: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    async def main() -> None:
        before = asyncio.ensure_future(queue.run(_queue_pause(0.05, "parent")))
        waiting = asyncio.ensure_future(queue.run(_queue_pause(0.001, "waited")))
        await asyncio.sleep(0.01)
        child = os.fork()
        if not child:
            status = 1
            try:
                found: list[int] = []
                thread = threading.Thread(target=lambda: found.append(runs(queue.run(_queue_pause(0.001, 7)))))
                thread.start()
                thread.join()
                status = 0 if found == [7] and queue.workers()[1] == 1 else 2
            finally:
                os._exit(status)
        assert await before == "parent"
        assert await waiting == "waited"
        for _ in range(1_000):
            pid, status = os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
            if pid:
                break
            await asyncio.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            raise AssertionError("the child hangs")
        assert os.waitstatus_to_exitcode(status) == 0
        assert await queue.run(_queue_pause(0, 9)) == 9

    runs(main())


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise SystemExit(3)", "os.kill(os.getpid(), 2)"])
def test_an_exit_waits_for_no_work_and_breaks_nothing(end: str) -> None:
    program = f"""
import asyncio, os, sys, uvloop
from sparecall import queue, tokens
from sparecall._core import _queue_hold, _queue_let_go, _queue_pause

async def main():
    tasks = [asyncio.ensure_future(queue.run(_queue_pause(60, object()))) for _ in range(5)]
    count = asyncio.ensure_future(tokens.count_async("words and words " * 200_000))
    await asyncio.sleep(0.05)
    {end}

(uvloop.run if {len(end)} % 2 else asyncio.run)(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False, text=True)
    assert ended.returncode in {0, 3, -2, 130}, ended
    assert "panicked" not in ended.stderr
    assert "Fatal" not in ended.stderr


def test_a_process_can_end_while_results_come() -> None:
    program = """
import asyncio, sys
from sparecall import queue
from sparecall._core import _queue_hold, _queue_let_go, _queue_pause

async def main():
    for _ in range(2_000):
        queue.submit(_queue_pause(0, object()), asyncio.get_running_loop().create_future())

asyncio.run(main())
"""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")
