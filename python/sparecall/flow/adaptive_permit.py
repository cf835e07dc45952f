"""The right to one call under an adaptive limit. It holds what the call tells; what follows from it is the limit's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from sparecall._core import Done
from sparecall.errors import InvalidArgument
from sparecall.flow.arguments import count
from sparecall.flow.outcome import OUTCOMES, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from sparecall.flow.adaptive_limit import AdaptiveLimit

Kind = Literal["light", "standard", "heavy"]
_DONE: Any = Done(None)
KINDS: tuple[Kind, ...] = get_args(Kind)  # the first is shed last


class AdaptivePermit:
    """The right to make one call, for the length of an ``async with``, or until `release`.

    How it ends is what the limit learns from: `report` says so where no exception does, `answered` when a stream's first
    token came, and `settle` how many tokens the answer had. One that is lost is taken back after the limit's ``lease_for``
    seconds; ending it later changes nothing.
    """

    __slots__ = (
        "_answered", "_began", "_entered", "_in_flight", "_kind", "_limit", "_max_wait", "_outcome", "_prompt", "_tokens",
    )  # fmt: skip

    def __init__(self, limit: AdaptiveLimit, kind: Kind, prompt: int, max_wait: float | None) -> None:
        self._limit, self._kind, self._prompt, self._max_wait = limit, kind, prompt, max_wait
        self._began: float | None = None  # when it was let through
        self._in_flight = 0  # calls then, itself among them
        self._entered = self._answered = False
        self._tokens: int | None = None
        self._outcome: Outcome | int | None = None  # reported: a word, or an HTTP status

    # No coroutines where there is nothing to wait for, but to whom it is an asynchronous context manager they are as good.
    def __aenter__(self) -> Coroutine[Any, Any, AdaptivePermit]:
        if self._entered:
            raise InvalidArgument("a permit serves one call; ask limit.acquire() for another")
        self._entered = True
        limit = self._limit
        if self._began is None and not limit._go(self, limit._clock()):
            return limit._wait_for(self)
        return Done(self)  # type: ignore[return-value]

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[Any, Any, None]:
        self._limit._end(self, error)
        return _DONE  # type: ignore[no-any-return]

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
        if type(tokens) is not int or tokens < 0:
            count("tokens", tokens, least=0)
        self._tokens = tokens

    def report(self, outcome: Outcome | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""
        if outcome not in OUTCOMES and (isinstance(outcome, bool) or not isinstance(outcome, int)):
            raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")
        self._outcome = outcome

    def __repr__(self) -> str:
        return f"<AdaptivePermit for a {self._kind} call{'' if self in self._limit._running else ', out of use'}>"
