"""What is left of long conversations, and their bill, by sparecall and by what agents' frameworks do: one markdown table.

The definitions are those of `benches.context_quality`, all rows in one process over the same runs: evidence recall (locomo),
next-action grounding (tau_bench, swe_agent), the bill under prefix-cache prices and what is left in those requests, requests a
provider would refuse, and milliseconds a call, the median of the fastest half. `--every N` takes every Nth question and run.
Prompt compressors that ask a model of their own (LLMLingua and others, which need torch) are left out: no such call is made here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benches import context_quality as quality
from benches.context_data import runs, talks
from benches.context_ours import ours

COLUMNS = {
    "evidence 10 %": "locomo 10%",
    "50 %": "locomo 50%",
    "grounding tau 50 %": "tau_bench 50%",
    "swe 50 %": "swe_agent 50%",
    "swe 75 %": "swe_agent 75%",
    "bill": "bill",
    "worst run": "worst",
    "left": "left",
}


def cell(row: quality.Row, name: str) -> str:
    """One figure, or a dash where the method has none."""
    figures = row.figures
    if name == "bill":
        found = figures["paid"] / figures["asked"] if figures.get("asked") else None
    elif name in {"worst", "left"}:
        both = [figures[f"{name} {log}"] for log in quality.LOGS if f"{name} {log}" in figures]
        found = (max(both) if name == "worst" else min(both)) if both else None
    else:
        found = figures.get(name)
    return "" if found is None else f"{found:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--every", type=int, default=4)
    options = parser.parse_args()
    if not (options.data / "locomo").is_dir():
        print("context: left out: no locomo, tau_bench and swe_agent (--data)")
        return
    rows = [*quality.rivals(None), *ours(None)]
    found = talks(options.data)
    logs = {name: some[:: options.every] for name, some in runs(options.data).items()}
    for row in rows:
        if row.method is not None:
            quality.evidence(row, found, options.every)
        for name, some in logs.items():
            if row.method is not None:
                quality.grounding(row, name, some)
            if row.replay is not None:
                quality.bill(row, name, some)
    print(f"| | {' | '.join(COLUMNS)} | refused | ms |\n|---|{'---|' * (len(COLUMNS) + 2)}")
    for row in rows:
        times = sorted(row.times)[: max(1, len(row.times) // 2)]
        figures = " | ".join(cell(row, name) for name in COLUMNS.values())
        print(f"| {row.name} | {figures} | {row.refused} | {statistics.median(times) * 1e3:.2f} |")


if __name__ == "__main__":
    main()
