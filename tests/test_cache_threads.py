"""Both caches under many threads: no wrong value, books that balance, a bound that holds whenever anybody looks."""

from __future__ import annotations

import gc
import random
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from caches import CLASSES, POLICIES, balance, cache_of
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

THREADS = 4


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    """Threads take turns, and objects are collected, as often as the interpreter can."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-5)
    gc.set_threshold(10, 5, 50)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


def together(*works: Callable[[], object]) -> None:
    """Runs them at once; what one of them raises comes out."""
    start = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised below
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def hammer(cache: Any, seed: int, steps: int, folder: Path) -> None:
    rng = random.Random(seed)
    for step in range(steps):
        key = f"{rng.randrange(40):04}"
        found = cache.get(key)
        assert found in (None, key.encode())
        cache.set(
            key, key.encode(), ttl=rng.choice([None, 0.0005, 60]), cost=rng.random(), tags=rng.choice([(), ["t"]])
        )
        if step % 10 == 0:
            keys = [f"{rng.randrange(40):04}" for _ in range(5)]
            cache.set_many((key, key.encode()) for key in keys)
            found = cache.get_many(keys)
            assert all(value in (None, key.encode()) for key, value in zip(keys, found, strict=True))
            rng.choice([partial(cache.delete_many, keys), partial(cache.invalidate_tag, "t"), cache.sweep])()
        if step % 200 == 0:
            cache.invalidate_prefix(key)
            cache.save(folder / f"{seed}")
            cache.load(folder / f"{seed}")
            rng.choice([cache.clear, gc.collect])()


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("policy", POLICIES)
def test_threads_see_no_wrong_value_and_no_broken_bound(kind: Any, policy: str, tmp_path: Path) -> None:
    cache = cache_of(15, kind, policy=policy)
    done = threading.Event()
    looks = 0

    def look() -> None:
        nonlocal looks
        while not done.is_set():
            balance(cache.stats())
            looks += 1

    reader = threading.Thread(target=look)
    reader.start()
    try:
        together(*(partial(hammer, cache, seed, 600, tmp_path) for seed in range(THREADS)))
    finally:
        done.set()
        reader.join()
    assert looks > 0
    balance(cache.stats())
    stats = cache.stats()
    assert stats.hits + stats.misses == THREADS * (600 + 60 * 5)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_set_of_every_thread_is_counted_once(kind: Any, policy: str) -> None:
    cache = cache_of(1000, kind, policy=policy)

    def work(seed: int) -> None:
        for step in range(1000):
            assert cache.set(f"{step % 100:04}", b"%04d" % seed)

    together(*(partial(work, seed) for seed in range(THREADS)))
    stats = cache.stats()
    assert (stats.sets, stats.entries, stats.evictions["replaced"]) == (4000, 100, 3900)
    assert (
        len(set(cache.get_many(f"{number:04}" for number in range(100))) - {b"%04d" % seed for seed in range(4)}) == 0
    )


class Slow:
    """Equal by number; a comparison runs Python code, so that other threads come in between."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 2

    def __eq__(self, other: object) -> bool:
        return [self.number] == [getattr(other, "number", None)]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_equal_key_is_never_there_twice_however_slow_its_comparison(policy: str) -> None:
    cache: Cache[Slow, int] = Cache(1000, policy=policy)
    keys = [Slow(number) for number in range(12)]

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            number = rng.randrange(12)
            key = rng.choice([keys[number], Slow(number)])
            if rng.random() < 0.6:
                cache.set(key, number)
            else:
                cache.delete(key)
            assert cache.get(key) in (None, number)

    together(*(partial(work, seed) for seed in range(THREADS)))
    for number in range(12):
        cache.delete(Slow(number))
    assert len(cache) == 0, "two of one key would leave one behind"
    balance(cache.stats())


def test_one_thread_in_a_comparison_holds_no_other_up() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Waiting:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            entered.set()
            assert leave.wait(60)
            return False

    cache: Cache[object, int] = Cache(10)
    cache[Waiting()] = 1

    def other() -> None:
        assert entered.wait(60)
        cache["free"] = 2
        assert (cache["free"], len(cache)) == (2, 2)
        gc.collect()
        cache.stats()
        leave.set()

    together(lambda: cache.get(1 + 0j), other)


def test_values_that_leave_in_one_thread_end_in_it() -> None:
    ends: list[int] = []

    class Value:
        def __del__(self) -> None:
            ends.append(threading.get_ident())

    cache: Cache[int, Value] = Cache(1, policy="lru")

    def work() -> None:
        for step in range(100):
            cache[step] = Value()

    together(work, work)
    assert len(ends) == 199
    assert len(cache) == 1


def test_two_caches_that_write_into_each_other_hang_nobody() -> None:
    class Value:
        def __init__(self, other: Cache[int, object]) -> None:
            self.other = other

        def __del__(self) -> None:
            self.other[random.randrange(5)] = b""

    one: Cache[int, object] = Cache(3)
    other: Cache[int, object] = Cache(3)

    def work(mine: Cache[int, object], yours: Cache[int, object]) -> None:
        for step in range(500):
            mine[step % 7] = Value(yours)

    together(lambda: work(one, other), lambda: work(other, one), lambda: work(one, one))
    for cache in (one, other):
        cache.clear()
        balance(cache.stats())


def test_digests_and_texts_of_many_threads_stay_apart() -> None:
    cache = BytesCache(1 << 20)

    def work(seed: int) -> None:
        for step in range(500):
            digest = bytes([seed]) * 15 + bytes([step % 200])
            cache.set(digest, digest)
            cache.set(digest.decode("latin-1"), b"text")
            assert cache.get(digest) in (None, digest)
            assert cache.get(digest.decode("latin-1")) in (None, b"text")

    together(*(partial(work, seed) for seed in range(THREADS)))
    balance(cache.stats())
