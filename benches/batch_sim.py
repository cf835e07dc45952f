"""Batching rules on a virtual clock, common random numbers: tables of means, tails and goodput, and whether the bars hold.

    python -m benches.batch_sim [--seeds 30] [--count 10000] [--servers 1] [--azure FOLDER] [--plot FILE.png] [--orders]

FOLDER holds `code.csv.gz` and `conv.csv.gz` of the public Azure LLM inference traces of 2023; their times are stretched to the load. `--plot` needs
matplotlib. `--orders` only shows what serving the newest first does to those traces.
"""

from __future__ import annotations

import argparse
import statistics
from collections import deque
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
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    parser.add_argument("--orders", action="store_true")
    options = parser.parse_args()
    if options.orders:
        if options.azure is None:
            parser.error("--orders needs --azure")
        orders(options.azure, options.seeds)
        return
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
        plot(cells, options.servers, options.plot)


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


def orders(azure: Path, seeds: int) -> None:
    """Ours and BentoML's rule, each oldest first and newest first, where newest first has the lower p99."""
    rules: dict[str, Callable[[], Rule]] = {
        "sparecall": lambda: sim.Ours(max_items=MAX_ITEMS),
        "sparecall, newest first": lambda: _NewestFirst(max_items=MAX_ITEMS),
        "BentoML, oldest first": lambda: _BentoOldestFirst(max_items=MAX_ITEMS),
        "BentoML": lambda: sim.BentoRule(max_items=MAX_ITEMS),
    }
    print("\n| arrivals, load | rule | mean | p99 | p99.9 | longest, ms |\n|---|---|---|---|---|---|")
    for name, load in (("code", 0.05), ("conv", 0.6)):
        trace = sim.read_trace(azure / f"{name}.csv.gz")
        these = trace.at_rate(load * TOKENS.capacity(MAX_ITEMS, statistics.fmean(trace.tokens)))
        for rule, make in rules.items():
            outcomes = [sim.simulate(make(), these, TOKENS, seed=seed) for seed in range(seeds)]
            shown = [statistics.median(each.percentile(percent) for each in outcomes) for percent in (99, 99.9, 100)]
            mean = statistics.median(each.mean for each in outcomes)
            print(
                f"| {name}, {load} | {rule} | " + " | ".join(f"{1000 * value:.1f}" for value in (mean, *shown)) + " |"
            )


class _NewestFirst(sim.Ours):
    """Closes when ours does, as large, and takes the newest."""

    def __init__(self, *, max_items: int) -> None:
        super().__init__(max_items=max_items)
        self._all: list[int] = []

    def add(self, index: int, tokens: int, now: float) -> None:
        super().add(index, tokens, now)
        self._all.append(index)

    def decide(self, now: float) -> list[int] | float:
        decision = super().decide(now)
        return decision if isinstance(decision, float) else [self._all.pop() for _ in decision]


class _BentoOldestFirst(sim.BentoRule):
    """Closes when BentoML's does, as large, and takes the oldest."""

    def decide(self, now: float) -> list[int] | float:
        waiting = deque(self.queue)
        decision = super().decide(now)
        if isinstance(decision, float):
            return decision
        taken = [waiting.popleft()[0] for _ in decision]
        self.queue = waiting
        return taken


def plot(cells: dict[tuple[str, float], Cell], servers: int, file: Path) -> None:
    """Curves over load, one PNG: a row for each kind of arrivals; mean and p99 as multiples of ours, and what was served in time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    colours = {OURS: "black", LATE: "tab:green", "when free": "tab:gray", TIMER: "tab:orange", "BentoML": "tab:red"}
    colours |= {"batched": "tab:purple", OPTIMUM: "tab:blue"}
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    figure, rows = pyplot.subplots(len(kinds), 3, figsize=(15, 1 + 3.6 * len(kinds)), squeeze=False, sharex=True)
    for axes, kind in zip(rows, kinds, strict=True):
        here = {load: cell for (each, load), cell in cells.items() if each == kind}
        names = next(iter(here.values())).means
        panels = (("mean", "means"), ("p99", "tails"), (f"share served within {WITHIN * 1000:.0f} ms", "good"))
        for axis, (title, attribute) in zip(axes, panels, strict=True):
            axis.set_title(f"{kind}: {title}{'' if attribute == 'good' else ', multiple of ' + OURS}", fontsize=10)
            axis.grid(visible=True, alpha=0.3)
            for name in names:
                if name == LATE and attribute != "good":
                    continue  # of those served: another crowd
                figures = [getattr(cell, attribute) for cell in here.values()]
                values = [
                    statistics.median(each[name])
                    if attribute == "good"
                    else statistics.median(other / own for other, own in zip(each[name], each[OURS], strict=True))
                    for each in figures
                ]
                wide = 2.5 if name in {OURS, LATE} else 1.5
                style = "--" if name == OPTIMUM else "-"
                axis.plot(
                    list(here), values, style, marker="o", markersize=3, linewidth=wide, color=colours[name], label=name
                )
            low, high = axis.get_ylim()
            axis.set_ylim((0, 1.03) if attribute == "good" else (max(low, 0.7), min(high, 1.8)))
    handles = {line.get_label(): line for axis in rows.flat for line in axis.get_lines()}
    figure.legend(handles.values(), handles, loc="upper center", ncols=len(handles), fontsize=10, frameon=False)
    for axis in rows[-1]:
        axis.set_xlabel(f"load, {servers} server{'s' if servers > 1 else ''}")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / (1 + 3.6 * len(kinds))))
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
