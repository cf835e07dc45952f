"""The command: replays a trace through every rule, and recommends settings for it."""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.batch.sim.arrivals import read_trace
from sparecall.batch.sim.engine import Service, simulate
from sparecall.batch.sim.rules import BatchedRule, BentoRule, Ours, SizeOrTimer, WhenFree
from sparecall.errors import SparecallError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparecall.batch.sim.arrivals import Arrivals
    from sparecall.batch.sim.engine import Outcome
    from sparecall.batch.sim.rules import Rule

__all__ = ["Recommendation", "main", "recommend"]

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Settings of a `Batcher`, and what a replay with them came to: seconds, and the most that waited at once."""

    max_items: int
    hold: bool
    max_waiting: int
    mean: float
    p99: float


def recommend(
    arrivals: Arrivals, service: Service, *, servers: int, most: int, max_tokens: int | None
) -> Recommendation:
    """The smallest batch size whose p99 and mean are within 2 % of the best of all sizes up to `most`, and the queue it needs."""
    sizes = [size for size in _SIZES if size < most] + [most]
    tried: list[Recommendation] = []
    for size in sizes:
        for hold in (True, False):
            rule = _Watched(max_items=size, max_tokens=max_tokens, hold=hold, servers=servers)
            outcome = simulate(rule, arrivals, service, servers=servers)
            tried.append(Recommendation(size, hold, _round_up(2 * rule.most), outcome.mean, outcome.percentile(99)))
    mean, p99 = min(each.mean for each in tried), min(each.p99 for each in tried)
    return min(tried, key=lambda each: (max(each.mean / mean, each.p99 / p99, 1.02), each.max_items, not each.hold))


class _Watched(Ours):
    """Ours, and the most that waited."""

    most = 0

    def add(self, index: int, tokens: int, now: float) -> None:
        super().add(index, tokens, now)
        self.most = max(self.most, self.waiting())


def _round_up(count: int) -> int:
    return max(1 << (count - 1).bit_length(), 64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        arrivals = read_trace(options.trace)
    except (SparecallError, OSError, UnicodeDecodeError) as error:
        print(f"{options.trace}: {error}", file=sys.stderr)
        return 2
    if options.rate is not None:
        arrivals = arrivals.at_rate(options.rate)
    service = Service(options.fixed, options.per_item, options.per_token, options.noise)
    mean_tokens = statistics.fmean(arrivals.tokens)
    load = arrivals.rate / (options.servers * service.capacity(options.max_items, mean_tokens))
    print(
        f"{len(arrivals.times)} arrivals in {arrivals.times[-1]:.0f} s, {arrivals.rate:.2f}/s, {mean_tokens:.0f} tokens each; "
        f"load {load:.2f} at {options.max_items} items a batch, {options.servers} at once"
    )
    common = {"max_items": options.max_items, "max_tokens": options.max_tokens}
    rules: dict[str, Callable[[], Rule]] = {
        "sparecall": lambda: Ours(**common, servers=options.servers),
        "sparecall, deadlines": lambda: Ours(**common, within=options.within, servers=options.servers),
        "when free": lambda: WhenFree(**common),
        "size or timer, 10 ms (Ray Serve)": lambda: SizeOrTimer(**common),
        "BentoML": lambda: BentoRule(**common),
        "batched, 5 ms": lambda: BatchedRule(**common),
    }
    print(f"\n{'':34}{'mean':>9}{'p50':>9}{'p99':>9} ms{'in time':>9}{'batch':>8}")
    for name, make in rules.items():
        _row(name, simulate(make(), arrivals, service, servers=options.servers), options.within)
    best = recommend(arrivals, service, servers=options.servers, most=options.max_items, max_tokens=options.max_tokens)
    print(
        f"\nBatcher(fn, max_items={best.max_items}, max_concurrent={options.servers}, max_waiting={best.max_waiting}, hold={best.hold})"
        f"\n# mean {best.mean * 1000:.1f} ms, p99 {best.p99 * 1000:.1f} ms on this trace"
    )
    if load >= 1:
        print("# more comes than can be served: allow larger batches or more at once, or give items deadlines")
    return 0


def _row(name: str, outcome: Outcome, within: float) -> None:
    figures = [1000 * value for value in (outcome.mean, outcome.percentile(50), outcome.percentile(99))]
    print(
        f"{name:34}"
        + "".join(f"{value:9.1f}" for value in figures)
        + f"   {outcome.in_time(within):9.3f}{outcome.mean_batch:8.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sparecall.batch.sim", description=__doc__)
    parser.add_argument("trace", type=Path, help="CSV, plain or .gz: a column of times, and one of tokens if there is")
    parser.add_argument("--fixed", type=_amount, default=0.02, help="seconds of a batch, whatever is in it")
    parser.add_argument("--per-item", type=_amount, default=0.001, help="seconds more for each item")
    parser.add_argument("--per-token", type=_amount, default=0.0, help="seconds more for each token")
    parser.add_argument("--noise", type=_amount, default=0.1, help="spread of a batch's time, lognormal")
    parser.add_argument("--max-items", type=_count, default=64, help="the most items a batch may have")
    parser.add_argument("--max-tokens", type=_count, help="the most tokens a batch may have")
    parser.add_argument("--servers", type=_count, default=1, help="batches that may run at once")
    parser.add_argument("--within", type=_amount, default=0.25, help="seconds within which an item is in time")
    parser.add_argument("--rate", type=_amount, help="arrivals a second, to which the trace is stretched")
    return parser


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of 0 or more")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of 1 or more")
    return value
