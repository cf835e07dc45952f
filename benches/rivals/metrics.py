"""Counts with sparecall's registry and prometheus_client in turns and prints one markdown table: medians and ratios."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

import prometheus_client as rival

import sparecall
from sparecall.metrics import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, CALLS, SERIES = 21, 2_000, 2_000
BUCKETS = [0.001 * 2**power for power in range(14)]


def repeat(call: Callable[[], object]) -> Callable[[], None]:
    def loop() -> None:
        for _ in range(CALLS):
            call()

    return loop


def main() -> None:
    """Print the table."""
    if sparecall.build_info()["profile"] != "release":
        raise SystemExit("benchmarks need a release build")
    ours, theirs = Registry(max_series=SERIES), rival.CollectorRegistry()
    our_family = ours.counter("requests_total", "Requests", ["model"])
    their_family = rival.Counter("requests_total", "Requests", ["model"], registry=theirs)
    for number in range(SERIES):
        our_family.labels(f"model-{number}").add(number)
        their_family.labels(f"model-{number}").inc(number)
    our_histogram = Registry().histogram("seconds", "Seconds", buckets=BUCKETS).labels()
    their_histogram = rival.Histogram("seconds", "Seconds", buckets=BUCKETS, registry=None)
    our_counter, their_counter = our_family.labels("model-1"), their_family.labels("model-1")

    rows: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {
        "counter + 1, ns": (repeat(our_counter.add), repeat(their_counter.inc), CALLS),
        "observe, ns": (
            repeat(lambda: our_histogram.observe(0.02)),
            repeat(lambda: their_histogram.observe(0.02)),
            CALLS,
        ),
        "labels(...) of a known series, ns": (
            repeat(lambda: our_family.labels("model-7")),
            repeat(lambda: their_family.labels("model-7")),
            CALLS,
        ),
        f"text of {SERIES} series, us": (ours.render, lambda: rival.generate_latest(theirs), 1_000),
    }
    times: dict[tuple[str, int], list[float]] = {(name, side): [] for name in rows for side in (0, 1)}
    gc.collect()
    gc.disable()
    for _ in range(ROUNDS):
        for name, (our_work, their_work, divisor) in rows.items():
            for side, work in enumerate((our_work, their_work)):
                start = time.perf_counter_ns()
                work()
                times[name, side].append((time.perf_counter_ns() - start) / divisor)
    print("| | sparecall | prometheus_client | ratio |\n|---|---|---|---|")
    for name in rows:
        our_time, their_time = (statistics.median(times[name, side]) for side in (0, 1))
        print(f"| {name} | {our_time:.0f} | {their_time:.0f} | {their_time / our_time:.1f} |")


if __name__ == "__main__":
    main()
