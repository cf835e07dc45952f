"""Both caches: lives of entries, jitter and clocks."""

from __future__ import annotations

import time
from typing import Any

import pytest

from caches import BIG, CLASSES, FOREVER, POLICIES, Clock, balance, fill
from sparecall import errors

both = pytest.mark.parametrize("kind", CLASSES)
every_policy = pytest.mark.parametrize("policy", POLICIES)


@both
@pytest.mark.parametrize("ttl", [-1.0, float("nan"), float("-inf"), -5e-324])
def test_a_life_outside_its_range_is_refused(kind: Any, ttl: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        kind(BIG, ttl=ttl)
    cache = kind(BIG)
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        cache.set("key", b"value", ttl=ttl)
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        cache.set_many({"key": b"value"}, ttl=ttl)
    assert len(cache) == 0


@both
@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), FOREVER])
def test_a_jitter_outside_its_range_is_refused(kind: Any, jitter: float) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"jitter.*from 0 to 1"):
        kind(BIG, jitter=jitter)


@both
@every_policy
def test_each_entry_has_its_own_life(kind: Any, policy: str) -> None:
    clock = Clock()
    cache = kind(BIG, policy=policy, ttl=10, clock=clock)
    cache.set("default", b"")
    cache.set("short", b"", ttl=5)
    cache.set("long", b"", ttl=20)
    cache.set("endless", b"", ttl=FOREVER)
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
    assert (cache.get("short"), cache.delete("long")) == (None, False)
    assert cache.stats().evictions["expired"] == 2
    assert cache.set("short", b"again")
    assert cache["short"] == b"again"


@both
@every_policy
def test_expired_entries_leave_by_themselves_while_others_are_set(kind: Any, policy: str) -> None:
    clock = Clock()
    cache = kind(BIG, policy=policy, clock=clock)
    cache.set_many(((f"old {number}", b"") for number in range(200)), ttl=5)
    clock.now += 6
    for number in range(200):
        cache.set(f"new {number}", b"")
    assert len(cache) == 200
    assert cache.stats().evictions["expired"] == 200


@both
def test_a_life_of_zero_removes_what_was_there(kind: Any) -> None:
    cache = kind(BIG)
    cache.set("key", b"old")
    assert cache.set("key", b"new", ttl=0) is False
    assert cache.get("key") is None


@both
def test_a_clock_set_back_lengthens_lives_and_breaks_nothing(kind: Any) -> None:
    clock = Clock()
    cache = kind(BIG, ttl=10, clock=clock)
    clock.now = 1e6
    cache.set("later", b"")
    clock.now = 0.0
    cache.set("earlier", b"")
    clock.now = 9.9
    assert ("earlier" in cache, "later" in cache) == (True, True)
    clock.now = 10.0
    assert ("earlier" in cache, "later" in cache) == (False, True)
    clock.now = 1e6 + 10
    assert cache.get_many(["earlier", "later"]) == [None, None]
    balance(cache.stats())


@both
def test_without_a_clock_of_its_own_time_passes_all_the_same(kind: Any) -> None:
    cache = kind(BIG, ttl=0.02)
    cache.set("key", b"value")
    deadline = time.monotonic() + 10
    while "key" in cache:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ends(cache: Any, clock: Clock, entries: int) -> list[int]:
    """The tenth of a second at which each entry of `fill` is first gone."""
    fill(cache, entries)
    gone: dict[str, int] = {}
    for tenth in range(102):
        for number in range(entries):
            if f"{number:04}" not in cache:
                gone.setdefault(f"{number:04}", tenth)
        clock.now += 0.1
    return [gone[key] for key in sorted(gone)]


@both
def test_jitter_spreads_lives_over_its_share_the_same_for_the_same_seed(kind: Any) -> None:
    def run(jitter: float, seed: int) -> list[int]:
        clock = Clock()
        return ends(kind(BIG, ttl=10, jitter=jitter, seed=seed, clock=clock), clock, 200)

    first = run(0.5, 1)
    assert len(first) == 200
    assert 50 <= min(first) <= 55
    assert 95 <= max(first) <= 101
    assert first == run(0.5, 1)
    assert first != run(0.5, 2)
    assert set(run(0.0, 1)) <= {100, 101}


@both
@pytest.mark.parametrize("reading", [-1.0, float("nan"), FOREVER])
def test_a_clock_that_tells_no_time_is_refused(kind: Any, reading: float) -> None:
    cache = kind(BIG, clock=lambda: reading)
    with pytest.raises(errors.InvalidArgument, match="clock"):
        cache.get("key")


@both
@pytest.mark.parametrize("reading", ["text", None, b""])
def test_a_clock_that_returns_no_number_is_refused(kind: Any, reading: Any) -> None:
    cache = kind(BIG, clock=lambda: reading)
    with pytest.raises(TypeError):
        cache.set("key", b"value")
    assert len(cache) == 0


@both
def test_a_clock_must_be_callable(kind: Any) -> None:
    with pytest.raises(TypeError, match="clock must be a callable"):
        kind(BIG, clock=5)
