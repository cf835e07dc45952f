"""Both caches under long random use: 200,000 operations here, 10 million in the long run, the bound looked at all along."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Any

import pytest

from caches import CLASSES, POLICIES, Clock, balance
from sparecall.cache import Cache

SUITE, SOAK = 200_000, 10_000_000
RUNS = len(CLASSES) * len(POLICIES)
KEYS = [f"{number % 50}/{number}" for number in range(3000)]
VALUES = {key: key.encode() * (1 + number % 7) for number, key in enumerate(KEYS)}
# Popular keys and rare ones.
SHARES = list(accumulate(1 / (1 + number) ** 0.9 for number in range(len(KEYS))))


class Load:
    """Random operations on one cache. Counts them; `most` is the greatest weight it saw."""

    def __init__(self, kind: Any, policy: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.kind = kind
        capacity = 700 if kind is Cache else 70_000
        self.cache = kind(capacity, policy=policy, ttl=50, jitter=0.2, seed=seed, clock=self.clock)
        self.done = 0
        self.most = 0

    def keys(self, count: int) -> list[str]:
        self.done += count
        return self.rng.choices(KEYS, cum_weights=SHARES, k=count)

    def options(self) -> dict[str, Any]:
        rng = self.rng
        options: dict[str, Any] = {"ttl": rng.choice([None, 0.01, 5, 500]), "cost": rng.choice([None, 0.001, 1.0])}
        if self.kind is Cache:
            options["weight"] = rng.choice([1, 1, 1, 0, 5, 100, 701])
        if rng.random() < 0.2:
            options["tags"] = [f"tag {rng.randrange(30)}"]
        return options

    def step(self) -> None:
        rng, cache = self.rng, self.cache
        chance = rng.random()
        self.clock.now += rng.random() * 0.05 - (0.001 if chance < 0.1 else 0)
        if chance < 0.45:
            keys = self.keys(64)
            found = cache.get_many(keys)
            assert all(value is None or value == VALUES[key] for key, value in zip(keys, found, strict=True))
        elif chance < 0.8:
            cache.set_many([(key, VALUES[key]) for key in self.keys(rng.choice([4, 64]))], **self.options())
        elif chance < 0.9:
            for key in self.keys(8):
                if cache.set(key, VALUES[key], **self.options()):
                    assert cache.get(key) == VALUES[key]
                self.look()
        elif chance < 0.96:
            cache.delete_many(self.keys(4))
        elif chance < 0.98:
            self.invalidate()
        elif chance < 0.999:
            cache.sweep(limit=rng.choice([1, 100]))
        else:
            cache.clear()
        self.look()

    def invalidate(self) -> None:
        self.done += 1
        tag, path = f"tag {self.rng.randrange(30)}", f"{self.rng.randrange(50)}"
        self.cache.invalidate_tag(tag)
        self.cache.invalidate_prefix(path)
        assert not any(key in self.cache for key in KEYS[int(path) :: 50])

    def look(self) -> None:
        stats = self.cache.stats()
        balance(stats)
        self.most = max(self.most, stats.weight)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("operations", [SUITE, pytest.param(SOAK, marks=pytest.mark.soak)])
def test_the_bound_holds_and_no_value_is_wrong_all_along(kind: Any, policy: str, operations: int) -> None:
    load = Load(kind, policy, seed=operations)
    while load.done < operations / RUNS:
        load.step()
    stats = load.cache.stats()
    assert load.most > 0.99 * stats.max_weight, "it was full"
    assert all(stats.evictions.values()), "entries left in every way"
    assert stats.hits > 0.1 * stats.misses
    load.clock.now += 1e6
    while load.cache.sweep():
        balance(load.cache.stats())
    assert (len(load.cache), load.cache.stats().weight) == (0, 0)
