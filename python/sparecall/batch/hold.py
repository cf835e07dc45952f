"""Whether to hold a batch that could close, and for how long: learnt from who came after earlier ones. Pure: no clock, no asyncio.

Holding n items for h seconds costs n * h seconds of waiting; whoever comes meanwhile is spared a batch of its own. Value iteration over Poisson
arrivals and batches of ``a * tokens + b * items + c`` seconds gives a control limit of ``rate * c / 2`` at every load, which says what that
is worth: c / 2 for each. Arrivals are seldom Poisson, so the number that comes within h is not computed from a rate but counted.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparecall.batch.waiting import Item

__all__ = ["Hold"]

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the fixed cost: how long to hold; longer never pays much
_MEMORY = 50  # decisions over which the counts are averaged
_WARM_UP = 20  # decisions before any batch is held
_arrived = attrgetter("arrived")


class Hold:
    """Counts arrivals after each moment at which a batch could close, apart for those that an arrival and those that a free permit brought."""

    __slots__ = ("_came", "_fixed", "_kind", "_previous", "_seen", "_since", "limit")

    def __init__(self) -> None:
        self._came = ([0.0] * len(_SHARES), [0.0] * len(_SHARES))
        self._seen = [0, 0]
        self._fixed = 0.0
        self._since: float | None = None  # when the batch that is next could first close
        self._kind = 0
        self._previous: tuple[float, int, list[int]] | None = None  # the same of the last one, and who came after
        self.limit = 0.0  # more items than that are never held

    def until(self, now: float, items: int, oldest: float, resolution: float) -> float | None:
        """Until when to hold `items`, of which the oldest came at `oldest`, or None."""
        if self._since is None:
            self._since = now
            self._kind = int(now - oldest > resolution / 2)
        if items > self.limit:
            return None
        if self._seen[self._kind] < _WARM_UP:
            return None
        best, gain, before = None, 0.0, 0.0
        for share, came in zip(_SHARES, self._came[self._kind], strict=True):
            span = share * self._fixed
            end = self._since + span
            if end <= now:
                before = came  # those have come, or are not coming
            elif span >= resolution:
                worth = (came - before) * self._fixed / 2 - items * (end - now)
                if worth > gain:
                    best, gain = end, worth
        return best

    def reset(self) -> None:
        """The batch that could have closed is no more."""
        self._since = None

    def closed(self, now: float, items: list[Item], fixed: float) -> None:
        """Learns from the batch that closes now."""
        since = now if self._since is None else self._since
        self._since = None
        if self._previous is not None:
            before, kind, counts = self._previous
            self._seen[kind] += 1
            share = 1 / min(self._seen[kind], _MEMORY)
            came = self._came[kind]
            for index, more in enumerate(self._after(before, items)):
                came[index] += share * (counts[index] + more - came[index])
        self._fixed = fixed
        self._previous = (since, self._kind, self._after(since, items))
        self.limit = max(max(came) for came in self._came) / (2 * _SHARES[0])

    def _after(self, since: float, items: list[Item]) -> list[int]:
        """How many of `items`, in order of arrival, came within each span after `since`."""
        if items[-1].arrived <= since:
            return [0] * len(_SHARES)
        first = bisect_right(items, since, key=_arrived)
        return [bisect_right(items, since + share * self._fixed, key=_arrived) - first for share in _SHARES]
