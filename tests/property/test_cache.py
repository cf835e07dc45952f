"""`BytesCache` against a small model written by the book: capacity of 1 to 4 entries, a moving clock, snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = 65 + 16  # a key of one character, a value of up to 16 bytes
KEYS = st.sampled_from(["a", "b", "c", "d", "e", "é", "Ω"])
LIVES = st.sampled_from([None, 0.0, 1.0, 2.0, 5.0, float("inf")])
WIDTH = {"Ω": 2}


class Model:
    """Oldest first: key -> (value, weight, end of life). Expired entries may be there or not, so they are skipped."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.entries: dict[str, tuple[bytes, int, float]] = {}

    def get(self, key: str, now: float) -> bytes | None:
        if key in self.entries and self.entries[key][2] > now:
            self.entries[key] = self.entries.pop(key)
            return self.entries[key][0]
        return None

    def set(self, key: str, value: bytes, life: float, now: float) -> bool:
        self.entries.pop(key, None)
        weight = WIDTH.get(key, 1) + len(value) + 64
        if weight > self.max_bytes or life == 0:
            return False
        self.entries[key] = (value, weight, now + life)
        return True

    def live(self, now: float) -> Iterator[str]:
        return (key for key, entry in self.entries.items() if entry[2] > now)


class CacheMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 4), ttl=LIVES)
    def start(self, capacity: int, ttl: float | None) -> None:
        self.now = 1000.0
        self.ttl = ttl
        self.max_bytes = capacity * UNIT
        self.cache = BytesCache(self.max_bytes, ttl=ttl, clock=lambda: self.now)
        self.model = Model(self.max_bytes)

    @rule(key=KEYS, size=st.integers(0, 5 * UNIT), ttl=LIVES)
    def set(self, key: str, size: int, ttl: float | None) -> None:
        value = bytes([size % 251]) * size
        life = ttl if ttl is not None else self.ttl if self.ttl is not None else float("inf")
        assert self.cache.set(key, value, ttl=ttl) == self.model.set(key, value, life, self.now)
        self.evict()

    @rule(pairs=st.lists(st.tuples(KEYS, st.integers(0, 16)), max_size=4))
    def set_many(self, pairs: list[tuple[str, int]]) -> None:
        for key, size in pairs:  # one by one, since the model learns of evictions after each
            assert self.cache.set_many([(key, bytes(size))], ttl=5) == self.model.set(key, bytes(size), 5, self.now)
            self.evict()

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.cache.get(key) == self.model.get(key, self.now)

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[str]) -> None:
        assert self.cache.get_many(keys) == [self.model.get(key, self.now) for key in keys]

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        live = key in self.model.live(self.now)
        assert self.cache.delete(key) == live
        self.model.entries.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.entries.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0]))
    def restart(self, seconds: float) -> None:
        """A snapshot, some time, a new process: live entries are there in order, with the life they have left."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot"
            self.cache.save(path)
            self.now += seconds
            self.cache = BytesCache(self.max_bytes, ttl=self.ttl, clock=lambda: self.now)
            loaded = self.cache.load(path)
        self.model.entries = {key: self.model.entries[key] for key in self.model.live(self.now)}
        assert loaded == len(self.model.entries)

    def evict(self) -> None:
        """Live entries leave oldest first, and only where what came after them left no room."""
        gone = [key for key in self.model.live(self.now) if key not in self.cache]
        if gone:
            keys = list(self.model.entries)
            newer = keys[keys.index(gone[-1]) :]
            assert sum(self.model.entries[key][1] for key in newer) > self.max_bytes
            live = list(self.model.live(self.now))
            assert live[: len(gone)] == gone
            for key in gone:
                del self.model.entries[key]

    @invariant()
    def the_live_entries_are_the_models(self) -> None:
        live = list(self.model.live(self.now))
        assert [key for key in self.model.entries if key in self.cache] == live

    @invariant()
    def the_bound_holds_and_the_books_balance(self) -> None:
        stats = self.cache.stats()
        assert stats.weight <= self.max_bytes
        assert stats.entries == len(self.cache)
        assert stats.sets == stats.entries + sum(stats.evictions.values())
        assert stats.weight >= sum(self.model.entries[key][1] for key in self.model.live(self.now))


TestCache = CacheMachine.TestCase
