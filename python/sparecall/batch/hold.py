"""Whether to hold a batch that could close, and for how long: learnt from who came after earlier ones. Pure: no clock, no asyncio.

Holding n items for h seconds costs n * h seconds of waiting; whoever comes meanwhile is spared a batch of its own. With one server, value iteration
over Poisson arrivals and batches of ``a * tokens + b * items + c`` seconds gives a control limit of ``rate * c / 2`` at every load, which says what that
is worth: c / 2 for each. With k servers, batches of T seconds that close at even distances have T / k between them and ``rate * T / k`` items; the
best control limit, searched by simulation for 2, 4 and 8 servers, is close to that wherever it is less, so that is the most it is worth there. It keeps
servers from getting free together, of which the second would find next to nothing. While p permits are free whoever comes next
need not wait, but those of a burst will: a p-th of it. Arrivals are seldom Poisson, so the number that comes within h is not computed from a rate but counted.
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

    __slots__ = ("_came", "_fixed", "_kind", "_previous", "_seconds", "_seen", "_servers", "_since", "limit")

    def __init__(self, servers: int = 1) -> None:
        self._servers = servers
        self._seconds = 0.0  # what a batch takes, on average
        self._came = ([0.0] * len(_SHARES), [0.0] * len(_SHARES))
        self._seen = [0, 0]
        self._fixed = 0.0
        self._since: float | None = None  # when the batch that is next could first close
        self._kind = 0
        self._previous: tuple[float, int, list[int]] | None = None  # the same of the last one, and who came after
        self.limit = 0.0  # more items than that are never held

    def until(self, now: float, items: int, oldest: float, resolution: float, permits: int = 1) -> float | None:
        """Until when to hold `items`, of which the oldest came at `oldest`, or None, with so many permits free."""
        if self._since is None:
            self._since = now
            self._kind = int(now - oldest > resolution / 2)
        if items > self.limit:
            return None
        kind, least = self._kind, _WARM_UP
        if self._servers > 1:
            least //= 4
            if self._seen[kind] < least:
                kind = 1 - kind
        if self._seen[kind] < least:
            return None
        best, gain, before, each = None, 0.0, 0.0, self._spared() / permits
        for share, came in zip(_SHARES, self._came[kind], strict=True):
            span = share * self._fixed
            end = self._since + span
            if end <= now:
                before = came  # those have come, or are not coming
            elif span >= resolution:
                worth = (came - before) * each - items * (end - now)
                if worth > gain:
                    best, gain = end, worth
        return best

    def reset(self) -> None:
        """The batch that could have closed is no more."""
        self._since = None

    def closed(self, now: float, items: list[Item], fixed: float, seconds: float) -> None:
        """Learns from the batch that closes now, and will take so many seconds, of which so many whatever is in it."""
        self._seconds += (seconds - self._seconds) / (_MEMORY if self._seconds else 1)
        since, self._since = self._since, None
        if self._previous is not None:
            before, kind, counts = self._previous
            self._seen[kind] += 1
            share = 1 / min(self._seen[kind], _MEMORY)
            came = self._came[kind]
            for index, more in enumerate(self._after(before, items)):
                came[index] += share * (counts[index] + more - came[index])
        self._fixed = fixed
        # One that closed full was no decision: who came after it may be in a later batch still.
        self._previous = None if since is None else (since, self._kind, self._after(since, items))
        self.limit = max(max(came) for came in self._came) * self._spared() / (_SHARES[0] * fixed) if fixed else 0.0

    def _spared(self) -> float:
        """The seconds that each is spared who comes while a batch is held."""
        return min(self._fixed / 2, self._seconds / self._servers)

    def _after(self, since: float, items: list[Item]) -> list[int]:
        """How many of `items`, in order of arrival, came within each span after `since`."""
        if items[-1].arrived <= since:
            return [0] * len(_SHARES)
        first = bisect_right(items, since, key=_arrived)
        return [bisect_right(items, since + share * self._fixed, key=_arrived) - first for share in _SHARES]
