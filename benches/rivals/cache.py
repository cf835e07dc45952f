"""Reads and writes sparecall's `BytesCache`, dict, cachebox, lru-dict, moka-py and cachetools in turns; prints one table.

The keys asked for are equal copies of the stored ones, not the same objects, and their hashes are known, as in a dict
that meets a key again. Nanoseconds a call, loop overhead (an empty loop, measured beside) taken off; the median of
interleaved rounds.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import cachebox
import cachetools
import lru
import moka_py

import sparecall
from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS, ROUNDS = 5_000, 31
VALUE = b"x" * 200
ENTRY = 36 + 200 + 64
SMALL = 1_000
OURS = "sparecall"


def measure(loop: Callable[[], None], calls: int) -> float:
    start = time.perf_counter_ns()
    loop()
    return (time.perf_counter_ns() - start) / calls


def reading(get: Callable[[str], Any], keys: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for key in keys:
            get(key)

    return loop


def subscript(cache: Any, keys: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for key in keys:
            cache[key]

    return loop


def by_subscript(cache: Any, keys: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for key in keys:
            cache[key] = VALUE

    return loop


def by_method(store: Callable[[str, bytes], Any], keys: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for key in keys:
            store(key, VALUE)

    return loop


def many(cache: BytesCache, keys: list[str]) -> Callable[[], None]:
    batches = [keys[start : start + 64] for start in range(0, len(keys), 64)]

    def loop() -> None:
        for batch in batches:
            cache.get_many(batch)

    return loop


def empty(keys: list[str]) -> Callable[[], None]:
    def loop() -> None:
        for _key in keys:
            pass

    return loop


def caches(entries: int) -> dict[str, Any]:
    """Every contender with room for that many entries."""
    return {
        OURS: BytesCache(entries * ENTRY),
        f"{OURS}, ttl": BytesCache(entries * ENTRY, ttl=300),
        "dict (no bound)": {},
        "cachebox LRU": cachebox.LRUCache(entries),
        "cachebox TTL (FIFO)": cachebox.TTLCache(entries, 300),
        "lru-dict": lru.LRU(entries),
        "moka-py": moka_py.Moka(entries),
        "cachetools LRU": cachetools.LRUCache(entries),
    }


def writing(cache: Any, keys: list[str]) -> Callable[[], None]:
    """Write by the cache's own method for it, by subscript where it has none."""
    store = getattr(cache, "set", None) or getattr(cache, "insert", None)
    return by_method(store, keys) if store else by_subscript(cache, keys)


def contests() -> dict[tuple[str, str], tuple[Callable[[], None], int]]:
    """By contender and column: a loop and how many calls it makes. Answers are compared before a time is believed."""
    seeded = random.Random(0)
    names = [f"{seeded.getrandbits(144):036x}" for _ in range(2 * KEYS)]
    stored, missing = names[:KEYS], names[KEYS:]
    asked = ["".join(list(name)) for name in stored]
    weights = [1 / rank for rank in range(1, 2 * KEYS + 1)]
    zipf = seeded.choices(["".join(list(name)) for name in names], weights, k=20_000)
    for key in [*asked, *missing, *zipf]:
        hash(key)
    loops: dict[tuple[str, str], tuple[Callable[[], None], int]] = {("", "loop"): (empty(asked), KEYS)}
    for name, cache in caches(2 * KEYS).items():
        writing(cache, stored)()
        assert all(cache.get(key) == VALUE for key in asked)
        assert not any(cache.get(key) for key in missing)
        loops[name, "get, hit"] = reading(cache.get, asked), KEYS
        loops[name, "get, miss"] = reading(cache.get, missing), KEYS
        if hasattr(cache, "__getitem__"):
            loops[name, "cache[key]"] = subscript(cache, asked), KEYS
        if isinstance(cache, BytesCache):
            loops[name, "get_many(64), a key"] = many(cache, asked), KEYS
    for name, cache in caches(SMALL).items():
        loops[name, "set, Zipf"] = writing(cache, zipf), len(zipf)
    return loops


def main() -> None:
    """Print the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    loops = contests()
    times: dict[tuple[str, str], list[float]] = {at: [] for at in loops}
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for at, (loop, calls) in loops.items():
            times[at].append(measure(loop, calls))
    overhead = statistics.median(times.pop(("", "loop")))
    cost = {at: statistics.median(rounds) - overhead for at, rounds in times.items()}
    columns = ["get, hit", "cache[key]", "get, miss", "set, Zipf", "get_many(64), a key"]
    print(
        f"ns a call, {KEYS} str keys of 36 characters; set into {SMALL} entries; in brackets the ratio to sparecall\n"
    )
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for name in caches(1):
        cells = [
            f"{cost[name, column]:.0f} ({cost[name, column] / cost[OURS, column]:.2f})"
            if (name, column) in cost
            else ""
            for column in columns
        ]
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
