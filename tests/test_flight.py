"""Single flight: one run for many callers, whoever leaves and whenever; errors for all, nothing kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from loop_steps import no_complaints, settled, turns
from sparecall.flight import Flight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio


class Work:
    """A work that can be held, released or made to fail, and that counts its runs."""

    def __init__(self, value: Any = "value", error: BaseException | None = None) -> None:
        self.value, self.error = value, error
        self.started = self.finished = self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> Any:
        self.started += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        if self.error is not None:
            raise self.error
        return self.value


def callers(flight: Flight[str, Any], work: Work, count: int, key: str = "key") -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(flight.run(key, work)) for _ in range(count)]


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_callers_of_one_key_share_one_run_and_one_of_them_led() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work(object())
    tasks = callers(flight, work, 5)
    await turns(3)
    assert (len(flight), "key" in flight, "other" in flight) == (1, True, False)
    assert repr(flight) == "<Flight of 1 keys>"
    work.gate.set()
    found = await outcomes(tasks)
    assert [value is work.value for value, _ in found] == [True] * 5
    assert [led for _, led in found] == [True, False, False, False, False]
    assert (work.started, len(flight)) == (1, 0)


async def test_ten_thousand_cold_calls_at_once_are_one_run() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work()
    tasks = callers(flight, work, 10_000)
    await turns(2)
    work.gate.set()
    found = await outcomes(tasks)
    assert work.started == 1
    assert sum(led for _, led in found) == 1
    assert {value for value, _ in found} == {"value"}


async def test_a_call_after_the_end_runs_the_work_again() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work()
    work.gate.set()
    assert await flight.run("key", work) == ("value", True)
    assert await flight.run("key", work) == ("value", True)
    assert work.started == 2


async def test_different_keys_run_side_by_side() -> None:
    flight: Flight[str, Any] = Flight()
    works = {name: Work(name) for name in "abc"}
    tasks = [asyncio.ensure_future(flight.run(name, work)) for name, work in works.items()]
    await turns(3)
    assert [work.started for work in works.values()] == [1, 1, 1]
    for work in works.values():
        work.gate.set()
    assert await outcomes(tasks) == [("a", True), ("b", True), ("c", True)]


async def test_a_cancelled_leader_leaves_the_value_to_the_others_and_the_next_in_line_leads() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work()
    leader, *others = callers(flight, work, 4)
    await turns(3)
    leader.cancel()
    await turns(3)
    assert work.cancelled == 0
    work.gate.set()
    assert await outcomes(others) == [("value", True), ("value", False), ("value", False)]
    assert leader.cancelled()


async def test_the_work_is_cancelled_when_its_last_caller_leaves() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work()
    tasks = callers(flight, work, 3)
    await turns(3)
    for task in tasks[:2]:
        task.cancel()
    await turns(3)
    assert (work.cancelled, len(flight)) == (0, 1)
    tasks[2].cancel()
    await settled()
    assert (work.cancelled, len(flight)) == (1, 0)
    assert all(task.cancelled() for task in tasks)


async def test_who_comes_after_everybody_left_starts_anew_though_the_old_work_refuses_to_die() -> None:
    flight: Flight[str, Any] = Flight()
    end = asyncio.Event()

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await end.wait()
        return "old"

    old = asyncio.ensure_future(flight.run("key", stubborn))
    await turns(3)
    old.cancel()
    await turns(3)
    new = callers(flight, work := Work("new"), 2)
    await turns(3)
    end.set()
    await settled()
    assert "key" in flight
    work.gate.set()
    assert await outcomes(new) == [("new", True), ("new", False)]


@pytest.mark.parametrize("victims", [{0}, {1}, {0, 1}, {1, 2}, {0, 1, 2}], ids=str)
@pytest.mark.parametrize("fails", [False, True])
async def test_cancellation_at_every_step_loses_nothing(victims: set[int], fails: bool) -> None:
    """For every k, some of three callers are cancelled after k turns of the loop, while the work runs and ends by itself."""

    async def work() -> str:
        nonlocal runs
        runs += 1
        await turns(3)
        if fails:
            raise ValueError("from the work")
        return "value"

    async with no_complaints():
        for k in range(12):
            runs = 0
            flight: Flight[str, str] = Flight()
            tasks = [asyncio.ensure_future(flight.run("key", work)) for _ in range(3)]
            await turns(k)
            for index in victims:
                tasks[index].cancel()
            found = await outcomes(tasks)  # no hang
            assert len(flight) == 0
            assert runs <= 1
            survivors = [outcome for outcome in found if not isinstance(outcome, asyncio.CancelledError)]
            for index in set(range(3)) - victims:
                assert not isinstance(found[index], asyncio.CancelledError)
            if fails:
                assert all(isinstance(outcome, ValueError) for outcome in survivors)
            elif survivors:
                assert [value for value, _ in survivors] == ["value"] * len(survivors)
                assert [led for _, led in survivors] == [True] + [False] * (len(survivors) - 1)
            assert await flight.run("key", _immediately) == ("again", True)


async def _immediately() -> str:
    return "again"


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_caller_cancelled_in_the_very_turn_the_work_ends_takes_nothing_with_it(ends_well: bool) -> None:
    async with no_complaints():
        flight: Flight[str, Any] = Flight()
        tasks: list[asyncio.Task[Any]] = []

        async def work() -> str:
            await turns(2)
            asyncio.get_running_loop().call_soon(
                tasks[0].cancel
            )  # runs after the futures are set, before callers resume
            if not ends_well:
                raise ValueError("from the work")
            return "value"

        tasks += [asyncio.ensure_future(flight.run("key", work)) for _ in range(2)]
        found = await outcomes(tasks)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1] == ("value", True) if ends_well else isinstance(found[1], ValueError)
        assert len(flight) == 0


async def test_an_error_reaches_every_caller_and_is_not_kept() -> None:
    async with no_complaints():
        flight: Flight[str, Any] = Flight()
        error = ValueError("from the work")
        tasks = callers(flight, work := Work(error=error), 4)
        await turns(3)
        work.gate.set()
        assert [outcome is error for outcome in await outcomes(tasks)] == [True] * 4
        work.error = None
        assert await flight.run("key", work) == ("value", True)


async def test_an_error_that_comes_when_everybody_has_left_is_nobodys() -> None:
    async with no_complaints():
        flight: Flight[str, Any] = Flight()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("while cleaning up")

        task = asyncio.ensure_future(flight.run("key", work))
        await turns(3)
        task.cancel()
        await settled()
        assert task.cancelled()
        assert len(flight) == 0


async def test_a_work_that_cannot_even_be_called_fails_its_callers() -> None:
    flight: Flight[str, Any] = Flight()

    def no_work() -> Any:
        raise KeyError("before the first await")

    def stops() -> Any:
        return next(iter(()))

    with pytest.raises(KeyError):
        await flight.run("key", no_work)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await flight.run("key", stops)
    with pytest.raises(TypeError):
        await flight.run("key", lambda: 5)  # type: ignore[arg-type,return-value]
    assert len(flight) == 0


async def test_a_work_that_cancels_itself_cancels_its_callers() -> None:
    flight: Flight[str, Any] = Flight()

    async def work() -> None:
        await turns(1)
        raise asyncio.CancelledError

    tasks = [asyncio.ensure_future(flight.run("key", work)) for _ in range(2)]
    assert [type(outcome) for outcome in await outcomes(tasks)] == [asyncio.CancelledError] * 2
    assert len(flight) == 0


async def test_a_timeout_around_a_call_is_a_caller_who_leaves() -> None:
    flight: Flight[str, Any] = Flight()
    work = Work()
    patient = callers(flight, work, 1)
    await turns(2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await flight.run("key", work)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flight.run("key", work), 0.001)
    work.gate.set()
    assert await outcomes(patient) == [("value", True)]
    assert work.cancelled == 0

    lonely = Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await flight.run("key", lonely)
    await settled()
    assert (lonely.finished, len(flight)) == (0, 0)


async def test_the_work_sees_the_context_of_who_started_it() -> None:
    flight: Flight[str, Any] = Flight()
    variable: ContextVar[str] = ContextVar("variable", default="nobody")
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return variable.get()

    async def caller(name: str) -> tuple[str, bool]:
        variable.set(name)
        return await flight.run("key", work)

    tasks = [asyncio.ensure_future(caller(name)) for name in ("first", "second")]
    await turns(3)
    gate.set()
    assert await outcomes(tasks) == [("first", True), ("first", False)]
    assert variable.get() == "nobody"


async def test_landed_is_called_once_before_any_caller_resumes() -> None:
    flight: Flight[str, Any] = Flight()
    seen: list[str] = []
    work = Work()

    async def caller(name: str) -> None:
        await flight.run("key", work, landed=lambda value: seen.append(f"landed {value}"))
        seen.append(name)

    tasks = [asyncio.ensure_future(caller(name)) for name in "abc"]
    await turns(3)
    work.gate.set()
    await outcomes(tasks)
    assert seen == ["landed value", "a", "b", "c"]


async def test_a_work_that_asks_for_its_own_key_runs_the_inner_call_itself() -> None:
    flight: Flight[str, Any] = Flight()

    async def outer() -> list[Any]:
        return [await flight.run("key", _immediately)]

    async with asyncio.timeout(5):
        assert await flight.run("key", outer) == ([("again", True)], True)
    assert len(flight) == 0


async def test_works_that_ask_for_each_other_across_flights_do_not_wait_for_ever() -> None:
    first: Flight[str, Any] = Flight()
    second: Flight[str, Any] = Flight()

    async def left() -> str:
        await turns(2)
        value, _ = await second.run("right", right)
        return f"left of {value}"

    async def right() -> str:
        nonlocal depth
        depth += 1
        await turns(2)
        if depth > 1:
            return "right"
        value, _ = await first.run("left", left)
        return f"right of {value}"

    depth = 0
    tasks = [asyncio.ensure_future(first.run("left", left)), asyncio.ensure_future(second.run("right", right))]
    for outcome in await outcomes(tasks):
        assert isinstance(outcome, tuple), outcome
    assert (len(first), len(second)) == (0, 0)


async def test_a_circle_is_seen_though_another_wait_for_the_same_key_was_given_up() -> None:
    """`a` waits for `b` twice, one of the waits times out, and then `b` asks for `a`."""
    flight: Flight[str, Any] = Flight()
    asked = asyncio.Event()

    async def a() -> str:
        waits = [asyncio.ensure_future(flight.run("b", b)) for _ in range(2)]
        await turns(3)
        waits[0].cancel()
        await turns(3)
        asked.set()
        return f"a with {(await waits[1])[0]}"

    async def b() -> str:
        await asked.wait()
        return f"b with {(await flight.run('a', _immediately))[0]}"

    async with asyncio.timeout(5):
        assert await flight.run("a", a) == ("a with b with again", True)


async def test_a_work_may_wait_for_other_keys_that_others_wait_for_too() -> None:
    flight: Flight[str, Any] = Flight()
    leaf = Work("leaf")

    async def branch() -> Any:
        return (await flight.run("leaf", leaf))[0]

    tasks = [asyncio.ensure_future(flight.run(name, branch)) for name in ("x", "y", "x")]
    await turns(5)
    leaf.gate.set()
    found = await outcomes(tasks)
    assert [value for value, _ in found] == ["leaf"] * 3
    assert leaf.started == 1


class Weighty:
    """A result that can be weakly referenced."""


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_run_gave_is_freed_without_waiting_for_the_garbage_collector(fails: bool) -> None:
    flight: Flight[str, Any] = Flight()
    references: list[weakref.ref[Any]] = []

    async def work() -> Weighty:
        result = Weighty()
        references.append(weakref.ref(result))
        await turns(1)
        if fails:
            raise ValueError(result)
        return result

    async def caller() -> None:
        with contextlib.suppress(ValueError):
            await flight.run("key", work)

    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(caller(), caller(), caller())
        await turns(3)
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()


async def test_a_task_factory_that_starts_tasks_at_once_is_no_surprise() -> None:
    """As `asyncio.eager_task_factory` of newer Pythons does: the work may end before its task has been handed back."""
    flight: Flight[str, Any] = Flight()

    class Eager:
        """A finished task: the coroutine ran to its end when it was handed over."""

        def __init__(self, coroutine: Any) -> None:
            with pytest.raises(StopIteration):
                coroutine.send(None)

        def done(self) -> bool:
            return True

    class Loop:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.create_future = loop.create_future
            self.create_task: Callable[[Awaitable[Any]], Any] = Eager

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: Loop(loop))
        # Not awaited through the loop: with the value there already, nothing suspends.
        with pytest.raises(StopIteration) as stopped:
            flight.run("key", _immediately).send(None)
    assert stopped.value.value == ("again", True)
    assert len(flight) == 0


async def test_cancelling_every_task_of_the_loop_leaves_no_entry_behind() -> None:
    flight: Flight[str, Any] = Flight()
    before = asyncio.all_tasks()
    tasks = callers(flight, Work(), 2)
    await turns(1)  # the callers wait; the task of the work has not begun
    for task in asyncio.all_tasks() - before:
        task.cancel()
    assert [type(outcome) for outcome in await outcomes(tasks)] == [asyncio.CancelledError] * 2
    assert len(flight) == 0
    assert await flight.run("key", _immediately) == ("again", True)
