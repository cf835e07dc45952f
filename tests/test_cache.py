"""Both caches: keys, reads, writes, bounds, statistics and costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG, CLASSES, FOREVER, POLICIES, balance, cache_of, fill
from sparecall import errors
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from collections.abc import Callable

both = pytest.mark.parametrize("kind", CLASSES)
every_policy = pytest.mark.parametrize("policy", POLICIES)


@both
@every_policy
def test_a_hit_returns_the_very_object_that_was_stored(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    value = b"an answer" * 100
    assert cache.set("key", value)
    assert cache.get("key") is value
    assert cache["key"] is value
    assert cache.get_many(["key", "other"]) == [value, None]
    assert "key" in cache


@both
def test_a_miss_is_the_default_or_a_key_error(kind: Any) -> None:
    cache = kind(BIG)
    marker = object()
    assert cache.get("key") is None
    assert cache.get("key", marker) is marker
    assert cache.get("key", default=b"") == b""
    assert "key" not in cache
    with pytest.raises(KeyError) as caught:
        cache["key"]
    assert caught.value.args == ("key",)
    with pytest.raises(KeyError) as caught:
        del cache["key"]
    assert caught.value.args == ("key",)


@both
def test_subscripts_do_what_the_methods_do(kind: Any) -> None:
    cache = kind(BIG)
    cache["key"] = b"1"
    cache["key"] = b"2"
    assert cache["key"] == b"2"
    del cache["key"]
    assert "key" not in cache
    assert cache.stats().evictions["deleted"] == 1


@pytest.mark.parametrize(
    "key", ["", "ascii", "café", "Ωmega", "😀", "\ud800 lone surrogate", "long " * 50, "é" * 200, bytes(16), bytes(32)]
)
def test_every_text_and_every_digest_is_a_key_of_both(key: str | bytes) -> None:
    equal_copy = (key + key)[: len(key)]  # type: ignore[operator]
    for cache in (Cache[object, bytes](BIG), BytesCache(BIG)):
        cache.set(key, b"value")
        assert cache.get(equal_copy) == b"value"
        assert key in cache
        assert cache.delete(equal_copy)


def test_a_text_and_the_same_bytes_are_two_keys() -> None:
    digest = b"0123456789abcdef"
    assert hash(digest) == hash(digest.decode())
    for cache in (Cache[object, bytes](BIG), BytesCache(BIG)):
        cache.set(digest, b"bytes")
        cache.set(digest.decode(), b"text")
        assert (cache[digest], cache[digest.decode()]) == (b"bytes", b"text")


def test_texts_with_the_same_memory_are_different_keys() -> None:
    twins = ["\u0161\u0162", "\x61\x01\x62\x01", "a\0b\0", "ab"]
    for cache in (Cache[str, bytes](BIG), BytesCache(BIG)):
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
        lambda: cache.delete_many(["fine", key]),
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
    with pytest.raises(TypeError, match="value must be exactly bytes"):
        cache["key"] = value
    assert len(cache) == 0


def test_weight_is_key_and_value_and_64_and_what_tags_take() -> None:
    cache = BytesCache(BIG)
    weights = []
    for key, value, tags in [("four", b"123456", ()), ("four", b"", ()), ("four", b"", ("abc", "é", "Ω"))]:
        cache.set(key, value, tags=tags)
        weights.append(cache.stats().weight)
    assert weights == [4 + 6 + 64, 4 + 64, 4 + 64 + 3 * 32 + 3 + 1 + 2]


@both
def test_the_least_recently_used_leaves_first(kind: Any) -> None:
    cache = cache_of(3, kind, policy="lru")
    fill(cache, 3)
    assert "0000" in cache, "looking does not count as use"
    cache.get("0001")
    cache.get("0000")
    cache.set("0003", b"0003")
    assert [number for number in range(4) if f"{number:04}" in cache] == [0, 1, 3]
    assert cache.stats().evictions == {"size": 1, "expired": 0, "replaced": 0, "deleted": 0, "invalidated": 0}


@both
@every_policy
def test_what_was_just_set_is_there_and_the_bound_holds(kind: Any, policy: str) -> None:
    cache = cache_of(7, kind, policy=policy)
    for step in range(500):
        key = f"{step * 37 % 101:04}"
        assert cache.set(key, key.encode(), cost=step % 5)
        assert cache[key] == key.encode()
        cache.get(f"{step % 11:04}")
        balance(cache.stats())
    assert len(cache) == 7


@both
@every_policy
def test_an_entry_heavier_than_the_cache_is_refused_and_removes_what_it_overtook(kind: Any, policy: str) -> None:
    cache = kind(200, policy=policy)
    heavy: dict[str, Any] = {"weight": 201} if kind is Cache else {}
    cache.set("a", b"old")
    cache.set("b", b"other")
    assert cache.set("a", bytes(200), **heavy) is False
    assert cache.set("c", bytes(200), **heavy) is False
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (None, b"other", None)
    assert (cache.stats().refused, cache.stats().evictions["replaced"]) == (2, 1)
    balance(cache.stats())


@every_policy
def test_an_entry_of_the_whole_weight_empties_the_cache_and_fits(policy: str) -> None:
    cache: Cache[int, int] = Cache(2**64 - 1, policy=policy)
    cache.set_many((number, number) for number in range(10))
    assert cache.set(0, 0, weight=2**64 - 1)
    assert (len(cache), cache.stats().weight) == (1, 2**64 - 1)
    assert cache.set(1, 1, weight=2**64 - 1)
    assert (cache.get(0), cache.get(1)) == (None, 1)
    assert cache.set(2, 2, weight=0)
    assert cache.get_many([1, 2]) == [1, 2]


@both
@every_policy
def test_a_cache_of_zero_stores_only_what_weighs_nothing(kind: Any, policy: str) -> None:
    cache = kind(0, policy=policy)
    assert cache.set("", b"") is False
    assert len(cache) == 0
    if kind is Cache:
        assert cache.set("", b"", weight=0)
        assert cache[""] == b""


@both
@pytest.mark.parametrize("bound", [-1, 2**64, -(2**200), pytest.param(10**5000, id="huge")])
def test_a_bound_outside_its_range_is_refused(kind: Any, bound: int) -> None:
    name = "max_weight" if kind is Cache else "max_bytes"
    shown = str(bound) if abs(bound) < 2**100 else "out of all bounds"
    with pytest.raises(errors.InvalidArgument, match=f"{name} is {shown}; give a whole number from 0"):
        kind(bound)


@both
def test_an_unknown_policy_names_the_known_ones(kind: Any) -> None:
    for policy in ("random", "", "LRU", "lru "):
        with pytest.raises(errors.UnknownName, match=r"unknown cache policy .*known: ") as caught:
            kind(BIG, policy=policy)
        assert all(name in str(caught.value) for name in POLICIES)


@both
@pytest.mark.parametrize("cost", [-0.01, float("nan"), FOREVER])
def test_a_cost_outside_its_range_is_refused(kind: Any, cost: float) -> None:
    cache = kind(BIG)
    with pytest.raises(errors.InvalidArgument, match=r"cost.*finite and not negative"):
        cache.set("key", b"value", cost=cost)
    assert len(cache) == 0


@both
def test_stats_and_reprs_count_and_quote_nothing(kind: Any) -> None:
    cache = kind(BIG, policy="lru")
    cache.set("secret", b"prompt", cost=0.25)
    cache.set("secret", b"prompt", cost=0.75)
    cache.get("secret")
    cache.get("other")
    cache.get_many(["secret", "secret"])
    stats = cache.stats()
    weight = 1 if kind is Cache else 76
    assert (stats.hits, stats.misses, stats.sets, stats.refused) == (3, 1, 2, 0)
    assert (stats.entries, stats.weight, stats.max_weight) == (1, weight, BIG)
    assert (stats.saved, stats.spent) == (2.25, 1.0)
    assert (stats.hit_ratio, stats.dollar_hit_ratio) == (0.75, 2.25 / 3.25)
    assert repr(cache) == f"{kind.__name__}({BIG}, policy='lru', entries=1, weight={weight})"
    assert repr(stats) == (
        "CacheStats(hits=3, misses=1, sets=2, refused=0, saved=2.25, spent=1.0,"
        " evictions={'size': 0, 'expired': 0, 'replaced': 1, 'deleted': 0, 'invalidated': 0},"
        f" entries=1, weight={weight}, max_weight={BIG})"
    )


@both
def test_the_statistics_of_nothing_are_zero_and_frozen(kind: Any) -> None:
    stats = kind(BIG).stats()
    assert (stats.hit_ratio, stats.dollar_hit_ratio, stats.saved, stats.spent) == (0.0, 0.0, 0.0, 0.0)
    stats.evictions["size"] = 5
    assert stats.evictions["size"] == 0
    with pytest.raises(AttributeError):
        stats.hits = 1
    with pytest.raises(TypeError, match="instance"):
        type(stats)()


@both
@every_policy
def test_delete_and_clear(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    cache.set_many({"a": b"1", "b": b"2", "c": b"3"}, ttl=5, tags=["tag"], cost=1.0)
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.clear()
    cache.clear()
    assert (len(cache), cache.get("b"), cache.stats().weight) == (0, None, 0)
    assert (cache.stats().evictions["deleted"], cache.stats().sets) == (3, 3)
    assert cache.set("b", b"again")
    assert cache.invalidate_tag("tag") == 0


@both
@every_policy
def test_a_cost_is_dollars_or_dollars_and_seconds(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    cache.set("a", b"", cost=0.5)
    cache.set("b", b"", cost=(0.25, 4))
    cache.set_many({"c": b"", "d": b""}, cost=(0, 1.5))
    cache.get_many("abbcdx")
    stats = cache.stats()
    assert (stats.spent, stats.spent_seconds) == (0.75, 7.0)
    assert (stats.saved, stats.saved_seconds) == (1.0, 11.0)


@both
def test_costs_beyond_all_numbers_have_a_share_all_the_same(kind: Any) -> None:
    cache = kind(BIG)
    cache.set_many({"a": b"", "b": b""}, cost=1e308)
    cache.get_many("aabb")
    assert cache.stats().dollar_hit_ratio == 0.5


@both
@pytest.mark.parametrize(
    ("cost", "error"),
    [
        ((-1, 0), errors.InvalidArgument),
        ((0, -1), errors.InvalidArgument),
        ((0, float("nan")), errors.InvalidArgument),
        ((FOREVER, 0), errors.InvalidArgument),
        ((), TypeError),
        ((1,), TypeError),
        ((1, 2, 3), TypeError),
        (("a", "b"), TypeError),
        ("1", TypeError),
        ([1, 2], TypeError),
        (1j, TypeError),
    ],
)
def test_a_cost_that_is_none_is_refused(kind: Any, cost: Any, error: type[Exception]) -> None:
    cache = kind(BIG)
    cache.set("key", b"kept")
    with pytest.raises(error, match="cost"):
        cache.set("key", b"value", cost=cost)
    with pytest.raises(error, match="cost"):
        cache.set_many({"key": b"value"}, cost=cost)
    assert cache["key"] == b"kept"


@both
@pytest.mark.parametrize("price", [-1.0, float("nan"), FOREVER])
def test_a_price_of_a_second_outside_its_range_is_refused(kind: Any, price: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="second_price"):
        kind(BIG, second_price=price)


@pytest.mark.parametrize("number", [-1, 1 << 64])
@pytest.mark.parametrize("name", ["seed", "compress_above", "limit"])
def test_a_number_out_of_range_is_named(name: str, number: int) -> None:
    call: Callable[..., object] = BytesCache(BIG).sweep if name == "limit" else partial(BytesCache, BIG)
    with pytest.raises(errors.InvalidArgument, match=f"{name}.*{number}"):
        call(**{name: number})
