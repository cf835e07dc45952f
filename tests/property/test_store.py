"""Several clients of one store agree with a dictionary, whatever they do and whatever the store forgets: the same machine for both stores."""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sparecall.store import Entry, Lease, RedisStore, SqliteStore

if TYPE_CHECKING:
    from redis_servers import RedisServer

# Each example opens three stores: few by default, hundreds in the soak.
EFFORT = settings(max_examples=6 if settings().max_examples <= 100 else 500, stateful_step_count=25)
CLIENTS = st.integers(0, 2)
SCOPES = st.sampled_from(["", "a", "a/b", "a/bc"])
KEYS = st.sampled_from(["", "k", "bk", "/bk", "é"])
NAMES = st.sampled_from(["all", "tag:x", "scope:a"])
STREAMS = st.sampled_from(["one", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


class Ear:
    """What one client heard since it was last asked."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.dropped_: set[tuple[str, str]] = set()
        self.lost_ = 0

    def changed(self, names: Any, versions: Any) -> None:
        self.versions.update(zip(names, versions, strict=True))

    def dropped(self, scope: str, keys: Any) -> None:
        self.dropped_.update((scope, key) for key in keys)

    def lost(self) -> None:
        self.lost_ += 1


class Stores(RuleBasedStateMachine):
    """The model: a dictionary, the versions given out, who holds which lease, and what each client has yet to hear."""

    def make(self, number: int) -> Any:
        raise NotImplementedError

    def forget(self) -> None:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.start = time.time()
        self.passed = 0.0
        self.prepare()
        self.stores = [self.make(number) for number in range(3)]
        self.ears = [Ear() for _ in self.stores]
        self.entries: dict[tuple[str, str], Entry] = {}
        self.versions: dict[str, int] = {}
        self.given = {0}
        self.leases: dict[str, Lease] = {}
        self.records: dict[str, list[tuple[str, bytes]]] = {"one": [], "other": []}
        self.unheard: list[set[tuple[str, str]]] = [set() for _ in self.stores]
        self.runner.run(self.listen())

    def prepare(self) -> None:
        pass

    def clock(self) -> float:
        return self.start + self.passed

    async def listen(self) -> None:
        for store, ear in zip(self.stores, self.ears, strict=True):
            store.listen(ear)
        await self.wait(lambda: all(store.coherent for store in self.stores))

    async def wait(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def teardown(self) -> None:
        async def close() -> None:
            for store in self.stores:
                await store.close()

        self.runner.run(close())
        self.runner.close()

    def wrote(self, client: int, scope: str, key: str) -> None:
        for number, unheard in enumerate(self.unheard):
            if number != client:
                unheard.add((scope, key))

    @rule(
        client=CLIENTS,
        scope=SCOPES,
        values=st.dictionaries(KEYS, VALUES, max_size=3),
        life=st.sampled_from([0.0, 20.0, 40.0, math.inf]),
    )
    def set(self, client: int, scope: str, values: dict[str, Any], life: float) -> None:
        now = self.clock()
        made = [
            Entry(
                scope=scope, key=key, value=value, created=now, expires=now, dead=now + life, tags=("x",), marks=(1, 2)
            )
            for key, value in values.items()
        ]
        self.runner.run(self.stores[client].set_many(made))
        if life:
            for each in made:
                self.entries[scope, each.key] = each
                self.wrote(client, scope, each.key)

    @rule(client=CLIENTS, scope=SCOPES, keys=st.lists(KEYS, max_size=5))
    def get(self, client: int, scope: str, keys: list[str]) -> None:
        found = self.runner.run(self.stores[client].get_many(keys, scope=scope))
        expected = [self.entries.get((scope, key)) for key in keys]
        assert found == [each if each is not None and self.clock() < each.dead else None for each in expected]

    @rule(client=CLIENTS, scope=SCOPES, keys=st.lists(KEYS, max_size=3))
    def delete(self, client: int, scope: str, keys: list[str]) -> None:
        self.runner.run(self.stores[client].delete_many(keys, scope=scope))
        for key in keys:
            self.entries.pop((scope, key), None)
            self.wrote(client, scope, key)

    @rule(client=CLIENTS, names=st.lists(NAMES, max_size=3))
    def look(self, client: int, names: list[str]) -> None:
        found = self.runner.run(self.stores[client].versions(names))
        assert len(found) == len(names)
        for name, version in zip(names, found, strict=True):
            known = self.versions.get(name, self.versions.get(""))
            if known is None:  # the first look since the store forgot all
                assert version > max(self.given)
                self.versions[""] = version
                self.given.add(version)
            else:
                assert version == known

    @rule(client=CLIENTS, names=st.lists(NAMES, min_size=1, max_size=2))
    def bump(self, client: int, names: list[str]) -> None:
        if "" not in self.versions:
            self.look(client, ["all"])
        versions = self.runner.run(self.stores[client].bump(names))
        assert min(versions) > max(self.given), "no version is given twice"
        self.given.update(versions)
        self.versions.update(zip(names, versions, strict=True))
        heard = [(ear, ear.lost_) for ear in self.ears]
        new = dict(zip(names, versions, strict=True))
        self.runner.run(
            self.wait(lambda: all(ear.lost_ > lost or new.items() <= ear.versions.items() for ear, lost in heard))
        )

    @rule(client=CLIENTS, name=NAMES)
    def acquire(self, client: int, name: str) -> None:
        lease = self.runner.run(self.stores[client].acquire(name, seconds=3600.0))
        assert (lease is None) == (name in self.leases)
        if lease is not None:
            self.leases[name] = lease

    @precondition(lambda self: self.leases)
    @rule(client=CLIENTS, data=st.data(), own=st.booleans())
    def release(self, client: int, data: st.DataObject, own: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases[name]
        self.runner.run(self.stores[client].release(lease if own else Lease(name=name, token="another's")))
        if own:
            del self.leases[name]

    @rule(client=CLIENTS, stream=STREAMS, record=st.binary(max_size=5))
    def append(self, client: int, stream: str, record: bytes) -> None:
        position = self.runner.run(self.stores[client].append(stream, record, keep=10_000))
        assert position not in [each for each, _ in self.records[stream]]
        self.records[stream].append((position, record))

    @rule(client=CLIENTS, stream=STREAMS, back=st.integers(0, 5), limit=st.integers(1, 4))
    def read(self, client: int, stream: str, back: int, limit: int) -> None:
        all_ = self.records[stream]
        first = max(len(all_) - back, 0)
        after = all_[first - 1][0] if first else ""
        assert (
            self.runner.run(self.stores[client].read(stream, after=after, limit=limit)) == all_[first : first + limit]
        )

    @rule(seconds=st.sampled_from([5.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        self.passed += seconds

    @rule()
    def all_is_forgotten(self) -> None:
        lost = [ear.lost_ for ear in self.ears]
        self.forget()
        self.runner.run(self.wait(lambda: all(ear.lost_ > count for ear, count in zip(self.ears, lost, strict=True))))
        self.entries.clear()
        self.versions.clear()
        self.leases.clear()
        self.records = {"one": [], "other": []}
        for unheard, ear in zip(self.unheard, self.ears, strict=True):
            unheard.clear()
            ear.versions.clear()

    @invariant()
    def changes_are_heard(self) -> None:
        def heard() -> bool:
            return all(unheard <= ear.dropped_ for unheard, ear in zip(self.unheard, self.ears, strict=True))

        self.runner.run(self.wait(heard))
        for unheard, ear in zip(self.unheard, self.ears, strict=True):
            unheard.clear()
            ear.dropped_.clear()


@pytest.mark.parametrize("coherence", ["pubsub", "tracking"])
def test_redis(redis_server: RedisServer, coherence: Any) -> None:
    prefixes = itertools.count()

    class RedisStores(Stores):
        def prepare(self) -> None:
            self.prefix = f"{next(prefixes)}:"

        def make(self, number: int) -> RedisStore:
            return RedisStore(
                redis_server.url(),
                timeout=5.0,
                connect_timeout=5.0,
                prefix=self.prefix,
                clock=self.clock,
                coherence=coherence,
            )

        def forget(self) -> None:
            redis_server.admin.flushall()

    run_state_machine_as_test(RedisStores, settings=EFFORT)


def test_sqlite() -> None:
    class SqliteStores(Stores):
        def prepare(self) -> None:
            self.folder = Path(tempfile.mkdtemp())

        def make(self, number: int) -> SqliteStore:
            return SqliteStore(self.folder / "store", timeout=5.0, interval=0.002, clock=self.clock)

        def forget(self) -> None:
            for path in self.folder.iterdir():
                path.unlink()

        def teardown(self) -> None:
            super().teardown()
            shutil.rmtree(self.folder)

    run_state_machine_as_test(SqliteStores, settings=EFFORT)
