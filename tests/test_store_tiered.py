"""`TieredCache`: what stands where and for how long; one run for all who ask; the rules of routes; bad input."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from shared_store import Shared
from sparecall.cache import Cache
from sparecall.errors import InvalidArgument, UnknownName
from sparecall.store import ROUTES, Entry, Making, Route, TieredCache
from sparecall.store.protocol import version_names
from tiers import SCOPE, Factory, tiered
from virtual_time import run, wall_clock

BAD_SECONDS = [-1.0, math.nan, "1", True]


def test_a_value_is_made_once_and_stands_in_both_tiers() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            assert await one.get_or_set("key", factory, scope=SCOPE, tags=["a"]) == "value 1"
            assert await one.get_or_set("key", factory, scope=SCOPE) == "value 1"
            await asyncio.sleep(1)
            assert other.get_nowait("key", scope=SCOPE) is None
            assert await other.get("key", scope=SCOPE) == "value 1"
            assert other.get_nowait("key", scope=SCOPE) == "value 1"
            assert await other.get_or_set("key", factory, scope=SCOPE) == "value 1"
            assert factory.calls == 1
            stats = other.stats()
            assert (stats.made, stats.l2_hits, stats.l1.hits) == (0, 1, 2)

    run(scenario())


def test_scopes_and_keys_never_meet() -> None:
    async def scenario() -> None:
        shared = Shared()
        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as other:
            places = [("a", "b/c"), ("a/b", "c"), ("a/b/c", "key"), ("a", "key"), ("a ", "key")]
            for scope, key in places:
                await cache.set(key, (scope, key), scope=scope)
            for at in (cache, other):
                for scope, key in places:
                    assert await at.get(key, scope=scope) == (scope, key)
                assert await at.get("c", scope="a") is None

    run(scenario())


def test_a_lower_tier_s_hit_lives_for_the_life_it_has_left() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        async with tiered(shared.connect()) as one, tiered(shared.connect()) as other:
            await one.get_or_set("key", factory, scope=SCOPE, ttl=100)
            await asyncio.sleep(90)
            assert await other.get("key", scope=SCOPE) == "value 1"
            await asyncio.sleep(9)
            assert other.get_nowait("key", scope=SCOPE) == "value 1"
            await asyncio.sleep(2)
            assert other.get_nowait("key", scope=SCOPE) is None
            assert await other.get("key", scope=SCOPE) is None
            assert await other.get_or_set("key", factory, scope=SCOPE, ttl=100) == "value 2"

    run(scenario())


def test_many_keys_are_one_call_of_l2() -> None:
    async def scenario() -> None:
        shared = Shared()
        connection = shared.connect()
        async with tiered(shared.connect()) as one, tiered(connection) as other:
            for number in range(5):
                await one.set(str(number), number, scope=SCOPE)
            await other.get("0", scope=SCOPE)
            connection.calls.clear()
            assert await other.get_many(["4", "0", "none", "1"], scope=SCOPE) == [4, 0, None, 1]
            assert connection.calls == ["get_many"]
            assert await other.get_many(["4", "1"], scope=SCOPE) == [4, 1]
            assert connection.calls == ["get_many"]

    run(scenario())


def test_10_000_callers_are_one_run_and_a_cancelled_leader_fails_nobody() -> None:
    async def scenario() -> None:
        factory = Factory(seconds=1)
        async with tiered() as cache:
            tasks = [asyncio.ensure_future(cache.get_or_set("key", factory, scope=SCOPE)) for _ in range(10_000)]
            await asyncio.sleep(0.5)
            for task in tasks[:10]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert set(outcomes[10:]) == {"value 1"}
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[:10])
            assert (factory.calls, factory.cancelled) == (1, 0)

    run(scenario())


def test_the_factory_is_cancelled_once_nobody_waits() -> None:
    async def scenario() -> None:
        factory = Factory(seconds=1)
        async with tiered(Shared().connect()) as cache:
            tasks = [asyncio.ensure_future(cache.get_or_set("key", factory, scope=SCOPE)) for _ in range(3)]
            await asyncio.sleep(0.5)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.sleep(0)
            assert factory.cancelled == 1
            assert await cache.get_or_set("key", factory, scope=SCOPE) == "value 2"

    run(scenario())


def test_factories_may_be_plain_and_may_take_a_making() -> None:
    async def scenario() -> None:
        async with tiered() as cache:
            default = "by default"
            assert await cache.get_or_set("1", lambda: 1, scope=SCOPE) == 1
            assert await cache.get_or_set("2", lambda word=default: word, scope=SCOPE) == default
            assert await cache.get_or_set("3", lambda making: type(making), scope=SCOPE) is Making

    run(scenario())


def test_life_and_tags_may_come_from_the_value() -> None:
    async def scenario() -> None:
        shared = Shared()

        def factory(making: Making) -> dict[str, Any]:
            making.tags.append("late")
            making.dollars = 0.25
            making.validator = "etag"
            return {"ttl": 5, "doc": 7}

        async with tiered(shared.connect()) as cache:
            await cache.get_or_set(
                "key", factory, scope=SCOPE, ttl=lambda value: value["ttl"], tags=lambda value: [f"doc:{value['doc']}"]
            )
            await asyncio.sleep(1)
            entry = shared.entries[SCOPE, "key"]
            assert entry.tags == ("late", "doc:7")
            assert (entry.expires - entry.created, entry.dollars, entry.validator) == (5, 0.25, "etag")
            assert len(entry.marks) == len(version_names(SCOPE, entry.tags))
            await cache.invalidate(tag="doc:7")
            assert await cache.get("key", scope=SCOPE) is None

    run(scenario())


def test_what_shall_not_be_kept_is_not() -> None:
    async def scenario() -> None:
        shared = Shared()

        def once(making: Making) -> str:
            making.store = False
            return "once"

        async with tiered(shared.connect()) as cache:
            assert await cache.get_or_set("1", once, scope=SCOPE) == "once"
            assert await cache.get_or_set("2", lambda: 2, scope=SCOPE, ttl=0) == 2
            assert await cache.set("3", 3, scope=SCOPE, ttl=0) is False
            await asyncio.sleep(1)
            assert len(shared.entries) == 0
            assert await cache.get_many(["1", "2", "3"], scope=SCOPE) == [None] * 3
            assert cache.stats().unkept == 2

    run(scenario())


def test_none_is_kept_only_if_asked_and_for_its_own_time() -> None:
    async def scenario() -> None:
        calls = 0

        def nothing() -> None:
            nonlocal calls
            calls += 1

        async with tiered(Shared().connect()) as cache:
            for _ in range(2):
                await cache.get_or_set("key", nothing, scope=SCOPE)
            assert calls == 2
            route = Route(ttl=1000, negative_ttl=5)
            for _ in range(2):
                await cache.get_or_set("key", nothing, scope=SCOPE, route=route)
            assert calls == 3
            assert await cache.get("key", scope=SCOPE, default="a miss") is None
            await asyncio.sleep(6)
            await cache.get_or_set("key", nothing, scope=SCOPE, route=route)
            assert calls == 4

    run(scenario())


def test_a_factory_that_asks_for_its_own_key_ends() -> None:
    async def scenario() -> None:
        async with tiered(Shared().connect()) as cache:

            async def other() -> str:
                return "other of " + await cache.get_or_set("key", lambda: "inner", scope=SCOPE)

            async def outer() -> str:
                return "outer of " + await cache.get_or_set("other", other, scope=SCOPE)

            async with asyncio.timeout(5):
                assert await cache.get_or_set("key", outer, scope=SCOPE) == "outer of other of inner"
            await asyncio.sleep(1)
            assert (await cache.get("key", scope=SCOPE)).endswith("inner")

    run(scenario())


def test_jitter_shortens_lives_by_chance() -> None:
    async def scenario() -> None:
        shared = Shared()
        async with tiered(shared.connect(), random=lambda: 0.5) as cache:
            await cache.set("key", 1, scope=SCOPE, route=Route(ttl=100, jitter=0.2))
            assert shared.entries[SCOPE, "key"].expires - wall_clock() == pytest.approx(90, abs=0.1)

    run(scenario())


def test_routes_by_use_case() -> None:
    assert {name: route.ttl for name, route in ROUTES.items()} == {
        "default": 3600, "faq": 86400, "realtime": 300, "user": 3600, "knowledge": 604800, "code": 7200,
    }  # fmt: skip
    assert (ROUTES["realtime"].max_ttl, ROUTES["user"].max_ttl, ROUTES["code"].max_ttl) == (900, 21600, 14400)

    async def scenario() -> None:
        shared = Shared()
        routes = {**ROUTES, "mine": Route(ttl=7)}
        async with tiered(shared.connect(), routes=routes, route="mine") as cache:
            await cache.get_or_set("1", lambda: 1, scope=SCOPE)
            await cache.get_or_set("2", lambda: 2, scope=SCOPE, route="knowledge", ttl=9)
            await asyncio.sleep(0.1)
            lives = [shared.entries[SCOPE, key].expires - shared.entries[SCOPE, key].created for key in "12"]
            assert lives == [7, pytest.approx(9 * 0.95)]
            with pytest.raises(UnknownName, match="no route 'nine'; there are code, default"):
                await cache.get_or_set("3", lambda: 3, scope=SCOPE, route="nine")

    run(scenario())


def test_copies_are_each_caller_s_own() -> None:
    async def scenario() -> None:
        shared = Shared()
        codec = (lambda value: repr(value).encode(), lambda data: eval(data))  # noqa: S307 - of the line before
        async with tiered(shared.connect(), copy=True, codec=codec) as cache, tiered(shared.connect()) as plain:
            made: list[int] = [1]
            got = await asyncio.gather(*[cache.get_or_set("key", lambda: made, scope=SCOPE) for _ in range(3)])
            got += [await cache.get("key", scope=SCOPE), cache.get_nowait("key", scope=SCOPE), made]
            got += await cache.get_many(["key"], scope=SCOPE)
            assert len({id(value) for value in got}) == len(got)
            for value in got:
                value.append(2)
            assert await cache.get_or_set("key", lambda: [0], scope=SCOPE) == [1]
            await plain.set("shared", made, scope=SCOPE)
            assert await plain.get("shared", scope=SCOPE) is made

    run(scenario())


@pytest.mark.parametrize("seconds", BAD_SECONDS)
def test_bad_seconds_are_refused_and_nothing_changes(seconds: Any) -> None:
    async def scenario() -> None:
        factory = Factory()
        async with tiered() as cache:
            await cache.set("there", 1, scope=SCOPE)
            for bad in (
                cache.get_or_set("key", factory, scope=SCOPE, ttl=seconds),
                cache.set("there", 2, scope=SCOPE, ttl=seconds),
                cache.get_or_set("key", lambda: 1, scope=SCOPE, ttl=lambda _: seconds),
            ):
                with pytest.raises(InvalidArgument, match="seconds"):
                    await bad
            assert await cache.get_many(["key", "there"], scope=SCOPE) == [None, 1]
            assert factory.calls == 0

    run(scenario())
    for name in ("ttl", "stale", "throttle", "soft_timeout", "hard_timeout", "negative_ttl", "lease", "beta"):
        with pytest.raises(InvalidArgument, match=name):
            Route(**{name: seconds})


def test_bad_keys_scopes_and_tags_are_refused() -> None:
    async def scenario() -> None:
        factory = Factory()
        async with tiered(Shared().connect()) as cache:
            for scope in ("", None, 7, "x" * 1025, "/".join("a" * 33)):
                with pytest.raises(InvalidArgument, match="scope"):
                    await cache.get_or_set("key", factory, scope=scope)  # type: ignore[arg-type]
                with pytest.raises(InvalidArgument, match="scope"):
                    await cache.invalidate(prefix=scope) if scope is not None else await cache.get("key", scope="")  # type: ignore[arg-type]
            for key in ("", 7, b"key", None, ("a",)):
                with pytest.raises(InvalidArgument, match="key"):
                    await cache.get(key, scope=SCOPE)  # type: ignore[arg-type]
            for key in ([], {}):
                with pytest.raises(TypeError, match="unhashable"):
                    await cache.get(key, scope=SCOPE)  # type: ignore[arg-type]
            for tags in ([""], [7], ["x" * 257], [str(number) for number in range(65)]):
                with pytest.raises(InvalidArgument, match="tag"):
                    await cache.get_or_set("key", factory, scope=SCOPE, tags=tags)  # type: ignore[arg-type]
                with pytest.raises(InvalidArgument, match="tag"):
                    await cache.invalidate(tags=tags)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="write tags="):
                await cache.get_or_set("key", factory, scope=SCOPE, tags="tag")
            with pytest.raises(InvalidArgument, match="told nothing"):
                await cache.invalidate()
            with pytest.raises(InvalidArgument, match="without scope"):
                await cache.invalidate(key="key")
            with pytest.raises(UnknownName, match="no rule for the event 'none'"):
                await cache.on("none")
            assert factory.calls == 0

    run(scenario())


@pytest.mark.parametrize(
    "options", [{"l2_timeout": 0}, {"l2_timeout": math.inf}, {"l2_pause": -1}, {"max_staleness": math.nan}]
)
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        TieredCache(**options)  # type: ignore[arg-type]


def test_entries_of_others_and_junk_in_l2_are_misses() -> None:
    async def scenario() -> None:
        shared = Shared()
        async with tiered(shared.connect()) as cache:
            await cache.set("other", "other's", scope=SCOPE)
            entry = shared.entries[SCOPE, "other"]
            cut = Entry(scope=SCOPE, key="cut", value=1, created=0, expires=math.inf, dead=math.inf, marks=(1,))
            shared.entries |= {(SCOPE, "key"): entry, ("b", "other"): entry, (SCOPE, "cut"): cut}
            for scope, key in ((SCOPE, "key"), ("b", "other"), (SCOPE, "cut")):
                assert await cache.get(key, scope=scope) is None
            assert cache.stats().foreign == 3

    run(scenario())


@pytest.mark.anyio
async def test_both_loops_run_it() -> None:
    async with TieredCache(l1=Cache(10)) as cache:
        assert (
            await asyncio.gather(*[cache.get_or_set("key", Factory(), scope=SCOPE) for _ in range(3)])
            == ["value 1"] * 3
        )
        assert repr(cache) == "<TieredCache of 1 entries before nothing>"
    await cache.close()
