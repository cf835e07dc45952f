"""The quantile of recent values against sorted lists: how near it is, how soon it follows, and what it does at its ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall.flow.quantile import RecentQuantile


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=300), st.sampled_from([0.05, 0.5, 0.95, 0.99]))
def test_it_is_within_the_accuracy_of_the_value_at_that_rank(values: list[float], quantile: float) -> None:
    found = RecentQuantile(quantile, half_life=1e12)
    for value in values:
        found.add(value)
    found._stale = 1000  # to be looked up now
    ranked = sorted(values)
    near = [ranked[max(0, min(len(ranked) - 1, int(quantile * len(ranked)) + step))] for step in (-1, 0)]
    assert near[0] * 0.974 <= found.value <= near[1] * 1.026


def test_it_follows_a_change_and_forgets_what_was_before() -> None:
    dice = random.Random(1)
    found = RecentQuantile(0.95)
    for scale, calls in ((1.0, 2000), (10.0, 1500), (0.1, 3000)):
        for _ in range(calls):
            found.add(scale * dice.expovariate(1.0))
        assert found.value == pytest.approx(3.0 * scale, rel=0.25)  # ln 20
    assert repr(found).startswith("<RecentQuantile 0.95: ")


def test_an_hour_of_values_neither_overflows_nor_loses_count() -> None:
    found = RecentQuantile(0.5, half_life=1.0)  # weights double with each: they are scaled down every forty values
    for number in range(10_000):
        found.add(1.0 + number % 2)
    assert found.seen == 10_000
    assert found.value == pytest.approx(2.0, rel=0.03)  # the last counts as much as all before it


def test_what_is_too_small_or_too_large_counts_at_the_ends() -> None:
    found = RecentQuantile(0.5)
    assert found.value == 0
    for value in (0.0, -5.0, 1e-9):
        found.add(value)
    assert found.value == pytest.approx(1e-4, rel=0.06)
    for _ in range(200):
        found.add(1e9)
    assert found.value == pytest.approx(1e4, rel=0.06)
