"""Several processes over one L2: nothing that was made before an invalidation is returned after it, and late values are refused."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from loop_steps import settled
from shared_store import Shared
from sparecall.errors import StoreUnavailable
from sparecall.store import Effect, Invalidation
from tiers import SCOPE, Factory, tiered
from virtual_time import run

if TYPE_CHECKING:
    from sparecall.store import TieredCache


async def get(cache: TieredCache, factory: Any, **options: Any) -> Any:
    return await cache.get_or_set("key", factory, **({"scope": SCOPE, "tags": ["t"]} | options))


@pytest.mark.parametrize(
    "what",
    [
        {"tag": "t"},
        {"tags": ["x", "t"]},
        {"prefix": "team"},
        {"prefix": "team/"},
        {"prefix": SCOPE},
        {"key": "key", "scope": SCOPE},
        {},
    ],
)
@pytest.mark.parametrize("shares", [True, False])
def test_an_invalidation_reaches_every_tier_of_every_process(what: dict[str, Any], shares: bool) -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        caches = [tiered(shared.connect() if shares else None) for _ in range(3 if shares else 1)]
        for cache in caches:
            await get(cache, factory)
            await cache.set("kept", 1, scope="teams/user", tags=["tt"])
            await asyncio.sleep(0.1)
        assert factory.calls == 1
        assert await (caches[0].invalidate(**what) if what else caches[0].clear())
        assert caches[0].get_nowait("key", scope=SCOPE) is None
        await asyncio.sleep(0.1)
        for cache in caches:
            assert await cache.get("key", scope=SCOPE) is None
            assert (await cache.get("kept", scope="teams/user") is None) is (not what)
        assert await get(caches[-1], factory) == "value 2"
        await asyncio.sleep(0.1)
        assert [await get(cache, factory) for cache in caches] == ["value 2"] * len(caches)
        for cache in caches:
            await cache.close()

    run(scenario())


@pytest.mark.parametrize("where", ["here", "elsewhere", "elsewhere, unheard"])
@pytest.mark.parametrize("what", [{"tag": "t"}, {"prefix": "team"}, {"key": "key", "scope": SCOPE}])
def test_a_value_begun_before_an_invalidation_is_not_kept(where: str, what: dict[str, Any]) -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=2)
        makes, other, third = (tiered(shared.connect()) for _ in range(3))
        shared.connections[0].deaf = where.endswith("unheard")
        early = asyncio.ensure_future(get(makes, factory))
        await asyncio.sleep(1)
        await (makes if where == "here" else other).invalidate(**what)
        await asyncio.sleep(0.1)
        late = asyncio.ensure_future(get(makes, factory))
        assert await early == "value 1", "who asked before may have what was made before"
        if where != "elsewhere, unheard":
            assert makes.get_nowait("key", scope=SCOPE) is None
            assert await late == "value 2", "who asked after may not"
        elif "key" not in what:  # a key has no version: what nobody heard of in time stays
            await settled()
            assert await third.get("key", scope=SCOPE) is None, "its marks say that it is older"
        await asyncio.sleep(3)
        if where != "elsewhere, unheard":
            assert await third.get("key", scope=SCOPE) == "value 2"
        for cache in (makes, other, third):
            await cache.close()

    run(scenario())


def test_a_message_between_l2_s_reply_and_the_fill_of_l1_is_minded() -> None:
    async def scenario(what: dict[str, Any], many: bool) -> None:
        shared, factory = Shared(), Factory()
        reads, other = tiered(shared.connect()), tiered(shared.connect())
        await get(other, factory)
        await asyncio.sleep(0.1)
        shared.connections[0].reply_delay = 1
        reading = asyncio.ensure_future(reads.get_many(["key"], scope=SCOPE) if many else reads.get("key", scope=SCOPE))
        await asyncio.sleep(0.5)
        await other.invalidate(**what)
        await asyncio.sleep(0.1)
        after = asyncio.ensure_future(reads.get("key", scope=SCOPE))
        await reading
        assert reads.get_nowait("key", scope=SCOPE) is None
        assert await after is None
        for cache in (reads, other):
            await cache.close()

    for what in ({"tag": "t"}, {"key": "key", "scope": SCOPE}):
        for many in (False, True):
            run(scenario(what, many))


def test_a_set_overtakes_what_is_being_made_or_read() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=2)
        connection = shared.connect()
        async with tiered(connection) as cache, tiered(shared.connect()) as other:
            making = asyncio.ensure_future(get(cache, factory))
            await asyncio.sleep(1)
            assert await cache.set("key", "set", scope=SCOPE)
            await making
            await asyncio.sleep(1)
            assert [await at.get("key", scope=SCOPE) for at in (cache, other)] == ["set", "set"]
            for reads in (lambda: cache.get_many(["read"], scope=SCOPE), lambda: cache.get("read", scope=SCOPE)):
                await other.set("read", "old", scope=SCOPE)
                await asyncio.sleep(1)
                connection.reply_delay = 1
                reading: Any = asyncio.ensure_future(reads())
                await asyncio.sleep(0.5)
                await cache.set("read", "new", scope=SCOPE)
                await reading
                assert cache.get_nowait("read", scope=SCOPE) == "new"

    run(scenario())


def test_sets_of_one_key_reach_l2_in_their_order() -> None:
    async def scenario() -> None:
        shared = Shared()
        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as other:
            # The first has tags whose versions are asked for, the others have none.
            tasks = [asyncio.ensure_future(cache.set("key", 0, scope=SCOPE, tags=["new"]))]
            tasks += [asyncio.ensure_future(cache.set("key", number, scope=SCOPE)) for number in range(1, 5)]
            await asyncio.gather(*tasks)
            assert await other.get("key", scope=SCOPE) == 4
            tasks = [
                asyncio.ensure_future(cache.set("key", 5, scope=SCOPE)),
                asyncio.ensure_future(cache.delete("key", scope=SCOPE)),
            ]
            await asyncio.gather(*tasks)
            await asyncio.sleep(0.1)
            assert (SCOPE, "key") not in shared.entries
            assert await other.get("key", scope=SCOPE) is None

    run(scenario())


def test_tags_named_after_the_value_was_made() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=2)
        caches = one, other, third = [tiered(shared.connect()) for _ in range(3)]
        # Never invalidated: it may stand in L2. Invalidated while it was made: in no tier.
        assert await get(one, factory, tags=lambda _: ["late"]) == "value 1"
        await asyncio.sleep(0.1)
        assert await third.get("key", scope=SCOPE) == "value 1"
        await one.clear()
        making = asyncio.ensure_future(get(one, factory, tags=lambda _: ["late"]))
        await asyncio.sleep(1)
        await other.invalidate(tag="late")
        await making
        await asyncio.sleep(1)
        assert [await cache.get("key", scope=SCOPE) for cache in caches] == [None] * 3
        # Invalidated once, and what it was before the making is not known: in L1 only, and known the next time.
        fourth = tiered(shared.connect())
        for number in (3, 4):
            key = f"key {number}"
            await fourth.get_or_set(key, factory, scope=SCOPE, tags=lambda _: ["late"])
            await asyncio.sleep(1)
            assert fourth.get_nowait(key, scope=SCOPE) == f"value {number}"
            assert await third.get(key, scope=SCOPE) == (None if number == 3 else "value 4")
        assert fourth.stats().unmarked == 1
        for cache in (*caches, fourth):
            await cache.close()

    run(scenario())


def test_lost_messages_flush_l1_and_what_is_on_its_way() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        deaf = shared.connect()
        async with tiered(deaf) as cache, tiered(shared.connect()) as other:
            await get(cache, factory)
            await asyncio.sleep(0.1)
            deaf.deaf = True
            await other.invalidate(tag="t")
            await asyncio.sleep(0.1)
            assert cache.get_nowait("key", scope=SCOPE) == "value 1", "nobody told it"
            deaf.listeners[0].lost()
            assert cache.get_nowait("key", scope=SCOPE) is None
            assert await cache.get("key", scope=SCOPE) is None
            factory.seconds = 1
            making = asyncio.ensure_future(get(cache, factory))
            await asyncio.sleep(0.5)
            deaf.listeners[0].lost()
            await making
            assert cache.get_nowait("key", scope=SCOPE) is None
            # From before the loss, but marked with what the store said: still right, and L2 has it.
            await asyncio.sleep(0.1)
            assert await cache.get("key", scope=SCOPE) == "value 2"

    run(scenario())


@pytest.mark.parametrize("max_staleness", [20, math.inf])
def test_while_nothing_is_heard_copies_have_a_last_hour(max_staleness: float) -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        connection = shared.connect()
        async with tiered(connection, max_staleness=max_staleness) as cache, tiered(shared.connect()) as other:
            await get(cache, factory, ttl=1000)
            await asyncio.sleep(1)
            connection.deaf, connection.coherent = True, False
            connection.listeners[0].lost()
            await other.invalidate(tag="t")
            await asyncio.sleep(19)
            assert cache.get_nowait("key", scope=SCOPE) == "value 1"
            await asyncio.sleep(1.1)
            assert cache.get_nowait("key", scope=SCOPE) == (None if max_staleness == 20 else "value 1")
            if max_staleness == 20:
                # What is filled now lives as long; what is read is checked against versions asked for anew.
                assert await cache.get("key", scope=SCOPE) is None
                await get(cache, factory, ttl=1000)
                await asyncio.sleep(19)
                assert cache.get_nowait("key", scope=SCOPE) == "value 2"
                await asyncio.sleep(1.1)
                assert cache.get_nowait("key", scope=SCOPE) is None
            connection.deaf, connection.coherent = False, True
            connection.listeners[0].lost()
            assert await get(cache, factory) == "value 2"
            await asyncio.sleep(100)
            assert cache.get_nowait("key", scope=SCOPE) == "value 2"

    run(scenario())


def test_a_version_that_moved_untold_is_found_out_when_it_is_read() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        deaf = shared.connect()
        async with tiered(deaf) as cache, tiered(shared.connect()) as other:
            await get(cache, factory)
            await asyncio.sleep(0.1)
            deaf.deaf = True
            await other.invalidate(tag="t")
            await other.set("newer", 1, scope=SCOPE, tags=["t"])
            assert cache.get_nowait("key", scope=SCOPE) == "value 1"
            assert await cache.get("newer", scope=SCOPE) == 1  # its mark is greater than what was known: asked anew
            assert cache.get_nowait("key", scope=SCOPE) is None

    run(scenario())


def test_a_flushed_store_serves_nothing_old() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=1)
        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as other:
            making = asyncio.ensure_future(get(cache, factory))
            await asyncio.sleep(0.5)
            await other.invalidate(tag="t")
            shared.flush()
            await making
            await asyncio.sleep(0.1)
            assert [await at.get("key", scope=SCOPE) for at in (cache, other)] == [None, None]
            assert await get(cache, factory) == "value 2"
            await asyncio.sleep(0.1)
            assert await other.get("key", scope=SCOPE) == "value 2"

    run(scenario())


def test_an_invalidation_that_did_not_reach_l2_is_replayed() -> None:
    async def scenario(**what: Any) -> None:
        shared, factory = Shared(), Factory()
        connection = shared.connect()
        async with tiered(connection) as cache, tiered(shared.connect()) as other:
            await get(cache, factory)
            await asyncio.sleep(0.1)
            assert await other.get("key", scope=SCOPE) == "value 1"
            connection.fails = lambda method: method in ("bump", "delete_many")
            assert await cache.invalidate(**what) is False
            assert cache.stats().pending == 1
            assert await cache.get("key", scope=SCOPE) is None, "L2 still has it, and must not be believed"
            assert await get(cache, factory) == "value 2"
            assert other.get_nowait("key", scope=SCOPE) == "value 1", "nobody could tell it"
            connection.fails = lambda _method: False
            await asyncio.sleep(5)
            assert cache.stats().pending == 0
            assert other.get_nowait("key", scope=SCOPE) is None
            assert await other.get("key", scope=SCOPE) in (None, "value 2")

    for what in ({"tag": "t"}, {"prefix": "team"}, {"key": "key", "scope": SCOPE}):
        run(scenario(**what))


def test_a_set_that_did_not_reach_l2_is_not_undone_by_it() -> None:
    async def scenario() -> None:
        shared = Shared()
        connection = shared.connect()
        async with tiered(connection, l1=1) as cache, tiered(shared.connect()) as other:
            await cache.set("key", "old", scope=SCOPE)
            await asyncio.sleep(0.1)
            connection.broken = StoreUnavailable("down")
            assert await cache.set("key", "new", scope=SCOPE) is False
            await cache.set("pushes it out of L1", 1, scope=SCOPE)
            connection.fails, connection.broken = (lambda method: method == "delete_many"), None
            assert await cache.get("key", scope=SCOPE) in (None, "new")
            connection.fails = lambda _method: False
            await asyncio.sleep(40)
            assert await other.get("key", scope=SCOPE) is None

    run(scenario())


def test_events_subscribers_and_their_rules() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        events = {"updated": Effect(tags=("doc:{0}", "docs"), prefixes=("team/{who}",)), "other": Effect(tags=("x",))}
        gone: list[Invalidation] = []
        heard: list[Invalidation] = []
        async with tiered(shared.connect(), events=events) as cache, tiered(shared.connect()) as other:
            stop = cache.on_invalidate(gone.append)
            cache.on_invalidate(lambda _gone: 1 / 0)  # type: ignore[arg-type, return-value]
            other.on_invalidate(heard.append)
            await get(cache, factory, tags=["doc:7"])
            assert await cache.on("updated", 7, who="ann")
            await asyncio.sleep(0.1)
            assert cache.get_nowait("key", scope=SCOPE) is None
            assert gone[0] == Invalidation(tags=("doc:7", "docs"), prefixes=("team/ann",))
            assert heard[0] == Invalidation(tags=("doc:7", "docs"), prefixes=("team/ann",), here=False)
            with pytest.raises(IndexError):
                await cache.on("updated", who="ann")
            stop()
            stop()
            count = len(gone)
            await cache.invalidate(tag="x")
            assert len(gone) == count

    run(scenario())


def test_many_sets_of_one_key_are_few_writes_and_the_last_one_stands() -> None:
    async def scenario(last: str) -> None:
        shared = Shared()
        connection = shared.connect(delay=0.1)
        async with tiered(connection) as cache, tiered(shared.connect()) as other:
            await cache.set("key", "old", scope=SCOPE)
            writes = len(connection.calls)
            sets = [asyncio.ensure_future(cache.set("key", number, scope=SCOPE)) for number in range(1000)]
            if last == "delete":
                sets.append(asyncio.ensure_future(cache.delete("key", scope=SCOPE)))
            elif last == "a value that is not kept":
                connection.fails = lambda method: method == "set_many"
            await asyncio.gather(*sets)
            assert len(connection.calls) - writes <= 4
            connection.fails = lambda _method: False
            await asyncio.sleep(5)
            assert await other.get("key", scope=SCOPE) == (999 if last == "set" else None)

    for last in ("set", "delete", "a value that is not kept"):
        run(scenario(last))


def test_who_joins_late_gets_nothing_older_than_his_question() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=2)
        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as other:
            early = asyncio.ensure_future(get(cache, factory, tags=lambda _: ["late"]))
            await asyncio.sleep(1)
            before = asyncio.ensure_future(get(cache, factory, tags=lambda _: ["late"]))
            await asyncio.sleep(0.1)
            await other.invalidate(tag="late")
            await asyncio.sleep(0.1)
            after = asyncio.ensure_future(get(cache, factory, tags=lambda _: ["late"]))
            assert [await early, await after] == ["value 1", "value 2"]
            assert await before in ("value 1", "value 2")

    run(scenario())


def test_while_nothing_is_heard_versions_are_asked_for_each_time() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        connection = shared.connect()
        async with tiered(connection, l1=0) as cache, tiered(shared.connect()) as other:
            await get(other, factory)
            await asyncio.sleep(0.1)
            connection.deaf, connection.coherent = True, False
            connection.listeners[0].lost()
            assert await cache.get("key", scope=SCOPE) == "value 1"
            await other.invalidate(tag="t")
            assert await cache.get("key", scope=SCOPE) is None

    run(scenario())
