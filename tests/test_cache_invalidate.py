"""Both caches: tags, prefixes of paths, and the sweep that removes what is over."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from caches import BIG, CLASSES, POLICIES, Clock, balance
from sparecall import errors
from sparecall.cache import Cache

both = pytest.mark.parametrize("kind", CLASSES)
every_policy = pytest.mark.parametrize("policy", POLICIES)

NAMES = ["", "ascii", "café", "Ωmega", "😀", "\ud800 lone", "long " * 50, "a\0b"]


@both
@every_policy
def test_a_tag_invalidates_all_that_carry_it_and_nothing_else(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    cache.set("a", b"", tags=["red", "round"])
    cache.set("b", b"", tags=("red", "red"))
    cache.set("c", b"", tags={"round"})
    cache.set("d", b"")
    assert cache.invalidate_tag("red") == 2
    assert cache.invalidate_tag("red") == 0
    assert cache.invalidate_tag("unheard of") == 0
    assert [key for key in "abcd" if key in cache] == ["c", "d"]
    assert cache.get_many("abcd") == [None, None, b"", b""]
    assert cache.delete("a") is False
    balance(cache.stats())


@both
@every_policy
def test_an_entry_that_is_set_again_is_free_of_its_old_tags(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    cache.set("a", b"1", tags=["old"])
    cache.set("a", b"2", tags=["new"])
    assert cache.invalidate_tag("old") == 0
    assert cache["a"] == b"2"
    assert cache.invalidate_tag("new") == 1
    cache.set("a", b"3", tags=["new"])
    assert cache["a"] == b"3", "a tag lives on with those that carry it later"
    assert cache.invalidate_tag("new") == 1
    assert "a" not in cache


@both
@pytest.mark.parametrize("name", NAMES)
def test_every_text_is_a_tag(kind: Any, name: str) -> None:
    cache = kind(BIG)
    cache.set("a", b"", tags=[(name + "!")[:-1]])
    cache.set("b", b"", tags=[name + "x"])
    assert cache.invalidate_tag(name) == 1
    assert [key for key in "ab" if key in cache] == ["b"]


@both
@pytest.mark.parametrize("tags", ["text", 5, [1], [b"x"], [None], [["x"]], ["fine", 1]])
def test_tags_are_an_iterable_of_str(kind: Any, tags: Any) -> None:
    cache = kind(BIG)
    with pytest.raises(TypeError, match=r"str|iterable"):
        cache.set("key", b"", tags=tags)
    with pytest.raises(TypeError, match=r"str|iterable"):
        cache.set_many({"key": b""}, tags=tags)
    assert len(cache) == 0
    with pytest.raises(TypeError, match="a tag must be exactly str, not bytes"):
        cache.invalidate_tag(b"x")


@both
def test_tags_that_raise_half_way_store_nothing(kind: Any) -> None:
    cache = kind(BIG)
    with pytest.raises(ZeroDivisionError):
        cache.set("key", b"", tags=(str(1 // (2 - number)) for number in range(5)))
    assert len(cache) == 0


@both
@every_policy
def test_what_was_invalidated_leaves_while_others_are_set(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    cache.set_many(((f"old/{number}", b"") for number in range(300)), tags=["old"])
    cache.invalidate_tag("old")
    cache.invalidate_prefix("none such")
    for number in range(300):
        cache.set(f"new/{number}", b"")
    assert len(cache) == 300
    assert cache.stats().evictions["invalidated"] == 300


@both
@every_policy
def test_a_sweep_removes_what_is_over_in_steps(kind: Any, policy: str) -> None:
    clock = Clock()
    cache = kind(BIG, policy=policy, clock=clock)
    cache.set_many(((f"{number}", b"") for number in range(100)), ttl=1)
    cache.set_many(((f"tagged {number}", b"") for number in range(100)), tags=["tag"])
    cache.set_many((f"path/{number}", b"") for number in range(100))
    cache.set("kept", b"")
    assert cache.sweep() == 0
    clock.now += 2
    cache.invalidate_tag("tag")
    cache.invalidate_prefix("path")
    assert cache.sweep(limit=0) == 0
    before = len(cache)
    removed = cache.sweep(limit=10)
    assert removed == before - len(cache) <= 20
    while cache.sweep(limit=100):
        balance(cache.stats())
    assert len(cache) == 1
    assert cache.stats().evictions == {"size": 0, "expired": 100, "replaced": 0, "deleted": 0, "invalidated": 200}
    assert cache.sweep(limit=2**63) == 0


@both
@every_policy
def test_a_prefix_ends_where_a_part_of_the_path_does(kind: Any, policy: str) -> None:
    keys = ["team", "team/", "team/a", "team/a/b", "team//", "teams", "teams/a", "tea", "", "/team", "other/team"]
    cache = kind(BIG, policy=policy)
    left = {}
    for prefix in ("team", "team/", "team/a", "/", "teams/a", "x"):
        cache.set_many((key, b"") for key in keys)
        cache.invalidate_prefix(prefix)
        left[prefix] = [key for key in keys if key not in cache]
        assert cache.get_many(keys).count(None) == len(left[prefix])
        balance(cache.stats())
    assert left == {
        "team": ["team", "team/", "team/a", "team/a/b", "team//"],
        "team/": ["team/", "team/a", "team/a/b", "team//"],
        "team/a": ["team/a", "team/a/b"],
        "/": ["/team"],
        "teams/a": ["teams/a"],
        "x": [],
    }


@both
@pytest.mark.parametrize("name", [name for name in NAMES if name])
@pytest.mark.parametrize("rest", ["a", "é", "Ω", "😀"])
def test_a_prefix_and_a_path_may_differ_in_the_width_of_their_characters(kind: Any, name: str, rest: str) -> None:
    cache = kind(BIG)
    gone, kept = [name, f"{name}/{rest}", f"{name}/{rest}/{rest}"], [name + rest, f"z{rest}/{name}"]
    cache.set_many((key, b"") for key in gone + kept)
    cache.invalidate_prefix((name + rest)[: len(name)])
    assert [key for key in gone + kept if key in cache] == kept


@both
def test_only_texts_have_prefixes(kind: Any) -> None:
    cache = kind(BIG)
    digest = b"team/a----------"
    cache.set(digest, b"")
    cache.set(digest.decode(), b"")
    if kind is Cache:
        cache.set(("team", "a"), b"")
        cache.set(b"team/a", b"")
    cache.invalidate_prefix("team")
    assert digest in cache
    assert digest.decode() not in cache
    assert len(cache) == (3 if kind is Cache else 1)


@both
def test_what_is_set_after_a_prefix_was_invalidated_stays(kind: Any) -> None:
    cache = kind(BIG)
    cache.set("team/a", b"old")
    cache.set("team/b", b"old")
    for _ in range(3):
        cache.invalidate_prefix("team")
        cache.set("team/a", b"new")
        assert cache["team/a"] == b"new"
    assert "team/b" not in cache
    cache.invalidate_prefix("team/a")
    assert "team/a" not in cache


@both
def test_an_empty_prefix_is_refused_and_so_is_what_is_no_text(kind: Any) -> None:
    cache = kind(BIG)
    cache.set("a", b"")
    with pytest.raises(errors.InvalidArgument, match=r"an empty prefix names no path: use clear\(\)"):
        cache.invalidate_prefix("")
    for prefix in (b"a", None, 5):
        with pytest.raises(TypeError, match="prefix must be exactly str"):
            cache.invalidate_prefix(prefix)
    assert "a" in cache


@both
@every_policy
def test_thousands_of_tags_and_prefixes_keep_apart_what_is_live(kind: Any, policy: str) -> None:
    cache = kind(BIG, policy=policy)
    for number in range(3000):
        cache.set(f"team {number % 700}/x", b"%d" % number, tags=[f"tag {number % 41}", f"own {number}"])
        if number % 3 == 0:
            cache.invalidate_prefix(f"team {number % 7 * 100}")
        if number % 5 == 0:
            cache.invalidate_tag(f"tag {(number + 20) % 41}")
        if number % 11 == 0:
            cache.invalidate_tag(f"own {number}")
            assert f"team {number % 700}/x" not in cache
    balance(cache.stats())
    model = expected(3000)
    assert [key for key in (f"team {number}/x" for number in range(700)) if key in cache] == sorted(
        model, key=lambda key: int(key[5:-2])
    )
    assert all(cache[key] == value for key, value in model.items())


def expected(steps: int) -> dict[str, bytes]:
    """The live entries of the test above, by the book."""
    live: dict[str, tuple[bytes, int]] = {}
    for number in range(steps):
        live[f"team {number % 700}/x"] = (b"%d" % number, number % 41)
        if number % 3 == 0:
            live.pop(f"team {number % 7 * 100}/x", None)
        if number % 5 == 0:
            live = {key: entry for key, entry in live.items() if entry[1] != (number + 20) % 41}
        if number % 11 == 0:
            live.pop(f"team {number % 700}/x", None)
    return {key: value for key, (value, _) in live.items()}


class Place(enum.StrEnum):
    ROOM = "house/room"


class Text(str):
    __slots__ = ()


def test_a_key_that_equals_a_text_leaves_with_its_prefix() -> None:
    cache: Cache[str, int] = Cache(BIG)
    cache[Place.ROOM] = 1
    cache[Text("house/hall")] = 2
    assert cache.get_many(["house/room", "house/hall"]) == [1, 2]
    cache.invalidate_prefix("house")
    assert cache.get_many(["house/room", "house/hall"]) == [None, None]


@both
def test_an_invalidated_entry_gives_its_room_away(kind: Any) -> None:
    cache = kind(3 if kind is Cache else 3 * (64 + 1) + 32 + 1, policy="lru")
    for key, tags in (("a", []), ("b", ["t"]), ("c", [])):
        cache.set(key, b"", tags=tags)
    cache.invalidate_tag("t")
    cache.set("d", b"")
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]
    assert cache.stats().evictions["invalidated"] == 1
