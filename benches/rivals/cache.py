"""Reads and writes sparecall's caches, dict, cachebox, lru-dict, moka-py, cachetools and theine in turns; prints tables.

Four kinds of key; those asked for are equal copies of the stored ones, not the same objects, and hashes that an object keeps are
known, as in a dict that meets a key again. Nanoseconds of the thread's own time a call, loop overhead (an empty loop, measured beside) taken off; the
median of interleaved rounds, whose order rotates, each after a round of warming up. `--memory` fills each with a million
entries instead, in a process of its own, and prints bytes an entry.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cachebox
import cachetools
import lru
import moka_py
import theine

import sparecall
from sparecall.cache import BytesCache, Cache

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS, ROUNDS = 5_000, 21
VALUE = b"x" * 200
ENTRY = 36 + 200 + 64
SMALL = 1_000
MILLION = 1_000_000
OURS = "sparecall `Cache`, lru"
OBJECTS = "a list of the keys and values"
KINDS = ("str", "bytes", "int", "tuple")


class Theine:
    """Under the names of the others."""

    def __init__(self, entries: int) -> None:
        self._cache: theine.Cache[Any, Any] = theine.Cache(entries)
        self.set = self._cache.set

    def get(self, key: Any) -> Any:
        """Its `get` gives the value and whether there was one."""
        return self._cache.get(key)[0]


MAKERS: dict[str, Callable[[int], Any]] = {
    OURS: lambda entries: Cache(entries, policy="lru"),
    "sparecall `Cache`, adaptive": Cache,
    "sparecall `Cache`, adaptive, ttl": lambda entries: Cache(entries, ttl=300),
    "sparecall `BytesCache`, lru": lambda entries: BytesCache(entries * ENTRY, policy="lru"),
    "sparecall `BytesCache`, adaptive, ttl": lambda entries: BytesCache(entries * ENTRY, ttl=300),
    "dict (no bound)": lambda _entries: {},
    "cachebox LRU": cachebox.LRUCache,
    "cachebox TTL (FIFO)": lambda entries: cachebox.TTLCache(entries, 300),
    "lru-dict": lru.LRU,
    "moka-py": moka_py.Moka,
    "cachetools LRU": cachetools.LRUCache,
    "cachetools TTL": lambda entries: cachetools.TTLCache(entries, 300),
    "theine": Theine,
}


def keys(kind: str) -> list[Any]:
    """Twice as many as are stored."""
    seeded = random.Random(0)
    names = [f"{seeded.getrandbits(144):036x}" for _ in range(2 * KEYS)]
    if kind == "str":
        return names
    if kind == "bytes":
        return [name[:32].encode() for name in names]
    if kind == "int":
        return seeded.sample(range(1 << 20), 2 * KEYS)
    return [(name, number) for number, name in enumerate(names)]


def copy(key: Any) -> Any:
    """An equal key that shares no object with it, its hash known where objects keep theirs."""
    if isinstance(key, tuple):
        return tuple(map(copy, key))
    made = "".join(list(key)) if isinstance(key, str) else int(str(key)) if isinstance(key, int) else bytes(list(key))
    hash(made)
    return made


def reading(get: Callable[[Any], Any], asked: list[Any]) -> Callable[[], None]:
    def loop() -> None:
        for key in asked:
            get(key)

    return loop


def subscript(cache: Any, asked: list[Any]) -> Callable[[], None]:
    def loop() -> None:
        for key in asked:
            cache[key]

    return loop


def assigning(cache: Any, asked: list[Any]) -> Callable[[], None]:
    def loop() -> None:
        for key in asked:
            cache[key] = VALUE

    return loop


def calling(store: Callable[[Any, bytes], Any], asked: list[Any]) -> Callable[[], None]:
    def loop() -> None:
        for key in asked:
            store(key, VALUE)

    return loop


def many(cache: Any, asked: list[Any]) -> Callable[[], None]:
    batches = [asked[start : start + 64] for start in range(0, len(asked), 64)]

    def loop() -> None:
        for batch in batches:
            cache.get_many(batch)

    return loop


def empty(asked: list[Any]) -> Callable[[], None]:
    def loop() -> None:
        for _key in asked:
            pass

    return loop


def writer(cache: Any) -> Callable[[Any, bytes], Any] | None:
    return getattr(cache, "set", None) or getattr(cache, "insert", None)


def contests(kind: str) -> dict[tuple[str, str], tuple[Callable[[], None], int]]:
    """By contender and column: a loop and how many calls it makes. Answers are compared before a time is believed."""
    names = keys(kind)
    stored, missing = names[:KEYS], names[KEYS:]
    asked = [copy(key) for key in stored]
    weights = [1 / rank for rank in range(1, 2 * KEYS + 1)]
    zipf = random.Random(1).choices([copy(key) for key in names], weights, k=20_000)
    loops: dict[tuple[str, str], tuple[Callable[[], None], int]] = {}
    for name, make in MAKERS.items():
        if "Bytes" in name and kind in {"int", "tuple"}:
            continue
        loops[name, "loop"] = empty(asked), KEYS
        cache, small = make(2 * KEYS), make(SMALL)
        store = writer(cache)
        (calling(store, stored) if store else assigning(cache, stored))()
        assert all(cache.get(key) == VALUE for key in asked)
        assert not any(cache.get(key) for key in missing)
        loops[name, "get, hit"] = reading(cache.get, asked), KEYS
        loops[name, "get, miss"] = reading(cache.get, missing), KEYS
        if hasattr(cache, "__getitem__"):
            loops[name, "cache[key]"] = subscript(cache, asked), KEYS
            loops[name, "cache[key] = value"] = assigning(small, zipf), len(zipf)
        if hasattr(cache, "get_many"):
            loops[name, "get_many(64), a key"] = many(cache, asked), KEYS
        if (store := writer(small)) is not None:
            loops[name, "set"] = calling(store, zipf), len(zipf)
    return loops


COLUMNS = ["get, hit", "cache[key]", "get, miss", "set", "cache[key] = value", "get_many(64), a key"]


def measure(loop: Callable[[], None], calls: int) -> float:
    loop()
    start = time.thread_time_ns()
    loop()
    return (time.thread_time_ns() - start) / calls


def table(kind: str) -> None:
    loops = contests(kind)
    times: dict[tuple[str, str], list[float]] = {at: [] for at in loops}
    order = list(loops)
    gc.collect()
    gc.disable()
    for turn in range(ROUNDS):
        start = turn * len(order) // ROUNDS
        for at in order[start:] + order[:start]:
            times[at].append(measure(*loops[at]))
    gc.enable()
    median = {at: statistics.median(rounds) for at, rounds in times.items()}
    overhead = statistics.median(median[at] for at in median if at[1] == "loop")
    print(f"\n{kind} keys: ns a call; in brackets the ratio to {OURS}\n")
    print("| |", " | ".join(COLUMNS), "|")
    print("|---|" + "---|" * len(COLUMNS))
    for name in MAKERS:
        cells = []
        for column in COLUMNS:
            cost, ours = (median.get((who, column), overhead) - overhead for who in (name, OURS))
            cells.append(f"{cost:.0f} ({cost / ours:.2f})" if (name, column) in median else "")
        if any(cells):
            print(f"| {name} |", " | ".join(cells), "|", flush=True)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * 4096


def fill(name: str) -> None:
    """Prints the bytes an entry that filling a cache takes: keys of 32 bytes, values of 64, each an object of its own."""
    held: list[str | bytes] = []
    cache = None if name == OBJECTS else MAKERS[name](MILLION * 160 // ENTRY if "Bytes" in name else MILLION)
    store = (lambda key, value: held.extend((key, value))) if cache is None else writer(cache) or cache.__setitem__
    before = resident()
    for number in range(MILLION):
        store(f"{number:032}", b"%064d" % number)
    gc.collect()
    entries = len(held) // 2 if cache is None else len(cache) if hasattr(cache, "__len__") else MILLION
    print(f"{(resident() - before) / entries:.0f} bytes an entry, {entries:,} held")


def memory() -> None:
    print(f"\nMemory: {MILLION:,} entries of 32-byte keys and 64-byte values, growth of the resident set\n")
    print("| | |\n|---|---|")
    chosen = (OURS, "sparecall `Cache`, adaptive", "sparecall `BytesCache`, lru", "dict (no bound)", "cachebox LRU")
    for name in (OBJECTS, *chosen, "lru-dict", "moka-py", "theine"):
        command = [sys.executable, "-P", __file__, "--fill", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {name} | {done.stdout.strip()} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--fill", metavar="CACHE", help="one of the processes of --memory")
    options = parser.parse_args()
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    if options.fill:
        fill(options.fill)
    elif options.memory:
        memory()
    else:
        for kind in KINDS:
            table(kind)
        memory()


if __name__ == "__main__":
    main()
