"""`TieredCache` and factories that fail, run late or hang: stale values, time limits, early and conditional refreshes."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from loop_steps import no_complaints
from shared_store import Shared
from sparecall.errors import FactoryTimeout, InvalidArgument
from sparecall.store import Route
from tiers import SCOPE, Factory, tiered
from virtual_time import clock, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparecall.store import Making, TieredCache

STALE = Route(ttl=10, stale=100, throttle=5)


async def get(cache: TieredCache, factory: Any, route: Route, **options: Any) -> Any:
    return await cache.get_or_set("key", factory, scope=SCOPE, route=route, **options)


@pytest.mark.parametrize("shares", [False, True])
def test_a_stale_value_stands_in_for_a_factory_that_fails_and_the_next_try_waits(shares: bool) -> None:
    async def scenario() -> None:
        factory = Factory()
        async with tiered(Shared().connect() if shares else None) as cache:
            assert await get(cache, factory, STALE) == "value 1"
            await asyncio.sleep(11)
            assert await cache.get("key", scope=SCOPE) is None
            factory.error = ValueError("down")
            for _ in range(3):
                assert await get(cache, factory, STALE) == "value 1"
            assert factory.calls == 2
            await asyncio.sleep(5.1)
            assert await get(cache, factory, STALE) == "value 1"
            assert factory.calls == 3
            factory.error = None
            await asyncio.sleep(5.1)
            assert await get(cache, factory, STALE) == "value 4"
            stats = cache.stats()
            assert (stats.failed_factories, stats.stale) == (2, 2)

    run(scenario())


def test_nothing_is_served_beyond_its_death() -> None:
    async def scenario() -> None:
        factory = Factory()
        route = Route(ttl=10, stale=20, throttle=1000)
        async with tiered(Shared().connect()) as cache:
            await get(cache, factory, route)
            factory.error = ValueError("down")
            await asyncio.sleep(15)
            assert await get(cache, factory, route) == "value 1"
            await asyncio.sleep(14.9)
            assert await get(cache, factory, route) == "value 1"
            await asyncio.sleep(0.2)
            with pytest.raises(ValueError, match="down"):
                await get(cache, factory, route)

    run(scenario())


def test_the_error_reaches_all_who_wait_and_is_not_kept() -> None:
    async def scenario() -> None:
        factory = Factory(seconds=1, error=ValueError("down"))
        async with no_complaints(), tiered() as cache:
            outcomes = await asyncio.gather(*[get(cache, factory, STALE) for _ in range(5)], return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == ["down"] * 5
            assert factory.calls == 1
            factory.error = None
            assert await get(cache, factory, STALE) == "value 2"

    run(scenario())


def test_a_soft_timeout_serves_stale_and_the_factory_finishes_in_the_background() -> None:
    async def scenario() -> None:
        factory = Factory()
        route = Route(ttl=10, stale=100, throttle=1, soft_timeout=0.5)
        async with tiered(Shared().connect()) as cache:
            await get(cache, factory, route)
            await asyncio.sleep(11)
            factory.seconds = 4
            before = clock()
            assert await asyncio.gather(*[get(cache, factory, route) for _ in range(100)]) == ["value 1"] * 100
            assert clock() - before == pytest.approx(0.5, abs=0.02)
            await asyncio.sleep(1.1)  # no longer throttled: asked again, which joins the factory that still runs
            assert await get(cache, factory, route) == "value 1"
            await asyncio.sleep(3)
            assert (factory.calls, factory.ended) == (2, 2)
            assert cache.get_nowait("key", scope=SCOPE) == "value 2"
            # Without a stale value there is nothing to serve: the soft timeout says nothing.
            assert await cache.get_or_set("new", factory, scope=SCOPE, route=route) == "value 3"

    run(scenario())


@pytest.mark.parametrize("background", [True, False])
def test_a_hard_timeout_raises_and_the_factory_may_finish_in_the_background(background: bool) -> None:
    async def scenario() -> None:
        factory = Factory(seconds=3)
        route = Route(hard_timeout=1, background=background)
        async with no_complaints(), tiered(Shared().connect()) as cache:
            before = clock()
            outcomes = await asyncio.gather(*[get(cache, factory, route) for _ in range(50)], return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {FactoryTimeout}
            assert "not made in 1 s" in str(outcomes[0])
            assert clock() - before == pytest.approx(1, abs=0.02)
            with pytest.raises(FactoryTimeout):
                await get(cache, factory, route)
            await asyncio.sleep(5)
            if background:
                assert (factory.calls, factory.ended) == (1, 1)
                assert cache.get_nowait("key", scope=SCOPE) == "value 1"
            else:
                assert (factory.calls, factory.cancelled) == (2, 2)

    run(scenario())


def test_the_stale_value_is_served_at_the_hard_timeout_too() -> None:
    async def scenario() -> None:
        factory = Factory()
        route = Route(ttl=10, stale=100, hard_timeout=2, background=False)
        async with tiered() as cache:
            await get(cache, factory, route)
            await asyncio.sleep(11)
            factory.seconds = 5
            assert await get(cache, factory, route) == "value 1"
            assert await get(cache, factory, route) == "value 1"
            await asyncio.sleep(10)
            assert (factory.calls, factory.ended) == (2, 2)

    run(scenario())


def test_a_stale_value_that_dies_meanwhile_is_not_served() -> None:
    async def scenario() -> None:
        factory = Factory()
        route = Route(ttl=10, stale=3, soft_timeout=2, hard_timeout=4)
        async with tiered() as cache:
            await get(cache, factory, route)
            await asyncio.sleep(12)
            factory.seconds = 50
            before = clock()
            with pytest.raises(FactoryTimeout):
                await get(cache, factory, route)
            assert clock() - before == pytest.approx(4, abs=0.02)

    run(scenario())


def test_a_factory_that_hangs_in_the_background_is_given_up() -> None:
    async def scenario() -> None:
        factory = Factory(seconds=math.inf)
        route = Route(hard_timeout=1, background_timeout=20)
        async with no_complaints(), tiered() as cache:
            with pytest.raises(FactoryTimeout):
                await get(cache, factory, route)
            await asyncio.sleep(25)
            assert factory.cancelled == 1
            factory.seconds = 0
            assert await get(cache, factory, route) == "value 2"
            factory.seconds = math.inf

            waits = asyncio.ensure_future(cache.get_or_set("other", factory, scope=SCOPE))
            await asyncio.sleep(10_000)
            assert not waits.done(), "without a limit, whoever waits decides how long"
            waits.cancel()

    run(scenario())


def test_a_timeout_of_the_factory_s_own_is_an_error_like_any_other() -> None:
    async def scenario() -> None:
        async with tiered() as cache:
            with pytest.raises(TimeoutError, match="its own") as caught:
                await get(cache, Factory(error=TimeoutError("its own")), Route(hard_timeout=5))
            assert not isinstance(caught.value, FactoryTimeout)

    run(scenario())


def test_an_eager_refresh_runs_behind_a_value_that_is_served() -> None:
    async def scenario() -> None:
        factory = Factory()
        route = Route(ttl=100, eager=0.8, throttle=5)
        async with tiered(Shared().connect()) as cache:
            await get(cache, factory, route)
            await asyncio.sleep(79)
            assert await get(cache, factory, route) == "value 1"
            assert factory.calls == 1
            await asyncio.sleep(2)
            factory.seconds = 3
            before = clock()
            assert [await get(cache, factory, route) for _ in range(10)] == ["value 1"] * 10
            assert clock() == before
            await asyncio.sleep(3.1)
            assert await get(cache, factory, route) == "value 2"
            assert (factory.calls, cache.stats().early) == (2, 1)
            # One that fails is tried again only after a while, and the value goes on to its end.
            factory.seconds, factory.error = 0, ValueError("down")
            await asyncio.sleep(82)
            for _ in range(20):
                assert await get(cache, factory, route) == "value 2"
                await asyncio.sleep(0.5)
            assert factory.calls == 4

    run(scenario())


def test_an_eager_refresh_takes_what_another_process_has_made() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        route = Route(ttl=100, eager=0.5)
        deaf = shared.connect()
        async with tiered(shared.connect()) as one, tiered(deaf) as other:
            await get(one, factory, route)
            await asyncio.sleep(1)
            await get(other, factory, route)
            deaf.deaf = True
            await asyncio.sleep(60)
            await get(one, factory, route)
            await asyncio.sleep(1)
            assert await get(other, factory, route) == "value 1"
            await asyncio.sleep(1)
            assert await get(other, factory, route) == "value 2"
            assert factory.calls == 2

    run(scenario())


def test_xfetch_refreshes_the_earlier_the_longer_a_value_took() -> None:
    """P(refresh | time left) = exp(-left / (beta * cost)), by the paper."""

    async def refreshed(cost: float, left: float, beta: float) -> float:
        draws: Iterator[float] = iter(())
        async with tiered(random=lambda: next(draws, 0.5)) as cache:
            factory = Factory()
            for number in range(1000):
                await cache.set(str(number), 0, scope=SCOPE, ttl=100, seconds=cost)
            await asyncio.sleep(100 - left)
            draws = iter([(number + 0.5) / 1000 for number in range(1000)])
            for number in range(1000):
                await cache.get_or_set(str(number), factory, scope=SCOPE, route=Route(beta=beta))
            return cache.stats().early / 1000

    async def scenario() -> None:
        for cost, left, beta in ((2, 2, 1), (2, 4, 1), (10, 5, 1), (2, 4, 2), (2, 4, 0)):
            expected = math.exp(-left / (beta * cost)) if beta else 0
            assert await refreshed(cost, left, beta) == pytest.approx(expected, abs=0.002)

    run(scenario())


def test_a_refresh_may_say_that_nothing_was_modified_and_lives_grow() -> None:
    async def scenario() -> None:
        shared = Shared()
        route = Route(ttl=10, max_ttl=30, stale=100)
        seen: list[Any] = []
        version = 1

        async def conditional(making: Making) -> Any:
            seen.append((making.stale, making.validator))
            if making.validator == f"etag {version}":
                return making.not_modified()
            making.validator = f"etag {version}"
            return {"version": version}

        async with tiered(shared.connect()) as cache:
            lives = []
            first = await get(cache, conditional, route)
            for _ in range(4):
                await asyncio.sleep(0.1)
                entry = shared.entries[SCOPE, "key"]
                lives.append(entry.expires - entry.created)
                await asyncio.sleep(lives[-1])
                assert await get(cache, conditional, route) is first
            assert lives == [10, 20, 30, 30]
            version = 2
            await asyncio.sleep(31)
            assert await get(cache, conditional, route) == {"version": 2}
            await asyncio.sleep(0.1)
            assert shared.entries[SCOPE, "key"].expires - shared.entries[SCOPE, "key"].created == 10
            assert seen[:2] == [(None, None), ({"version": 1}, "etag 1")]

            with pytest.raises(InvalidArgument, match="no value stands by"):
                await cache.get_or_set("new", lambda making: making.not_modified(), scope=SCOPE)

    run(scenario())


def test_what_was_not_modified_keeps_the_tags_it_was_given() -> None:
    async def scenario() -> None:
        shared = Shared()
        route = Route(ttl=10, stale=100)

        async def conditional(making: Making) -> Any:
            if making.previous is not None:
                return making.not_modified()
            making.tags.append("doc:7")
            return "value"

        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as other:
            for _ in range(2):
                assert await get(cache, conditional, route, tags=["t"]) == "value"
                await asyncio.sleep(11)
            assert await get(cache, conditional, route, tags=["t"]) == "value"
            await asyncio.sleep(1)
            assert shared.entries[SCOPE, "key"].tags == ("t", "doc:7")
            assert await other.get("key", scope=SCOPE) == "value"
            await other.invalidate(tag="doc:7")
            await asyncio.sleep(1)
            assert await cache.get("key", scope=SCOPE) is None

    run(scenario())


def test_an_origin_below_l2_is_read_and_may_fail() -> None:
    class Archive:
        def __init__(self) -> None:
            self.entries: dict[tuple[str, str], Any] = {}
            self.broken = False

        async def fetch(self, key: str, *, scope: str) -> Any:
            if self.broken:
                raise OSError("down")
            return self.entries.get((scope, key))

    async def scenario() -> None:
        shared, archive, factory = Shared(), Archive(), Factory()
        async with tiered(shared.connect()) as cache:
            await cache.set("key", "archived", scope=SCOPE, ttl=50)
            archive.entries[SCOPE, "key"] = archive.entries[SCOPE, "wrong"] = shared.entries[SCOPE, "key"]
        async with tiered(l3=archive) as cache:
            assert await get(cache, factory, STALE) == "archived"
            assert await cache.get_or_set("wrong", factory, scope=SCOPE) == "value 1"
            archive.broken = True
            assert await cache.get_or_set("other", factory, scope=SCOPE) == "value 2"
            assert (cache.stats().l3_hits, cache.stats().l3_faults) == (1, 1)

    run(scenario())


@pytest.mark.parametrize("what", [{"tag": "t"}, {"key": "key", "scope": SCOPE}])
def test_a_stale_value_that_is_invalidated_meanwhile_is_not_served(what: dict[str, Any]) -> None:
    async def scenario(factory: Factory, error: Exception | None) -> None:
        route = Route(ttl=10, stale=100, soft_timeout=2, hard_timeout=4)
        async with tiered(Shared().connect()) as cache:
            await get(cache, factory, route, tags=["t"])
            await asyncio.sleep(12)
            factory.seconds, factory.error = (1.0, error) if error else (50.0, None)
            asked = asyncio.ensure_future(get(cache, factory, route, tags=["t"]))
            await asyncio.sleep(0.5)
            await cache.invalidate(**what)  # type: ignore[arg-type]
            with pytest.raises(type(error) if error else FactoryTimeout):
                await asked
            assert cache.entry("key", scope=SCOPE) is None

    run(scenario(Factory(), ValueError("down")))
    run(scenario(Factory(), None))
