"""How long a call of so many tokens takes, by what calls on its route took lately. No clock, no timer."""

from __future__ import annotations

from sparecall._core import Expected
from sparecall.flow.quantile import RecentQuantile

_SHARE = 0.99  # of calls that end within what is usual
_LEAST = 1e-3  # seconds


class Durations:
    """What calls are expected to take by their tokens, and the 99th percentile of what they took in parts of it. O(1) a call.

    Where the time to a stream's first item is looked at, the prompt's tokens are its `tokens`.
    """

    __slots__ = ("_expected", "_parts")

    def __init__(self) -> None:
        self._expected = Expected()
        self._parts = RecentQuantile(_SHARE)

    @property
    def calls(self) -> int:
        """How many were learned from."""
        return self._parts.seen

    @property
    def each(self) -> float | None:
        """Seconds a token, where calls of different lengths were seen."""
        return self._expected.each

    def expected(self, tokens: float, prompt: float = 0) -> float:
        """Seconds that a call of `tokens` tokens takes on average, after a prompt of so many."""
        return max(_LEAST, self._expected.seconds(tokens, prompt))

    def usual(self, tokens: float, prompt: float = 0) -> float:
        """Seconds within which all but one in a hundred such calls end."""
        return self.expected(tokens, prompt) * self._parts.value

    def learn(self, seconds: float, tokens: float, prompt: float = 0) -> None:
        """Such a call took `seconds`."""
        parts = self._parts
        parts.add(seconds / self.expected(tokens, prompt) if parts.seen else 1.0)
        self._expected.learn(tokens, prompt, seconds)

    def cut(self, seconds: float, tokens: float, prompt: float = 0) -> None:
        """Such a call was given up after `seconds`: it counts where that is longer than usual, as any such number does for a percentile."""
        if self.calls and seconds > self.usual(tokens, prompt):
            self._parts.add(seconds / self.expected(tokens, prompt))
