"""`Cache`: which objects go into a file, and the user's own `encode` and `decode`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from caches import BIG, POLICIES, balance
from sparecall import errors
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAN = float("nan")
PLAIN: list[Any] = [
    None, True, False, 0, 1, -1, 127, 128, -128, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**500, -(10**500), 255, 256,
    0.0, -0.0, 1.5, 1e300, 5e-324, float("inf"), "", "ascii", "é", "Ω", "😀", "\ud800", "a\0b", b"", b"\0\xff" * 500,
    (), ((),), (1, "a", (2.0, None)), [], [[], [1, [2]]], {}, {"a": {"b": [1, (2, {3: b"4"})]}, 1: 2, None: 3, (1, 2): []},
]  # fmt: skip


@dataclass(frozen=True)
class Point:
    x: int


class Integer(int):
    pass


def exact(value: Any) -> Any:
    """The value with the class of each part, so that 1, 1.0 and True, or 0.0 and -0.0, differ."""
    if isinstance(value, dict):
        return dict, [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact(item) for item in value]
    return type(value), repr(value)


def test_plain_data_comes_back_equal_and_of_the_same_classes(tmp_path: Path) -> None:
    cache: Cache[Any, Any] = Cache(BIG)
    for number, value in enumerate(PLAIN):
        cache[number, "value"] = value
    keys = [value for value in PLAIN if not isinstance(value, list | dict) and value not in (True, False)]
    cache.set_many((key, "key") for key in keys)
    cache.set(NAN, (NAN,))
    cache.save(tmp_path / "snapshot")
    loaded: Cache[Any, Any] = Cache(BIG)
    assert loaded.load(tmp_path / "snapshot") == len(cache)
    for number, value in enumerate(PLAIN):
        assert exact(loaded[number, "value"]) == exact(value)
    assert [key for key in keys if key not in loaded] == []
    loaded.save(tmp_path / "again")
    again: Cache[Any, Any] = Cache(BIG)
    again.load(tmp_path / "again")
    assert len(again) == len(cache)


def test_a_nan_comes_back_as_one(tmp_path: Path) -> None:
    cache: Cache[str, float] = Cache(BIG)
    cache["key"] = NAN
    cache.save(tmp_path / "snapshot")
    loaded: Cache[str, float] = Cache(BIG)
    loaded.load(tmp_path / "snapshot")
    assert math.isnan(loaded["key"])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Point(1), "Point"), ({1}, "set"), (1j, "complex"), (Integer(1), "Integer"), (bytearray(b"secret"), "bytearray"),
        ([{"a": (Point(1),)}], "Point"), ({Point(1): 1}, "Point"), (object, "type"), (print, "builtin_function_or_method"),
    ],
)  # fmt: skip
def test_other_objects_are_refused_by_their_class_and_the_old_file_stays(value: Any, name: str, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(b"older")
    cache: Cache[Any, Any] = Cache(BIG)
    cache.set_many((number, number) for number in range(1000))
    cache["key"] = value
    with pytest.raises(TypeError, match=f"a value holds an object of class {name}.*give save an encode= of your own"):
        cache.save(path)
    if not isinstance(value, list | dict | set | bytearray):
        cache.clear()
        cache[value] = 1
        with pytest.raises(TypeError, match=f"a key holds an object of class {name}, and a file takes None"):
            cache.save(path)
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]


def nested(depth: int, kind: Callable[[Any], Any]) -> Any:
    value: Any = None
    for _ in range(depth):
        value = kind(value)
    return value


@pytest.mark.parametrize("kind", [lambda item: [item], lambda item: (item,), lambda item: {"a": item}])
def test_data_nests_a_hundred_deep_and_no_deeper(kind: Callable[[Any], Any], tmp_path: Path) -> None:
    cache: Cache[str, Any] = Cache(BIG)
    cache["key"] = nested(99, kind)
    cache.save(tmp_path / "snapshot")
    loaded: Cache[str, Any] = Cache(BIG)
    loaded.load(tmp_path / "snapshot")
    assert loaded["key"] == cache["key"]
    for depth in (100, 100_000):
        cache["key"] = nested(depth, kind)
        with pytest.raises(errors.InvalidArgument, match="nests at most 100 deep"):
            cache.save(tmp_path / "snapshot")
    loop: list[Any] = []
    loop.append(loop)
    cache["key"] = loop
    with pytest.raises(errors.InvalidArgument, match="nests at most 100 deep"):
        cache.save(tmp_path / "snapshot")


@pytest.mark.parametrize("policy", POLICIES)
def test_values_of_any_class_are_saved_by_the_users_own_code(policy: str, tmp_path: Path) -> None:
    cache: Cache[int, Point] = Cache(BIG, policy=policy)
    cache.set_many((number, Point(number)) for number in range(600))
    cache.save(tmp_path / "snapshot", encode=lambda point: json.dumps(point.x).encode())
    loaded: Cache[int, Point] = Cache(BIG, policy=policy)
    assert loaded.load(tmp_path / "snapshot", decode=lambda content: Point(json.loads(content))) == 600
    assert loaded.get_many(range(600)) == cache.get_many(range(600))


def test_what_encode_and_decode_raise_or_return_amiss_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    cache: Cache[int, Any] = Cache(BIG)
    cache.set_many((number, number) for number in range(600))
    with pytest.raises(ZeroDivisionError):
        cache.save(path, encode=lambda value: b"%d" % (1 // (599 - value)))
    with pytest.raises(TypeError, match="what encode returns must be exactly bytes, not str"):
        cache.save(path, encode=str)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    cache.save(path, encode=lambda value: b"%d" % value)
    before = repr(cache.stats())
    with pytest.raises(ZeroDivisionError):
        cache.load(path, decode=lambda content: 1 // (599 - int(content)))
    with pytest.raises(errors.SnapshotError, match="saved with encode=: give load the decode="):
        cache.load(path)
    cache.save(path)
    with pytest.raises(errors.SnapshotError, match="saved without encode=: load it without decode="):
        cache.load(path, decode=int)
    assert repr(cache.stats()) == before


def test_a_file_of_the_other_class_is_refused(tmp_path: Path) -> None:
    objects: Cache[str, bytes] = Cache(BIG)
    plain = BytesCache(BIG)
    for cache, other in ((objects, plain), (plain, objects)):
        cache.set("key", b"value")
        cache.save(tmp_path / "snapshot")
        with pytest.raises(errors.SnapshotError, match="the other kind of cache"):
            other.load(tmp_path / "snapshot")


@pytest.mark.parametrize("policy", POLICIES)
def test_encode_and_decode_may_change_the_very_cache(policy: str, tmp_path: Path) -> None:
    cache: Cache[int, int] = Cache(BIG, policy=policy)
    calls = 0

    def encode(value: int) -> bytes:
        nonlocal calls
        calls += 1
        cache[10_000 + calls] = value
        cache.delete(value + 1)
        if calls == 300:
            cache.clear()
        if calls == 310:
            cache.save(tmp_path / "inner")
        return b"%d" % value

    cache.set_many((number, number) for number in range(1000))
    stats = cache.stats().sets
    cache.save(tmp_path / "snapshot", encode=encode)
    assert cache.stats().sets > stats, "statistics go on"
    balance(cache.stats())

    def decode(content: bytes) -> int:
        cache.clear()
        cache[0] = -1
        return int(content)

    assert cache.load(tmp_path / "snapshot", decode=decode) > 0
    loaded: Cache[int, int] = Cache(BIG)
    loaded.load(tmp_path / "snapshot", decode=int)
    assert all(loaded[key] == key for key in range(1000) if key in loaded)
    balance(cache.stats())
