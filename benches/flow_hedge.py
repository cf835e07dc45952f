"""Hedging on a virtual clock: what the tail gains for each per cent of extra load, as markdown tables.

    python -m benches.flow_hedge [--calls 50000] [--seed 1]

A provider whose time to first token is lognormal, but for one call in a hundred, which takes a Pareto tail of up to a minute; the luck of a second call is
its own. Every policy sees the same arrivals, and the n-th call the same luck. Then the same provider with everything three times slower for a tenth of the time, which a
fixed delay takes for as many late calls.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.flow import Hedge

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RATE, MEDIAN, SPREAD, RARE, TAIL, CUT = 20.0, 0.5, 0.4, 0.01, 1.1, 60.0
QUANTILES = (0.5, 0.95, 0.99, 0.999)


@dataclass
class Outcome:
    """What callers waited, and how many calls reached the provider."""

    seconds: list[float] = field(default_factory=list)
    calls: int = 0
    budget_held: bool = True

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[int(share * len(self.seconds))]

    @property
    def extra(self) -> float:
        """Per cent of calls made beyond one each."""
        return 100 * (self.calls / len(self.seconds) - 1)


def luck(dice: random.Random) -> float:
    seconds = MEDIAN * dice.lognormvariate(0.0, SPREAD)
    return seconds if dice.random() >= RARE else min(seconds + 2.0 * dice.paretovariate(TAIL), CUT)


async def fixed(delay: float, work: Callable[[], Awaitable[None]]) -> None:
    """A second call after so many seconds, whatever it costs."""

    async def late() -> None:
        await asyncio.sleep(delay)
        await work()

    tasks = [asyncio.ensure_future(work()), asyncio.ensure_future(late())]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(tasks)


def played(name: str, calls: int, seed: int, *, slow: bool) -> Outcome:
    """One policy. ``slow``: the second tenth of the time everything takes three times as long."""
    outcome = Outcome()

    async def main() -> None:
        kind, _, number = name.partition(" ")
        hedge = Hedge(quantile=float(number) if kind == "sparecall" else 0.95, clock=virtual_time.clock)
        arrivals = random.Random(seed)
        begun = virtual_time.clock()
        end = calls / RATE

        async def call(index: int) -> None:
            lucks = random.Random(f"{seed}/{index}")

            async def work() -> None:
                outcome.calls += 1
                now = virtual_time.clock() - begun
                await asyncio.sleep(luck(lucks) * (3.0 if slow and 0.1 * end <= now < 0.2 * end else 1.0))

            at = virtual_time.clock()
            if kind == "none":
                await work()
            elif kind == "fixed":
                await fixed(float(number), work)
            else:
                await hedge.run(work, idempotent=True)
                outcome.budget_held &= hedge.stats.hedges <= 0.05 * hedge.stats.calls
            outcome.seconds.append(virtual_time.clock() - at)

        async with asyncio.TaskGroup() as group:
            for index in range(calls):
                group.create_task(call(index))
                await asyncio.sleep(arrivals.expovariate(RATE))

    virtual_time.run(main())
    return outcome


NAMES = ("none", "sparecall 0.95", "sparecall 0.99", "fixed 0.5", "fixed 1", "fixed 2", "fixed 5")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for title, slow in (("rare stalls", False), ("and three times slower for a tenth of the time", True)):
        print(
            f"\n| {title} | p50 | p95 | p99 | p99.9 s | extra calls | p99.9 gained for each % |\n|---|---|---|---|---|---|---|"
        )
        none = 0.0
        for name in NAMES:
            outcome = played(name, args.calls, args.seed, slow=slow)
            row = [outcome.quantile(share) for share in QUANTILES]
            none = none or row[-1]
            gained = f"{(none - row[-1]) / outcome.extra:.1f} s" if outcome.extra else ""
            print(
                f"| {name} | {row[0]:.2f} | {row[1]:.2f} | {row[2]:.2f} | {row[3]:.2f} | {outcome.extra:.2f} % | {gained} |"
            )


if __name__ == "__main__":
    main()
