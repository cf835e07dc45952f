"""How loaded an endpoint is: what its calls take, peaks first, and how many are under way; and the less loaded of two. No clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from sparecall.flow.arguments import positive

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST = 1e-6  # seconds: where calls take no time, those under way still count
_FAILED = 10.0  # times what is usual among its peers: what a failed call counts as having taken


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One place that serves a model."""

    name: str
    weight: float = 1.0
    """How much it can bear in proportion to the others."""
    room: Callable[[], float] | None = None
    """A function without arguments: the share of calls it would let through now, 0 for none (`room` of its breaker and limits). None: always all."""


class Load:
    """Peak-sensitive exponentially averaged latency, as in Finagle's balancer: a slower call counts at once, faster ones over ``decay`` seconds.

    Two things are added to that. A call still running counts with what it took so far: a black hole is seen before anything comes back. And what
    was not heard of for a while comes to be thought ``usual``, as its peers are, so that it is tried again.
    """

    __slots__ = ("_at", "_decay", "_latency", "_room", "_waiting", "_weight", "held_until", "name", "running")

    def __init__(self, endpoint: Endpoint | str, *, decay: float) -> None:
        if isinstance(endpoint, str):
            endpoint = Endpoint(name=endpoint)
        if endpoint.room is not None and not callable(endpoint.room):
            raise TypeError(
                f"room of endpoint {endpoint.name!r} must be a function, not {type(endpoint.room).__name__}"
            )
        self.name, self._weight, self._room = endpoint.name, positive("weight", endpoint.weight), endpoint.room
        self._decay = decay
        self._latency: float | None = None
        self._at = 0.0
        self._waiting: dict[object, float] = {}  # calls not yet answered and when they began, oldest first
        self.running = 0
        self.held_until = -math.inf  # by the endpoint itself

    def room(self, now: float) -> float:
        """The share of calls that it would take now."""
        if now < self.held_until:
            return 0.0
        if self._room is None:
            return 1.0
        room: float = self._room()
        return room

    def latency(self, now: float, usual: float) -> float:
        """Seconds that a call to it is thought to take. O(1)."""
        found = self._latency
        if found is None:
            found = usual
        elif now > self._at:
            found = usual + (found - usual) * math.exp((self._at - now) / self._decay)
        for began in self._waiting.values():
            return max(found, now - began)
        return found

    def score(self, now: float, usual: float, room: float) -> float:
        """What is to be small: latency, for each call under way and the one to come, over weight and room."""
        return (self.latency(now, usual) + _LEAST) * (self.running + 1) / (self._weight * room)

    def began(self, call: object, now: float) -> None:
        """`call` is under way."""
        self.running += 1
        self._waiting[call] = now

    def answered(self, call: object, now: float) -> float | None:
        """Its answer has begun: the seconds that took; None where that was known."""
        began = self._waiting.pop(call, None)
        if began is None:
            return None
        taken = max(0.0, now - began)
        self._observe(taken, now)
        return taken

    def ended(self, call: object, now: float, *, failed: bool, usual: float) -> None:
        """`call` is over: it failed, or nothing is known but that it took so long."""
        self.running -= 1
        began = self._waiting.pop(call, None)
        taken = 0.0 if began is None else now - began
        if failed:
            self._observe(max(taken, _FAILED * usual), now)
        elif taken > self.latency(now, usual):
            self._observe(taken, now)

    def _observe(self, seconds: float, now: float) -> None:
        known = self._latency
        if known is not None and seconds < known:
            kept = math.exp(min(0.0, self._at - now) / self._decay)
            seconds += (known - seconds) * kept
        self._latency, self._at = seconds, now


def less_loaded(scores: Sequence[float], random: Callable[[], float]) -> int:
    """The less loaded of two drawn: the power of two choices (Mitzenmacher, 2001)."""
    one = int(random() * len(scores))
    other = int(random() * (len(scores) - 1))
    other += other >= one
    return one if scores[one] <= scores[other] else other


def probability(scores: Sequence[float], chosen: int) -> float:
    """With which `less_loaded` chooses this one: it is drawn with one that is more loaded, or as much and second."""
    score = scores[chosen]
    worse = sum(other > score for other in scores)
    same = sum(other == score for other in scores) - 1
    return (2 * worse + same) / (len(scores) * (len(scores) - 1))
