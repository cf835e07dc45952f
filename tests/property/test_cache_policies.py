"""Both caches with any policy: never a wrong, expired or invalidated value, whatever the policy keeps or lets go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sparecall.cache import BytesCache, Cache

POLICIES = ["lru", "adaptive", "cost"]
KEYS = st.sampled_from([f"{team}/{user}" for team in ("a", "b", "Ω") for user in range(4)])
LIVES = st.sampled_from([None, 0.0, 1.0, 5.0, float("inf")])
COSTS = st.sampled_from([None, 0.0, 0.001, 2.0])
TAGS = st.lists(st.sampled_from(["t", "u"]), max_size=2)


class Held(NamedTuple):
    value: bytes
    end: float
    tags: tuple[str, ...]
    weight: int


class PolicyMachine(RuleBasedStateMachine):
    """`live` holds what may be there. What was seen to be gone is forgotten: it may not come back before it is set again."""

    @initialize(
        kind=st.sampled_from([Cache, BytesCache]),
        policy=st.sampled_from(POLICIES),
        capacity=st.integers(1, 8),
        compress=st.booleans(),
    )
    def start(self, kind: Any, policy: str, capacity: int, compress: bool) -> None:
        self.now = 1000.0
        self.kind, self.policy = kind, policy
        self.capacity = capacity if kind is Cache else capacity * 100
        self.options = {"compress_above": 30} if compress and kind is BytesCache else {}
        self.cache = self.fresh()
        self.live: dict[str, Held] = {}
        self.number = 0

    def fresh(self) -> Any:
        return self.kind(self.capacity, policy=self.policy, clock=lambda: self.now, **self.options)

    def see(self, key: str, found: bytes | None) -> None:
        held = self.live.get(key)
        if found is None:
            self.live.pop(key, None)
        else:
            assert held is not None, f"{key} came back"
            assert held.end > self.now
            assert found == held.value

    @rule(key=KEYS, size=st.integers(0, 9), ttl=LIVES, cost=COSTS, tags=TAGS)
    def set(self, key: str, size: int, ttl: float | None, cost: float | None, tags: list[str]) -> None:
        self.number += 1
        if self.kind is Cache:
            value, options = b"%d" % self.number, {"weight": size}
            weight = size
        else:
            value, options = b"%d " % self.number * size * 3, {}
            weight = 64 + len(key) * (2 if "Ω" in key else 1) + len(value) + 33 * len(tags)
        stored = self.cache.set(key, value, ttl=ttl, cost=cost, tags=tags, **options)
        self.live.pop(key, None)
        if ttl == 0.0 or (weight > self.capacity and not self.options):
            assert not stored
        elif not self.options:
            assert stored, "only what is too heavy or over is refused"
        if stored:
            end = self.now + (float("inf") if ttl is None else ttl)
            self.live[key] = Held(value, end, tuple(tags), weight)
            assert self.cache[key] == value, "what was just set is there"
        else:
            assert key not in self.cache

    @rule(keys=st.lists(KEYS, max_size=6), cost=COSTS)
    def set_many(self, keys: list[str], cost: float | None) -> None:
        self.number += 1
        value = b"many %d" % self.number
        stored = self.cache.set_many([(key, value) for key in keys], ttl=5, cost=cost)
        for key in keys:
            self.live[key] = Held(value, self.now + 5, (), 0)
        if keys and stored == len(keys):
            assert self.cache[keys[-1]] == value

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.see(key, self.cache.get(key))

    @rule(keys=st.lists(KEYS, max_size=8))
    def get_many(self, keys: list[str]) -> None:
        for key, found in zip(keys, self.cache.get_many(keys), strict=True):
            self.see(key, found)

    @rule(keys=st.lists(KEYS, max_size=4, unique=True))
    def delete_many(self, keys: list[str]) -> None:
        present = sum(key in self.cache for key in keys)
        assert self.cache.delete_many(keys) == present
        for key in keys:
            self.live.pop(key, None)

    @rule(tag=st.sampled_from(["t", "u", "v"]))
    def invalidate_tag(self, tag: str) -> None:
        self.cache.invalidate_tag(tag)
        self.live = {key: held for key, held in self.live.items() if tag not in held.tags}

    @rule(prefix=st.sampled_from(["a", "Ω", "b/", "b/1", "x"]))
    def invalidate_prefix(self, prefix: str) -> None:
        self.cache.invalidate_prefix(prefix)
        path = prefix.rstrip("/")
        self.live = {key: held for key, held in self.live.items() if key != path and not key.startswith(path + "/")}

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.live = {key: held for key, held in self.live.items() if held.end > self.now}

    @rule()
    def sweep(self) -> None:
        self.cache.sweep()

    @rule(share=st.floats(0, 1.5), limit=st.sampled_from([0, 1, 2, 1000]))
    def resize(self, share: float, limit: int) -> None:
        bound = int(share * self.capacity)
        before = len(self.cache)
        reached = self.cache.resize(bound, limit=limit)
        assert before - len(self.cache) <= limit
        stats = self.cache.stats()
        assert reached or (before - len(self.cache) == limit and stats.max_weight == stats.weight > bound)
        assert not reached or stats.max_weight == bound
        self.capacity = stats.max_weight

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.live.clear()
        assert len(self.cache) == self.cache.stats().weight == 0

    @rule(seconds=st.sampled_from([0.0, 2.0]))
    def restart(self, seconds: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "snapshot"
            self.cache.save(path)
            before = [key for key in self.live if key in self.cache]
            self.wait(seconds)
            self.cache = self.fresh()
            loaded = self.cache.load(path)
        there = [key for key in before if key in self.live]
        assert loaded == len(there)
        assert all(key in self.cache for key in there), "what fitted before fits again"

    @precondition(lambda self: self.cache.stats().evictions["size"] == 0 and self.cache.stats().refused == 0)
    @invariant()
    def nothing_leaves_while_there_is_room(self) -> None:
        assert [key for key, held in self.live.items() if held.weight and key not in self.cache] == []

    @invariant()
    def what_is_there_may_be(self) -> None:
        for key in [key for key in self.live if key not in self.cache]:
            del self.live[key]
        gone = [f"{team}/{user}" for team in ("a", "b", "Ω") for user in range(4)]
        assert [key for key in gone if key in self.cache and key not in self.live] == []

    @invariant()
    def the_bound_holds_and_the_books_balance(self) -> None:
        stats = self.cache.stats()
        assert stats.weight <= stats.max_weight == self.capacity
        assert stats.sets == stats.entries + sum(stats.evictions.values())
        assert stats.entries == len(self.cache) >= len([key for key in self.live if key in self.cache])


TestPolicies = PolicyMachine.TestCase
