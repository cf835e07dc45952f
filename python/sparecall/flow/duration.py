"""How long a call of so many tokens takes, by what calls on its route took lately. No clock, no timer."""

from __future__ import annotations

from sparecall.flow.quantile import RecentQuantile

_GAIN = 1 / 256  # of the last call in the line, at least
_SHARE = 0.99  # of calls that end within what is usual
_LEAST = 1e-3  # seconds


class Durations:
    """``seconds = fixed + each * tokens``: the line through recent calls, and the 99th percentile of what calls took in parts of it.

    The line is that of least squares with exponential forgetting. O(1) a call.
    """

    __slots__ = ("_mean_seconds", "_mean_tokens", "_parts", "_spread", "_together")

    def __init__(self) -> None:
        self._mean_tokens = self._mean_seconds = self._spread = self._together = 0.0
        self._parts = RecentQuantile(_SHARE)

    @property
    def calls(self) -> int:
        """How many were learned from."""
        return self._parts.seen

    @property
    def each(self) -> float:
        """Seconds a token, where calls of different lengths were seen."""
        if self._spread <= 0 or self._together <= 0:
            return 0.0
        # A steeper line would have calls without tokens end before they began.
        return min(self._together / self._spread, self._mean_seconds / self._mean_tokens)

    def expected(self, tokens: float) -> float:
        """Seconds that a call of `tokens` tokens takes on average."""
        return max(_LEAST, self._mean_seconds + self.each * (tokens - self._mean_tokens))

    def usual(self, tokens: float) -> float:
        """Seconds within which all but one in a hundred calls of `tokens` tokens end."""
        return self.expected(tokens) * self._parts.value

    def learn(self, tokens: float, seconds: float) -> None:
        """A call of `tokens` tokens took `seconds`."""
        self._parts.add(seconds / self.expected(tokens) if self.calls else 1.0)
        gain = max(1 / self.calls, _GAIN)
        more_tokens, more_seconds = tokens - self._mean_tokens, seconds - self._mean_seconds
        self._mean_tokens += gain * more_tokens
        self._mean_seconds += gain * more_seconds
        self._spread = (1 - gain) * (self._spread + gain * more_tokens * more_tokens)
        self._together = (1 - gain) * (self._together + gain * more_tokens * more_seconds)

    def cut(self, tokens: float, seconds: float) -> None:
        """A call of `tokens` tokens was given up after `seconds`: it counts where that is longer than usual, as any such number does for a percentile."""
        if self.calls and seconds > self.usual(tokens):
            self._parts.add(seconds / self.expected(tokens))
