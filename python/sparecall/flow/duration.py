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

    __slots__ = ("_mean_seconds", "_mean_tokens", "_parts", "_spread", "_together", "each")

    def __init__(self) -> None:
        self._mean_tokens = self._mean_seconds = self._spread = self._together = 0.0
        self._parts = RecentQuantile(_SHARE)
        self.each = 0.0
        """Seconds a token, where calls of different lengths were seen."""

    @property
    def calls(self) -> int:
        """How many were learned from."""
        return self._parts.seen

    def expected(self, tokens: float) -> float:
        """Seconds that a call of `tokens` tokens takes on average."""
        return max(_LEAST, self._mean_seconds + self.each * (tokens - self._mean_tokens))

    def usual(self, tokens: float) -> float:
        """Seconds within which all but one in a hundred calls of `tokens` tokens end."""
        return self.expected(tokens) * self._parts.value

    def learn(self, tokens: float, seconds: float) -> None:
        """A call of `tokens` tokens took `seconds`."""
        parts = self._parts
        parts.add(seconds / self.expected(tokens) if parts.seen else 1.0)
        gain = max(1 / parts.seen, _GAIN)
        more_tokens, more_seconds = tokens - self._mean_tokens, seconds - self._mean_seconds
        self._mean_seconds += gain * more_seconds
        if more_tokens or self._spread:
            self._mean_tokens += gain * more_tokens
            self._spread = (1 - gain) * (self._spread + gain * more_tokens * more_tokens)
            self._together = (1 - gain) * (self._together + gain * more_tokens * more_seconds)
            # A steeper line would have calls without tokens end before they began.
            steepest = self._mean_seconds / self._mean_tokens
            self.each = min(max(0.0, self._together / self._spread), steepest) if self._spread > 0 else 0.0

    def cut(self, tokens: float, seconds: float) -> None:
        """A call of `tokens` tokens was given up after `seconds`: it counts where that is longer than usual, as any such number does for a percentile."""
        if self.calls and seconds > self.usual(tokens):
            self._parts.add(seconds / self.expected(tokens))
