"""Calls of the official SDKs while they are in flight, on every wire: merged, joined late, broken, timed out, and left."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gateway.site import Script, scripted, until
from sdks import ASYNC, CALLS, DIRECT, GATEWAY, KINDS, STREAMS, THROUGH, WHOLE, alike, plain, ways_to
from simulated import INSTANT
from sparecall import simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sdks import Call, Told, Way

pytestmark = pytest.mark.anyio

MERGED = [kind for kind in KINDS if kind != "count_tokens"]
# Its answers repeat the request, so that only requests of the same bytes are merged: never one for a stream and one for the whole.
SAME_BYTES = "responses"
LIVE = [kind for kind in KINDS if CALLS[kind].stream]


class Gate:
    """Holds a simulated provider back, before its first token or after it, until it is let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, _seconds: float) -> None:
        await self.open.wait()

    def provider(self, *, begun: bool) -> simulate.Provider:
        """A provider before this gate; `begun`: streams have said something when they wait."""
        latency = simulate.Latency(first_token=0 if begun else 1, per_token=1, jitter=0)
        return simulate.Provider(latency=latency, clock=lambda: 0.0, wall_clock=lambda: 1_750_000_000.0, sleep=self)


@asynccontextmanager
async def gated(
    *, begun: bool, names: tuple[str, ...] = (DIRECT, *THROUGH)
) -> AsyncIterator[tuple[Gate, simulate.Provider, dict[str, Way]]]:
    gate = Gate()
    provider = gate.provider(begun=begun)
    async with simulate.serve(provider) as url, ways_to(url, names=names) as ways:
        try:
            yield gate, provider, ways
        finally:
            gate.open.set()


def scoped(kind: str) -> Call:
    """A call with a memory of its own."""
    return CALLS[kind].headed(x_sparecall_scope=kind.replace(" ", "-"))


async def together(way: Way, gate: Gate, *calls: Call) -> list[Told]:
    """What these calls are told when they all wait for the provider, one having come after the other."""
    gate.open.clear()
    asked = []
    for number, call in enumerate(calls, 1):
        asked.append(asyncio.ensure_future(way.tell(call)))
        await until(lambda number=number: way.waiting() == number)  # type: ignore[misc]
    gate.open.set()
    return await asyncio.gather(*asked)


async def test_calls_that_wait_together_are_one_call_and_told_what_the_provider_says() -> None:
    async with gated(begun=False) as (gate, provider, ways):
        direct = ways.pop(DIRECT)
        for kind in MERGED:
            expected = (await direct.tell(scoped(kind))).seen
            for way in ways.values():
                made = provider.calls.total()
                found = await together(way, gate, *[scoped(kind)] * 3)
                assert [one.seen for one in found] == [expected] * 3, kind
                assert sorted(one.hit for one in found) == ["coalesced", "coalesced", "miss absent"]
                assert provider.calls.total() == made + 1


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if SAME_BYTES not in kind])
async def test_who_waits_for_a_call_of_the_other_form_is_told_the_same(kind: str) -> None:
    whole, stream = WHOLE[kind], STREAMS[f"{kind} stream"]
    async with gated(begun=False) as (gate, provider, ways):
        direct = ways.pop(DIRECT)
        answer, events = await direct.tell(whole), await direct.tell(stream)
        replays = {}
        for name, way in ways.items():
            made = provider.calls.total()
            leader, follower = await together(way, gate, stream, whole)
            assert (leader.seen, said(follower.items)) == (events.seen, said(answer.items))
            own = {"x_sparecall_scope": "other"}
            leader, follower = await together(way, gate, whole.headed(**own), stream.headed(**own))
            assert leader.seen == answer.seen
            assert follower.error is None
            assert ending(follower) == ending(events)
            assert follower.hit == "coalesced"
            assert provider.calls.total() == made + 2
            replays[name] = follower.items
        alike(replays, GATEWAY)


def said(items: list[Any]) -> list[Any]:
    """The same without what OpenAI states of a whole answer alone: that a message has no annotations."""
    items = copy.deepcopy(items)
    for choice in (choice for item in items for choice in item.get("choices", ())):
        choice["message"]["annotations"] = choice["message"]["annotations"] or None
    return items


def ending(told: Told) -> Any:
    """What the end of a stream says: the kind of its last event, and the Response, stop reason or usage in it."""
    return [item for item in told.items if "delta" not in item.get("type", "") or item.get("usage")][-2:]


async def test_a_leader_that_leaves_before_the_first_byte_fails_nobody() -> None:
    async with gated(begun=False, names=(DIRECT, GATEWAY, ASYNC)) as (gate, provider, ways):
        direct = ways.pop(DIRECT)
        for kind in MERGED:
            expected = (await direct.tell(scoped(kind))).seen
            for way in ways.values():
                gate.open.clear()
                made = provider.calls.total()
                leader = asyncio.ensure_future(way.tell(scoped(kind)))
                await until(lambda way=way: way.waiting() == 1)  # type: ignore[misc]
                follower = asyncio.ensure_future(way.tell(scoped(kind)))
                await until(lambda way=way: way.waiting() == 2)  # type: ignore[misc]
                leader.cancel()
                await until(lambda way=way: way.waiting() == 1)  # type: ignore[misc]
                gate.open.set()
                assert (await follower).seen == expected
                assert provider.calls.total() == made + 1


class Reading:
    """One who reads a stream, a step at a time."""

    def __init__(self, way: Way, raw: Any, stream: Any) -> None:
        self.hit = raw.headers["x-sparecall-cache"]
        self.items: list[Any] = []
        self._way = way
        self._stream = stream

    @classmethod
    async def begun(cls, way: Way, call: Call) -> Reading:
        raw = await way.started(call)
        one = cls(way, raw, await way.parsed(raw))
        one.items.append(await way.next_of(one._stream))
        return one

    async def rest(self) -> list[Any]:
        while (item := await self._way.next_of(self._stream)) is not None:
            self.items.append(item)
        return self.items

    async def broken(self) -> str:
        """Reads to the error that ends the stream: its kind and its words."""
        try:
            await self.rest()
        except Exception as error:  # noqa: BLE001 - the caller compares it
            return f"{type(error).__name__}: {error}"
        return "a whole stream"

    async def leave(self) -> None:
        await self._way.run(self._stream.close)


async def test_a_stream_is_joined_late_and_outlives_its_leader() -> None:
    async with gated(begun=True) as (gate, provider, ways):
        direct = ways.pop(DIRECT)
        for kind in LIVE:
            expected = (await direct.tell(scoped(kind))).items
            whole = (await direct.tell(scoped(kind).whole())).items
            for way in ways.values():
                gate.open.clear()
                made = provider.calls.total()
                leader = await Reading.begun(way, scoped(kind))
                late = await Reading.begun(way, scoped(kind))
                at_once = asyncio.ensure_future(way.tell(scoped(kind).whole()))
                readers = 2 + (SAME_BYTES not in kind)
                await until(lambda way=way, readers=readers: way.reading() == readers)  # type: ignore[misc]
                await leader.leave()
                await until(lambda way=way, readers=readers: way.reading() == readers - 1)  # type: ignore[misc]
                calls = made + 1 + (SAME_BYTES in kind)
                await until(lambda calls=calls: provider.calls.total() == calls)  # type: ignore[misc]
                gate.open.set()
                assert await late.rest() == expected, kind
                assert said((await at_once).items) == said(whole), kind
                assert (leader.hit, late.hit) == ("miss", "coalesced")
                assert (await way.tell(scoped(kind))).hit == "exact"
                assert provider.calls.total() == calls


@pytest.mark.parametrize("fault", ["bad_length", "no_done", "error_in_200"])
async def test_a_stream_that_breaks_does_so_for_all_its_readers(fault: str) -> None:
    async with gated(begun=True) as (gate, provider, ways):
        direct = ways.pop(DIRECT)
        for kind in LIVE:
            call = scoped(kind).headed(x_simulate_fault=fault)
            expected = await direct.tell(call)
            heard = {}
            for name, way in ways.items():
                gate.open.clear()
                made = provider.calls.total()
                readers = [await Reading.begun(way, call) for _ in range(3)]
                gate.open.set()
                broken = await asyncio.gather(*(one.broken() for one in readers))
                assert [one.items for one in readers] == [expected.items] * 3
                assert len(set(broken)) == 1
                assert [one.hit for one in readers] == ["miss", "coalesced", "coalesced"]
                assert provider.calls.total() == made + 1
                heard[name] = broken[0]
                again = await way.tell(scoped(kind))
                assert (again.error, again.hit) == (None, "miss absent"), kind
            alike(plain(heard), GATEWAY, kind)
            if fault == "error_in_200" and expected.error is not None:
                assert plain(heard[GATEWAY]) == plain(f"{expected.error['error'].__name__}: {expected.error['text']}")
            else:
                assert ("upstream" in heard[GATEWAY].lower()) is (fault != "error_in_200")


async def test_who_wants_the_whole_of_a_stream_that_breaks_is_told_in_the_wire_s_form() -> None:
    async with gated(begun=True, names=THROUGH) as (gate, _, ways):
        for kind in ("chat stream", "messages stream"):
            call = scoped(kind).headed(x_simulate_fault="bad_length")
            found = {}
            for name, way in ways.items():
                gate.open.clear()
                leader = await Reading.begun(way, call)
                at_once = asyncio.ensure_future(way.tell(call.whole()))
                await until(lambda way=way: way.reading() == 2)  # type: ignore[misc]
                gate.open.set()
                await leader.broken()
                found[name] = (await at_once).seen
            alike(found, GATEWAY, kind)
            error = found[GATEWAY][1]
            assert error is not None
            assert (error["error"].__name__, error["status_code"]) == ("InternalServerError", 502)


async def test_who_leaves_in_the_middle_of_a_stream_gives_the_call_up() -> None:
    async with gated(begun=True) as (gate, provider, ways):
        gate.open.clear()
        for kind in LIVE:
            for way in ways.values():
                raw = await way.started(scoped(kind))
                stream = await way.parsed(raw)
                assert await way.next_of(stream) is not None
                assert provider.in_flight == 1
                await way.run(stream.close)
                await until(lambda: provider.in_flight == 0)
                assert way.reading() == 0


async def silence(http: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def test_who_is_cancelled_before_the_first_byte_gives_the_call_up() -> None:
    async with (
        scripted(script := Script(silence)) as url,
        ways_to(url, names=(DIRECT, GATEWAY, ASYNC)) as ways,
    ):
        asked = [asyncio.ensure_future(way.tell(scoped(kind))) for way in ways.values() for kind in KINDS]
        await until(lambda: script.open == len(asked))
        for task in asked:
            task.cancel()
        for task in asked:
            with suppress(asyncio.CancelledError):
                await task
        await until(lambda: script.open == 0)
        assert all(way.waiting() == 0 for way in ways.values())


async def test_the_client_s_own_timeout_before_the_first_byte_is_raised_as_it_is_directly() -> None:
    async with scripted(script := Script(silence)) as url, ways_to(url, client={"timeout": 0.2}) as ways:
        asked = [way.tell(scoped(kind)) for kind in KINDS for way in ways.values()]
        found = await asyncio.gather(*asked)
        for place, kind in enumerate(KINDS):
            told = dict(zip(ways, found[place * len(ways) :], strict=False))
            alike({way: one.seen for way, one in told.items()}, DIRECT, kind)
            error = told[DIRECT].error
            assert error is not None
            assert error["error"].__name__ == "APITimeoutError"
        await until(lambda: script.open == 0)


async def test_the_client_s_own_timeout_in_the_middle_of_a_stream_is_raised_as_it_is_directly() -> None:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with simulate.serve(provider) as url, ways_to(url, client={"timeout": 0.6}) as ways:
        asked = [way.tell(scoped(kind).headed(x_simulate_fault="stall")) for kind in LIVE for way in ways.values()]
        found = await asyncio.gather(*asked)
        for place, kind in enumerate(LIVE):
            told = dict(zip(ways, found[place * len(ways) :], strict=False))
            alike({way: (one.items, kind_of(one)) for way, one in told.items()}, DIRECT, kind)
            assert told[DIRECT].items
            assert "Timeout" in kind_of(told[DIRECT])
        await until(lambda: provider.in_flight == 0)
        again = {name: await way.tell(scoped(kind)) for kind in LIVE for name, way in ways.items()}
        assert all(one.error is None for one in again.values()), "the clients are as good as before"


def kind_of(told: Told) -> str:
    return "" if told.error is None else told.error["error"].__name__
