"""A batcher behind a rate limit: a batch closes when it may go, waits gather, and no leave is lost, whatever happens while it is asked for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall.batch import Batcher
from sparecall.errors import BatchError, InvalidArgument, LimitExceeded, Overloaded
from sparecall.flow import RateLimit
from virtual_time import clock, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Server:
    """Records when it is asked for what."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[tuple[float, int]] = []
        self.seconds = seconds
        self.running = 0

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.asked.append((clock(), len(items)))
        self.running += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        return items


class Door:
    """Leave as a test gives it: open or shut, and counted."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked: list[int] = []
        self.inside = self.most = self.settled = self.refunds = 0
        self.error: Exception | None = None

    @asynccontextmanager
    async def __call__(self, tokens: int) -> AsyncIterator[Door]:
        self.asked.append(tokens)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            yield self
        finally:
            self.inside -= 1

    def settle(self, tokens: int) -> None:
        self.settled += tokens

    def refund(self) -> None:
        self.refunds += 1


def test_a_batch_closes_when_the_rate_limit_lets_it_go_with_all_that_came_until_then() -> None:
    async def main() -> None:
        limit = RateLimit(requests=60, burst=1 / 60, clock=clock)  # one a second
        server = Server()
        async with Batcher(server, max_concurrent=4, permit=limit.acquire, clock=clock) as batcher:
            futures = []
            for number in range(100):  # ten a second
                futures.append(batcher.submit(number))
                await asyncio.sleep(0.1)
            assert await asyncio.gather(*futures) == list(range(100))
        starts = [at - server.asked[0][0] for at, _ in server.asked]
        assert starts == pytest.approx(range(len(starts)), abs=0.01)
        assert server.asked[0][1] == 1
        assert [count for _, count in server.asked[1:10]] == pytest.approx([10] * 9, abs=1)
        assert limit.waiting == 0

    run(main())


def test_tokens_that_came_while_it_waited_are_settled_and_the_rate_is_kept() -> None:
    async def main() -> None:
        limit = RateLimit(tokens=600, per=60.0, burst=0.1, clock=clock)  # ten a second, sixty at once
        server = Server()
        start = clock()
        async with Batcher(
            server, max_items=100, max_tokens=50, size_of=int, permit=limit.acquire, clock=clock
        ) as batcher:
            results = await asyncio.gather(*batcher.submit_many([5] * 200))
        assert results == [5] * 200
        assert sum(count for _, count in server.asked) * 5 == 1000
        # A thousand tokens less those that may go at once, at ten a second.
        assert clock() - start == pytest.approx((1000 - 60) / 10, abs=6)

    run(main())


def test_leave_is_asked_for_once_at_a_time_and_held_while_the_batch_runs() -> None:
    async def main() -> None:
        door, server = Door(), Server(1.0)
        async with Batcher(server, max_items=5, max_concurrent=3, permit=door, clock=clock) as batcher:
            futures = batcher.submit_many(range(30))
            await asyncio.sleep(1)
            assert (door.asked, server.asked) == ([5], [])
            door.open.set()
            await asyncio.sleep(0.5)
            assert (server.running, door.inside) == (3, 3)
            await asyncio.gather(*futures)
        await asyncio.sleep(0)
        assert (len(server.asked), door.most, door.inside, door.settled, door.refunds) == (6, 3, 0, 30, 0)

    run(main())


def test_a_semaphore_is_one_and_several_batchers_may_share_it() -> None:
    async def main() -> None:
        semaphore = asyncio.Semaphore(2)
        servers = [Server(1.0) for _ in range(5)]
        batchers = [Batcher(server, permit=lambda _: semaphore, clock=clock) for server in servers]
        futures = [batcher.submit(number) for batcher in batchers for number in range(3)]
        await asyncio.sleep(0.5)
        assert sum(server.running for server in servers) == 2
        await asyncio.gather(*futures)
        for batcher in batchers:
            await batcher.close()
        await asyncio.sleep(0)
        assert semaphore._value == 2

    run(main())


def test_who_is_refused_leave_is_told_why_and_the_next_batch_asks_again() -> None:
    async def main() -> None:
        door = Door()
        door.open.set()
        door.error = LimitExceeded("too much", retry_after=3.0)
        async with Batcher(Server(), max_items=2, permit=door, clock=clock) as batcher:
            outcomes = await asyncio.gather(*batcher.submit_many(range(3)), return_exceptions=True)
            assert outcomes == [door.error] * 3
            assert batcher.stats().refused == 3
            door.error = None
            assert await batcher.submit(7) == 7
        limit = RateLimit(requests=1, clock=clock)
        async with Batcher(Server(), permit=lambda tokens: limit.acquire(tokens, max_wait=1.0), clock=clock) as batcher:
            assert await batcher.submit(1) == 1
            with pytest.raises(LimitExceeded):
                await batcher.submit(2)

    run(main())


def test_when_all_leave_nobody_asks_any_more() -> None:
    async def main() -> None:
        limit = RateLimit(requests=1, per=100.0, clock=clock)
        async with Batcher(Server(), permit=limit.acquire, clock=clock) as batcher:
            await batcher.submit(0)
            futures = batcher.submit_many(range(3))
            await asyncio.sleep(1)
            assert limit.waiting == 1
            for future in futures:
                future.cancel()
            await asyncio.sleep(1)
            assert limit.waiting == 0
            start = clock()
            assert await batcher.submit(5) == 5  # nothing was spent on those
            assert clock() - start == pytest.approx(98, abs=1)

    run(main())


def test_a_deadline_passes_while_leave_is_asked_for() -> None:
    async def main() -> None:
        door = Door()
        async with Batcher(Server(), permit=door, clock=clock) as batcher:
            soon, later = batcher.submit(1, deadline=clock() + 1), batcher.submit(2)
            with pytest.raises(Overloaded) as refused:
                await soon
            assert refused.value.code == "deadline"
            door.open.set()
            assert await later == 2

    run(main())


def test_closing_waits_for_leave_and_gives_up_after_its_grace() -> None:
    async def main() -> None:
        door = Door()
        batcher = Batcher(Server(), permit=door, clock=clock)
        waiting = batcher.submit(1)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(5)
        assert not closing.done()
        door.open.set()
        await closing
        assert waiting.result() == 1
        assert batcher.stats().batches == {"flush": 1}

        door = Door()
        batcher = Batcher(Server(), permit=door, clock=clock)
        waiting = batcher.submit(1)
        await batcher.close(grace=2.0)
        assert isinstance(waiting.exception(), BatchError)
        await asyncio.sleep(1)
        assert (door.inside, door.refunds) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_leave_that_cannot_be_given_back_is_told_and_costs_no_caller() -> None:
    async def main() -> list[str]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))

        @asynccontextmanager
        async def permit(_tokens: int) -> AsyncIterator[None]:
            yield
            raise ValueError("stuck")

        async with Batcher(Server(), max_items=2, permit=permit, clock=clock) as batcher:
            assert await asyncio.gather(*batcher.submit_many(range(4))) == [0, 1, 2, 3]
        return told

    assert run(main()) == ["stuck", "stuck"]


def test_a_batch_that_nobody_waits_for_any_more_leaves_at_once() -> None:
    async def main() -> None:
        door, server = Door(), Server(100.0)
        door.open.set()
        async with Batcher(server, permit=door, timeout=5.0, clock=clock) as batcher:
            future = batcher.submit(1)
            await asyncio.sleep(1)
            assert (door.inside, server.running) == (1, 1)
            future.cancel()
            await asyncio.sleep(0.1)
            assert (door.inside, server.running) == (0, 0)
            with pytest.raises(BatchError, match="did not return in"):
                await batcher.submit(2)
            await asyncio.sleep(0.1)
            assert (door.inside, server.running) == (0, 0)

    run(main())


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="permit"):
        Batcher(Server(), permit=RateLimit(requests=1))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        Batcher(Server(), permit=asyncio.Lock, max_concurrent=0)  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.one_of(st.none(), st.floats(0, 3))), max_size=30),
    st.integers(1, 3),
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=8),
    st.floats(0, 0.5),
)
def test_no_item_and_no_leave_is_ever_lost(
    items: list[tuple[float, float | None]], permits: int, answers: list[tuple[float, bool]], seconds: float
) -> None:
    """Items come and leave at any time; leave takes any time and may be refused."""

    async def one(batcher: Batcher[int, int], number: int, when: float, leaves: float | None) -> str:
        await asyncio.sleep(when)
        future = batcher.submit(number)
        await asyncio.wait({future}, timeout=leaves)
        if not future.done():
            future.cancel()
            return "left"
        if isinstance(future.exception(), LimitExceeded):
            return "refused"
        assert future.result() == number
        return "served"

    async def main() -> None:
        inside = entered = 0

        @asynccontextmanager
        async def permit(tokens: int) -> AsyncIterator[None]:
            nonlocal inside, entered
            assert 1 <= tokens <= 4
            wait, granted = answers[entered % len(answers)]
            entered += 1
            await asyncio.sleep(wait)
            if not granted:
                raise LimitExceeded("no", retry_after=1.0)
            inside += 1
            assert inside <= permits
            try:
                yield
            finally:
                inside -= 1

        server = Server(seconds)
        batcher = Batcher(server, max_items=4, max_concurrent=permits, permit=permit, clock=clock)
        await asyncio.gather(*(one(batcher, number, *item) for number, item in enumerate(items)))
        await batcher.close()
        await asyncio.sleep(10)
        assert (inside, server.running) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
