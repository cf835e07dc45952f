"""How long the simulated provider takes: a stated model, the same for the same request every time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparecall.errors import InvalidArgument
from sparecall.simulate.seeded import generator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Clock = Callable[[], float]
    Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds to the first token, for each token of the answer, and for each token of the prompt.

    ``jitter`` is the share by which both the wait for the first token and the pace of the others may differ, up or down.
    """

    first_token: float = 0.12
    per_token: float = 0.004
    jitter: float = 0.2
    per_prompt_token: float = 0.0

    def __post_init__(self) -> None:
        for name in ("first_token", "per_token", "per_prompt_token"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidArgument(f"{name} is {value}; it must be a number of seconds, 0 or more")
        if not 0 <= self.jitter <= 1:
            raise InvalidArgument(f"jitter is {self.jitter}; it must be between 0 and 1")

    def seconds(self, seed: int, digest: str, *, prompt_tokens: int, completion_tokens: int) -> tuple[float, float]:
        """Return when the first token is due and how long the others take after it."""
        first = self.first_token + self.per_prompt_token * prompt_tokens
        rest = self.per_token * completion_tokens
        if self.jitter:
            drawn = generator(seed, digest, "latency")
            first *= 1 + self.jitter * drawn.uniform(-1, 1)
            rest *= 1 + self.jitter * drawn.uniform(-1, 1)
        return first, rest


class Pace:
    """Waits until moments counted from the arrival of one request, so that delays of the machine do not add up."""

    __slots__ = ("_clock", "_first", "_rest", "_sleep", "_start")

    def __init__(self, start: float, first: float, rest: float, *, clock: Clock, sleep: Sleep) -> None:
        self._start, self._first, self._rest = start, first, rest
        self._clock, self._sleep = clock, sleep

    def wait(self, progress: float) -> float:
        """Seconds from now until this share of the answer (0: first token, 1: last) is due; 0 when it is."""
        due = self._first + self._rest * progress
        return max(0.0, self._start + due - self._clock()) if due else 0.0

    async def until(self, progress: float) -> None:
        """Sleep until this share of the answer is due."""
        if wait := self.wait(progress):
            await self._sleep(wait)
