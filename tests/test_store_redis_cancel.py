"""Cancelled at each suspension, on cold and on warm connections: nobody reads another's reply, and no connection is leaked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from fault_proxy import FaultProxy
from sparecall.errors import StoreUnavailable
from sparecall.store import RedisStore
from stores import Heard, cancelled_at_each, entry, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis_servers import RedisServer

pytestmark = pytest.mark.anyio
KEYS = [f"key {n}" for n in range(4)]


async def check(store: RedisStore) -> None:
    """Each key has its own value, for several readers at once, whatever connection they are lent."""
    found = await asyncio.gather(*[store.get_many([key], scope="team") for key in KEYS])
    assert [each.value if each else None for (each,) in found] == KEYS
    first, *others = await asyncio.gather(*[store.versions(["same", "same"]) for _ in range(3)])
    assert first[0] == first[1]
    assert all(other == first for other in others)


def calls(store: RedisStore) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    return {
        "get": lambda: store.get_many(KEYS, scope="team"),
        "set": lambda: store.set_many([entry(KEYS[0], KEYS[0])]),
        "delete": lambda: store.delete_many(["unused"], scope="team"),
        "versions": lambda: store.versions(["unused"]),
        "bump": lambda: store.bump(["unused"]),
        "acquire": lambda: store.acquire("unused", seconds=0.001),
        "append": lambda: store.append("unused", b"record", keep=5),
        "read": lambda: store.read("unused", after="", limit=5),
    }


@pytest.mark.parametrize("name", ["get", "set", "delete", "versions", "bump", "acquire", "append", "read"])
@pytest.mark.parametrize("warm", [True, False])
async def test_every_call_may_be_cancelled_anywhere(redis_server: RedisServer, name: str, *, warm: bool) -> None:
    async with FaultProxy(redis_server.port) as proxy:
        # Replies come a while after the commands, so that cancellations find them outstanding.
        proxy.delay = 0.0005
        async with RedisStore(
            f"redis://127.0.0.1:{proxy.port}/0", timeout=5.0, connect_timeout=5.0, connections=4
        ) as store:
            await store.set_many([entry(key, key) for key in KEYS])
            pool = store._link.connections
            most = 0

            async def after() -> None:
                nonlocal most
                assert len(pool) == pool.idle
                await check(store)
                most = max(most, len(pool))
                assert len(pool) == pool.idle <= 4
                assert store.state == "closed"
                if not warm:
                    pool.forget()

            if not warm:
                pool.forget()
            suspended = await cancelled_at_each(calls(store)[name], after)
            assert suspended >= (1 if warm else 3), "the test must have cancelled something"
            assert most <= 4
        # What was dropped is gone from the server, too.
        await until(lambda: len(redis_server.admin.client_list()) == 1)


async def test_a_reply_that_comes_after_the_timeout_is_read_by_nobody(redis_server: RedisServer) -> None:
    async with (
        FaultProxy(redis_server.port) as proxy,
        RedisStore(f"redis://127.0.0.1:{proxy.port}/0", timeout=0.1, connect_timeout=5.0) as store,
    ):
        await store.set_many([entry(key, key) for key in KEYS])
        for _ in range(3):
            proxy.delay = 0.3
            with pytest.raises(StoreUnavailable, match="TimeoutError"):
                await store.get_many([KEYS[0]], scope="team")
            proxy.delay = 0.0
            await check(store)


async def test_a_reply_cut_anywhere_is_no_value(redis_server: RedisServer) -> None:
    async with (
        FaultProxy(redis_server.port) as proxy,
        RedisStore(f"redis://127.0.0.1:{proxy.port}/0", timeout=5.0, connect_timeout=5.0) as store,
    ):
        await store.set_many([entry(key, key) for key in KEYS])
        for cut in range(0, 200, 7):
            proxy.cut_after = cut
            with pytest.raises(StoreUnavailable):
                await store.get_many(KEYS, scope="team")
            proxy.cut_after = None
            await check(store)


async def test_who_waits_for_a_connection_may_leave_too(redis_server: RedisServer) -> None:
    async with RedisStore(redis_server.url(), timeout=5.0, connect_timeout=5.0, connections=1) as store:
        await store.set_many([entry(key, key) for key in KEYS])
        for turns in range(6):
            tasks = [asyncio.create_task(store.get_many([key], scope="team")) for key in KEYS]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for key, outcome in zip(KEYS, outcomes, strict=True):
                if not isinstance(outcome, asyncio.CancelledError):
                    assert not isinstance(outcome, BaseException)
                    assert outcome[0] is not None
                    assert outcome[0].value == key
            await check(store)
            assert len(store._link.connections) == 1


async def test_closing_in_the_middle_of_calls_ends_them(redis_server: RedisServer) -> None:
    async with FaultProxy(redis_server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0", timeout=5.0, connect_timeout=5.0)
        store.listen(Heard())
        await store.set_many([entry(key, key) for key in KEYS])
        proxy.delay = 0.05
        tasks = [asyncio.create_task(store.get_many([key], scope="team")) for key in KEYS]
        await asyncio.sleep(0.01)
        await store.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes), outcomes
        assert len(store._link.connections) == 0
    await until(lambda: len(redis_server.admin.client_list()) == 1)
