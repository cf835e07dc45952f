"""One picture for each trace: percent of hits by size of the cache, one line for each player."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .players import COLUMNS, OURS

if TYPE_CHECKING:
    from pathlib import Path

    from .bars import Results


def plot(results: Results, folder: Path) -> None:
    """Write FOLDER/<trace>.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for trace, rows in results.items():
        figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
        for name in COLUMNS:
            points = [(size, row[name][0]) for size, row in rows.items() if name in row]
            if points:
                width, style = (2.5, "-") if name in OURS else (1.2, "--")
                axes.plot(*zip(*points, strict=True), style, linewidth=width, marker="o", markersize=3, label=name)
        axes.set(title=trace, xlabel="size of the cache", ylabel="hits, percent", xscale="log")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(folder / f"{trace}.png", dpi=120)
        pyplot.close(figure)
