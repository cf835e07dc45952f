"""`Cache` against `dict`, with keys of every kind: the same hashes for different ones, and comparisons in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sparecall.cache import Cache

POLICIES = ["lru", "adaptive", "cost"]
NAN = float("nan")


@dataclass(frozen=True)
class Point:
    x: object


class Colliding:
    def __init__(self, name: object) -> None:
        self.name = name

    def __hash__(self) -> int:
        return hash(1)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Colliding) and self.name == other.name) or (self.name == "one" and other == 1)

    def __repr__(self) -> str:
        return f"Colliding({self.name!r})"


class Text(str):
    __slots__ = ()


ATOMS = st.one_of(
    st.integers(-2, 3),
    st.booleans(),
    st.sampled_from(
        [2**61 - 1, 2**61, 2**64, float(2**64), -(2**64), 10**40, 0.0, -0.0, 1.0, 0.5, float("inf"), 1 + 0j]
    ),
    st.sampled_from(["", "a", "é", "Ω", Text("a"), b"", b"a", b"a" * 16, None, ()]),
    st.just(NAN),
    st.sampled_from(["x", "y", "one"]).map(Colliding),
    st.integers(0, 2).map(Point),
)
KEYS = st.recursive(
    ATOMS, lambda inner: st.one_of(st.tuples(inner), st.tuples(inner, inner), inner.map(Point)), max_leaves=4
)


class KeyMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(POLICIES), capacity=st.sampled_from([2, 5, 10**6]))
    def start(self, policy: str, capacity: int) -> None:
        self.cache: Cache[Any, int] = Cache(capacity, policy=policy)
        self.exact = capacity == 10**6
        self.model: dict[Any, int] = {}
        self.number = 0

    def see(self, key: Any, found: int | None) -> None:
        if self.exact or found is not None:
            assert found == self.model.get(key)
        else:
            self.model.pop(key, None)

    @rule(key=KEYS)
    def set(self, key: Any) -> None:
        self.number += 1
        self.cache[key] = self.model[key] = self.number
        assert self.cache[key] == self.number

    @rule(keys=st.lists(KEYS, max_size=6))
    def set_many(self, keys: list[Any]) -> None:
        pairs = [(key, self.number + at) for at, key in enumerate(keys, 1)]
        self.number += len(pairs)
        assert self.cache.set_many(pairs) == len(pairs)
        for key, number in pairs:
            self.model[key] = number

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        self.see(key, self.cache.get(key))

    @rule(keys=st.lists(KEYS, max_size=6))
    def get_many(self, keys: list[Any]) -> None:
        for key, found in zip(keys, self.cache.get_many(keys), strict=True):
            self.see(key, found)

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        present = key in self.cache
        assert self.cache.delete(key) == present
        assert (key in self.model) >= present
        self.model.pop(key, None)

    @rule()
    def read_all(self) -> None:
        for key in list(self.model):
            self.see(key, self.cache.get(key))

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()

    @invariant()
    def it_is_as_long_as_the_dict(self) -> None:
        stats = self.cache.stats()
        assert len(self.cache) == stats.entries == stats.weight <= stats.max_weight
        assert len(self.cache) == len(self.model) if self.exact else len(self.cache) <= len(self.model)
        assert stats.sets == stats.entries + sum(stats.evictions.values())


TestKeys = KeyMachine.TestCase
