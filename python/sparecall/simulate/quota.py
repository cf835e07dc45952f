"""Requests and tokens per minute, and the headers in which OpenAI and Anthropic tell what is left of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple

from sparecall.errors import InvalidArgument

_MINUTE = 60.0


class Limit(NamedTuple):
    """How much of a limit is left, and the seconds until all of it is again."""

    name: str
    limit: int
    left: int
    reset_in: float


class _Window:
    """How much of a limit is used in the minute that began with the first use."""

    __slots__ = ("limit", "name", "opened", "used")

    def __init__(self, name: str, limit: int) -> None:
        if limit < 1:
            raise InvalidArgument(f"{name}_per_minute is {limit}; it must be at least 1, or None for no limit")
        self.name, self.limit = name, limit
        self.used, self.opened = 0, -math.inf

    def reset_in(self, now: float) -> float:
        return max(0.0, self.opened + _MINUTE - now)

    def left(self, now: float) -> int:
        return self.limit - self.used if self.reset_in(now) else self.limit

    def state(self, now: float) -> Limit:
        return Limit(self.name, self.limit, self.left(now), self.reset_in(now))

    def use(self, amount: int, now: float) -> None:
        if not self.reset_in(now):
            self.used, self.opened = 0, now
        self.used += amount


class Quota:
    """A fixed window for requests, one for tokens; a request must fit in both or counts in neither."""

    __slots__ = ("_requests", "_tokens")

    def __init__(self, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self._requests = None if requests_per_minute is None else _Window("requests", requests_per_minute)
        self._tokens = None if tokens_per_minute is None else _Window("tokens", tokens_per_minute)

    def admit(self, tokens: int, now: float) -> Limit | None:
        """Count one request of this many tokens; or return the limit that it exceeds."""
        wanted = [
            (window, amount) for window, amount in ((self._requests, 1), (self._tokens, tokens)) if window is not None
        ]
        for window, amount in wanted:
            if amount > window.left(now):
                return window.state(now)
        for window, amount in wanted:
            window.use(amount, now)
        return None

    def limits(self, now: float) -> list[Limit]:
        """Return the limits that are set."""
        return [window.state(now) for window in (self._requests, self._tokens) if window is not None]


def openai_headers(limits: list[Limit]) -> dict[str, str]:
    """Return ``x-ratelimit-*``."""
    found = {}
    for limit in limits:
        found[f"x-ratelimit-limit-{limit.name}"] = str(limit.limit)
        found[f"x-ratelimit-remaining-{limit.name}"] = str(limit.left)
        found[f"x-ratelimit-reset-{limit.name}"] = duration(limit.reset_in)
    return found


def anthropic_headers(limits: list[Limit], now: float) -> dict[str, str]:
    """Return ``anthropic-ratelimit-*``, which say when, not how soon; ``now`` is the time since the epoch."""
    found = {}
    for limit in limits:
        reset = datetime.fromtimestamp(math.ceil(now + limit.reset_in), UTC)
        found[f"anthropic-ratelimit-{limit.name}-limit"] = str(limit.limit)
        found[f"anthropic-ratelimit-{limit.name}-remaining"] = str(limit.left)
        found[f"anthropic-ratelimit-{limit.name}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return found


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``17ms``, ``8.64s``, ``6m0s``."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    rest = f"{milliseconds / 1000:g}s"
    return f"{minutes}m{rest}" if minutes else rest
