"""Prints a table of percent of hits for each trace, then the bars; a few minutes. `--plot FOLDER` draws the tables.

Run it in the rivals' environment (`benches/rivals/run` makes it) to have moka-py and theine beside:
`.venv-rivals/bin/python -m benches.traces [TRACE ...] [--plot FOLDER]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .bars import bars
from .players import COLUMNS, play
from .plot import plot
from .trace import FOLDER, SIZES, load

if TYPE_CHECKING:
    from .bars import Results


def table(trace: str, rows: dict[int, dict[str, tuple[float, float]]], *, saved: bool) -> None:
    print(f"\n{trace}, percent of {'costs saved' if saved else 'hits'}")
    print(f"{'size':>12}" + "".join(f"{name:>10}" for name in COLUMNS))
    for size, row in rows.items():
        cells = (f"{row[name][saved]:10.2f}" if name in row else f"{'-':>10}" for name in COLUMNS)
        print(f"{size:>12,}" + "".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.traces", description=__doc__)
    parser.add_argument("traces", nargs="*", metavar="TRACE", help=f"of {', '.join(SIZES)}; default: all")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write one PNG for each trace")
    options = parser.parse_args()
    unknown = set(options.traces) - set(SIZES)
    if unknown:
        parser.error(f"no trace is called {', '.join(sorted(unknown))}: choose from {', '.join(SIZES)}")
    if not FOLDER.is_dir():
        print(f"No traces in {FOLDER}: nothing to play.")
        return
    results: Results = {}
    for name in options.traces or SIZES:
        trace = load(name)
        rows = results[name] = {}
        for size in SIZES[name]:
            played = ((column, play(column, trace, size)) for column in COLUMNS)
            rows[size] = {column: result for column, result in played if result is not None}
        table(name, rows, saved=False)
        if trace.second == "cost":
            table(name, rows, saved=True)
    print()
    for reached, bar in bars(results):
        print(f"{'pass' if reached else 'FAIL'}  {bar}")
    if options.plot:
        plot(results, options.plot)
        print(f"\nPictures are in {options.plot}.")


if __name__ == "__main__":
    main()
