"""The right to one call under an adaptive limit. It holds what the call tells; what follows from it is the limit's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, get_args

from sparecall.errors import InvalidArgument
from sparecall.flow.arguments import count
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of_status

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from sparecall.flow.adaptive_limit import AdaptiveLimit

Kind = Literal["light", "standard", "heavy"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # the first is shed last


class AdaptivePermit:
    """The right to make one call, for the length of an ``async with``, or until `release`.

    How it ends is what the limit learns from: `report` says so where no exception does, `answered` when a stream's first
    token came, and `settle` how many tokens the answer had. One that is lost is taken back after the limit's ``lease_for``
    seconds; ending it later changes nothing.
    """

    __slots__ = (
        "_answered", "_began", "_entered", "_future", "_in_flight", "_kind", "_limit", "_max_wait", "_outcome", "_prompt", "_status",
        "_tokens",
    )  # fmt: skip

    def __init__(self, limit: AdaptiveLimit, kind: Kind, prompt: int, max_wait: float | None) -> None:
        self._limit, self._kind, self._prompt, self._max_wait = limit, kind, prompt, max_wait
        self._began: float | None = None  # when it was let through
        self._in_flight = 0  # calls then, itself among them
        self._entered = False
        self._answered = False
        self._tokens: int | None = None
        self._outcome: Outcome | None = None
        self._status: int | None = None
        self._future: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        if self._entered:
            raise InvalidArgument("a permit serves one call; ask limit.acquire() for another")
        self._entered = True
        limit = self._limit
        if self._began is None and not limit._go(self, limit._clock()):
            await limit._wait(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limit._end(self, error)

    def release(self, error: BaseException | None = None) -> None:
        """End it: the call is over, well or with `error`. For permits of `AdaptiveLimit.try_acquire`; again is nothing."""
        self._limit._end(self, error)

    def answered(self) -> None:
        """Say that a stream's first token came."""
        if not self._answered:
            self._answered = True
            self._limit._answered(self)

    def settle(self, tokens: int) -> None:
        """Say how many tokens the answer had: a long answer is not a slow one. Before the permit ends; the last counts."""
        self._tokens = count("tokens", tokens, least=0)

    def report(self, outcome: Outcome | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""
        if isinstance(outcome, int) and not isinstance(outcome, bool):
            self._outcome, self._status = outcome_of_status(outcome), outcome
        elif outcome in OUTCOMES:
            self._outcome, self._status = outcome, None
        else:
            raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")

    def __repr__(self) -> str:
        return f"<AdaptivePermit for a {self._kind} call{'' if self in self._limit._running else ', out of use'}>"
