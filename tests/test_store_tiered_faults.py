"""An L2 that hangs, fails and comes back; callers cancelled at every point: nobody waits longer than the bound, nothing leaks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from loop_steps import no_complaints, settled, turns
from shared_store import Shared
from sparecall.errors import FrameError, StoreUnavailable
from sparecall.store import Route
from sparecall.store.guard import Guard
from stores import CancelledAt
from tiers import SCOPE, Factory, tiered
from virtual_time import clock, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sparecall.store import TieredCache

TIMEOUT, PAUSE = 0.25, 1.0


@pytest.mark.parametrize("fault", ["hangs", "broken"])
def test_an_outage_costs_three_timeouts_and_one_line(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "sparecall.store")

    async def scenario() -> None:
        shared, factory = Shared(), Factory()
        connection = shared.connect()
        async with tiered(connection, l2_timeout=TIMEOUT, l2_pause=PAUSE) as cache:
            await cache.set("there", 1, scope=SCOPE)
            setattr(connection, fault, True if fault == "hangs" else OSError("down"))
            waits = []
            for number in range(200):
                before = clock()
                assert await cache.get_or_set(str(number), factory, scope=SCOPE, lease=5.0) == f"value {number + 1}"
                assert await cache.get(str(number), scope=SCOPE) == f"value {number + 1}"
                waits.append(clock() - before)
                await asyncio.sleep(0.05)
            # A miss makes at most four calls; then it is one probe each time the pause is over.
            assert max(waits) <= 4 * TIMEOUT
            assert sum(waits) <= (3 + 200 * 0.05 / PAUSE) * TIMEOUT + 0.1
            assert sorted(waits)[-20] <= 0.0001
            calls = len(connection.calls)
            assert len([record for record in caplog.records if "left alone" in record.message]) == 1

            # It answers again: one call at a time tries, and all use it again.
            setattr(connection, fault, False if fault == "hangs" else None)
            await asyncio.sleep(2 * PAUSE)
            connection.delay = 0.1
            before = clock()
            herd = [asyncio.ensure_future(cache.get(str(number), scope="other")) for number in range(100)]
            await asyncio.gather(*herd)
            assert len(connection.calls) == calls + 1
            assert clock() - before == pytest.approx(0.1, abs=0.01)
            assert await cache.get_or_set("there", factory, scope=SCOPE) == 1
            await asyncio.gather(*[cache.get(str(number), scope="other") for number in range(100)])
            assert len(connection.calls) >= calls + 100
            assert len(caplog.records) == 2

    run(scenario())


def test_what_no_frame_can_hold_is_the_caller_s_error_and_stays_in_l1() -> None:
    async def scenario() -> None:
        connection = Shared().connect()
        connection.fails = lambda method: FrameError("value.x is a set") if method == "set_many" else False
        async with no_complaints(), tiered(connection) as cache:
            with pytest.raises(FrameError, match=r"value\.x is a set"):
                await cache.set("key", {1}, scope=SCOPE)
            assert await cache.get_or_set("other", lambda: {1}, scope=SCOPE) == {1}
            await asyncio.sleep(1)
            assert cache.get_nowait("other", scope=SCOPE) == {1}
            assert (cache.stats().unpackable, cache.stats().l2_faults) == (2, 0)

    run(scenario())


def test_a_probe_that_is_cancelled_leaves_the_way_free() -> None:
    async def scenario() -> None:
        guard = Guard("L2", timeout=1.0, pause=1.0, clock=clock, random=lambda: 0.0)

        async def fails() -> None:
            raise OSError("down")

        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await guard.call(fails)
        assert guard.resting
        await asyncio.sleep(1.1)
        probe = asyncio.ensure_future(guard.call(asyncio.Event().wait))
        await asyncio.sleep(0.1)
        assert guard.resting
        probe.cancel()
        await asyncio.wait({probe})
        assert not guard.resting
        assert await guard.call(asyncio.sleep, 0.1, "answer") == "answer"

    run(scenario())


def calmly(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it; nothing may reach the loop's exception handler."""

    async def watched() -> Any:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        outcome = await work
        assert complaints == []
        return outcome

    return run(watched())


CALLS: dict[str, Callable[[TieredCache, Factory], Coroutine[Any, Any, Any]]] = {
    "get": lambda cache, _: cache.get("there", scope=SCOPE),
    "get_many": lambda cache, _: cache.get_many(["there", "key"], scope=SCOPE),
    "get_or_set": lambda cache, factory: cache.get_or_set("key", factory, scope=SCOPE, tags=["t"]),
    "get_or_set, lease": lambda cache, factory: cache.get_or_set("key", factory, scope=SCOPE, lease=True, tags=["t"]),
    "get_or_set, late tags": lambda cache, factory: cache.get_or_set("key", factory, scope=SCOPE, tags=lambda _: ["t"]),
    "get_or_set, timeout": lambda cache, factory: cache.get_or_set("key", factory, scope=SCOPE, route=Route(hard_timeout=0)),
    "set": lambda cache, _: cache.set("key", "set", scope=SCOPE, tags=["t"]),
    "delete": lambda cache, _: cache.delete("there", scope=SCOPE),
    "invalidate": lambda cache, _: cache.invalidate(tag="t", prefix="x", key="there", scope=SCOPE),
}  # fmt: skip


async def world() -> tuple[Shared, TieredCache, TieredCache, Factory]:
    shared, factory = Shared(), Factory(seconds=0)
    cache, other = (tiered(shared.connect(delay=0, message_delay=0)) for _ in range(2))
    await other.set("there", "value there", scope=SCOPE, tags=["t"])
    return shared, cache, other, factory


async def check(name: str, shared: Shared, cache: TieredCache, other: TieredCache, factory: Factory) -> None:
    """Whatever was cancelled: all is right afterwards, and nothing of it is left."""
    await asyncio.sleep(1)
    if name in ("delete", "invalidate"):
        assert await other.get("there", scope=SCOPE) is None, "once it has begun, it is done to the end"
    made = await cache.get_or_set("key", factory, scope=SCOPE, lease=True)
    assert made == "set" if name == "set" else made.startswith("value ")
    await asyncio.sleep(1)
    assert await other.get_or_set("key", factory, scope=SCOPE) == made
    assert shared.leases == {}
    for at in (cache, other):
        await at.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("shielded", [False, True], ids=["alone", "beside another caller"])
def test_a_caller_is_cancelled_after_any_number_of_steps(name: str, shielded: bool) -> None:
    async def scenario(steps: int) -> bool:
        shared, cache, other, factory = await world()
        task = asyncio.ensure_future(CALLS[name](cache, factory))
        beside = [asyncio.ensure_future(CALLS[name](cache, factory))] if shielded else []
        await turns(steps)
        ended = task.done()
        task.cancel()
        outcomes = await asyncio.gather(task, *beside, return_exceptions=True)
        assert ended is not isinstance(outcomes[0], asyncio.CancelledError)
        for outcome in outcomes[1:]:
            assert not isinstance(outcome, asyncio.CancelledError), "only who was cancelled sees it"
        await check(name, shared, cache, other, factory)
        return ended

    steps = 1
    while not calmly(scenario(steps)):
        steps += 1
    assert steps > 3


@pytest.mark.parametrize("name", list(CALLS))
def test_a_cancellation_is_thrown_in_at_every_suspension(name: str) -> None:
    async def scenario(k: int) -> bool:
        shared, cache, other, factory = await world()
        driver = CancelledAt(CALLS[name](cache, factory), k)

        async def whole() -> Any:
            return await driver

        (outcome,) = await asyncio.gather(asyncio.ensure_future(whole()), return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) is driver.reached, "a cancellation is not swallowed"
        await check(name, shared, cache, other, factory)
        return driver.reached

    k = 0
    while calmly(scenario(k)):
        k += 1
    assert k > 0


def test_a_closed_cache_leaves_nothing_behind_and_tells_who_waits() -> None:
    async def scenario() -> None:
        shared, factory = Shared(), Factory(seconds=50)
        async with no_complaints():
            cache = tiered(shared.connect())
            waits = [asyncio.ensure_future(cache.get_or_set("key", factory, scope=SCOPE, lease=True)) for _ in range(3)]
            await asyncio.sleep(1)
            await cache.close()
            await cache.close()
            outcomes = await asyncio.gather(*waits, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
            await settled()
            assert factory.cancelled == 1
            assert shared.connections[0].listeners == []
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await turns(1)

    run(scenario())


def test_whoever_looks_together_is_told_of_the_close() -> None:
    async def scenario() -> None:
        connection = Shared().connect(delay=0.1)
        async with no_complaints():
            cache = tiered(connection)
            looks = [asyncio.ensure_future(cache.get("key", scope=SCOPE)) for _ in range(3)]
            await asyncio.sleep(0.05)
            await cache.close()
            outcomes = await asyncio.gather(*looks, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [type(None), StoreUnavailable, StoreUnavailable]

    run(scenario())


@pytest.mark.parametrize("who", [0, 1, 2])
def test_whoever_looks_together_can_leave_alone(who: int) -> None:
    async def scenario() -> None:
        shared = Shared()
        connection = shared.connect(delay=0.1)
        async with tiered(connection) as cache, tiered(shared.connect()) as other:
            await other.set("key", "value", scope=SCOPE)
            await asyncio.sleep(0.1)
            looks = [asyncio.ensure_future(cache.get("key", scope=SCOPE)) for _ in range(3)]
            await asyncio.sleep(0.05)
            looks[who].cancel()
            outcomes = await asyncio.gather(*looks, return_exceptions=True)
            assert isinstance(outcomes.pop(who), asyncio.CancelledError)
            assert outcomes == ["value", "value"]
            assert connection.calls.count("get_many") <= 2

    run(scenario())
