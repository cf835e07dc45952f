"""Batching rules on a virtual clock, common random numbers: tables of means, tails and goodput, and whether the bars hold.

    python -m benches.batch_sim [--seeds 30] [--count 10000] [--servers 1] [--azure FOLDER] [--plot FOLDER]

FOLDER of `--azure` holds `code.csv.gz` and `conv.csv.gz` of the public Azure LLM inference traces of 2023; their times are stretched to the load.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.batch import sim

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.batch.sim import Arrivals, Outcome, Rule, Service

LOADS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
MAX_ITEMS, WITHIN = 32, 0.25
ITEMS = sim.Service(fixed=0.02, per_item=0.001)
# The traces' requests have 1,000 to 2,000 tokens on average: as much per item at 0.5 us a token.
TOKENS = sim.Service(fixed=0.02, per_item=0.0003, per_token=5e-7)
OURS, LATE, OPTIMUM, TIMER = "sparecall", "sparecall, deadlines", "optimum", "size or timer"
RULES: dict[str, Callable[[int], Rule]] = {
    OURS: lambda servers: sim.Ours(max_items=MAX_ITEMS, servers=servers),
    LATE: lambda servers: sim.Ours(max_items=MAX_ITEMS, within=WITHIN, servers=servers),
    "when free": lambda _: sim.WhenFree(max_items=MAX_ITEMS),
    TIMER: lambda _: sim.SizeOrTimer(max_items=MAX_ITEMS),
    "BentoML": lambda _: sim.BentoRule(max_items=MAX_ITEMS),
    "batched": lambda _: sim.BatchedRule(max_items=MAX_ITEMS),
}
RIVALS = (TIMER, "BentoML", "batched")


@dataclass
class Cell:
    """One kind of arrivals at one load: for each rule, its figures by seed."""

    means: dict[str, list[float]]
    tails: dict[str, list[float]]
    good: dict[str, list[float]]

    def ratio(self, figures: dict[str, list[float]], ours: str, other: str) -> float:
        """The median over seeds of ours divided by the other's."""
        return statistics.median(a / b for a, b in zip(figures[ours], figures[other], strict=True))

    def best_tail(self) -> str:
        """The rival with the lowest median p99."""
        return min(RIVALS, key=lambda name: statistics.median(self.tails[name]))


def measured(
    arrivals: Callable[[float, int], Arrivals],
    service: Service,
    load: float,
    seeds: int,
    *,
    servers: int,
    optimum: bool,
) -> Cell:
    """All rules on the same arrivals and the same noise."""
    tokens = arrivals(1.0, 0).tokens
    rate = load * servers * service.capacity(MAX_ITEMS, sum(tokens) / len(tokens))
    rules = dict(RULES)
    best = sim.solve(rate, service, MAX_ITEMS) if optimum else None
    if best is not None:
        rules[OPTIMUM] = lambda _: sim.ControlLimit(max_items=MAX_ITEMS, limit=best.limit)
    cell = Cell({}, {}, {})
    for seed in range(seeds):
        these = arrivals(rate, seed)
        for name, make in rules.items():
            outcome: Outcome = sim.simulate(make(servers), these, service, servers=servers, seed=seed)
            cell.means.setdefault(name, []).append(outcome.mean)
            cell.tails.setdefault(name, []).append(outcome.percentile(99))
            cell.good.setdefault(name, []).append(outcome.in_time(WITHIN))
    return cell


def loads(count: int, azure: Path | None) -> dict[str, tuple[Callable[[float, int], Arrivals], Service]]:
    """The kinds of arrivals: a function of rate and seed each."""
    kinds: dict[str, tuple[Callable[[float, int], Arrivals], Service]] = {
        "Poisson": (lambda rate, seed: sim.poisson(rate, count, seed=seed), ITEMS),
        "gamma, CV 4": (lambda rate, seed: sim.gamma(rate, count, variation=4, seed=seed), ITEMS),
        "two states": (lambda rate, seed: sim.bursty(rate, count, seed=seed), ITEMS),
    }
    for name in ("code", "conv") if azure is not None else ():
        trace = sim.read_trace(azure / f"{name}.csv.gz")
        kinds[f"Azure {name}"] = (lambda rate, _seed, trace=trace: trace.at_rate(rate), TOKENS)
    return kinds


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--azure", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    cells: dict[tuple[str, float], Cell] = {}
    for kind, (arrivals, service) in loads(options.count, options.azure).items():
        optimum = kind == "Poisson" and options.servers == 1
        names = [*RULES, OPTIMUM] if optimum else list(RULES)
        print(
            f"\n**{kind}**: mean / p99 ms, share served within {WITHIN * 1000:.0f} ms; medians of {options.seeds} seeds\n"
        )
        print("| load | " + " | ".join(names) + " | mean to optimum | p99 to the best other |")
        print("|" + "---|" * (len(names) + 3))
        for load in LOADS:
            cell = cells[kind, load] = measured(
                arrivals, service, load, options.seeds, servers=options.servers, optimum=optimum
            )
            row = [f"{load:.2f}"]
            for name in names:
                mean, tail, good = (statistics.median(each[name]) for each in (cell.means, cell.tails, cell.good))
                row.append(f"{mean * 1000:.1f} / {tail * 1000:.0f}, {good:.2f}")
            row.append(f"{cell.ratio(cell.means, OURS, OPTIMUM):.3f}" if OPTIMUM in cell.means else "")
            best = cell.best_tail()
            row.append(f"{cell.ratio(cell.tails, OURS, best):.3f} ({best})")
            print("| " + " | ".join(row) + " |", flush=True)
    bars(cells)
    if options.plot is not None:
        plot(cells, options.plot)


def bars(cells: dict[tuple[str, float], Cell]) -> None:
    """What was promised, and the worst that was measured."""
    optimum = max(
        (cell.ratio(cell.means, OURS, OPTIMUM) for cell in cells.values() if OPTIMUM in cell.means), default=1.0
    )
    tail, where = max((cell.ratio(cell.tails, OURS, cell.best_tail()), key) for key, cell in cells.items())
    good = {kind: cell.ratio(cell.good, LATE, TIMER) for (kind, load), cell in cells.items() if load == 0.9}
    print(f"\nmean to the optimum, worst: {optimum:.3f} (bar 1.05)")
    print(f"p99 to the best other, worst: {tail:.3f} at {where} (bar 1.02)")
    print(
        "goodput to size-or-timer at load 0.9 (bar 1.3, bursts):",
        ", ".join(f"{kind} {value:.2f}" for kind, value in good.items()),
    )


def plot(cells: dict[tuple[str, float], Cell], folder: Path) -> None:
    """Curves of mean, p99 and goodput over load, a PNG for each kind of arrivals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    for kind in dict.fromkeys(kind for kind, _ in cells):
        figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.5))
        here = {load: cell for (each, load), cell in cells.items() if each == kind}
        panels = (("mean, ms", "means", 1000), ("p99, ms", "tails", 1000), ("served in time, share", "good", 1))
        for axis, (title, attribute, scale) in zip(axes, panels, strict=True):
            for name in next(iter(here.values())).means:
                values = [statistics.median(getattr(cell, attribute)[name]) * scale for cell in here.values()]
                axis.plot(list(here), values, marker="o", markersize=3, label=name)
            axis.set(title=f"{kind}: {title}", xlabel="load", yscale="log" if scale == 1000 else "linear")
        axes[0].legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(folder / f"batch_{kind.lower().replace(' ', '_').replace(',', '')}.png", dpi=110)
        pyplot.close(figure)


if __name__ == "__main__":
    main()
