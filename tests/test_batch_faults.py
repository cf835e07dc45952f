"""Batch functions that fail, lie, hang or are cancelled; callers who leave; limits that cannot be. Nothing is lost silently."""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from sparecall.batch import Batcher
from sparecall.errors import BatchError, EmbedderError, InvalidArgument, SparecallError, UnknownName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo(items: list[Any]) -> list[Any]:
    await asyncio.sleep(0)
    return items


def codes(results: list[Any]) -> list[Any]:
    return [getattr(result, "code", result) for result in results]


@pytest.mark.anyio
@pytest.mark.parametrize("returned", [[1], [1, 2, 3], None, "ab", {1: 2, 3: 4}, 7], ids=repr)
async def test_a_function_that_returns_no_result_for_each_item_fails_all_of_them(returned: Any) -> None:
    calls = 0

    async def serve(_items: list[int]) -> Any:
        nonlocal calls
        calls += 1
        return returned

    async with Batcher(serve) as batcher:
        results = await asyncio.gather(*batcher.submit_many([1, 2]), return_exceptions=True)
    assert codes(results) == ["result", "result"]
    assert all(isinstance(result, SparecallError) for result in results)
    assert calls == 1, "no item can be at fault"


@pytest.mark.anyio
async def test_an_iterator_that_ends_early_fails_the_rest_and_one_that_goes_on_is_stopped() -> None:
    closed = []

    async def early(items: list[int]) -> AsyncIterator[int]:
        yield items[0]

    async def endless(items: list[int]) -> AsyncIterator[int]:
        try:
            while True:
                yield items[0]
        finally:
            closed.append(True)

    async with Batcher(early) as batcher:
        assert codes(await asyncio.gather(*batcher.submit_many([1, 2, 3]), return_exceptions=True)) == [
            1,
            "result",
            "result",
        ]
    async with Batcher(endless) as batcher:
        assert await asyncio.gather(*batcher.submit_many([1, 2])) == [1, 1]
    assert closed == [True]


@pytest.mark.anyio
async def test_a_function_that_is_not_async_says_what_to_do() -> None:
    def serve(items: list[int]) -> Any:
        return items

    async with Batcher(serve) as batcher:
        with pytest.raises(BatchError, match="to_thread"):
            await batcher.submit(1)
    async with Batcher(lambda items: asyncio.to_thread(serve, items)) as batcher:
        assert await batcher.submit(1) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("poison", [{3}, {0, 15}, {2, 3, 9}], ids=str)
async def test_the_items_at_fault_are_found_in_a_bounded_number_of_calls(poison: set[int]) -> None:
    calls = 0

    async def serve(items: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        for item in items:
            if item in poison:
                raise ValueError(item)
        return items

    async with Batcher(serve, max_items=16) as batcher:
        results = await asyncio.gather(*batcher.submit_many(range(16)), return_exceptions=True)
    assert {number for number, result in enumerate(results) if isinstance(result, ValueError)} == poison
    assert all(result.args == (number,) for number, result in enumerate(results) if isinstance(result, ValueError))
    assert calls <= 1 + 4 * 4
    if len(poison) == 1:
        assert calls <= 1 + 2 * 4


@pytest.mark.anyio
async def test_a_batch_of_poison_costs_no_more_calls_than_the_bound() -> None:
    calls = 0

    async def serve(items: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise ValueError(len(items))

    async with Batcher(serve, max_items=1024) as batcher:
        results = await asyncio.gather(*batcher.submit_many(range(1024)), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert calls <= 1 + 4 * 10


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (ConnectionError("gone"), 1),
        (TimeoutError(), 1),
        (EmbedderError("busy", code="refused", status=429), 1),
        (EmbedderError("no key", code="refused", status=401), 1),
        (EmbedderError("bad text", code="refused", status=400), 3),
        (StopIteration(), 1),
    ],
    ids=repr,
)
async def test_only_an_error_that_an_item_can_cause_is_looked_into(error: Exception, calls: int) -> None:
    made = 0

    def serve(_items: list[int]) -> Any:
        nonlocal made
        made += 1
        raise error

    async with Batcher(serve) as batcher:
        results = await asyncio.gather(*batcher.submit_many([1, 2]), return_exceptions=True)
        assert all(
            isinstance(result, RuntimeError if isinstance(error, StopIteration) else type(error)) for result in results
        )
    assert made == calls


@pytest.mark.anyio
async def test_isolation_can_be_turned_off() -> None:
    made = 0

    async def serve(_items: list[int]) -> list[int]:
        nonlocal made
        made += 1
        raise ValueError

    async with Batcher(serve, item_fault=None) as batcher:
        await asyncio.gather(*batcher.submit_many(range(8)), return_exceptions=True)
    assert made == 1


@pytest.mark.anyio
async def test_a_function_that_is_cancelled_from_within_fails_its_items_and_no_other_batch() -> None:
    async def serve(items: list[str]) -> list[str]:
        if "cancels" in items:
            raise asyncio.CancelledError
        return items

    async with Batcher(serve, max_items=1) as batcher:
        bad, good = batcher.submit_many(["cancels", "good"])
        with pytest.raises(BatchError) as caught:
            await bad
        assert caught.value.code == "cancelled"
        assert await good == "good"

    async def gathered(items: list[Any]) -> list[Any]:
        return [asyncio.CancelledError() for _ in items]

    async with Batcher(gathered) as batcher:
        with pytest.raises(BatchError):
            await batcher.submit(1)


def test_a_function_that_hangs_is_left_by_its_callers_in_time_and_by_its_permit_when_it_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def serve(items: list[str]) -> list[str]:
            if "hangs" in items:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    await asyncio.sleep(5)  # and is slow to leave
            return items

        batcher = Batcher(serve, max_items=1, timeout=2.0, clock=loop.time)
        hangs, good = batcher.submit_many(["hangs", "good"])
        with pytest.raises(BatchError) as caught:
            await hangs
        assert (caught.value.code, loop.time()) == ("timeout", pytest.approx(2.0))
        assert await good == "good"
        assert loop.time() == pytest.approx(7.0), "the permit was not given away while the function held it"
        await batcher.close()

    virtual_time.run(main(), start=0.0)


def test_a_batch_is_cancelled_when_all_who_wait_have_left_and_not_before() -> None:
    async def main() -> None:
        cancelled: list[list[int]] = []

        async def serve(items: list[int]) -> list[int]:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                cancelled.append(items)
                raise
            return items

        batcher = Batcher(serve, max_items=2, clock=virtual_time.clock)
        stays, leaves, both, too, last = batcher.submit_many(range(5))
        await asyncio.sleep(0.5)
        leaves.cancel()
        assert await stays == 0
        assert cancelled == []
        await asyncio.sleep(0.5)
        both.cancel()
        too.cancel()
        assert await last == 4
        assert cancelled == [[2, 3]]
        assert batcher.stats().left == 3
        await batcher.close()

    virtual_time.run(main(), start=0.0)


@pytest.mark.anyio
async def test_who_leaves_before_the_batch_begins_is_not_served() -> None:
    asked: list[int] = []

    async def serve(items: list[int]) -> list[int]:
        asked.extend(items)
        return items

    async with Batcher(serve) as batcher:
        one, two, three = batcher.submit_many([1, 2, 3])
        two.cancel()
        assert await asyncio.gather(one, three) == [1, 3]
        alone = batcher.submit(4)
        alone.cancel()
        await asyncio.sleep(0)
        assert batcher.stats().waiting == 0
    assert asked == [1, 3]


def test_batches_that_were_not_run_whole_teach_nothing_about_their_cost() -> None:
    async def main() -> None:
        async def serve(items: list[int]) -> list[int]:
            await asyncio.sleep(1.0)
            return items

        async with Batcher(serve, max_items=4, clock=virtual_time.clock) as batcher:
            await asyncio.gather(*batcher.submit_many(range(4)))
            for turns in range(6):
                futures = batcher.submit_many(range(4))
                for _ in range(turns):
                    await asyncio.sleep(0)
                for future in futures:
                    future.cancel()
                await asyncio.sleep(2.0)
            cost = batcher.stats().cost
            assert cost is not None
            assert cost.seconds(4, 4) == pytest.approx(1.0)

    virtual_time.run(main(), start=0.0)


@pytest.mark.anyio
async def test_what_size_of_and_key_of_raise_hits_their_caller_alone_at_the_call() -> None:
    def size_of(item: Any) -> int:
        return len(item)

    def key_of(item: Any) -> Any:
        return [] if item == "unhashable" else item[0]

    batcher: Batcher[Any, Any] = Batcher(echo, max_tokens=10, size_of=size_of, key_of=key_of)
    good = batcher.submit("good")
    with pytest.raises(TypeError):
        batcher.submit(7)
    with pytest.raises(IndexError):
        batcher.submit("")
    with pytest.raises(TypeError):
        batcher.submit("unhashable"[:10])
    with pytest.raises(InvalidArgument, match="11 tokens"):
        batcher.submit("x" * 11)
    with pytest.raises(InvalidArgument):
        batcher.submit_many(["also good", "x" * 11])
    assert await good == "good"
    assert batcher.stats().waiting == 0
    await batcher.close()


@pytest.mark.anyio
@pytest.mark.parametrize(("size", "error"), [(-1, InvalidArgument), (1.5, TypeError), (None, TypeError)])
async def test_sizes_that_are_none(size: Any, error: type[Exception]) -> None:
    batcher: Batcher[int, int] = Batcher(echo, size_of=lambda _: size)
    with pytest.raises(error):
        batcher.submit(1)


@pytest.mark.anyio
async def test_after_close_nothing_is_taken() -> None:
    batcher: Batcher[int, int] = Batcher(echo)
    await batcher.close()
    for call in (batcher.submit, batcher.submit_many):
        with pytest.raises(BatchError) as caught:
            call([1])  # type: ignore[operator]
        assert caught.value.code == "closed"
    with pytest.raises(BatchError):
        await batcher.ready()


@pytest.mark.anyio
async def test_unknown_priorities_are_named() -> None:
    with pytest.raises(UnknownName, match="critical, high, normal, low"):
        Batcher(echo).submit(1, priority="urgent")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"max_items": 0},
        {"max_items": -1},
        {"max_tokens": 0, "size_of": len},
        {"max_tokens": 5},
        {"max_concurrent": 0},
        {"max_waiting": 0},
        {"overflow": "explode"},
        {"timeout": 0},
        {"timeout": math.nan},
        {"timeout": math.inf},
    ],
    ids=str,
)
def test_limits_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Batcher(echo, **options)
    with pytest.raises(TypeError):
        Batcher(None)  # type: ignore[arg-type]


def test_one_batcher_one_loop_and_a_closed_one_is_left_behind_with_a_word() -> None:
    batcher: Batcher[int, int] = Batcher(echo)
    with pytest.raises(BatchError) as caught:
        batcher.submit(1)
    assert caught.value.code == "loop"
    first = asyncio.new_event_loop()

    def submit() -> None:
        batcher.submit(1)
        first.stop()

    first.call_soon(submit)
    first.run_forever()  # stops before the batch begins

    async def other() -> int:
        return await batcher.submit(2)

    with pytest.raises(BatchError):
        asyncio.run(other())
    first.close()
    with pytest.warns(ResourceWarning, match="1 items were lost"):
        assert asyncio.run(other()) == 2
    assert asyncio.run(other()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_to_make_its_own() -> None:
    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(echo)
        assert await batcher.submit(1) == 1
        child = os.fork()
        if child == 0:
            status = 1
            try:
                batcher.submit(2)
            except BatchError as error:
                status = 0 if error.code == "loop" else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - the child is done at once
        assert await batcher.submit(3) == 3
        await batcher.close()

    asyncio.run(main())


@pytest.mark.anyio
async def test_a_loop_that_is_shut_down_cancels_callers_and_batches() -> None:
    async def serve(items: list[int]) -> list[int]:
        await asyncio.sleep(100)
        return items

    batcher: Batcher[int, int] = Batcher(serve, max_items=1)
    callers = [asyncio.ensure_future(batcher.submit(number)) for number in range(3)]
    await asyncio.sleep(0.01)
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task() and "drive" in repr(task):
            task.cancel()  # as `asyncio.run` does at its end
    assert getattr((await asyncio.gather(callers[0], return_exceptions=True))[0], "code", None) == "cancelled"
    for caller in callers:
        caller.cancel()
    await batcher.close()
    assert batcher.stats().waiting == batcher.stats().running == 0
