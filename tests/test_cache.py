"""`BytesCache`: keys, bounds, lives, statistics, snapshots, threads and bad input."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sparecall import errors
from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BIG = 1 << 20


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_hit_returns_the_very_object_that_was_stored() -> None:
    cache = BytesCache(BIG)
    value = b"an answer" * 100
    assert cache.set("key", value)
    assert cache.get("key") is value
    assert cache["key"] is value
    assert cache.get_many(["key", "other"]) == [value, None]


def test_a_miss_is_the_default_or_a_key_error() -> None:
    cache = BytesCache(BIG)
    marker = object()
    assert cache.get("key") is None
    assert cache.get("key", marker) is marker
    assert cache.get("key", default=b"") == b""
    with pytest.raises(KeyError, match="key"):
        cache["key"]


@pytest.mark.parametrize(
    "key", ["", "ascii", "café", "Ωmega", "😀", "\ud800 lone surrogate", "long " * 50, "é" * 200, bytes(16), bytes(32)]
)
def test_every_text_and_every_digest_is_a_key(key: str | bytes, tmp_path: Path) -> None:
    cache = BytesCache(BIG)
    equal_copy = (key + key)[: len(key)]
    cache.set(key, b"value")
    assert cache.get(equal_copy) == b"value"
    assert key in cache
    cache.save(tmp_path / "snapshot")
    loaded = BytesCache(BIG)
    assert loaded.load(tmp_path / "snapshot") == 1
    assert loaded.get(equal_copy) == b"value"


def test_a_text_and_the_same_bytes_are_two_keys() -> None:
    cache = BytesCache(BIG)
    digest = b"0123456789abcdef"
    cache.set(digest, b"bytes")
    cache.set(digest.decode(), b"text")
    assert hash(digest) == hash(digest.decode())
    assert (cache[digest], cache[digest.decode()]) == (b"bytes", b"text")


def test_texts_with_the_same_memory_are_different_keys() -> None:
    narrow, wide = "a\0b\0", "ab\u0100"[:2] + "\u0100"
    twins = ["\u0161\u0162", "\x61\x01\x62\x01", narrow, wide]
    cache = BytesCache(BIG)
    for number, key in enumerate(twins):
        cache.set(key, str(number).encode())
    assert [cache[key] for key in twins] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("length", [0, 1, 15, 17, 31, 33, 64])
def test_bytes_of_another_length_are_no_digest(length: int) -> None:
    cache = BytesCache(BIG)
    with pytest.raises(errors.InvalidArgument, match=f"{length}.*16 or 32"):
        cache.get(bytes(length))


class Text(str):
    __slots__ = ()


class Octets(bytes):
    __slots__ = ()


@pytest.mark.parametrize("key", [1, None, ("a",), bytearray(16), Text("a"), Octets(16)])
def test_other_classes_of_key_are_refused_by_every_method(key: Any) -> None:
    cache = BytesCache(BIG)
    calls: list[Callable[[], object]] = [
        lambda: cache.get(key),
        lambda: cache[key],
        lambda: key in cache,
        lambda: cache.set(key, b""),
        lambda: cache.delete(key),
        lambda: cache.get_many(["fine", key]),
        lambda: cache.set_many([("fine", b""), (key, b"")]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"key must be exactly str or bytes.*not {type(key).__name__}"):
            call()
    assert len(cache) == 0, "a bad pair stores nothing of its batch"


@pytest.mark.parametrize("value", ["text", None, bytearray(b"x"), Octets(b"x")])
def test_values_are_exactly_bytes(value: Any) -> None:
    cache = BytesCache(BIG)
    with pytest.raises(TypeError, match="value must be exactly bytes"):
        cache.set("key", value)


def test_weight_is_key_and_value_and_64() -> None:
    cache = BytesCache(BIG)
    cache.set("four", b"123456")
    assert cache.stats().weight == 4 + 6 + 64
    cache.set("four", b"")
    assert cache.stats().weight == 4 + 64


def test_the_least_recently_used_leaves_first() -> None:
    cache = BytesCache(3 * 66)
    for key in "abc":
        cache.set(key, b"1")
    assert "a" in cache, "looking does not count as use"
    cache.get("b")
    cache.get("a")
    cache.set("d", b"1")
    assert [key for key in "abcd" if key in cache] == ["a", "b", "d"]
    assert cache.stats().evictions == {"size": 1, "expired": 0, "replaced": 0, "deleted": 0}


def test_an_entry_heavier_than_the_cache_is_refused_and_removes_what_it_overtook() -> None:
    cache = BytesCache(200)
    cache.set("a", b"old")
    cache.set("b", b"other")
    assert cache.set("a", bytes(200)) is False
    assert cache.get("a") is None
    assert cache.get("b") == b"other"
    assert cache.stats().refused == 1


def test_a_cache_of_zero_bytes_stores_nothing() -> None:
    cache = BytesCache(0)
    assert cache.set("", b"") is False
    assert len(cache) == 0


def test_a_huge_bound_allocates_nothing() -> None:
    assert BytesCache(2**64 - 1).set("key", b"value")


@pytest.mark.parametrize("max_bytes", [-1, 2**64])
def test_a_bound_outside_its_range_is_refused(max_bytes: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"max_bytes is {max_bytes}"):
        BytesCache(max_bytes)


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(errors.UnknownName, match="known: lru"):
        BytesCache(BIG, policy="random")


@pytest.mark.parametrize("ttl", [-1.0, float("nan"), float("-inf")])
def test_a_life_outside_its_range_is_refused(ttl: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        BytesCache(BIG, ttl=ttl)
    cache = BytesCache(BIG)
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        cache.set("key", b"value", ttl=ttl)
    assert len(cache) == 0


def test_each_entry_has_its_own_life() -> None:
    clock = Clock()
    cache = BytesCache(BIG, ttl=10, clock=clock)
    cache.set("default", b"")
    cache.set("short", b"", ttl=5)
    cache.set("long", b"", ttl=20)
    cache.set("endless", b"", ttl=float("inf"))
    assert cache.set("dead", b"", ttl=0) is False
    alive = []
    for seconds in (4.9, 0.1, 5.0, 10.0, 1e9):
        clock.now += seconds
        alive.append([key for key in ("default", "short", "long", "endless", "dead") if key in cache])
    assert alive == [
        ["default", "short", "long", "endless"],
        ["default", "long", "endless"],
        ["long", "endless"],
        ["endless"],
        ["endless"],
    ]
    assert cache.get("short") is None
    assert cache.stats().evictions["expired"] == 1


def test_a_life_of_zero_removes_what_was_there() -> None:
    cache = BytesCache(BIG)
    cache.set("key", b"old")
    assert cache.set("key", b"new", ttl=0) is False
    assert cache.get("key") is None


def test_without_a_clock_of_its_own_time_passes_all_the_same() -> None:
    cache = BytesCache(BIG, ttl=0.02)
    cache.set("key", b"value")
    deadline = time.monotonic() + 10
    while "key" in cache:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("reading", [-1.0, float("nan"), float("inf")])
def test_a_clock_that_tells_no_time_is_refused(reading: float) -> None:
    cache = BytesCache(BIG, clock=lambda: reading)
    with pytest.raises(errors.InvalidArgument, match="clock"):
        cache.get("key")


def test_a_clock_that_raises_or_comes_back_in_leaves_the_cache_usable() -> None:
    clock = Clock()
    trouble: list[Callable[[], object]] = []

    def tell() -> float:
        if trouble:
            trouble.pop()()
        return clock.now

    cache = BytesCache(BIG, ttl=1, clock=tell)
    trouble.append(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache.set("key", b"value")
    trouble.append(lambda: cache.set("inner", b"1"))
    cache.set("outer", b"2")
    assert cache.get_many(["key", "inner", "outer"]) == [None, b"1", b"2"]


def test_a_clock_must_be_callable() -> None:
    clock: Any = 5
    with pytest.raises(TypeError, match="clock"):
        BytesCache(BIG, clock=clock)


def test_many_at_once() -> None:
    cache = BytesCache(BIG)
    assert cache.set_many({"a": b"1", "b": b"2"}) == 2
    assert cache.set_many((key, b"3") for key in "cd") == 2
    assert cache.set_many([("e", bytes(BIG))]) == 0
    assert cache.get_many(iter("abcde")) == [b"1", b"2", b"3", b"3", None]
    assert cache.get_many(()) == []


def test_delete_and_clear() -> None:
    cache = BytesCache(BIG)
    cache.set_many({"a": b"1", "b": b"2", "c": b"3"})
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.clear()
    assert (len(cache), cache.get("b"), cache.stats().weight) == (0, None, 0)
    assert cache.stats().evictions["deleted"] == 3
    assert cache.set("b", b"again")


def test_stats_and_reprs_count_and_quote_nothing() -> None:
    cache = BytesCache(BIG)
    cache.set("secret", b"prompt")
    cache.set("secret", b"prompt")
    cache.get("secret")
    cache.get("other")
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.sets, stats.refused) == (1, 1, 2, 0)
    assert (stats.entries, stats.weight, stats.max_bytes) == (1, 76, BIG)
    assert repr(cache) == f"BytesCache(max_bytes={BIG}, policy='lru', entries=1, weight=76)"
    assert repr(stats) == (
        "CacheStats(hits=1, misses=1, sets=2, refused=0, evictions={'size': 0, 'expired': 0, 'replaced': 1, 'deleted': 0},"
        f" entries=1, weight=76, max_bytes={BIG})"
    )


def filled(clock: Clock) -> BytesCache:
    cache = BytesCache(400, clock=clock)
    cache.set("a", b"1" * 10)
    cache.set(bytes(range(16)), b"2" * 20, ttl=50)
    cache.set("é", b"", ttl=float("inf"))
    cache.get("a")
    return cache


def test_a_snapshot_keeps_values_order_and_remaining_life(tmp_path: Path) -> None:
    clock = Clock()
    filled(clock).save(tmp_path / "snapshot")
    clock.now += 20
    loaded = BytesCache(400, clock=clock)
    assert loaded.load(tmp_path / "snapshot") == 3
    assert loaded.get_many(["a", bytes(range(16)), "é"]) == [b"1" * 10, b"2" * 20, b""]
    clock.now += 30
    assert bytes(range(16)) not in loaded

    again = BytesCache(400, clock=clock)
    assert again.load(tmp_path / "snapshot") == 2
    again.set("heavy", bytes(200))
    assert ("é" in again, "a" in again) == (False, True), "the least recently used went first"


def test_every_snapshot_begins_with_the_magic_bytes(tmp_path: Path) -> None:
    BytesCache(0).save(tmp_path / "snapshot")
    assert (tmp_path / "snapshot").read_bytes().startswith(BytesCache.SNAPSHOT_MAGIC)
    assert len(BytesCache.SNAPSHOT_MAGIC) == 8


def test_a_clock_set_back_between_save_and_load_takes_no_life(tmp_path: Path) -> None:
    clock = Clock()
    filled(clock).save(tmp_path / "snapshot")
    clock.now -= 60
    loaded = BytesCache(400, clock=clock)
    loaded.load(tmp_path / "snapshot")
    clock.now += 49
    assert bytes(range(16)) in loaded
    clock.now += 1
    assert bytes(range(16)) not in loaded


def test_every_damage_to_a_snapshot_is_seen_and_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "snapshot"
    filled(clock).save(path)
    whole = path.read_bytes()
    cache = BytesCache(400, clock=clock)
    cache.set("mine", b"kept")
    before = repr(cache.stats())
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole + b"x", b"", b"\x80\x04N."]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(errors.SnapshotError, match="the cache is unchanged"):
            cache.load(path)
    assert repr(cache.stats()) == before
    path.write_bytes(whole)
    assert cache.load(path) == 3


def test_saving_replaces_the_file_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(b"older")
    filled(Clock()).save(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]
    assert path.stat().st_mode & 0o077 == 0, "answers are for the owner's eyes"


def test_file_trouble_is_an_os_error_that_names_the_file(tmp_path: Path) -> None:
    cache = BytesCache(BIG)
    with pytest.raises(FileNotFoundError, match="absent"):
        cache.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="folder"):
        cache.save(tmp_path / "folder" / "snapshot")
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError, match="taken"):
        cache.save(tmp_path / "taken")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_threads_and_collections_at_any_moment_do_no_harm(tmp_path: Path) -> None:
    cache = BytesCache(50 * 100, ttl=0.01)
    start = threading.Barrier(4)
    wrong: list[object] = []

    def hammer(seed: int) -> None:
        start.wait()
        for step in range(3000):
            key = f"key {(step * (seed + 7)) % 97}"
            found = cache.get(key)
            if found is not None and found != key.encode():
                wrong.append((key, found))
            cache.set(key, key.encode(), ttl=None if step % 3 else 0.001)
            if step % 50 == 0:
                cache.delete(key)
                cache.get_many([key] * 5)
                if cache.stats().weight > 5000:
                    wrong.append(cache.stats())
            if step % 1000 == 0:
                cache.save(tmp_path / f"snapshot {seed}")
                cache.load(tmp_path / f"snapshot {seed}")
                cache.clear()

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*thresholds)
    assert wrong == []
    stats = cache.stats()
    assert stats.sets == stats.entries + sum(stats.evictions.values())


def test_a_cycle_through_the_clock_is_collected() -> None:
    class Holder:
        def __init__(self) -> None:
            self.cache = BytesCache(BIG, clock=self.tell)

        def tell(self) -> float:
            return 0.0

        def __del__(self) -> None:
            gone.append(True)

    gone: list[bool] = []
    Holder()
    gc.collect()
    assert gone == [True]
