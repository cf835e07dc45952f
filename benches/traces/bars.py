"""What sparecall's policies have to reach, as pass or fail."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from .players import ORACLES, RIVALS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Percent of hits and of costs saved, by trace, size and player.
Results = dict[str, dict[int, dict[str, tuple[float, float]]]]


def hits(results: Results, trace: str, name: str) -> float:
    """Percent of hits, the mean over the trace's sizes."""
    return mean(row[name][0] for row in results[trace].values())


def behind(results: Results, trace: str) -> float:
    """How far `adaptive` is above the oracle that is best on the trace; below 0: behind it."""
    return hits(results, trace, "adaptive") - max(hits(results, trace, oracle) for oracle in ORACLES)


def played(results: Results, *traces: str) -> list[str]:
    return [trace for trace in traces if trace in results]


def bars(results: Results) -> Iterator[tuple[bool, str]]:
    """Whether each bar is reached, and what was asked with what was measured. Bars of traces that were not played are left out."""
    best = f"the best of {', '.join(ORACLES)}"
    margins = {trace: behind(results, trace) for trace in results}
    worst = min(margins, key=margins.__getitem__)
    yield (
        margins[worst] >= -2,
        f"adaptive within 2 points of {best} on every trace: at worst {margins[worst]:+.2f} on {worst}",
    )
    yield mean(margins.values()) >= -1, f"adaptive within 1 point of it on the mean: {mean(margins.values()):+.2f}"
    cells = {
        (trace, size): row["adaptive"][0] - max(row[oracle][0] for oracle in ORACLES)
        for trace, rows in results.items()
        for size, row in rows.items()
    }
    worst_cell = min(cells, key=cells.__getitem__)
    said = f"at worst {cells[worst_cell]:+.2f} on {worst_cell[0]} at {worst_cell[1]}"
    yield cells[worst_cell] >= -2, f"adaptive within 2 points of the best at every trace and size: {said}"
    for trace in played(results, "scarab_recs", "corda_vault"):
        least = min(row["adaptive"][0] - row["lru"][0] for row in results[trace].values())
        yield least >= -0.5, f"adaptive at least LRU - 0.5 points at every size of {trace}: at worst {least:+.2f}"
    for rival in RIVALS:
        both = [trace for trace, rows in results.items() if all(rival in row for row in rows.values())]
        if both:
            ours, theirs = (mean(hits(results, trace, name) for trace in both) for name in ("adaptive", rival))
            yield (
                ours >= theirs,
                f"adaptive at least {rival} on the mean of {len(both)} traces: {ours:.2f} and {theirs:.2f}",
            )
    for trace in played(results, "gcc_address_misscost", "adapt_size_id_bytes"):
        least = min(row["cost"][1] - row["gdsf"][1] for row in results[trace].values())
        yield least >= 0, f"cost saves at least what GDSF does at every size of {trace}: at worst {least:+.2f} points"
