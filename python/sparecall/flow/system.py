"""What the machine itself is short of: processor time, memory, an event loop that keeps up. Read from /proc and the control group.

`read_system` alone touches files; `SystemSignals` concludes from what it is given. Nothing here stops a call by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from sparecall.errors import InvalidArgument, Overloaded
from sparecall.flow import pressure
from sparecall.flow.arguments import positive, share
from sparecall.flow.pressure import Pressure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sparecall.flow.pressure import Resizable

Shortage = Literal["cpu", "memory_soft", "memory_hard", "lag", "latency"]

_LOG = logging.getLogger("sparecall.flow")
_UNLIMITED = 1 << 60  # bytes: what version 1 of control groups writes where there is no limit
_SMOOTHED = 0.3  # of a reading in the processor's use and the loop's lag
_BACK = 0.9  # of a bound, below which a shortage is over
_RECENT = 512  # latencies that a 95th percentile is of
_FEW = 20  # of them tell nothing


class SystemReading(msgspec.Struct, frozen=True):
    """The machine's counters at one moment."""

    cpu_seconds: float
    """Processor time used so far, by this control group, or by the whole machine where it has no limit."""
    cpus: float
    """How many processors it may use."""
    memory: int
    """Bytes resident: of the control group without what the kernel may drop, else of this process."""
    memory_limit: int
    """Bytes it may have; 0 where that cannot be read."""


def read_system(root: Path = Path("/")) -> SystemReading:
    """Reads /proc and the control group (version 2, else 1); what is not there is left out. About 0.1 ms; works on Linux, gives zeros elsewhere."""
    group = root / "sys/fs/cgroup"
    quota = _numbers(group / "cpu.max")
    usage = _fields(group / "cpu.stat").get("usage_usec")
    cpus = float(_cpus())
    if len(quota) == 2 and usage is not None:
        cpus, used = min(cpus, quota[0] / quota[1]), usage / 1e6
    elif (limited := _first(group / "cpu/cpu.cfs_quota_us")) > 0:
        cpus = min(cpus, limited / max(_first(group / "cpu/cpu.cfs_period_us"), 1.0))
        used = _first(group / "cpuacct/cpuacct.usage") / 1e9
    else:
        cpus, used = float(os.cpu_count() or 1), _machine_seconds(root / "proc/stat")
    memory, limit = _first(group / "memory.current"), _first(group / "memory.max")
    inactive = _fields(group / "memory.stat").get("inactive_file", 0)
    if not limit:
        memory, limit = (
            _first(group / "memory/memory.usage_in_bytes"),
            _first(group / "memory/memory.limit_in_bytes"),
        )
        inactive = _fields(group / "memory/memory.stat").get("total_inactive_file", 0)
    machine = _fields(root / "proc/meminfo").get("MemTotal:", 0) * 1024
    if not 0 < limit < _UNLIMITED or (machine and limit > machine):
        resident = _numbers(root / "proc/self/statm")
        memory, inactive, limit = (resident[1] if len(resident) > 1 else 0) * _page(), 0, machine
    return SystemReading(used, cpus, max(int(memory - inactive), 0), int(limit))


class SystemSignals:
    """Says what the machine is short of: `share` for limits, `defer_background` and `shed` for who takes calls in.

    - `share`: of their calls that limits should let through: 1, or ``1 - cpu_cut`` while more than ``cpu_high`` of the processors is in use
      or the event loop comes later than ``lag_high`` seconds.
    - `defer_background`: work that can wait should, while that is so, or while the 95th percentile of what was told to
      `observe` is above ``latency_high`` seconds.
    - memory above ``memory_soft`` of its limit: the bounds of ``caches`` come down by the share of it that is too much, to a sixteenth at the
      least, at each reading until it is below, and then go back up a twentieth at a time; ``shrink`` is called with that
      share, for what else can be dropped; above ``memory_hard``: `shed`, and `check` raises `Overloaded`.

    A shortage is over at nine tenths of its bound. As ``async with`` it reads each ``every`` seconds; else call `update`. ``on_change`` is told
    of each shortage and whether it begins; what it or ``shrink`` raises is logged. Belongs to one event loop.
    """

    __slots__ = (
        "_bounds", "_clock", "_cpu", "_cpu_cut", "_every", "_lag", "_last", "_latencies", "_memory", "_on_change", "_p95", "_pressure", "_read",
        "_short", "_shrink", "_task",
    )  # fmt: skip

    def __init__(
        self,
        *,
        cpu_high: float = 0.85,
        cpu_cut: float = 0.4,
        memory_soft: float = 0.8,
        memory_hard: float = 0.9,
        lag_high: float = 0.1,
        latency_high: float = 1.5,
        every: float = 1.0,
        caches: Sequence[Resizable] = (),
        shrink: Callable[[float], None] = lambda excess: None,
        on_change: Callable[[Shortage, bool], None] = lambda what, begins: None,
        read: Callable[[], SystemReading] = read_system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if memory_hard < memory_soft:
            raise InvalidArgument(f"memory_hard is {memory_hard}, below memory_soft, which is {memory_soft}")
        self._bounds: dict[Shortage, float] = {
            "cpu": share("cpu_high", cpu_high),
            "memory_soft": share("memory_soft", memory_soft),
            "memory_hard": share("memory_hard", memory_hard),
            "lag": positive("lag_high", lag_high),
            "latency": positive("latency_high", latency_high),
        }
        self._cpu_cut = share("cpu_cut", cpu_cut)
        self._every = positive("every", every)
        self._shrink, self._on_change, self._read, self._clock = shrink, on_change, read, clock
        self._pressure = Pressure(caches)
        self._cpu = self._memory = self._lag = self._p95 = 0.0
        self._last: tuple[float, float] | None = None  # when, and the processor time used by then
        self._latencies: deque[float] = deque(maxlen=_RECENT)
        self._short: set[Shortage] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def cpu(self) -> float:
        """The share of the processors in use, lately."""
        return self._cpu

    @property
    def memory(self) -> float:
        """The share of the memory's limit that is resident."""
        return self._memory

    @property
    def lag(self) -> float:
        """Seconds that the event loop comes late, lately."""
        return self._lag

    @property
    def latency(self) -> float:
        """The 95th percentile, in seconds, of what was observed lately."""
        return self._p95

    @property
    def short_of(self) -> frozenset[Shortage]:
        """What there is too little of."""
        return frozenset(self._short)

    @property
    def share(self) -> float:
        """Of their calls that limits should let through."""
        return 1 - self._cpu_cut if "cpu" in self._short or "lag" in self._short else 1.0

    @property
    def defer_background(self) -> bool:
        """Whether work that can wait should."""
        return bool(self._short)

    @property
    def shed(self) -> bool:
        """Whether no more work should be taken in."""
        return "memory_hard" in self._short

    def check(self) -> None:
        """Raises `Overloaded`, code ``memory``, where no more work should be taken in."""
        if self.shed:
            raise Overloaded(
                f"{self._memory:.0%} of the memory is in use; {self._bounds['memory_hard']:.0%} is the most for more work to be taken in",
                code="memory",
                retry_after=2 * self._every,
            )

    def observe(self, seconds: float) -> None:
        """Tell how long a call took, from the caller's side. O(1)."""
        if 0 <= seconds < math.inf:
            self._latencies.append(seconds)

    def update(self, *, lag: float = 0.0) -> None:
        """Reads the machine and concludes; ``lag``: seconds by which the loop came late for it. About 0.2 ms."""
        reading, now = self._read(), self._clock()
        if self._last is not None and now > self._last[0]:
            used = (reading.cpu_seconds - self._last[1]) / ((now - self._last[0]) * max(reading.cpus, 1e-3))
            self._cpu += (min(max(used, 0.0), 1.0) - self._cpu) * _SMOOTHED
        self._last = now, reading.cpu_seconds
        self._memory = reading.memory / reading.memory_limit if reading.memory_limit else 0.0
        self._lag += (max(lag, 0.0) - self._lag) * _SMOOTHED
        recent = sorted(self._latencies)
        self._p95 = recent[int(0.95 * len(recent))] if len(recent) >= _FEW else 0.0
        self._judge("cpu", self._cpu)
        self._judge("lag", self._lag)
        self._judge("latency", self._p95)
        self._judge("memory_soft", self._memory)
        self._judge("memory_hard", self._memory)
        excess = 0.0
        if "memory_soft" in self._short:
            excess = max(0.0, 1 - _BACK * self._bounds["memory_soft"] / max(self._memory, 1e-9))
            self._call(lambda: self._shrink(excess), "shrink")
        self._pressure.told(excess)
        self._pressure.step()

    def _judge(self, what: Shortage, value: float) -> None:
        bound = self._bounds[what]
        short = value > (bound * _BACK if what in self._short else bound)
        if short != (what in self._short):
            (self._short.add if short else self._short.discard)(what)
            self._call(lambda: self._on_change(what, short), "on_change")

    @staticmethod
    def _call(function: Callable[[], None], name: str) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            _LOG.exception("%s of system signals failed", name)

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise InvalidArgument("these signals are being read already")
        self._task = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        late = 0.0
        while True:
            try:
                self.update(lag=late)
            except Exception:  # noqa: BLE001 - a reader of the user's
                _LOG.exception("reading the system failed")
            while not self._pressure.step():  # noqa: ASYNC110 - others get their turn in between
                await asyncio.sleep(0)
            if self._pressure.freed:
                self._pressure.freed = False
                await asyncio.to_thread(pressure.give_back)
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            late = loop.time() - due

    def __repr__(self) -> str:
        short = ", ".join(sorted(self._short)) or "nothing"
        return f"<SystemSignals short of {short}: {self._cpu:.0%} cpu, {self._memory:.0%} memory, {self._lag * 1000:.0f} ms lag>"


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _numbers(path: Path) -> list[float]:
    """The numbers in a file, as far as it has nothing else."""
    try:
        return [float(word) for word in _text(path).split()]
    except ValueError:
        return []


def _first(path: Path) -> float:
    return next(iter(_numbers(path)), 0.0)


def _fields(path: Path) -> dict[str, float]:
    """The first number of each line, by its first word."""
    found: dict[str, float] = {}
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0]] = float(words[1])
    return found


def _machine_seconds(path: Path) -> float:
    """Processor time of the whole machine that was not idle."""
    words = _text(path).partition("\n")[0].split()
    try:
        ticks = [float(word) for word in words[1:9]]
    except ValueError:
        return 0.0
    busy = sum(ticks) - sum(ticks[3:5])  # idle, and waiting for disks
    return busy / os.sysconf("SC_CLK_TCK")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
