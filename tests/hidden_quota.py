"""A provider whose limits the client does not see but in its headers: it refills, or counts in windows; its clock may be wrong."""

from __future__ import annotations

import email.utils
import math
from collections import deque
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from sparecall.simulate.quota import duration

Kind = Literal["refill", "window", "sliding"]


class _Limit:
    """How much of `limit` is left at a moment, by one of three rules."""

    def __init__(self, kind: Kind, limit: float, per: float) -> None:
        self.kind, self.limit, self.per = kind, limit, per
        self.level, self.at = limit, 0.0  # refill
        self.opened = -math.inf  # window
        self.used = 0.0
        self.log: deque[tuple[float, float]] = deque()  # sliding

    def left(self, now: float) -> float:
        if self.kind == "refill":
            self.level = min(self.limit, self.level + (now - self.at) * self.limit / self.per)
            self.at = now
            return self.level
        if self.kind == "window":
            if now >= self.opened + self.per:
                self.opened, self.used = now, 0.0
            return self.limit - self.used
        while self.log and self.log[0][0] <= now - self.per:
            self.used -= self.log.popleft()[1]
        return self.limit - self.used

    def use(self, amount: float, now: float) -> None:
        self.level -= amount
        self.used += amount
        self.log.append((now, amount))

    def reset_in(self, now: float) -> float:
        if self.kind == "refill":
            return (self.limit - self.left(now)) * self.per / self.limit
        if self.kind == "window":
            return max(0.0, self.opened + self.per - now)
        return self.log[-1][0] + self.per - now if self.log else 0.0

    def fits_in(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits."""
        if amount <= self.left(now):
            return 0.0
        if self.kind == "refill":
            return (amount - self.left(now)) * self.per / self.limit
        if self.kind == "window":
            return self.reset_in(now)
        free = self.left(now)
        for when, used in self.log:
            free += used
            if free >= amount:
                return when + self.per - now
        return self.per


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]


class HiddenQuota:
    """Counts what it admitted in `tokens_used`, and in `refused` what it did not."""

    def __init__(
        self,
        kind: Kind,
        *,
        requests: float,
        tokens: float,
        per: float = 60.0,
        wire: Literal["openai", "anthropic"] = "openai",
        skew: float = 0.0,
        dates: bool = True,
        tells: Literal["limits", "pauses", "nothing"] = "limits",
    ) -> None:
        self.requests, self.tokens = _Limit(kind, requests, per), _Limit(kind, tokens, per)
        self.wire, self.skew, self.dates, self.tells = wire, skew, dates, tells
        self.admitted = self.refused = 0
        self.tokens_used = 0.0
        self.at: list[float] = []

    def ask(self, tokens: float, now: float) -> Answer:
        wait = max(self.requests.fits_in(1, now), self.tokens.fits_in(tokens, now))
        if wait:
            self.refused += 1
            pause = {} if self.tells == "nothing" else {"retry-after": str(math.ceil(wait))}
            return Answer(429, self.headers(now) | pause)
        self.admitted += 1
        self.tokens_used += tokens
        self.at.append(now)
        self.requests.use(1, now)
        self.tokens.use(tokens, now)
        return Answer(200, self.headers(now))

    def headers(self, now: float) -> dict[str, str]:
        wall = 1.7e9 + now + self.skew
        found: dict[str, str] = {"Date": email.utils.formatdate(wall, usegmt=True)} if self.dates else {}
        if self.tells != "limits":
            return found
        for name, limit in (("requests", self.requests), ("tokens", self.tokens)):
            left, reset = math.floor(max(0.0, limit.left(now))), limit.reset_in(now)
            if self.wire == "openai":
                found |= {
                    f"x-ratelimit-limit-{name}": f"{limit.limit:g}",
                    f"x-ratelimit-remaining-{name}": str(left),
                    f"x-ratelimit-reset-{name}": duration(reset),
                }
            else:
                when = datetime.fromtimestamp(math.ceil(wall + reset), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                found |= {
                    f"Anthropic-RateLimit-{name}-Limit": f"{limit.limit:g}",
                    f"Anthropic-RateLimit-{name}-Remaining": str(left),
                    f"Anthropic-RateLimit-{name}-Reset": when,
                }
        return found
