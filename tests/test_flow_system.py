"""What the machine is short of, from files and from readings that the test invents."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from flow_calls import Clock
from sparecall.cache import BytesCache, Cache
from sparecall.errors import InvalidArgument, Overloaded
from sparecall.flow import SystemReading, SystemSignals, outcome_of, read_system
from sparecall.flow.pressure import give_back

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """A machine whose use the test sets."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.used, self.cpus, self.memory, self.limit = 0.0, 2.0, 100, 1000
        self.changes: list[tuple[str, bool]] = []
        self.shrunk: list[float] = []
        self.signals = SystemSignals(
            read=lambda: SystemReading(self.used, self.cpus, self.memory, self.limit),
            clock=self.clock,
            on_change=lambda what, begins: self.changes.append((what, begins)),
            shrink=self.shrunk.append,
            **options,
        )

    def pass_seconds(self, count: int, *, cpu: float = 0.0, lag: float = 0.0) -> None:
        for _ in range(count):
            self.clock.now += 1
            self.used += cpu * self.cpus
            self.signals.update(lag=lag)


def test_a_busy_processor_cuts_and_an_idle_one_gives_back() -> None:
    machine = Machine()
    machine.pass_seconds(30, cpu=0.84)
    assert machine.signals.share == 1.0
    machine.pass_seconds(3, cpu=1.0)
    assert machine.signals.cpu > 0.85
    assert machine.signals.share == pytest.approx(0.6)
    assert machine.signals.defer_background
    machine.pass_seconds(30, cpu=0.8)  # not yet below nine tenths of the bound
    assert machine.signals.share == pytest.approx(0.6)
    machine.pass_seconds(20, cpu=0.5)
    assert (machine.signals.share, machine.signals.defer_background) == (1.0, False)
    assert machine.changes == [("cpu", True), ("cpu", False)]


def test_memory_shrinks_caches_and_then_sheds() -> None:
    machine = Machine()
    machine.memory = 790
    machine.pass_seconds(2)
    machine.signals.check()
    assert machine.shrunk == []
    machine.memory = 820
    machine.pass_seconds(1)
    assert machine.shrunk == [pytest.approx(1 - 720 / 820)]
    machine.memory = 910
    machine.pass_seconds(1)
    assert machine.signals.shed
    with pytest.raises(Overloaded, match="91% of the memory is in use; 90% is the most") as caught:
        machine.signals.check()
    assert (caught.value.code, caught.value.retry_after) == ("memory", 2.0)
    assert outcome_of(caught.value) == "limited"
    machine.memory = 700
    machine.pass_seconds(1)
    machine.signals.check()
    assert machine.signals.short_of == frozenset()
    assert repr(machine.signals) == "<SystemSignals short of nothing: 0% cpu, 70% memory, 0 ms lag>"


def test_caches_give_way_step_by_step_and_come_back() -> None:
    large, small = Cache[int, int](100_000), BytesCache(1 << 20)
    for number in range(100_000):
        large.set(number, number)
    machine = Machine(caches=[large, small])
    machine.memory = 900  # a fifth too much
    machine.pass_seconds(1)
    assert large.stats().entries == 100_000 - 500, "no more at once than fits in a millisecond"
    steps = 0
    while not machine.signals._pressure.step():
        steps += 1
        assert large.stats().max_weight == large.stats().weight, "what left does not come back meanwhile"
    assert steps == 38
    assert large.stats().max_weight == 80_000
    assert small.stats().max_weight == int((1 << 20) / 16), "an empty one has little to give, and is left a sixteenth"
    for _ in range(40):  # however short: a sixteenth stays
        machine.pass_seconds(1)
        while not machine.signals._pressure.step():
            pass
    assert large.stats().max_weight == 100_000 // 16
    machine.memory = 100
    machine.pass_seconds(1)
    assert large.stats().max_weight == 100_000 // 16 + 5_001, "a twentieth each second"
    machine.pass_seconds(30)
    assert (large.stats().max_weight, small.stats().max_weight) == (100_000, 1 << 20)


def test_while_they_are_watched_caches_give_way_between_turns_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        given = asyncio.Event()
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("sparecall.flow.pressure.give_back", lambda: loop.call_soon_threadsafe(given.set))
        cache = Cache[int, int](100_000)
        for number in range(100_000):
            cache.set(number, number)
        reading = SystemReading(0.0, 1.0, 900, 1000)
        async with SystemSignals(caches=[cache], read=lambda: reading):
            seen = [100_000]
            for _ in range(60):
                await asyncio.sleep(0)
                seen.append(cache.stats().entries)
            async with asyncio.timeout(10):
                await given.wait()
        assert max(before - after for before, after in itertools.pairwise(seen)) <= 2 * 500, "a little in each turn"
        assert seen[-1] == 80_000

    asyncio.run(scenario())


def test_slow_answers_and_a_late_loop_defer_background_work() -> None:
    machine = Machine()
    for seconds in [0.5] * 90 + [9.0] * 10 + [float("nan"), -1.0]:
        machine.signals.observe(seconds)
    machine.pass_seconds(1)
    assert (machine.signals.latency, machine.signals.defer_background, machine.signals.share) == (9.0, True, 1.0)
    for _ in range(512):
        machine.signals.observe(1.0)
    machine.pass_seconds(1)
    assert not machine.signals.defer_background
    machine.pass_seconds(5, lag=0.2)
    assert machine.signals.short_of == {"lag"}
    assert machine.signals.share == pytest.approx(0.6)


def test_few_answers_say_nothing() -> None:
    machine = Machine()
    for _ in range(19):
        machine.signals.observe(9.0)
    machine.pass_seconds(1)
    assert machine.signals.latency == 0.0


def test_it_reads_by_itself_while_entered_and_feels_the_loop() -> None:
    async def main() -> None:
        readings = 0

        def read() -> SystemReading:
            nonlocal readings
            readings += 1
            if readings == 3:
                raise OSError("the user's reader")
            return SystemReading(0.0, 1.0, 0, 0)

        signals = SystemSignals(read=read, clock=virtual_time.clock, every=2.0)
        async with signals:
            await asyncio.sleep(9)
            assert readings == 5
            with pytest.raises(InvalidArgument, match="read already"):
                await signals.__aenter__()
            loop = asyncio.get_running_loop()
            for _ in range(20):
                await asyncio.sleep(1.99)
                loop.now += 0.5  # type: ignore[attr-defined] # as if something had held it
            assert signals.lag > 0.1
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        async with signals:  # and again
            pass

    virtual_time.run(main())


def test_what_the_user_s_code_raises_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    def bad(*_: object) -> None:
        raise RuntimeError("the user's")

    clock = Clock()
    signals = SystemSignals(read=lambda: SystemReading(0.0, 1.0, 95, 100), shrink=bad, on_change=bad, clock=clock)
    signals.update()
    assert signals.shed
    assert "shrink of system signals failed" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"cpu_high": 0},
        {"cpu_cut": 1.5},
        {"memory_soft": 0.9, "memory_hard": 0.8},
        {"lag_high": -1},
        {"latency_high": 0},
        {"every": 0},
    ],
)
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        SystemSignals(**options)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PROC = {
    "proc/stat": "cpu  1000 0 500 9000 500 0 0 0 0 0\ncpu0 1 2 3\n",
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
    "proc/self/statm": "5000 2000 300 1 0 100 0\n",
}


def test_a_control_group_of_version_2(tmp_path: Path) -> None:
    reading = read_system(
        write(
            tmp_path,
            PROC
            | {
                "sys/fs/cgroup/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
                "sys/fs/cgroup/memory.current": "700000000\n",
                "sys/fs/cgroup/memory.max": "1000000000\n",
                "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 200000000\n",
            },
        )
    )
    assert reading == SystemReading(cpu_seconds=1.5, cpus=0.5, memory=500_000_000, memory_limit=1_000_000_000)


def test_a_control_group_of_version_1(tmp_path: Path) -> None:
    reading = read_system(
        write(
            tmp_path,
            PROC
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpuacct/cpuacct.usage": "2500000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000\n",
                "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100000000\n",
            },
        )
    )
    assert reading == SystemReading(cpu_seconds=2.5, cpus=0.25, memory=600_000_000, memory_limit=1_000_000_000)


@pytest.mark.parametrize(
    "group",
    [
        {},
        {
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.current": "9\n",
        },
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "9\n",
        },
    ],
)
def test_without_a_limit_it_is_this_process_and_this_machine(tmp_path: Path, group: dict[str, str]) -> None:
    reading = read_system(write(tmp_path, PROC | group))
    assert reading.memory_limit == 16_000_000 * 1024
    assert reading.memory == 2000 * 4096
    assert reading.cpu_seconds == pytest.approx(15.0)
    assert reading.cpus >= 1


def test_junk_and_nothing_at_all_are_zeros(tmp_path: Path) -> None:
    assert read_system(tmp_path).memory_limit == 0
    junk = dict.fromkeys((*PROC, "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/memory.max"), "junk \x00 x\n")
    machine = read_system(write(tmp_path, junk))
    assert (machine.cpu_seconds, machine.memory, machine.memory_limit) == (0.0, 0, 0)
    signals = SystemSignals(read=lambda: read_system(tmp_path))
    signals.update()
    signals.update()
    assert signals.short_of == frozenset()


def test_this_machine_can_be_read() -> None:
    reading = read_system()
    assert reading.memory > 1_000_000
    assert reading.memory_limit > reading.memory
    assert reading.cpus > 0


def test_freed_memory_is_given_back() -> None:
    give_back()  # whatever the allocator
