"""What every shared store does, on good days: the same tests for Redis and for SQLite."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparecall.errors import FrameError, InvalidArgument, StoreUnavailable
from sparecall.store import RedisStore, SqliteStore
from stores import Heard, cancelled_at_each, entry, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Backing:
    """A server or a file, and the stores that were opened on it, as different processes would."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.opened: list[RedisStore | SqliteStore] = []

    def open(self, **options: Any) -> RedisStore | SqliteStore:
        store: Any = self.make(**{"timeout": 5.0, "interval": 0.02} | options)
        self.opened.append(store)
        return store


@pytest.fixture(params=["redis", "sqlite"])
async def backing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backing]:
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        backing = Backing(lambda **options: RedisStore(server.url(), connect_timeout=5.0, **options))
    else:
        backing = Backing(lambda **options: SqliteStore(tmp_path / "store", **options))
    yield backing
    for store in backing.opened:
        await store.close()


@pytest.fixture
def store(backing: Backing) -> RedisStore | SqliteStore:
    return backing.open()


async def test_entries_come_back_whole_in_order_and_only_in_their_scope(store: Any) -> None:
    one = entry(
        "one",
        {"text": "é", "n": [1, 2.5, None, b"\0"]},
        seconds=1.5,
        dollars=0.01,
        tags=("a", "b"),
        marks=(1, 2),
        validator='"x"',
    )
    two = entry("two", "2", scope="team/user")
    assert await store.get_many(["one"], scope="team") == [None]
    await store.set_many([one, two])
    assert await store.get_many(["two", "one", "none", "one"], scope="team") == [None, one, None, one]
    assert await store.get_many(["two"], scope="team/user") == [two]
    # Where scope ends and key begins makes a difference.
    assert await store.get_many(["/usertwo"], scope="team") == [None]
    await store.set_many([entry("one", "new")])
    (new,) = await store.get_many(["one"], scope="team")
    assert new is not None
    assert new.value == "new"
    await store.delete_many(["one", "never"], scope="team")
    assert await store.get_many(["one"], scope="team") == [None]
    assert store.stats().hits == 4
    assert store.stats().misses == 5
    assert await store.get_many([], scope="team") == []
    await store.set_many([])
    await store.delete_many([], scope="team")


async def test_empty_odd_and_long_keys_are_keys_like_any(store: Any) -> None:
    for key in ("", "\0", "k" * 100_000):
        await store.set_many([entry(key, key, scope="")])
        (found,) = await store.get_many([key], scope="")
        assert found is not None
        assert found.value == key


async def test_a_life_is_kept_to_the_millisecond_and_what_is_dead_is_not_written(store: Any) -> None:
    await store.set_many(
        [entry("short", life=0.05), entry("dead", life=0.0), entry("past", life=-5.0), entry("ever", life=math.inf)]
    )
    found = await store.get_many(["short", "dead", "past", "ever"], scope="team")
    assert [each is not None for each in found[1:]] == [False, False, True]
    await asyncio.sleep(0.06)
    assert await store.get_many(["short"], scope="team") == [None]
    with pytest.raises(InvalidArgument, match="nan"):
        await store.set_many([entry("fine"), entry("nan", life=math.nan)])
    assert await store.get_many(["fine"], scope="team") == [None]


async def test_arrays_and_large_values_come_back_as_they_were(store: Any) -> None:
    vector = np.arange(1536, dtype=np.float32)
    text = "".join(map(str, range(200_000)))
    await store.set_many([entry("vector", {"vector": vector}), entry("large", text)])
    one, other = await store.get_many(["vector", "large"], scope="team")
    assert np.array_equal(one.value["vector"], vector)
    assert other.value == text


async def test_the_reader_s_clock_ends_a_life_too(backing: Backing) -> None:
    now = [time.time()]
    async with backing.open(clock=lambda: now[0]) as store:
        await store.set_many([entry("key", life=60)])
        now[0] += 61
        assert await store.get_many(["key"], scope="team") == [None]


async def test_what_no_frame_holds_is_refused_and_nothing_written(store: Any) -> None:
    for bad in (entry("bad", object()), entry("\ud800")):
        with pytest.raises(FrameError):
            await store.set_many([entry("fine"), bad])
    assert await store.get_many(["\ud800"], scope="team") == [None]
    assert await store.get_many(["fine", "bad"], scope="team") == [None, None]


async def test_versions_stay_until_bumped_and_never_repeat(store: Any, backing: Backing) -> None:
    first = await store.versions(["a", "b"])
    assert first[0] == first[1] > 0
    assert await store.versions(["b", "c"]) == first
    seen = {*first}
    for _ in range(50):
        (bumped,) = await store.bump(["a"])
        assert bumped > max(seen)
        seen.add(bumped)
    assert await store.versions(["a", "b"]) == (bumped, first[1])
    assert len(set(await store.bump(["a", "b"]))) == 1
    assert await store.versions([]) == await store.bump([]) == ()
    # Another's too, with a clock that stands still.
    async with backing.open() as other:
        assert await other.versions(["a", "b"]) == await store.versions(["a", "b"])


async def test_names_beyond_the_limit_invalidate_everything_at_once(backing: Backing) -> None:
    async with backing.open(most_names=10) as store:
        before = await store.versions(["untouched"])
        for n in range(20):
            await store.bump([f"name {n}"])
        assert await store.versions(["untouched"]) > before


async def test_a_lease_has_one_holder_until_it_is_given_back_or_ends(store: Any, backing: Backing) -> None:
    async with backing.open() as other:
        lease = await store.acquire("work", seconds=60)
        assert lease is not None
        assert await other.acquire("work", seconds=60) is None
        assert await store.acquire("work", seconds=60) is None
        assert await other.acquire("other work", seconds=60) is not None
        await store.release(lease)
        taken = await other.acquire("work", seconds=0.03)
        assert taken is not None
        await store.release(lease)  # no longer its own
        assert await store.acquire("work", seconds=60) is None
        await asyncio.sleep(0.04)
        assert await store.acquire("work", seconds=60) is not None
        await other.release(taken)
        assert await other.acquire("work", seconds=60) is None
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidArgument):
            await store.acquire("work", seconds=seconds)


async def test_a_stream_keeps_about_the_newest_and_is_read_from_where_one_was(store: Any, backing: Backing) -> None:
    assert await store.read("news", after="", limit=10) == []
    positions = [await store.append("news", b"%d" % n, keep=100) for n in range(10)]
    records = await store.read("news", after="", limit=100)
    assert records == [(position, b"%d" % n) for n, position in enumerate(positions)]
    assert await store.read("news", after=positions[3], limit=2) == records[4:6]
    assert await store.read("news", after=positions[-1], limit=2) == []
    assert await store.read("other", after="", limit=2) == []
    for n in range(500):
        await store.append("many", b"%d" % n, keep=100)
    kept = await store.read("many", after="", limit=1000)
    assert kept[-1][1] == b"499"
    assert 100 <= len(kept) <= 300


async def test_a_closed_store_says_so(backing: Backing) -> None:
    store = backing.open()
    await store.set_many([entry("key")])
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get_many(["key"], scope="team")
    store.listen(Heard())
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.versions(["tag"])
    await asyncio.sleep(0.01)
    assert not store.coherent
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("sparecall")]
    unused = backing.open()
    await unused.close()


async def test_writes_deletes_and_bumps_are_heard_elsewhere(backing: Backing) -> None:
    writer, reader = backing.open(), backing.open()
    own, heard = Heard(), Heard()
    writer.listen(own)
    remove = reader.listen(heard)
    await until(lambda: writer.coherent and reader.coherent)
    assert heard.all == own.all == [("lost",)]
    heard.all.clear()
    own.all.clear()
    await writer.set_many([entry("one"), entry("two"), entry("three", scope="other")])
    await until(lambda: len(heard.all) == 2)
    assert set(heard.all) == {("dropped", "team", "one", "two"), ("dropped", "other", "three")}
    await writer.delete_many(["one"], scope="team")
    (version,) = await writer.bump(["tag"])
    await until(lambda: ("changed", "tag", version) in heard.all)
    assert ("dropped", "team", "one") in heard.all
    await until(lambda: own.all)
    assert own.all == [("changed", "tag", version)], "one's own writes are no news, one's own versions are"
    remove()
    remove()
    count = len(heard.all)
    (version,) = await writer.bump(["tag"])
    await until(lambda: ("changed", "tag", version) in own.all)
    assert len(heard.all) == count
    assert reader.staleness > 0


async def test_a_listener_added_before_the_loop_runs(backing: Backing) -> None:
    heard = Heard()
    store = backing.open()
    await asyncio.to_thread(store.listen, heard)  # a thread without a loop
    assert not store.coherent
    await store.versions(["all"])
    await until(lambda: store.coherent)
    assert heard.all == [("lost",)]


async def test_many_calls_at_once_each_get_their_own(backing: Backing) -> None:
    stores = [backing.open() for _ in range(3)]
    await asyncio.gather(
        *[store.set_many([entry(f"{n}", n)]) for n in range(300) for store in stores[n % 3 : n % 3 + 1]]
    )
    found = await asyncio.gather(*[stores[(n + 1) % 3].get_many([f"{n}"], scope="team") for n in range(300)])
    assert [each.value if each else None for (each,) in found] == list(range(300))
    granted = await asyncio.gather(*[store.acquire("one", seconds=60) for store in stores for _ in range(20)])
    assert sum(lease is not None for lease in granted) == 1


async def test_a_call_cancelled_anywhere_leaves_the_store_as_good_as_before(backing: Backing) -> None:
    store = backing.open()
    await store.set_many([entry(key, key) for key in "abc"])

    async def after() -> None:
        found = await store.get_many(["a", "b", "c"], scope="team")
        assert [each.value if each else None for each in found] == ["a", "b", "c"]

    for call in (
        lambda: store.get_many(["a"], scope="team"),
        lambda: store.set_many([entry("a", "a")]),
        lambda: store.versions(["tag"]),
        lambda: store.bump(["tag"]),
        lambda: store.read("stream", after="", limit=1),
    ):
        assert await cancelled_at_each(call, after) >= 1
