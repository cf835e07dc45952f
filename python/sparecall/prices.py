"""What a call costs in dollars, from the dated price list in the wheel; an unknown model is unknown (None), never free."""

from __future__ import annotations

import datetime
import re
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATE_SUFFIX = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})\Z")


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars per million tokens. `cached_input` is what the provider's own prompt cache charges; None means like `input`."""

    input: float
    output: float
    cached_input: float | None = None
    window: int | None = None
    """Tokens that the model reads at most; None where not known."""


class _PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: datetime.date
    models: dict[str, Price]


class Prices:
    """A price list: the shipped one, with a user's own entries over it."""

    __slots__ = ("_models", "date")

    def __init__(self, overrides: Mapping[str, Price] | None = None) -> None:
        shipped = _shipped()
        self.date = shipped.date
        self._models = {**shipped.models, **(overrides or {})}

    def __len__(self) -> int:
        return len(self._models)

    def __repr__(self) -> str:
        return f"<Prices of {len(self)} models, {self.date}>"

    def of(self, model: str) -> Price | None:
        """The price of `model`, or of the undated name it begins with; None where unknown."""
        price = self._models.get(model)
        return price if price is not None else self._models.get(_DATE_SUFFIX.sub("", model))

    def cost(self, model: str, input_tokens: int, output_tokens: int, *, cached_tokens: int = 0) -> float | None:
        """Dollars for a call, or None where the model is unknown.

        `cached_tokens` of the input were read from the provider's prompt cache.
        """
        price = self.of(model)
        if price is None:
            return None
        cached_rate = price.input if price.cached_input is None else price.cached_input
        fresh_tokens = input_tokens - cached_tokens
        return (fresh_tokens * price.input + cached_tokens * cached_rate + output_tokens * price.output) / 1e6


@cache
def _shipped() -> _PriceList:
    text = resources.files("sparecall").joinpath("prices.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _PriceList)
