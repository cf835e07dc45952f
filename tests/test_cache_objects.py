"""`Cache`: values of any class, weights and weighers, the class itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG
from sparecall import errors
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")


def test_values_are_of_any_class_and_go_with_their_entry() -> None:
    class Value:
        def __del__(self) -> None:
            gone.append(self)

    gone: list[object] = []
    cache: Cache[str, object] = Cache(1, policy="lru")
    values: list[object] = [None, 0, [], {}, object, lambda: None, cache, NAN]
    for value in values:
        cache["key"] = value
        assert cache["key"] is value
    cache["key"] = Value()
    assert gone == []
    cache["other"] = 1
    assert len(gone) == 1


def test_none_as_a_value_is_a_hit() -> None:
    cache: Cache[str, None] = Cache(1)
    cache["key"] = None
    assert cache.get("key", 5) is None
    assert cache.stats().hits == 1


def test_weight_is_the_entrys_own_the_weighers_or_one() -> None:
    asked: list[tuple[str, str]] = []

    def weigh(key: str, value: str) -> int:
        asked.append((key, value))
        return len(key) + len(value)

    cache: Cache[str, str] = Cache(100, weigher=weigh)
    cache["ab"] = "cde"
    cache.set("f", "", weight=50)
    cache.set_many({"g": "hi", "j": "k"})
    assert cache.stats().weight == 5 + 50 + 3 + 2
    cache.set_many({"g": "", "j": ""}, weight=0)
    assert cache.stats().weight == 55
    assert asked == [("ab", "cde"), ("g", "hi"), ("j", "k")]
    plain: Cache[str, str] = Cache(100)
    plain["a"] = "b"
    assert plain.stats().weight == 1


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (-1, errors.InvalidArgument, "weight is -1; give a whole number from 0 to"),
        (2**64, errors.InvalidArgument, "weight is 18446744073709551616"),
        pytest.param(10**5000, errors.InvalidArgument, "weight is out of all bounds", id="huge"),
        (1.5, TypeError, "weight must be int, not float"),
        (NAN, TypeError, "weight must be int, not float"),
        ("5", TypeError, "weight must be int, not str"),
        ([], TypeError, "weight must be int, not list"),
    ],
)
def test_a_weight_that_is_none_is_refused_wherever_it_comes_from(
    weight: Any, error: type[Exception], message: str
) -> None:
    cache: Cache[str, str] = Cache(100, weigher=lambda _key, _value: weight)
    cache.set("old", "kept", weight=1)
    calls: list[Callable[[], object]] = [
        lambda: cache.set("key", "value"),
        lambda: cache.set("old", "new", weight=weight),
        lambda: cache.__setitem__("old", "new"),
        lambda: cache.set_many([("a", "b")]),
        lambda: cache.set_many([("a", "b")], weight=weight),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call()
    assert (len(cache), cache["old"]) == (1, "kept")


def test_a_weigher_that_raises_comes_back_in_or_returns_none_leaves_the_cache_as_it_was() -> None:
    acts: list[Callable[[], Any]] = []
    cache: Cache[str, str] = Cache(5, policy="lru", weigher=lambda _key, _value: acts.pop()() if acts else 1)
    cache["kept"] = "value"
    acts.append(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache["key"] = "value"
    acts.append(lambda: None)
    with pytest.raises(TypeError, match="weight must be int, not NoneType"):
        cache["key"] = "value"
    assert (len(cache), cache["kept"]) == (1, "value")

    def change() -> int:
        cache.set("inner", "1")
        cache.clear()
        cache.set("inner", "2")
        return 2

    acts.append(change)
    cache["outer"] = "3"
    assert (cache.get_many(["kept", "inner", "outer"]), cache.stats().weight) == ([None, "2", "3"], 3)


def test_a_weigher_must_be_callable() -> None:
    weigher: Any = 5
    with pytest.raises(TypeError, match="weigher must be a callable"):
        Cache(BIG, weigher=weigher)


def test_the_class_takes_types_and_no_subclass() -> None:
    assert Cache[str, int](1).set("a", 1)
    assert Cache[str, int].__origin__ is Cache  # type: ignore[attr-defined]
    for kind in (Cache, BytesCache):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Own", (kind,), {})
