"""How long a call should take when nothing is in its way, by its tokens: a line fitted as calls end. No clock, no limit."""

from __future__ import annotations

_KEEPS = 1 - 1 / 512  # of what was learned, with each sample: about the last 512 count
_DOUBT = 10.0  # standard deviations of a coefficient nobody has seen, in units of the first sample's
_LEAST = 1e-9  # seconds


class Expected:
    """``seconds = fixed + each * tokens``, by weighted recursive least squares with forgetting. O(1) a sample.

    The noise is taken to be a share of the length, as queues and networks have it: each equation is divided by what was
    expected. `leverage` says how far a number of tokens is from those seen, as the variance of the line there in units of
    a sample's: a twentieth after twenty samples of that size.
    """

    __slots__ = ("_aa", "_ab", "_bb", "_most_aa", "_most_bb", "_shortest", "each", "fixed", "samples")

    def __init__(self) -> None:
        self.samples = 0
        self.fixed = self.each = 0.0
        self._aa = self._ab = self._bb = self._most_aa = self._most_bb = 0.0
        self._shortest = _LEAST

    def seconds(self, tokens: float) -> float:
        """What a call of so many tokens should take."""
        return max(self.fixed + self.each * tokens, self._shortest)

    def leverage(self, tokens: float) -> float:
        """The variance of `seconds` at `tokens`, in units of one sample's."""
        expected = self.seconds(tokens)
        return (self._aa + tokens * (2 * self._ab + tokens * self._bb)) / (expected * expected)

    def learn(self, tokens: float, seconds: float) -> None:
        """A call of so many tokens took so long, with nothing in its way."""
        seconds = max(seconds, _LEAST)
        self.samples += 1
        if self.samples == 1:
            self.fixed = seconds
            self._shortest = seconds / 2
            self._aa = self._most_aa = (_DOUBT * seconds) ** 2
            self._bb = self._most_bb = (_DOUBT * seconds / max(tokens, 1.0)) ** 2
        elif seconds < 2 * self._shortest:
            self._shortest = seconds / 2
        scale = 1 / self.seconds(tokens)
        one, size = scale, tokens * scale  # the equation, divided by what was expected
        toward_fixed = self._aa * one + self._ab * size
        toward_each = self._ab * one + self._bb * size
        whole = _KEEPS + one * toward_fixed + size * toward_each
        error = (seconds - self.fixed - self.each * tokens) * scale
        self.fixed += toward_fixed / whole * error
        self.each += toward_each / whole * error
        self._aa -= toward_fixed * toward_fixed / whole
        self._ab -= toward_fixed * toward_each / whole
        self._bb -= toward_each * toward_each / whole
        # What no sample speaks of is forgotten only so far: it must not be forgotten without end.
        if self._aa < _KEEPS * self._most_aa and self._bb < _KEEPS * self._most_bb:
            self._aa /= _KEEPS
            self._ab /= _KEEPS
            self._bb /= _KEEPS

    def scale(self, factor: float) -> None:
        """Everything takes that many times as long from now on."""
        self._shortest *= factor
        self.fixed *= factor
        self.each *= factor
        square = factor * factor
        for name in ("_aa", "_ab", "_bb", "_most_aa", "_most_bb"):
            setattr(self, name, getattr(self, name) * square)
