"""Several `TieredCache`s over one L2 that fails, hangs, forgets and loses messages: a history of all reads, against what is right.

Right is: the key's own and the scope's own value; not dead; not made before an invalidation that this process had heard of when it
was asked, nor, longer than the stated bound, before one that L2 was told of; not older than this process's own last write.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from shared_store import Connection, Shared
from sparecall.cache import Cache
from sparecall.errors import FactoryTimeout, StoreUnavailable
from sparecall.store import Route, TieredCache
from sparecall.store.protocol import version_names
from virtual_time import VirtualLoop, clock, wall_clock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

PROCESSES = 3
SCOPES, KEYS, TAGS = ("a", "a/b", "ab"), ("k", "l"), ("x", "y")
FOR_EVER = 1 << 60
MAX_STALENESS, STALE, SLACK = 2.0, 15.0, 0.01
ROUTES = (
    Route(ttl=10, stale=STALE, throttle=2, soft_timeout=0.5, eager=0.5),
    Route(ttl=10, stale=0, hard_timeout=1.5),
    Route(ttl=10, stale=STALE, lease=5.0, beta=1.0),
)
# One place is asked for most: what befalls it has to meet there.
places = st.sampled_from([("a/b", "k")] * 5 + [(scope, key) for scope in SCOPES for key in KEYS])
FAULTS = ("broken", "hangs", "fails", "loses", "slow", "slow replies")
METHODS = ("set_many", "bump", "delete_many", "versions", "get_many", "acquire")
CHAOS = st.one_of(
    st.tuples(st.sampled_from(FAULTS), st.sampled_from(METHODS), st.sampled_from([0.1, 1.0, 5.0])),
    st.tuples(
        st.sampled_from(["deaf", "deaf", "forget", "flush", "restart"]), st.none(), st.sampled_from([0.5, 2.0, 30.0])
    ),
)
processes = st.integers(0, PROCESSES - 1)


class Record(NamedTuple):
    """A value: whose it is, at which tick its making began, by which process, what it depends on, when it dies."""

    place: tuple[str, str]
    began: int
    process: int
    names: tuple[str, ...]
    dead: float


class Heard:
    """Passes messages on to a cache's listener, and notes when they came."""

    def __init__(self, machine: Tiered, process: int, inner: Any) -> None:
        self.machine, self.process, self.inner = machine, process, inner

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        for name, version in zip(names, versions, strict=True):
            self.machine.hear(self.process, name, self.machine.bumped_at[version])
        self.inner.changed(names, versions)

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        self.inner.dropped(scope, keys)

    def lost(self) -> None:
        self.inner.lost()


class Wire(Connection):
    """A connection that notes what it bumps, and whose listeners are overheard."""

    machine: Tiered
    process: int

    async def bump(self, names: Sequence[str]) -> tuple[int, ...]:
        said = {name: self.machine.said[self.process].get(name, 0) for name in names}
        before = set(self.shared.moved.items())
        try:
            return await super().bump(names)
        finally:
            for name, version in set(self.shared.moved.items()) - before:
                if name in said:
                    self.machine.bumped_at[version] = max(said[name], self.machine.bumped_at.get(version, 0))
                    self.machine.told.append((name, said[name], self.machine.loop.time()))

    def listen(self, listener: Any) -> Any:
        return super().listen(Heard(self.machine, self.process, listener))


class Tiered(RuleBasedStateMachine):
    """Rules begin calls and let time pass; each call is judged when it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.complaints: list[Any] = []
        self.loop.set_exception_handler(lambda _loop, context: self.complaints.append(context))
        self.tick = 0
        self.records: list[Record] = []
        self.said: list[dict[str, int]] = [{} for _ in range(PROCESSES)]  # by each process: the tick of its last word
        self.heard: list[dict[str, int]] = [{} for _ in range(PROCESSES)]  # tick of the newest invalidation known there
        self.wrote: list[dict[tuple[str, str], int]] = [{} for _ in range(PROCESSES)]
        self.bumped_at: dict[int, int] = defaultdict(int)
        self.told: list[tuple[str, int, float]] = []
        self.running: dict[asyncio.Task[Any], bool] = {}
        self.shared = Shared()
        self.wires: list[Wire] = []
        self.caches: list[TieredCache] = []
        for process in range(PROCESSES):
            wire = Wire(self.shared)
            wire.machine, wire.process = self, process
            self.shared.connections.append(wire)
            self.wires.append(wire)
            self.caches.append(self.run(self.make(process)))

    # --- the world -------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def make(self, process: int) -> TieredCache:
        return TieredCache(
            l1=Cache(3 if process == 0 else 100, clock=clock), l2=self.wires[process], max_staleness=MAX_STALENESS,
            clock=clock, wall_clock=wall_clock, random=lambda: 0.5,
        )  # fmt: skip

    def next_tick(self) -> int:
        self.tick += 1
        return self.tick

    def hear(self, process: int, name: str, tick: int) -> None:
        self.heard[process][name] = max(tick, self.heard[process].get(name, 0))

    def record(self, place: tuple[str, str], process: int, tags: Sequence[str], life: float) -> int:
        names = version_names(place[0], tags)
        self.records.append(Record(place, self.next_tick(), process, names, self.loop.time() + life))
        return len(self.records) - 1

    def begin(self, process: int, place: tuple[str, str], call: Coroutine[Any, Any, Any]) -> None:
        heard, wrote = dict(self.heard[process]), self.wrote[process].get(place, 0)
        asked, cache = self.loop.time(), self.caches[process]

        async def judged() -> None:
            try:
                number = await call
            except (ValueError, FactoryTimeout):
                return
            except StoreUnavailable:
                assert cache.closed, "an L2 that fails raises nothing"
                return
            if number is not None:
                self.judge(process, place, number, heard, wrote, asked)

        task = self.loop.create_task(judged())
        self.running[task] = False
        self.run(asyncio.sleep(0))

    def judge(
        self, process: int, place: tuple[str, str], number: int, heard: dict[str, int], wrote: int, asked: float
    ) -> None:
        record = self.records[number]
        assert record.place == place, "another's value"
        assert self.loop.time() < record.dead + SLACK, "a dead value"
        for name in record.names:
            assert record.began >= heard.get(name, 0), f"made before {name} was invalidated, and this process knew it"
        for name, tick, when in self.told:
            if name in record.names and asked > when + self.wires[process].staleness + MAX_STALENESS + SLACK:
                assert record.began >= tick, f"made before {name} was invalidated, long ago"
        if record.process == process:
            assert record.began >= wrote, "older than what this process wrote last"

    # --- calls -----------------------------------------------------------------------------------

    @rule(
        process=processes, place=places, seconds=st.sampled_from([0.0, 0.0, 0.3, 2.0]), route=st.sampled_from(ROUTES),
        tags=st.sets(st.sampled_from(TAGS)), late=st.sets(st.sampled_from(TAGS)), fails=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def get_or_set(
        self, process: int, place: tuple[str, str], seconds: float, route: Route, tags: set[str], late: set[str], fails: bool
    ) -> None:  # fmt: skip
        async def factory() -> int:
            number = self.record(place, process, sorted(tags | late), float("inf"))
            await asyncio.sleep(seconds)
            if fails:
                raise ValueError("a factory that was to fail")
            dead = self.loop.time() + route.ttl + route.stale
            self.records[number] = self.records[number]._replace(dead=dead)
            return number

        def all_tags(_number: int) -> list[str]:
            return sorted(tags | late)

        self.begin(
            process, place,
            self.caches[process].get_or_set(place[1], factory, scope=place[0], tags=all_tags if late else sorted(tags), route=route),
        )  # fmt: skip

    @rule(process=processes, place=places)
    def get(self, process: int, place: tuple[str, str]) -> None:
        self.begin(process, place, self.caches[process].get(place[1], scope=place[0]))

    @rule(process=processes, place=places)
    def get_many(self, process: int, place: tuple[str, str]) -> None:
        async def first() -> Any:
            return (await self.caches[process].get_many([place[1]], scope=place[0]))[0]

        self.begin(process, place, first())

    @rule(process=processes, place=places, tags=st.sets(st.sampled_from(TAGS)), ttl=st.sampled_from([0.5, 30.0]))
    def set(self, process: int, place: tuple[str, str], tags: set[str], ttl: float) -> None:
        number = self.record(place, process, sorted(tags), ttl)
        self.wrote[process][place] = self.tick
        call = self.caches[process].set(place[1], number, scope=place[0], tags=sorted(tags), ttl=ttl)

        async def until_set() -> None:
            """What is invalidated while a value is being set may come before or after it."""
            record = self.records[number]
            self.records[number] = record._replace(began=FOR_EVER)
            await call
            self.records[number] = record._replace(began=self.tick)

        self.write(until_set())

    @rule(process=processes, place=places)
    def delete(self, process: int, place: tuple[str, str]) -> None:
        self.wrote[process][place] = self.next_tick()
        self.write(self.caches[process].delete(place[1], scope=place[0]))

    @rule(process=processes, what=st.one_of(st.sampled_from([("tag", tag) for tag in TAGS]), st.sampled_from([("prefix", scope) for scope in SCOPES])))  # fmt: skip
    def invalidate(self, process: int, what: tuple[str, str]) -> None:
        name = f"{'scope' if what[0] == 'prefix' else 'tag'}:{what[1]}"
        self.said[process][name] = self.next_tick()
        self.hear(process, name, self.tick)
        self.write(self.caches[process].invalidate(**{what[0]: what[1]}))  # type: ignore[arg-type]

    @rule(
        makes=processes, hits=processes, reads=processes, place=places, route=st.sampled_from(ROUTES),
        seconds=st.sampled_from([0.0, 0.3]), tag=st.sampled_from(TAGS), late=st.booleans(),
        gaps=st.tuples(*[st.sampled_from([0.0, 0.0005, 0.0015, 0.01, 0.1, 0.6, 4.0])] * 2),
        hit=st.sampled_from(["tag", "tag", "prefix", "set", "delete"]),
        fails=st.one_of(st.none(), st.sampled_from(METHODS)), deaf=st.sampled_from([0.0, 0.0, 0.5, 30.0]),
    )  # fmt: skip
    def race(
        self, makes: int, hits: int, reads: int, place: tuple[str, str], route: Route, seconds: float, tag: str, late: bool,
        gaps: tuple[float, float], hit: str, fails: str | None, deaf: float,
    ) -> None:  # fmt: skip
        """A value on its way, something that befalls it and may not reach L2, a read."""
        if deaf:
            self.run(self.go_deaf(makes, deaf))
        self.get_or_set(makes, place, seconds, route, set() if late else {tag}, {tag} if late else set(), fails=False)
        self.pass_time(gaps[0])
        if fails:
            self.fault(hits, "fails", fails)
            self.loop.call_later(1.0, self.fault, hits, "none", None)
        match hit:
            case "tag":
                self.invalidate(hits, ("tag", tag))
            case "prefix":
                self.invalidate(hits, ("prefix", place[0]))
            case "set":
                self.set(hits, place, {tag}, 30.0)
            case _:
                self.delete(hits, place)
        self.pass_time(gaps[1])
        for process in {reads, hits, makes}:
            self.get(process, place)

    def write(self, call: Coroutine[Any, Any, Any]) -> None:
        self.running[self.loop.create_task(call)] = False
        self.run(asyncio.sleep(0))

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        open_tasks = [task for task in self.running if not task.done()]
        if open_tasks:
            task = open_tasks[which % len(open_tasks)]
            self.running[task] = True
            task.cancel()
            self.run(asyncio.sleep(0))

    # --- what happens to them ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.0004, 0.001, 0.0015, 0.01, 0.01, 0.01, 0.3, 1.0, 3.0, 12.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule()
    def settle(self) -> None:
        self.run(asyncio.sleep(0.02))

    @rule(process=processes, what=CHAOS, place=places)
    def chaos(self, process: int, what: tuple[str, str | None, float], place: tuple[str, str]) -> None:
        kind, method, seconds = what
        match kind:
            case "deaf":
                self.run(self.go_deaf(process, seconds))
            case "forget":
                self.shared.entries.pop(place, None)
            case "flush":
                self.run(self.flush())
            case "restart":
                self.restart(process)
            case _:
                self.fault(process, kind, method)
                self.loop.call_later(seconds, self.fault, process, "none", None)

    def fault(self, process: int, fault: str, method: str | None) -> None:
        wire = self.wires[process]
        wire.broken = StoreUnavailable("down") if fault == "broken" else None
        wire.hangs = fault == "hangs"
        wire.delay = 0.2 if fault == "slow" else 0.001
        wire.reply_delay = 0.1 if fault == "slow replies" else 0.0
        wire.fails = lambda called: fault == "fails" and called == method
        wire.loses_reply = lambda called: fault == "loses" and called == method

    async def go_deaf(self, process: int, seconds: float) -> None:
        """Messages are lost, which is found out after `staleness`; in the end the connection is made anew."""
        wire = self.wires[process]
        if wire.deaf:
            return
        wire.deaf = True

        def found_out() -> None:
            wire.coherent = False
            for listener in list(wire.listeners):
                listener.lost()

        def heard_again() -> None:
            wire.deaf, wire.coherent = False, True
            for listener in list(wire.listeners):
                listener.lost()
            for name, tick, _ in self.told:
                self.hear(process, name, tick)

        if seconds > wire.staleness:
            self.loop.call_later(wire.staleness, found_out)
        self.loop.call_later(seconds, heard_again)

    async def flush(self) -> None:
        self.shared.flush()

    def restart(self, process: int) -> None:
        self.run(self.caches[process].close())
        self.heard[process].clear()  # a new process has heard of nothing, and wrote nothing
        self.wrote[process].clear()
        self.said[process].clear()
        self.caches[process] = self.run(self.make(process))

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.loop.close()
        assert self.complaints == []

    def end(self) -> None:
        self.run(asyncio.sleep(100))
        for task, cancelled in self.running.items():
            assert task.done()
            if task.cancelled():
                assert cancelled, "only who was cancelled sees a cancellation"
            else:
                task.result()
        assert [cache.stats().pending for cache in self.caches] == [0] * PROCESSES
        for cache in self.caches:
            self.run(cache.close())
        self.run(asyncio.sleep(0))
        assert [task for task in asyncio.all_tasks(self.loop) if not task.done()] == []


TestTiered = Tiered.TestCase
TestTiered.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
