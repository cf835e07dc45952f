"""What a conversation costs under a provider's prefix cache, when a cut pays, and what broke a prefix.

A request's beginning that is the same as the last request's is read from the provider's cache at a share of the price; the
rest is written at the full price or above. The shares are those of the providers' price lists: Anthropic writes at 1.25 and
reads at 0.1; OpenAI writes at 1 and reads at what `sparecall.prices` has for the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.context.writing import as_json
from sparecall.errors import InvalidArgument
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sparecall.context.costs import Costs


class Rates(msgspec.Struct, frozen=True):
    """What a token costs, as a share of the price of one that no cache has to do with."""

    write: float = 1.25
    read: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.read <= self.write or self.write <= 0:
            raise InvalidArgument(
                f"rates are write {self.write}, read {self.read}; allowed: 0 <= read <= write, above 0"
            )

    @classmethod
    def of(cls, model: str, prices: Prices | None = None) -> Rates:
        """Those of a model: 1.25 and 0.1 for Claude, else 1 and the list's price of cached input. Raises `InvalidArgument` for one that is not listed."""
        price = (prices or Prices()).of(model)
        if price is None:
            raise InvalidArgument("the model is not in the price list; give Rates(write=..., read=...)")
        read = 1.0 if price.cached_input is None or price.input <= 0 else price.cached_input / price.input
        return cls(write=1.25 if "claude" in model else 1.0, read=min(1.0, read))

    def breakeven(self, cut: int, after: int) -> float:
        """The turns that have to come after it for a cut to pay: `cut` tokens go, `after` tokens behind them are written anew.

        Each of these was to be read and is written: ``(write - read) * after`` once, against ``read * cut`` a turn.
        """
        if cut <= 0 or after < 0:
            raise InvalidArgument(f"cut is {cut} and after {after}; allowed: 1 or more, and 0 or more tokens")
        return (self.write - self.read) * after / (self.read * cut) if self.read else float("inf")


class Charge(msgspec.Struct, frozen=True):
    """What one request cost, in tokens."""

    read: int
    """From the provider's cache: the beginning that is the same as the last request's."""
    written: int
    total: float
    """In tokens at the plain price."""
    broken: int | None
    """The first message of the last request that is not where it was; None where this request goes on from there."""
    why: str
    """``first``, ``extended``, ``changed`` (a message is another) or ``shortened`` (messages at its end are gone)."""


class Till:
    """Follows one conversation, request by request: what each cost, and what broke its prefix. For one thread at a time.

    Providers cache from some length on (1,024 tokens at OpenAI), in blocks, and for some minutes: what is charged here is
    what the cache can do at best.
    """

    __slots__ = ("_before", "_costs", "breaks", "rates", "read", "total", "written")

    def __init__(self, costs: Costs, rates: Rates = Rates()) -> None:  # noqa: B008 - it is immutable
        self._costs = costs
        self.rates = rates
        self._before: list[str] | None = None
        self.read = self.written = self.breaks = 0
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<Till: {self.read} tokens read, {self.written} written, {self.breaks} breaks>"

    def charge(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> Charge:
        """Add a request. O(messages), and the comparison of what is equal."""
        head = [as_json(tools)] if tools else []
        rows = [*head, *map(as_json, messages)]
        sizes = [self._costs.tools(tools)] if head else []
        sizes += [self._costs.message(dict(message)) for message in messages]
        before = self._before
        same = 0
        if before is not None:
            while same < min(len(before), len(rows)) and before[same] == rows[same]:
                same += 1
        if before is None:
            why = "first"
        elif same == len(before):
            why = "extended"
        else:
            why = "shortened" if same == len(rows) else "changed"
        read, written = sum(sizes[:same]), sum(sizes[same:])
        charge = Charge(
            read=read,
            written=written,
            total=self.rates.read * read + self.rates.write * written,
            broken=same - len(head) if why in {"changed", "shortened"} else None,
            why=why,
        )
        self._before = rows
        self.read, self.written = self.read + read, self.written + written
        self.total += charge.total
        self.breaks += charge.broken is not None
        return charge
