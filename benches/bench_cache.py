"""cache: hits, misses and sets of `BytesCache` under a Zipf-like load, many in one crossing, snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sparecall.cache import BytesCache

from .common import Benchmark

KEYS = 5_000
VALUE = b"x" * 200
ENTRY = 36 + 200 + 64


class Load(Benchmark):
    """Equal copies of the stored keys, hashed once, as keys that come from outside are."""

    params = ([None, 300.0],)
    param_names = ("ttl",)

    def setup(self, ttl: float | None) -> None:
        super().setup()
        names = [f"{self.random.getrandbits(144):036x}" for _ in range(2 * KEYS)]
        self.hits, self.misses = names[:KEYS], names[KEYS:]
        self.cache = BytesCache(1 << 30, ttl=ttl)
        self.cache.set_many((str(bytes(key, "ascii"), "ascii"), VALUE) for key in self.hits)
        self.zipf = self.random.choices(names, [1 / rank for rank in range(1, 2 * KEYS + 1)], k=20_000)
        for key in names:
            hash(key)


class Read(Load):
    def time_get_5000_hits(self, ttl: float | None) -> None:
        get = self.cache.get
        for key in self.hits:
            get(key)

    def time_subscript_5000_hits(self, ttl: float | None) -> None:
        cache = self.cache
        for key in self.hits:
            cache[key]

    def time_get_5000_misses(self, ttl: float | None) -> None:
        get = self.cache.get
        for key in self.misses:
            get(key)

    def time_get_many_5000_by_64(self, ttl: float | None) -> None:
        for start in range(0, KEYS, 64):
            self.cache.get_many(self.hits[start : start + 64])


class Write(Load):
    def setup(self, ttl: float | None) -> None:
        super().setup(ttl)
        self.small = BytesCache(1_000 * ENTRY, ttl=ttl)

    def time_set_20000_with_eviction(self, ttl: float | None) -> None:
        store = self.small.set
        for key in self.zipf:
            store(key, VALUE)

    def track_hit_ratio_of_zipf(self, ttl: float | None) -> float:
        cache = BytesCache(1_000 * ENTRY, ttl=ttl)
        for key in self.zipf:
            if cache.get(key) is None:
                cache.set(key, VALUE)
        return cache.stats().hits / len(self.zipf)


class Snapshot(Load):
    def setup(self, ttl: float | None) -> None:
        super().setup(ttl)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "snapshot"
        self.cache.save(self.path)

    def teardown(self, ttl: float | None) -> None:
        self.folder.cleanup()
        super().teardown(ttl)

    def time_save_5000(self, ttl: float | None) -> None:
        self.cache.save(self.path)

    def time_load_5000(self, ttl: float | None) -> None:
        BytesCache(1 << 30).load(self.path)

    def track_bytes_per_entry(self, ttl: float | None) -> float:
        return self.path.stat().st_size / KEYS
