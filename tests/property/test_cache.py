"""`BytesCache` as LRU against a small model written by the book: capacity of 1 to 4 entries, a moving clock, snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = 65 + 16  # a key of one character, a value of up to 16 bytes
KEYS = st.sampled_from(["a", "b", "c", "a/b", "a/b/c", "é", "Ω", "Ω/a"])
LIVES = st.sampled_from([None, 0.0, 1.0, 2.0, 5.0, float("inf")])
COSTS = st.sampled_from([None, 0.0, 0.25, 3.0])
TAGS = st.lists(st.sampled_from(["t", "u", "Ω"]), max_size=2, unique=True)


class Held(NamedTuple):
    value: bytes
    weight: int
    end: float
    cost: float
    tags: tuple[str, ...]


def width(text: str) -> int:
    return len(text) * (2 if "Ω" in text else 1)


class Model:
    """Oldest first. Entries that are over may be there or not, so they are skipped; what was invalidated is not here."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.entries: dict[str, Held] = {}
        self.saved = 0.0
        self.spent = 0.0
        self.hits = 0

    def get(self, key: str, now: float) -> bytes | None:
        if key in self.entries and self.entries[key].end > now:
            held = self.entries[key] = self.entries.pop(key)
            self.saved += held.cost
            self.hits += 1
            return held.value
        return None

    def set(self, key: str, value: bytes, end: float, now: float, cost: float | None, tags: list[str]) -> bool:
        self.entries.pop(key, None)
        weight = width(key) + len(value) + 64 + sum(32 + width(tag) for tag in tags)
        if weight > self.max_bytes or end <= now:
            return False
        self.entries[key] = Held(value, weight, end, cost or 0.0, tuple(tags))
        self.spent += cost or 0.0
        return True

    def live(self, now: float) -> Iterator[str]:
        return (key for key, held in self.entries.items() if held.end > now)


class LruMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 4), ttl=LIVES)
    def start(self, capacity: int, ttl: float | None) -> None:
        self.now = 1000.0
        self.ttl = ttl
        self.max_bytes = capacity * UNIT
        self.cache = self.fresh()
        self.model = Model(self.max_bytes)

    def fresh(self) -> BytesCache:
        return BytesCache(self.max_bytes, policy="lru", ttl=self.ttl, jitter=0.0, clock=lambda: self.now)

    def end(self, ttl: float | None) -> float:
        life = ttl if ttl is not None else self.ttl if self.ttl is not None else float("inf")
        return self.now + life

    @rule(key=KEYS, size=st.integers(0, 5 * UNIT), ttl=LIVES, cost=COSTS, tags=TAGS)
    def set(self, key: str, size: int, ttl: float | None, cost: float | None, tags: list[str]) -> None:
        value = bytes([size % 251]) * size
        wanted = self.model.set(key, value, self.end(ttl), self.now, cost, tags)
        assert self.cache.set(key, value, ttl=ttl, cost=cost, tags=tags) == wanted
        self.evict()

    @rule(pairs=st.lists(st.tuples(KEYS, st.integers(0, 16)), max_size=4), tags=TAGS)
    def set_many(self, pairs: list[tuple[str, int]], tags: list[str]) -> None:
        for key, size in pairs:  # one by one, since the model learns of evictions after each
            wanted = self.model.set(key, bytes(size), self.end(5), self.now, 0.5, tags)
            assert self.cache.set_many([(key, bytes(size))], ttl=5, cost=0.5, tags=tags) == wanted
            self.evict()

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.cache.get(key) == self.model.get(key, self.now)

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[str]) -> None:
        assert self.cache.get_many(keys) == [self.model.get(key, self.now) for key in keys]

    @rule(keys=st.lists(KEYS, max_size=3))
    def delete_many(self, keys: list[str]) -> None:
        live = set(self.model.live(self.now)) & set(keys)
        assert self.cache.delete_many(keys) == len(live)
        for key in keys:
            self.model.entries.pop(key, None)

    @rule(tag=st.sampled_from(["t", "u", "Ω", "v"]))
    def invalidate_tag(self, tag: str) -> None:
        carrying = [key for key, held in self.model.entries.items() if tag in held.tags]
        live = set(carrying) & set(self.model.live(self.now))
        assert len(live) <= self.cache.invalidate_tag(tag) <= len(self.cache)
        for key in carrying:
            del self.model.entries[key]

    @rule(prefix=st.sampled_from(["a", "a/", "a/b", "Ω", "é/", "b/c"]))
    def invalidate_prefix(self, prefix: str) -> None:
        self.cache.invalidate_prefix(prefix)
        for key in list(self.model.entries):
            if key == prefix or key.startswith(prefix.removesuffix("/") + "/"):
                del self.model.entries[key]

    @rule(limit=st.sampled_from([0, 1, 1000]))
    def sweep(self, limit: int) -> None:
        before = len(self.cache)
        assert self.cache.sweep(limit=limit) == before - len(self.cache)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.entries.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, -2.0]))
    def wait(self, seconds: float) -> None:
        if seconds < 0:  # what is over may be there or not, so that nobody knows whether it would live again
            live = set(self.model.live(self.now))
            self.cache.delete_many(key for key in self.model.entries if key not in live)
            self.model.entries = {key: held for key, held in self.model.entries.items() if key in live}
        self.now += seconds

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, -1.0]))
    def restart(self, seconds: float) -> None:
        """A snapshot, some time, a new process: live entries are there in order, with the life they have left."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot"
            self.cache.save(path)
            self.model.entries = {key: self.model.entries[key] for key in self.model.live(self.now)}
            if seconds < 0:  # a clock set back counts as no time gone by
                for key, held in self.model.entries.items():
                    self.model.entries[key] = held._replace(end=held.end + seconds)
            self.now += seconds
            self.cache = self.fresh()
            loaded = self.cache.load(path)
        self.model.entries = {key: self.model.entries[key] for key in self.model.live(self.now)}
        self.model.saved = self.model.spent = 0.0
        self.model.hits = 0
        assert loaded == len(self.model.entries)

    def evict(self) -> None:
        """Live entries leave oldest first, and only where what came after them left no room."""
        gone = [key for key in self.model.live(self.now) if key not in self.cache]
        if gone:
            keys = list(self.model.entries)
            newer = keys[keys.index(gone[-1]) :]
            assert sum(self.model.entries[key].weight for key in newer) > self.max_bytes
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
        assert stats.weight >= sum(self.model.entries[key].weight for key in self.model.live(self.now))
        assert (stats.saved, stats.spent, stats.hits) == (self.model.saved, self.model.spent, self.model.hits)


TestLru = LruMachine.TestCase
