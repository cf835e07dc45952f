"""How many calls an endpoint takes at once, by what its calls tell: the adaptive limit's arithmetic. No clock, no queue.

By Little's law the calls that wait inside the endpoint are the excess of the mean time over what it should be, times the calls
that come back a second: with `slower` times the expected time, all but one in `slower` of those in flight, whatever the kind of queue.
TCP Vegas has the same idea with the shortest time seen for what it should be; here that is a line through the tokens (`Expected`),
and what follows from it is weighed against what was thought before (`Capacity`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sparecall.flow.capacity import Capacity
from sparecall.flow.expected import Expected

_LEAST_SAMPLES, _ENOUGH_SAMPLES, _MOST_SAMPLES = 4, 12, 512  # of a reading
_SHORTEST = 0.1  # seconds between two readings
_KNOWN = 0.1  # leverage below which a size has been seen often enough to judge by it
_OUTLIER = 8.0  # times what was expected: longer counts as that long
_FIRST_TRIPS = 2.0  # times the longest call, and
_FIRST_SAMPLES = 1.5  # times the first limit: calls taken as they come, before there is anything to judge them by
_GROWTH = 0.4  # of the limit more, at most, from one reading to the next
_SMALLEST = 0.4  # of the limit is left at one step down, at least
_USED = 0.9  # of the limit must have been in flight once for it to grow
_ALONE = 1.2  # times those in flight would fit, almost certainly: nothing is in their way
_TOLERATED = 0.02  # share of calls dropped for reasons of their own
_GAIN = 1 / 8  # of a call in the mean duration


class Sample(NamedTuple):
    """One call: how many were in flight when it began, itself among them, how long it took, its tokens."""

    in_flight: int
    seconds: float
    tokens: float


class Reading(NamedTuple):
    """What a few calls say together."""

    in_flight: float
    """When they began: the mean, and"""
    most: int
    slower: float
    """Times as long as expected."""
    error: float
    """The standard error of `slower`."""
    waited: float
    """Mean seconds above what was expected."""


class Gradient:
    """`limit` follows what the endpoint takes, between `least` and `most`. Tell it how calls end; O(1) a call, amortised."""

    __slots__ = (
        "_alone", "_began", "_capacity", "_dropped", "_duration", "_first", "_first_expected", "_first_samples", "_last", "_longest", "_next", "_refused",
        "_refusing", "_whole", "_whole_expected", "least", "limit", "load", "most",
    )  # fmt: skip

    def __init__(self, *, initial: float, least: float, most: float) -> None:
        self.limit, self.least, self.most = float(initial), float(least), float(most)
        self.load = 0.0
        """How many of the calls in flight waited in the endpoint at the last reading, as a share."""
        self._capacity = Capacity(least=least, most=most)
        self._first: list[Sample] = []
        self._whole: list[Sample] = []
        self._dropped: list[int] = []  # in flight when they began
        self._refused, self._refusing = 0, 0.0  # of the dropped: at once; the seconds that took
        self._first_expected, self._whole_expected = Expected(), Expected()
        self._duration = self._longest = 0.0
        self._alone = False
        self._began = math.inf
        self._first_samples = _FIRST_SAMPLES * initial
        self._last = self._next = -math.inf

    @property
    def duration(self) -> float:
        """Mean seconds of a call, lately; 0 before the first."""
        return self._duration

    def answered(self, in_flight: int, seconds: float, prompt: float, now: float) -> None:
        """The first token of a stream came after so long."""
        self._first.append(Sample(in_flight, seconds, prompt))
        self._ended(seconds, now)

    def ended(self, in_flight: int, seconds: float, tokens: float | None, now: float, *, streamed: bool) -> None:
        """A call ended well. Of one that was streamed the length says something only where its tokens are known."""
        self._duration += (seconds - self._duration) * (_GAIN if self._duration else 1.0)
        if tokens is not None or not streamed:
            self._whole.append(Sample(in_flight, seconds, tokens or 0.0))
        self._ended(seconds, now)

    def dropped(self, in_flight: int, seconds: float, now: float, *, refused: bool) -> None:
        """A call was refused for want of room, or timed out."""
        self._dropped.append(in_flight)
        if refused:
            self._refused += 1
            self._refusing += seconds
        self._ended(seconds, now)

    def _ended(self, seconds: float, now: float) -> None:
        if now - seconds < self._began:
            self._began = now - seconds
        if seconds > self._longest:
            self._longest = seconds
        count = max(len(self._whole), len(self._first)) + len(self._dropped)
        if (now >= self._next and count >= min(max(self.limit / 2, _LEAST_SAMPLES), _ENOUGH_SAMPLES)) or (
            count >= _MOST_SAMPLES
        ):
            self._read(now)
            self._next = now + max(_SHORTEST, self._pace())

    def _pace(self) -> float:
        return 0.25 * self._duration

    def _read(self, now: float) -> None:
        whole_samples, first_samples, dropped = self._whole, self._first, self._dropped
        passed, self._last = now - self._last, now
        self._whole, self._first, self._dropped = [], [], []
        whole = _reading(whole_samples, self._whole_expected)
        first = _reading(first_samples, self._first_expected)
        # Those that end first are the short ones: what is known before the long ones end is too little.
        known = self._first_samples <= 0 and now >= self._began + _FIRST_TRIPS * self._longest
        self._first_samples -= max(len(whole_samples), len(first_samples))
        _learn(whole_samples, self._whole_expected, whole if known else None, alone=not known or self._alone)
        _learn(first_samples, self._first_expected, None, alone=True)
        if dropped and self._drop(dropped, len(whole_samples or first_samples), passed):
            return
        if known and (whole or first):
            self._decide(whole, first)

    def _decide(self, whole: Reading | None, first: Reading | None) -> None:
        capacity, limit = self._capacity, self.limit
        base = whole or first
        assert base is not None  # noqa: S101 - for mypy; the caller has looked
        if whole is not None or not self._whole_expected.samples:
            capacity.slower(base.in_flight, base.slower, base.error)
        if first is not None and self._duration:
            waiting = first.in_flight * first.waited / self._duration
            if waiting > _room(first.in_flight):
                capacity.at_most(max(first.in_flight - waiting, self.least), 0.3)
        fits = capacity.quantile(0.5)
        in_flight = (first or base).in_flight
        self.load = max(0.0, 1 - fits / in_flight)
        self._alone = capacity.quantile(0.1) > _ALONE * in_flight
        fits += _room(fits)
        if fits > limit:
            if (first or base).most >= _USED * limit:
                self.limit = min(fits, limit + max(1.0, _GROWTH * limit), self.most)
        else:
            self.limit = max(fits, _SMALLEST * limit, self.least)

    def _drop(self, dropped: list[int], ended: int, passed: float) -> bool:
        """Makes room where more calls were dropped than chance would; whether it did."""
        refused, refusing = self._refused, self._refusing
        self._refused, self._refusing = 0, 0.0
        share = len(dropped) / (len(dropped) + ended)
        if share <= _TOLERATED or len(dropped) < 2:
            return False
        limit = self.limit
        if 2 * refused >= len(dropped):
            # In flight less those that were being refused, by Little's law, is what was let in.
            fits = max(sum(dropped) / len(dropped) - refusing / passed, self.least)
            self._capacity.about(fits, 0.1)
        else:
            fits = (1 - share / 2) * limit
            self._capacity.about(max(fits, self.least), 0.3)
        self.limit = max(min(fits, limit), _SMALLEST * limit, self.least)
        return True


def _room(in_flight: float) -> float:
    """How many of them may wait in the endpoint: as many as chance makes it, and a few in a hundred more."""
    return 0.75 * math.sqrt(in_flight) + 0.04 * in_flight


def _reading(samples: list[Sample], expected: Expected) -> Reading | None:
    """What those samples say whose size has been seen before; None where there are too few."""
    known = [sample for sample in samples if expected.samples and expected.leverage(sample.tokens) < _KNOWN]
    if len(known) < _LEAST_SAMPLES:
        return None
    should = [expected.seconds(sample.tokens) for sample in known]
    took = [min(sample.seconds, _OUTLIER * each) for sample, each in zip(known, should, strict=True)]
    total = sum(should)
    slower = max(sum(took) / total, 1 / _OUTLIER)
    error = math.sqrt(sum((a - slower * b) ** 2 for a, b in zip(took, should, strict=True))) / total
    count = len(known)
    in_flight = [sample.in_flight for sample in known]
    return Reading(sum(in_flight) / count, max(in_flight), slower, error, (sum(took) - total) / count)


def _learn(samples: list[Sample], expected: Expected, reading: Reading | None, *, alone: bool) -> None:
    """Learns how time goes with size; not how long calls take in all, but where there is no reading to compare with."""
    slower = reading.slower if reading is not None else 1.0
    for sample in samples:
        unseen = not expected.samples or expected.leverage(sample.tokens) >= _KNOWN
        if unseen:
            expected.learn(sample.tokens, sample.seconds / slower)
        elif alone:
            expected.learn(sample.tokens, min(sample.seconds / slower, _OUTLIER * expected.seconds(sample.tokens)))
