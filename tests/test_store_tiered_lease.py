"""One process makes a value while the others wait for it; and what they do when it dies, stalls, or L2 does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from loop_steps import settled
from shared_store import Shared
from sparecall.store import Route
from tiers import SCOPE, Factory, tiered
from virtual_time import clock, run

if TYPE_CHECKING:
    from sparecall.store import TieredCache


async def ask(cache: TieredCache, factory: Any, **options: Any) -> Any:
    return await cache.get_or_set("key", factory, scope=SCOPE, **({"lease": True} | options))


@pytest.mark.parametrize(
    ("lease", "runs", "deaf", "callers"),
    [
        (True, 1, False, 10_000),
        (None, 4, False, 10_000),
        (20.0, 1, True, 400),
        (False, 4, True, 400),
        (0.0, 4, False, 400),
    ],
)
def test_10_000_callers_in_4_processes(lease: Any, runs: int, deaf: bool, callers: int) -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=3)
        caches = [tiered(shared.connect()) for _ in range(4)]
        for connection in shared.connections:
            connection.deaf = deaf
        answers = await asyncio.gather(
            *[ask(caches[number % 4], factory, lease=lease) for number in range(callers)], return_exceptions=True
        )
        assert factory.calls == runs
        assert len(set(answers)) == runs
        assert set(answers) <= {"value 1", "value 2", "value 3", "value 4"}
        await asyncio.sleep(1)
        assert shared.leases == {}
        for cache in caches:
            await cache.close()

    run(scenario())


def test_who_waits_hears_of_the_value_at_once() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=10)
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            first = asyncio.ensure_future(ask(one, factory))
            await asyncio.sleep(0.1)
            second = asyncio.ensure_future(ask(other, factory))
            await first
            made = clock()
            assert await second == "value 1"
            assert clock() - made < 0.02
            assert (factory.calls, other.stats().waited) == (1, 1)
            assert len(shared.connections[1].calls) < 110, "it looks four times a second at most"

    run(scenario())


def test_the_lease_of_a_process_that_died_ends_by_itself() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=1)
        dead = shared.connect()
        await dead.acquire(f"{len(SCOPE)}:{SCOPE}/key", seconds=8)
        async with tiered(shared.connect()) as cache:
            before = clock()
            assert await ask(cache, factory, lease=8.0) == "value 1"
            assert 8 < clock() - before < 10

    run(scenario())


def test_nobody_waits_for_ever_where_the_lease_goes_round() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=1)
        other = shared.connect()

        async def hog() -> None:
            while True:
                await other.acquire(f"{len(SCOPE)}:{SCOPE}/key", seconds=5)
                await asyncio.sleep(0.0001)

        task = asyncio.ensure_future(hog())
        async with tiered(shared.connect()) as cache:
            before = clock()
            assert await ask(cache, factory, lease=5.0) == "value 1"
            assert clock() - before < 12
        task.cancel()

    run(scenario())


def test_a_factory_that_fails_or_is_not_kept_lets_the_next_one_try() -> None:
    async def scenario() -> None:
        shared = Shared()
        failing, working = Factory(seconds=1, error=ValueError("down")), Factory(seconds=1)
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            first = asyncio.ensure_future(ask(one, failing, lease=60.0))
            await asyncio.sleep(0.5)
            before = clock()
            assert await ask(other, working, lease=60.0) == "value 1"
            assert clock() - before < 3
            with pytest.raises(ValueError, match="down"):
                await first

    run(scenario())


def test_a_cancelled_leader_gives_its_lease_back() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=5)
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            first = asyncio.ensure_future(ask(one, factory, lease=60.0))
            await asyncio.sleep(1)
            second = asyncio.ensure_future(ask(other, factory, lease=60.0))
            await asyncio.sleep(1)
            first.cancel()
            before = clock()
            assert await second == "value 2"
            assert clock() - before < 6

    run(scenario())


def test_without_l2_everybody_goes_on() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=1)
        connection = shared.connect()
        connection.broken = OSError("down")
        async with tiered(connection) as cache:
            before = clock()
            assert await ask(cache, factory) == "value 1"
            assert clock() - before < 1.1

    run(scenario())


def test_an_early_refresh_is_one_process_s() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        route = Route(ttl=100, eager=0.5)
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            for cache in (one, other):
                await ask(cache, factory, route=route)
                await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            factory.seconds = 5
            assert [await ask(cache, factory, route=route) for cache in (one, other)] == ["value 1"] * 2
            await asyncio.sleep(1)
            assert factory.calls == 2
            await asyncio.sleep(5)
            for cache in (one, other):
                assert await ask(cache, factory, route=route) == "value 2"
            await settled()
            assert factory.calls == 2

    run(scenario())
