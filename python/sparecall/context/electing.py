"""Whether a stable prefix is cut anew before it must be: only where that pays for itself, and the bill stays below that of the raw one.

What is to come nobody knows. That a conversation goes on for as long as it has lasted is what Lindy's law says of it; that it ends
here is what the guard supposes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparecall.context.till import Rates

# Between two looks at what a cut would save the conversation grows by this.
_GROWTH = 1.5
_FIRST = 6


class Ledger:
    """What the requests of a conversation came to under a prefix cache, as sent and had they gone as they came: in tokens at the plain price."""

    __slots__ = ("_came", "_due", "_rates", "_sent", "paid", "raw_paid", "turns")

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self.turns = 0
        self.paid = self.raw_paid = 0.0
        self._sent = self._came = 0
        self._due = _FIRST

    def is_due(self) -> bool:
        """Whether it is time to look at what a cut would save: seldom, since looking takes as long as cutting."""
        if self.turns < self._due:
            return False
        self._due = int(self.turns * _GROWTH) + 1
        return True

    def pays(self, sent: int, came: int, same: int, after: int, *, turns: float | None, min_gain: float) -> bool:
        """Whether to cut what would be `sent` to `after` tokens, of which the first `same` stay, before it goes out.

        ``turns``: how many the conversation is expected to have in all; None: twice those it had. Even if it were to end here
        the bill must not be above that of the raw conversation.
        """
        rates = self._rates
        if sent - after < min_gain * sent:
            return False
        now = rates.read * same + rates.write * (after - same)
        later = now - self._cost(sent, self._sent)
        to_come = self.turns if turns is None else turns - self.turns
        is_below = self.paid + now <= self.raw_paid + self._cost(came, self._came)
        return is_below and to_come * rates.read * (sent - after) > later

    def turn(self, sent: int, came: int, same: int | None = None) -> None:
        """A request of `sent` tokens instead of `came`; ``same``: how many of them stand as before, where it was cut anew."""
        self.paid += self._cost(sent, self._sent if same is None else same)
        self.raw_paid += self._cost(came, self._came)
        self._sent, self._came = sent, came
        self.turns += 1

    def _cost(self, tokens: int, read: int) -> float:
        return self._rates.read * read + self._rates.write * (tokens - read)
