"""Prices: dated, sane, and unknown where not known."""

from __future__ import annotations

import datetime
import math

import pytest

from sparecall.prices import Price, Prices


def test_the_shipped_list_has_a_date_and_says_so() -> None:
    prices = Prices()
    assert isinstance(prices.date, datetime.date)
    assert prices.date >= datetime.date(2025, 1, 1)
    assert len(prices) > 50
    assert repr(prices) == f"<Prices of {len(prices)} models, {prices.date}>"


def test_every_shipped_price_is_sane() -> None:
    prices = Prices()
    for name, price in prices._models.items():
        assert name == name.strip().lower(), name
        assert 0 < price.input < 1000, name
        assert 0 <= price.output < 1000, name
        assert math.isfinite(price.input + price.output)
        if price.cached_input is not None:
            assert 0 < price.cached_input <= price.input, name
        if "embedding" not in name:
            assert price.output >= price.input, name


def test_an_unknown_model_is_unknown_and_never_free() -> None:
    prices = Prices()
    for model in ("", "no-such-model", "gpt-4o-", "GPT-4O", "gpt-4o-extra", "2024-08-06", "-2024-08-06"):
        assert prices.of(model) is None
        assert prices.cost(model, 1000, 1000) is None
        assert prices.cost(model, 0, 0) is None


@pytest.mark.parametrize("suffix", ["", "-2024-08-06", "-20240806"])
def test_a_dated_name_has_the_price_of_the_undated(suffix: str) -> None:
    prices = Prices()
    assert prices.of(f"gpt-4o{suffix}") == prices.of("gpt-4o") is not None


def test_a_dated_name_with_a_line_of_its_own_has_its_own_price() -> None:
    prices = Prices()
    assert prices.of("gpt-4o-2024-05-13") != prices.of("gpt-4o")


def test_costs_are_dollars_per_million_tokens() -> None:
    prices = Prices({"m": Price(input=2.0, output=10.0, cached_input=0.5), "plain": Price(input=2.0, output=10.0)})
    assert prices.cost("m", 1_000_000, 0) == 2.0
    assert prices.cost("m", 0, 1_000_000) == 10.0
    assert prices.cost("m", 1_000_000, 500_000) == 7.0
    assert prices.cost("m", 1_000_000, 0, cached_tokens=400_000) == pytest.approx(0.6 * 2.0 + 0.4 * 0.5)
    assert prices.cost("plain", 1_000_000, 0, cached_tokens=400_000) == 2.0
    assert prices.cost("m", 0, 0) == 0.0


def test_a_users_entries_stand_over_the_shipped_ones_and_leave_them_alone() -> None:
    shipped = Prices()
    own = Prices({"gpt-4o": Price(1.0, 1.0), "mine": Price(0.0, 0.0)})
    assert own.of("gpt-4o") == Price(1.0, 1.0)
    assert own.of("gpt-4o-2024-08-06") == Price(1.0, 1.0)
    assert own.cost("mine", 1000, 1000) == 0.0  # a price of 0 that the user states is known
    assert len(own) == len(shipped) + 1
    assert shipped.of("mine") is None
    assert Prices().of("gpt-4o") == shipped.of("gpt-4o") != Price(1.0, 1.0)
