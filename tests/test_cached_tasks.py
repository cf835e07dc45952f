"""@cached on event loops: one run for the tasks that come together, whoever leaves, on one loop or on many."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from dict_cache import DictCache
from loop_steps import no_complaints, settled
from sparecall.cache import BytesCache
from sparecall.cached import cached

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class Held:
    """A decorated coroutine function whose runs end when the gate opens; it counts them."""

    def __init__(self, cache: Any = None, error: BaseException | None = None, **options: Any) -> None:
        self.started = self.cancelled = 0
        self.gate = asyncio.Event()

        @cached(DictCache() if cache is None else cache, **options)
        async def function(x: Any = 0) -> Any:
            self.started += 1
            number = self.started
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if error is not None:
                raise error
            return number

        self.function = function

    def callers(self, count: int, *args: Any) -> list[asyncio.Task[Any]]:
        return [asyncio.ensure_future(self.function(*args)) for _ in range(count)]


async def test_tasks_that_come_together_share_one_run() -> None:
    held = Held()
    tasks = held.callers(1000)
    other = held.callers(1, 1)
    await settled()
    held.gate.set()
    assert await asyncio.gather(*tasks, *other) == [1] * 1000 + [2]
    assert (held.started, await held.function()) == (2, 1)


async def test_those_who_wait_are_answered_even_if_the_result_is_not_stored() -> None:
    held = Held(when=lambda value: False)
    tasks = held.callers(3)
    await settled()
    held.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 3
    assert await held.function() == 2


async def test_a_caller_who_is_cancelled_fails_nobody_else() -> None:
    held = Held()
    async with no_complaints():
        tasks = held.callers(3)
        await settled()
        tasks[0].cancel()
        await settled()
        held.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert (outcomes[1:], held.started, held.cancelled) == ([1, 1], 1, 0)
    assert await held.function() == 1


@pytest.mark.parametrize("steps", range(4))
async def test_when_all_have_left_the_run_is_cancelled_and_nothing_is_kept(steps: int) -> None:
    held = Held()
    async with no_complaints():
        tasks = held.callers(3)
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await settled()
    assert held.cancelled == held.started
    held.gate.set()
    assert await held.function() == held.started
    assert runs_of(held.function) == [{}]


def runs_of(function: Any) -> list[dict[Any, Any]]:
    """The tables of a decorated function's runs under way, one for each loop."""
    missed = next(value for name, value in function.__globals__.items() if name.endswith("missed"))
    return [there.runs for there in missed.__self__._loops.values()]


async def test_an_exception_reaches_every_waiter_and_is_not_kept() -> None:
    held = Held(error=LookupError())
    async with no_complaints():
        tasks = held.callers(3)
        await settled()
        held.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    with pytest.raises(LookupError):
        await held.function()
    assert (held.started, held.function.cache.entries, runs_of(held.function)) == (2, {}, [{}])


async def test_a_result_that_cannot_be_stored_fails_every_waiter() -> None:
    held = Held(BytesCache(1000), key=str)
    async with no_complaints():
        tasks = held.callers(2)
        await settled()
        held.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TypeError] * 2


async def test_a_recursive_coroutine_function_is_computed_once_for_each_argument() -> None:
    runs = 0

    @cached(DictCache())
    async def fib(n: int) -> int:
        nonlocal runs
        runs += 1
        return n if n < 2 else sum(await asyncio.gather(fib(n - 1), fib(n - 2)))

    assert (await fib(150), runs) == (9969216677189303386214405760200, 151)


async def test_a_coroutine_function_that_asks_for_its_own_key_computes_it_itself() -> None:
    depth = 0

    @cached(DictCache())
    async def function() -> int:
        nonlocal depth
        depth += 1
        return await function() + 1 if depth < 3 else 0

    assert (await function(), depth, runs_of(function)) == (2, 3, [{}])


async def test_a_circle_of_tasks_never_waits_for_itself() -> None:
    together = asyncio.Event()
    begun: set[int] = set()

    @cached(DictCache())
    async def function(x: int) -> str:
        if x in begun:
            return "inner"
        begun.add(x)
        if len(begun) == 2:
            together.set()
        await together.wait()
        return "outer of " + await function(1 - x)

    async with asyncio.timeout(30):
        found = await asyncio.gather(function(0), function(1))
    assert all(answer.startswith("outer of ") and answer.endswith("inner") for answer in found)


async def test_a_run_whose_entry_is_deleted_meanwhile_is_neither_stored_nor_joined() -> None:
    held = Held()
    old = held.callers(2)
    await settled()
    assert held.function.cache_delete() is False
    new = held.callers(2)
    await settled()
    held.gate.set()
    assert await asyncio.gather(*old, *new) == [1, 1, 2, 2]
    assert (await held.function(), held.started, runs_of(held.function)) == (2, 2, [{}])
    assert len(held.function.cache.options) == 1, "the old result was never in the cache"


async def test_a_hit_does_not_leave_the_step_of_its_caller() -> None:
    held = Held()
    held.gate.set()
    await held.function()
    with pytest.raises(StopIteration) as stopped:
        held.function().send(None)
    assert stopped.value.value == 1


def test_one_loop_after_the_other_is_served_and_none_is_kept(anyio_backend: Any) -> None:
    loops = []

    @cached(DictCache(), when=lambda value: False)
    async def function(x: int) -> int:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return x

    async def main() -> list[int]:
        return await asyncio.gather(function(1), function(1), function(2))

    for _ in range(3):
        with asyncio.Runner(loop_factory=factory(anyio_backend)) as runner:
            assert runner.run(main()) == [1, 1, 2]
        del runner
    gc.collect()
    assert [loop() for loop in loops] == [None] * 6


def factory(anyio_backend: Any) -> Any:
    if not anyio_backend[1]["use_uvloop"]:
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


# What is torn out of a closed loop complains of it, as everywhere in asyncio.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_in_the_middle_of_things_goes_when_the_next_one_comes(anyio_backend: Any) -> None:
    held = Held()
    loop = factory(anyio_backend)()
    task = loop.create_task(held.function(), name="left behind")
    loop.run_until_complete(asyncio.wait({task}, timeout=0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert len(runs_of(held.function)) == 1
    for left in asyncio.all_tasks(loop):
        left._log_destroy_pending = False  # type: ignore[attr-defined]
    gone = weakref.ref(loop)
    del loop, task, left
    held.gate = asyncio.Event()
    held.gate.set()
    with asyncio.Runner(loop_factory=factory(anyio_backend)) as runner:
        assert runner.run(held.function()) == 2
    gc.collect()
    assert gone() is None


def test_loops_in_many_threads_are_served_at_the_same_time(anyio_backend: Any) -> None:
    together = Barrier(4, timeout=30)
    runs: list[int] = []

    @cached(DictCache(), when=lambda value: value == 0)
    async def function(x: int) -> int:
        runs.append(x)
        if x:
            together.wait()  # each loop computes it itself, all at once
        await asyncio.sleep(0)
        return x

    async def main() -> list[int]:
        return await asyncio.gather(*[function(1) for _ in range(5)], *[function(0) for _ in range(5)])

    def thread() -> list[int]:
        with asyncio.Runner(loop_factory=factory(anyio_backend)) as runner:
            return runner.run(main())

    with ThreadPoolExecutor(4) as pool:
        for call in [pool.submit(thread) for _ in range(4)]:
            assert call.result() == [1] * 5 + [0] * 5
    assert runs.count(1) == 4
    assert 1 <= runs.count(0) <= 4


def test_a_delete_in_another_thread_reaches_the_runs_of_every_loop() -> None:
    begun, deleted = Barrier(3, timeout=30), Barrier(3, timeout=30)
    cache = DictCache()

    @cached(cache)
    async def function() -> str:
        begun.wait()
        deleted.wait()
        return "old"

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(lambda: asyncio.run(function())) for _ in range(2)]
        begun.wait()
        function.cache_delete()
        deleted.wait()
        assert [call.result() for call in calls] == ["old"] * 2
    assert cache.entries == {}
