"""Both caches: many keys in one crossing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG, CLASSES, POLICIES, Clock, balance, cache_of, fill
from sparecall import errors
from sparecall.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("kind", CLASSES)
every_policy = pytest.mark.parametrize("policy", POLICIES)


@both
@every_policy
def test_pairs_come_from_a_dict_or_any_iterable(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    assert cache.set_many({"a": b"1", "b": b"2"}) == 2
    assert cache.set_many((key, b"3") for key in "cd") == 2
    assert cache.set_many([("e", b"4")]) == 1
    assert cache.set_many((("f", b"5"),)) == 1
    assert cache.set_many({}) == cache.set_many([]) == 0
    assert cache.get_many(iter("abcdefg")) == [b"1", b"2", b"3", b"3", b"4", b"5", None]
    assert cache.get_many({"a": None}) == [b"1"]
    assert cache.get_many(()) == []
    assert (cache.stats().hits, cache.stats().misses) == (7, 1)


@both
@every_policy
def test_what_comes_twice_in_one_call_is_done_twice(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    assert cache.set_many([("a", b"1"), ("a", b"2")]) == 2
    assert cache.get_many(["a", "a"]) == [b"2", b"2"]
    assert cache.delete_many(["a", "b", "a"]) == 1
    assert cache.stats().evictions["replaced"] == 1


@both
def test_options_hold_for_every_pair(kind: Any) -> None:
    clock = Clock()
    cache = kind(BIG, clock=clock)
    cache.set_many({"a": b"", "b": b"", "c": b""}, ttl=5, cost=0.5, tags=iter(["tag"]))
    cache.get_many("abc")
    assert cache.stats().saved == cache.stats().spent == 1.5
    cache.set("a", b"")
    assert cache.invalidate_tag("tag") == 2
    cache.set_many({"b": b"", "c": b""}, ttl=5)
    clock.now += 5
    assert cache.get_many("abc") == [b"", None, None]
    assert cache.set_many({"a": b"", "b": b""}, ttl=0) == 0
    assert cache.stats().refused == 2


@both
@every_policy
def test_more_pairs_than_room_leave_the_cache_full_and_the_books_in_order(kind: Any, policy: str) -> None:
    cache = cache_of(10, kind, policy=policy)
    fill(cache, 1000)
    assert len(cache) == 10
    assert cache["0999"] == b"0999", "the last one was just set"
    assert cache.stats().evictions["size"] == 990
    balance(cache.stats())
    found = cache.get_many(f"{number:04}" for number in range(1000))
    assert sum(value is not None for value in found) == 10
    assert all(value == f"{number:04}".encode() for number, value in enumerate(found) if value is not None)


@both
@pytest.mark.parametrize(
    "items", [5, None, "ab", ["ab"], [("a",)], [("a", b"1", 2)], [5], [["a", b"1"]], [("fine", b""), None]]
)
def test_what_is_no_pair_is_refused_before_anything_is_stored(kind: Any, items: Any) -> None:
    cache = kind(BIG)
    with pytest.raises((TypeError, ValueError)):
        cache.set_many(items)
    assert len(cache) == 0


@both
def test_an_iterable_that_raises_half_way_does_nothing(kind: Any) -> None:
    def broken(*items: object) -> Iterator[Any]:
        yield from items
        raise ZeroDivisionError

    cache = kind(BIG)
    cache.set("a", b"1")
    before = repr(cache.stats())
    with pytest.raises(ZeroDivisionError):
        cache.get_many(broken("a"))
    with pytest.raises(ZeroDivisionError):
        cache.delete_many(broken("a"))
    with pytest.raises(ZeroDivisionError):
        cache.set_many(broken(("a", b"2")))
    assert repr(cache.stats()) == before


@both
def test_a_bad_option_raises_before_anything_is_stored(kind: Any) -> None:
    cache = kind(BIG)
    for bad in ({"ttl": -1}, {"ttl": float("nan")}, {"cost": -1}, {"tags": "ab"}):
        with pytest.raises((errors.InvalidArgument, TypeError)):
            cache.set_many({"a": b"1"}, **bad)
    with pytest.raises(TypeError, match="not iterable"):
        cache.get_many(5)
    with pytest.raises(TypeError, match="not iterable"):
        cache.delete_many(None)
    assert len(cache) == 0


def test_a_list_that_changes_meanwhile_does_no_harm() -> None:
    cache: Cache[Any, int] = Cache(BIG)

    class Key:
        def __hash__(self) -> int:
            keys.clear()
            pairs.clear()
            return 5

    keys: list[Any] = []
    pairs: list[tuple[Any, int]] = []
    keys.extend([Key(), "a", "b"])
    assert cache.get_many(keys) == [None], "read like a `for` would"
    pairs.extend([(Key(), 1), ("a", 2)])
    assert cache.set_many(pairs) == 2
    keys.extend([Key(), "a"])
    assert cache.delete_many(keys) == 1
    assert (keys, pairs) == ([], [])
