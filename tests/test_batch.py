"""Batcher on both loops: when batches close, what goes into them, who is answered."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from sparecall.batch import Batcher, BatchEvent, batched
from sparecall.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Server:
    """A batch function that records what it is asked and ends when told, or after `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[list[Any]] = []
        self.seconds = seconds

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.asked.append(items)
        await asyncio.sleep(self.seconds)
        return [(item, "done") for item in items]


@pytest.mark.anyio
async def test_what_comes_at_once_is_one_batch_and_each_caller_gets_its_own_result() -> None:
    server = Server()
    async with Batcher(server) as batcher:
        results = await asyncio.gather(*(batcher.submit(number) for number in range(20)))
    assert results == [(number, "done") for number in range(20)]
    assert server.asked == [list(range(20))]


@pytest.mark.anyio
async def test_a_lone_item_waits_for_no_timer_and_a_busy_server_gathers() -> None:
    gate = asyncio.Event()
    asked: list[list[int]] = []

    async def serve(items: list[int]) -> list[int]:
        asked.append(items)
        await gate.wait()
        return items

    async with Batcher(serve, max_items=4) as batcher:
        first = batcher.submit(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asked == [[0]], "a permit was free"
        rest = batcher.submit_many(range(1, 7))
        for _ in range(5):
            await asyncio.sleep(0)
        assert asked == [[0]], "no permit is free"
        gate.set()
        assert await asyncio.gather(first, *rest) == list(range(7))
    assert asked == [[0], [1, 2, 3, 4], [5, 6]]
    assert batcher.stats().batches == {"permit": 2, "full": 1}


@pytest.mark.anyio
async def test_as_many_batches_run_at_once_as_there_are_permits() -> None:
    running = most = 0

    async def serve(items: list[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return items

    async with Batcher(serve, max_items=2, max_concurrent=3) as batcher:
        assert await asyncio.gather(*batcher.submit_many(range(20))) == list(range(20))
    assert most == 3


@pytest.mark.anyio
async def test_an_async_iterator_answers_each_caller_as_its_result_comes() -> None:
    gate = asyncio.Event()

    async def serve(items: list[str]) -> AsyncIterator[str | BaseException]:
        yield items[0].upper()
        await gate.wait()
        yield KeyError(items[1])
        yield items[2].upper()

    async with Batcher(serve) as batcher:
        first, second, third = batcher.submit_many("abc")
        assert await first == "A"
        assert not second.done()
        gate.set()
        with pytest.raises(KeyError):
            await second
        assert await third == "C"


@pytest.mark.anyio
async def test_an_exception_in_the_list_is_its_item_s_own() -> None:
    async def serve(items: list[int]) -> list[int | BaseException]:
        return [ValueError(item) if item % 2 else item for item in items]

    async with Batcher(serve) as batcher:
        results = await asyncio.gather(*batcher.submit_many(range(4)), return_exceptions=True)
    assert [type(result) for result in results] == [int, ValueError, int, ValueError]
    assert batcher.stats().failed == 2


@pytest.mark.anyio
async def test_the_decorator_keeps_the_function_s_name_and_takes_one_item() -> None:
    @batched(max_items=3)
    async def squares(items: list[int]) -> list[int]:
        """Squares."""
        return [item * item for item in items]

    @batched
    async def plain(items: list[int]) -> list[int]:
        return items

    assert await asyncio.gather(*(squares(number) for number in range(7))) == [number * number for number in range(7)]
    assert (squares.__name__, squares.__doc__) == ("squares", "Squares.")
    assert squares.batcher.stats().batches == {"full": 2, "permit": 1}
    assert await plain(3, priority="high") == 3
    await squares.batcher.close()


@pytest.mark.anyio
async def test_a_batch_has_one_key_and_at_most_so_many_tokens_and_is_filled_past_an_item_that_does_not_fit() -> None:
    server = Server()
    async with Batcher(server, max_items=10, max_tokens=10, size_of=len, key_of=lambda text: text[0]) as batcher:
        await asyncio.gather(*batcher.submit_many(["a" * 6, "a" * 5, "b", "a" * 4, "b" * 9, "a"]))
    assert server.asked == [["a" * 6, "a" * 4], ["a" * 5, "a"], ["b", "b" * 9]]


@pytest.mark.anyio
async def test_the_batch_function_does_not_see_the_context_of_whoever_came_first() -> None:
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def serve(items: list[int]) -> list[str]:
        return [user.get() for _ in items]

    batcher: Batcher[int, str] = Batcher(serve)
    user.set("ada")
    assert await batcher.submit(1) == "nobody"


def test_an_event_a_batch_and_counts_that_agree() -> None:
    async def main() -> None:
        events: list[BatchEvent] = []
        batcher = Batcher(Server(0.5), max_items=3, on_event=events.append, clock=asyncio.get_running_loop().time)
        futures = batcher.submit_many(range(7))
        await asyncio.sleep(0.1)
        futures[6].cancel()
        await asyncio.sleep(0.1)
        futures[0].cancel()
        await batcher.close()
        assert [(event.reason, event.items, event.left) for event in events] == [("full", 3, 1), ("full", 3, 0)]
        assert [event.waited for event in events] == [0.0, 0.5]
        assert [event.seconds for event in events] == [0.5, 0.5]
        stats = batcher.stats()
        assert (stats.items, stats.left, stats.failed, stats.waiting, stats.running) == (5, 2, 0, 0, 0)
        assert stats.cost is not None
        assert stats.cost.seconds(3, 3) == pytest.approx(0.5)

    virtual_time.run(main(), start=0.0)


@pytest.mark.anyio
async def test_items_and_results_are_freed_with_their_callers_references() -> None:
    class Thing:
        pass

    async def serve(items: list[Thing]) -> list[Thing]:
        return [Thing() for _ in items]

    gc.collect()
    gc.disable()
    try:
        async with Batcher(serve) as batcher:
            thing = Thing()
            result = await batcher.submit(thing)
            kept = weakref.ref(thing), weakref.ref(result)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del thing, result
            assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


def test_a_hook_that_raises_stops_no_batch() -> None:
    complaints: list[Any] = []

    def hook(_event: BatchEvent) -> None:
        raise RuntimeError("hook")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))
        async with Batcher(Server(), on_event=hook) as batcher:
            for number in range(3):
                await batcher.submit(number)

    asyncio.run(main())
    assert complaints == ["on_event of a Batcher raised"] * 3


# Deadlines


def test_the_earliest_deadline_goes_first_and_one_that_passes_is_told_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(1.0)
        batcher = Batcher(server, max_items=1, clock=loop.time)
        first = batcher.submit("first")
        await asyncio.sleep(0)
        plain = batcher.submit("plain")
        late = batcher.submit("late", deadline=5.0)
        soon = batcher.submit("soon", deadline=4.0)
        hopeless = batcher.submit("hopeless", deadline=0.5)
        with pytest.raises(Overloaded) as caught:
            await hopeless
        assert caught.value.code == "deadline"
        assert loop.time() == pytest.approx(0.5)
        await asyncio.gather(first, plain, late, soon)
        # The plain one is ordered as if due a second after it came.
        assert server.asked == [["first"], ["plain"], ["soon"], ["late"]]
        await batcher.close()

    virtual_time.run(main(), start=0.0)


def test_an_item_that_cannot_be_done_in_time_is_refused_when_it_comes() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Server(1.0), max_items=2, clock=loop.time)
        await batcher.submit("teaches what a batch costs")
        running = batcher.submit_many(range(2))
        await asyncio.sleep(0.25)
        waiting = batcher.submit_many(range(2))
        start = loop.time()
        with pytest.raises(Overloaded) as caught:
            batcher.submit("late", deadline=start + 2.5)  # 0.75 s of the running one, 1 s of the next, 1 s of its own
        assert caught.value.retry_after == pytest.approx(0.25)
        in_time = batcher.submit("in time", deadline=start + 2.8)
        await asyncio.gather(*running, *waiting, in_time)
        assert batcher.stats().refused == 1
        await batcher.close()

    virtual_time.run(main(), start=0.0)


# Back-pressure and overflow


def test_ready_holds_who_asks_until_there_is_room_first_come_first_served() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Server(1.0), max_items=2, max_waiting=2, clock=loop.time)
        order: list[int] = []

        async def producer(number: int) -> None:
            await batcher.ready()
            order.append(number)
            assert batcher.stats().waiting <= 2
            await batcher.submit(number)

        producers = [asyncio.ensure_future(producer(number)) for number in range(8)]
        await asyncio.sleep(0.5)
        producers[5].cancel()
        await asyncio.gather(*producers, return_exceptions=True)
        assert order == [0, 1, 2, 3, 4, 6, 7]
        await batcher.close()

    virtual_time.run(main(), start=0.0)


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Server(1.0), max_items=2, max_waiting=2, overflow="reject", clock=loop.time)
        await batcher.submit(0)
        running = batcher.submit(1)
        await asyncio.sleep(0.1)
        waiting = batcher.submit_many([2, 3])
        with pytest.raises(Overloaded) as caught:
            batcher.submit(4)
        assert (caught.value.code, caught.value.retry_after) == ("full", pytest.approx(1.0))
        waiting[0].cancel()
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            batcher.submit_many([5, 6])
        await asyncio.sleep(0)
        assert batcher.stats().waiting == 1, "all or none"
        fitting = batcher.submit(7)
        await asyncio.gather(running, waiting[1], fitting)
        await batcher.close()

    virtual_time.run(main(), start=0.0)


def test_a_full_queue_drops_the_oldest_of_the_lowest_class() -> None:
    async def main() -> None:
        batcher = Batcher(Server(1.0), max_items=8, max_waiting=3, overflow="drop", clock=virtual_time.clock)
        running = batcher.submit("running")
        await asyncio.sleep(0.1)
        high = batcher.submit("high", priority="high")
        oldest = batcher.submit("oldest", priority="low")
        newer = batcher.submit("newer", priority="low")
        critical = batcher.submit("critical", priority="critical")
        with pytest.raises(Overloaded) as caught:
            await oldest
        assert caught.value.code == "dropped"
        normal = batcher.submit("normal")
        with pytest.raises(Overloaded):
            await newer
        with pytest.raises(Overloaded) as caught:
            batcher.submit("refused", priority="low")
        assert caught.value.code == "full"
        await asyncio.gather(running, high, critical, normal)
        assert batcher.stats().refused == 3
        await batcher.close()

    virtual_time.run(main(), start=0.0)


# Close


def test_close_runs_what_waits_and_takes_no_more() -> None:
    async def main() -> None:
        server = Server(1.0)
        batcher = Batcher(server, max_items=2, clock=virtual_time.clock)
        futures = batcher.submit_many(range(5))
        await asyncio.gather(batcher.close(), batcher.close())
        assert [future.result()[0] for future in futures] == list(range(5))
        assert batcher.stats().batches == {"full": 2, "flush": 1}
        await batcher.close()

    virtual_time.run(main(), start=0.0)


def test_close_with_a_grace_fails_who_still_waits() -> None:
    async def main() -> None:
        batcher = Batcher(Server(10.0), max_items=1, clock=virtual_time.clock)
        futures = batcher.submit_many(range(3))
        await batcher.close(grace=2.0)
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)
        for future in futures:
            assert getattr(future.exception(), "code", None) == "closed"

    virtual_time.run(main(), start=0.0)


def test_bursts_are_waited_for_once_they_are_known_and_a_deadline_ends_the_hold() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(1.0)
        batcher = Batcher(server, max_items=64, clock=loop.time)

        async def burst() -> None:
            futures = []
            for number in range(5):
                futures.append(batcher.submit(number))
                await asyncio.sleep(0.02)
            await asyncio.gather(*futures)
            await asyncio.sleep(3.0)

        for _ in range(40):
            await burst()
        assert server.asked[:2] == [[0], [1, 2, 3, 4]], "at first the server is asked at once"
        assert server.asked[-1] == [0, 1, 2, 3, 4]
        assert batcher.stats().batches["control_limit"] >= 15
        start = loop.time()
        await batcher.submit("alone")
        assert loop.time() - start == pytest.approx(1.125), "an eighth of the fixed cost: four more would have come"
        start = loop.time()
        await batcher.submit("hurried", deadline=start + 1.05)
        assert loop.time() - start == pytest.approx(1.05)
        assert batcher.stats().batches["deadline"] == 1
        await batcher.close()

    virtual_time.run(main(), start=0.0)
