"""The limit of a server that tells of none, by its refusals: how many calls go through from the end of one pause to the end of another."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_USUAL = (10.0, 60.0, 3600.0, 86400.0)  # seconds
_SHORT = 10.0  # seconds: shorter periods, and the pauses of a server that refills, are looked at together
_ROUNDED = 2.0  # seconds by which what a server says may be too long
_REMEMBERED = 8  # pauses that ended while an answer was on its way
_NEAR = 0.03  # of a pause, is nothing but the way there


class Learned(NamedTuple):
    """So many calls each so many seconds."""

    requests: float
    per: float


class Refusals:
    """Told of each call's end, by the time in which it was sent.

    A period begins with the first call that goes through after a pause, where others waited for it, and ends so too. What went
    before the first pause is left out: nobody knows since when it counted.
    """

    __slots__ = ("_begun", "_pauses", "_went")

    def __init__(self) -> None:
        self._begun: float | None = None
        self._went = 0
        # When the period may have ended, and when that was tried; the newest last.
        self._pauses: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def refused(self, sent: float, pause: float | None, until: float) -> None:
        """A call was refused: for `pause` seconds by the server's word; it is tried for again at `until`."""
        soonest = sent if pause is None else until - _ROUNDED - _NEAR * pause
        if self._pauses and sent < self._pauses[-1][1]:  # it went out before the last refusal was known
            before, _ = self._pauses.pop()
            soonest = max(before, soonest)
        self._pauses.append((soonest, until))

    def went(self, sent: float) -> Learned | None:
        """A call went through; gives what is known where it ended a period."""
        self._went += 1
        over = next((pause for pause in reversed(self._pauses) if pause[1] <= sent), None)
        if over is None:
            return None
        soonest, until = over
        waited_for = sent - until <= _ROUNDED
        self._pauses.clear()
        learned = None
        if self._begun is not None and waited_for:
            most = sent - self._begun
            if most < _SHORT:
                return None
            usual = (at for at in _USUAL if soonest - self._begun <= at * (1 + _NEAR) and at <= most)
            learned = Learned(self._went - 1, next(usual, most))
        self._begun, self._went = (sent if waited_for else None), 1
        return learned
