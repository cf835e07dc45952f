"""Who comes when, and how large: Poisson, gamma and two-state (MMPP) arrivals, and recorded traces. Seeded."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING

import numpy as np

from sparecall.errors import InvalidDocument

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Arrivals", "bursty", "gamma", "poisson", "read_trace"]

_TIMES = ("timestamp", "time", "arrival", "arrived_at")
_TOKENS = ("contexttokens", "context_tokens", "tokens", "input_tokens", "prompt_tokens", "request tokens")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Times in seconds from the first on, in order, and the tokens of each item, at least 1."""

    times: list[float]
    tokens: list[int]

    @property
    def rate(self) -> float:
        """Arrivals a second over the whole."""
        return len(self.times) / self.times[-1] if len(self.times) > 1 and self.times[-1] > 0 else 0.0

    def at_rate(self, rate: float) -> Arrivals:
        """The same arrivals, faster or slower, so that so many come a second."""
        factor = self.rate / rate
        return Arrivals([time * factor for time in self.times], self.tokens)


def _made(gaps: NDArray[np.float64], tokens: list[int] | None) -> Arrivals:
    times = np.cumsum(gaps)
    return Arrivals((times - times[0]).tolist(), tokens or [1] * len(gaps))


def poisson(rate: float, count: int, *, seed: int) -> Arrivals:
    """Independent arrivals: gaps are exponential."""
    return _made(np.random.default_rng(seed).exponential(1 / rate, count), None)


def gamma(rate: float, count: int, *, variation: float, seed: int) -> Arrivals:
    """Independent gaps from a gamma distribution whose coefficient of variation is `variation`: bursts, where that is above 1."""
    shape = 1 / variation**2
    return _made(np.random.default_rng(seed).gamma(shape, 1 / (rate * shape), count), None)


def bursty(
    rate: float, count: int, *, peak: float = 5.0, share: float = 0.1, length: float = 1.0, seed: int
) -> Arrivals:
    """A Markov-modulated Poisson process of two states: `peak` times the mean rate for a `share` of the time, `length` seconds on average."""
    rng = np.random.default_rng(seed)
    calm = rate * (1 - peak * share) / (1 - share)
    times: list[float] = []
    start, high = 0.0, False
    while len(times) < count:
        span = rng.exponential(length if high else length * (1 - share) / share)
        here = rng.poisson((rate * peak if high else max(calm, 0.0)) * span)
        times += np.sort(rng.uniform(start, start + span, here)).tolist()
        start, high = start + span, not high
    return Arrivals([time - times[0] for time in times[:count]], [1] * count)


def read_trace(path: Path) -> Arrivals:
    """Reads a CSV file, plain or .gz, with a header: a column of times (seconds, or dates as ISO 8601) and, if there is one, of tokens.

    Known names: `timestamp`, `time`, `arrival`; `tokens`, `ContextTokens`, `prompt_tokens` and the like, in any case. Raises
    `sparecall.errors.InvalidDocument` for another form; its rows are not quoted.
    """
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        times, tokens = _columns(file)
    if len(times) < 2:
        raise InvalidDocument("the trace has fewer than two arrivals")
    order = np.argsort(np.array(times), kind="stable")
    first = times[order[0]]
    if not np.isfinite(times).all() or times[order[-1]] == first:
        raise InvalidDocument("the trace's times are all the same, or one of them is not finite")
    return Arrivals([times[index] - first for index in order], [max(tokens[index], 1) for index in order])


def _columns(file: IO[str]) -> tuple[list[float], list[int]]:
    rows = csv.reader(file)
    header = [name.strip().lower() for name in next(rows, [])]
    when = next((header.index(name) for name in _TIMES if name in header), None)
    size = next((header.index(name) for name in _TOKENS if name in header), None)
    if when is None:
        raise InvalidDocument(f"the trace's header names no time; name a column one of {', '.join(_TIMES)}")
    times: list[float] = []
    tokens: list[int] = []
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        try:
            times.append(_seconds(row[when]))
            tokens.append(1 if size is None else int(float(row[size])))
        except (ValueError, IndexError, OverflowError):
            raise InvalidDocument(f"line {number} of the trace has no time or no number of tokens", number) from None
    return times, tokens


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        whole, _, fraction = text.strip().partition(".")
        if fraction.isdigit():  # more digits than `fromisoformat` takes
            return datetime.fromisoformat(whole).timestamp() + float("0." + fraction)
        return datetime.fromisoformat(text.strip()).timestamp()
