"""cache: hits, misses and sets of both caches under a Zipf-like load, many in one crossing, invalidation, snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sparecall.cache import BytesCache, Cache

from .common import Benchmark

KEYS = 5_000
VALUE = b"x" * 200
ENTRY = 36 + 200 + 64
POLICIES = ("adaptive", "lru", "cost")


def made(kind: str, entries: int, **options: object) -> Cache[str, bytes] | BytesCache:
    """A cache with room for so many entries."""
    if kind == "Cache":
        return Cache(entries, **options)  # type: ignore[arg-type]
    return BytesCache(entries * ENTRY, **options)  # type: ignore[arg-type]


class Load(Benchmark):
    """Equal copies of the stored keys, hashed once, as keys that come from outside are."""

    params = (["Cache", "BytesCache"], POLICIES, [None, 300.0])
    param_names = ("kind", "policy", "ttl")

    def setup(self, kind: str, policy: str, ttl: float | None) -> None:
        super().setup()
        names = [f"{self.random.getrandbits(144):036x}" for _ in range(2 * KEYS)]
        self.hits, self.misses = names[:KEYS], names[KEYS:]
        self.cache = made(kind, 2 * KEYS, policy=policy, ttl=ttl)
        self.cache.set_many([(str(bytes(key, "ascii"), "ascii"), VALUE) for key in self.hits])
        self.zipf = self.random.choices(names, [1 / rank for rank in range(1, 2 * KEYS + 1)], k=20_000)
        for key in names:
            hash(key)


class Read(Load):
    def time_get_5000_hits(self, kind: str, policy: str, ttl: float | None) -> None:
        get = self.cache.get
        for key in self.hits:
            get(key)

    def time_subscript_5000_hits(self, kind: str, policy: str, ttl: float | None) -> None:
        cache = self.cache
        for key in self.hits:
            cache[key]

    def time_get_5000_misses(self, kind: str, policy: str, ttl: float | None) -> None:
        get = self.cache.get
        for key in self.misses:
            get(key)

    def time_get_many_5000_by_64(self, kind: str, policy: str, ttl: float | None) -> None:
        for start in range(0, KEYS, 64):
            self.cache.get_many(self.hits[start : start + 64])


class Write(Load):
    def setup(self, kind: str, policy: str, ttl: float | None) -> None:
        super().setup(kind, policy, ttl)
        self.small = made(kind, 1_000, policy=policy, ttl=ttl)

    def time_set_20000_with_eviction(self, kind: str, policy: str, ttl: float | None) -> None:
        store = self.small.set
        for key in self.zipf:
            store(key, VALUE)

    def time_set_5000_with_a_tag_and_invalidate_it(self, kind: str, policy: str, ttl: float | None) -> None:
        for key in self.hits:
            self.cache.set(key, VALUE, tags=("all",))
        self.cache.invalidate_tag("all")

    def track_hit_ratio_of_zipf(self, kind: str, policy: str, ttl: float | None) -> float:
        cache = made(kind, 1_000, policy=policy, ttl=ttl)
        for key in self.zipf:
            if cache.get(key) is None:
                cache.set(key, VALUE)
        return cache.stats().hit_ratio


class Snapshot(Load):
    params = (["Cache", "BytesCache"], ["adaptive"], [300.0])

    def setup(self, kind: str, policy: str, ttl: float | None) -> None:
        super().setup(kind, policy, ttl)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "snapshot"
        self.cache.save(self.path)

    def teardown(self, kind: str, policy: str, ttl: float | None) -> None:
        self.folder.cleanup()
        super().teardown(kind, policy, ttl)

    def time_save_5000(self, kind: str, policy: str, ttl: float | None) -> None:
        self.cache.save(self.path)

    def time_load_5000(self, kind: str, policy: str, ttl: float | None) -> None:
        self.cache.load(self.path)

    def track_bytes_an_entry_in_the_file(self, kind: str, policy: str, ttl: float | None) -> float:
        return self.path.stat().st_size / KEYS


class Compressed(Benchmark):
    """Values of 18 kB of text, as an answer's JSON may be."""

    params = ([None, 1_000],)
    param_names = ("compress_above",)

    def setup(self, compress_above: int | None) -> None:
        super().setup()
        words = ["alpha", "beta", "gamma", "delta", "cache", "model", "token", "answer"]
        self.value = " ".join(self.random.choices(words, k=3_000)).encode()
        self.cache = BytesCache(1 << 30, compress_above=compress_above)
        self.cache["key"] = self.value

    def time_100_hits(self, compress_above: int | None) -> None:
        for _ in range(100):
            self.cache["key"]

    def time_100_sets(self, compress_above: int | None) -> None:
        for _ in range(100):
            self.cache["key"] = self.value

    def track_weight_share(self, compress_above: int | None) -> float:
        return self.cache.stats().weight / len(self.value)
