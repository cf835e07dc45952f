"""Requests and tokens per minute, and the headers in which OpenAI tells what is left of them."""

from __future__ import annotations

import math

from sparecall.errors import InvalidArgument

_MINUTE = 60.0


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

    def admit(self, tokens: int, now: float) -> tuple[str, float] | None:
        """Count one request of this many tokens; or return what it exceeds and the seconds until that resets."""
        wanted = [
            (window, amount) for window, amount in ((self._requests, 1), (self._tokens, tokens)) if window is not None
        ]
        for window, amount in wanted:
            if amount > window.left(now):
                return window.name, window.reset_in(now)
        for window, amount in wanted:
            window.use(amount, now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """Return ``x-ratelimit-*`` for the limits that are set."""
        found = {}
        for window in (self._requests, self._tokens):
            if window is not None:
                found[f"x-ratelimit-limit-{window.name}"] = str(window.limit)
                found[f"x-ratelimit-remaining-{window.name}"] = str(window.left(now))
                found[f"x-ratelimit-reset-{window.name}"] = duration(window.reset_in(now))
        return found


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``17ms``, ``8.64s``, ``6m0s``."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    rest = f"{milliseconds / 1000:g}s"
    return f"{minutes}m{rest}" if minutes else rest
