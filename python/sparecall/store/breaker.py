"""When a store is left alone: a breaker that opens after failures in a row and lets one call at a time find out whether it is back.

Writes the log's lines about it: one when the store is left alone, one when it is used again.
"""

from __future__ import annotations

import logging
import random as _random
import time
from typing import TYPE_CHECKING, Literal

from sparecall.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger("sparecall.store")
State = Literal["closed", "open", "half_open"]


# Not flow's `Breaker`. That one goes by rates over seconds, since a provider that fails one call in three is still of use, and its probes are callers'
# calls, of which one that is never heard of failed. A store that fails a few times in a row is gone, all the same to its callers, who do
# without: it is left for a second, found out about by a ping that no caller waits for (which is why a permit says that it is a
# probe), and a lost ping says nothing of it. With a rule, a pause, a jitter and an end of leases of its own for each of the two, they
# would have the word in common and little code.


class Permit:
    """The right to make one call. It is to be handed back; one that never is stops counting after a while."""

    __slots__ = ("era", "probe")

    def __init__(self, era: int, *, probe: bool) -> None:
        self.era, self.probe = era, probe


class Breaker:
    """Closed, it lets every call through; after `failures` of them failed in a row, none for about `open_for` seconds, then one.

    Where that one fails, the next pause is twice as long, at most `longest`; pauses are jittered by half either way, so that
    many processes do not come back at once. A probe that is not heard of for `patience` seconds is given up for lost. What
    comes back late, from before the last change of state, counts for nothing. ``name`` stands in the log and in errors; `opened`
    counts how often the store was left alone.
    """

    __slots__ = (
        "_clock", "_era", "_failures", "_limit", "_longest", "_name", "_normal", "_open_for", "_patience", "_permit", "_random", "_until",
        "opened", "state",
    )  # fmt: skip

    def __init__(
        self,
        name: object,
        *,
        failures: int = 5,
        open_for: float = 1.0,
        longest: float = 3.0,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.state: State = "closed"
        self._limit, self._normal, self._longest, self._patience = failures, open_for, longest, patience
        self._name, self._clock, self._random = name, clock, random
        self.opened = 0
        self._failures = 0
        self._open_for = open_for
        self._until = 0.0
        self._era = 0
        self._permit = Permit(0, probe=False)

    def enter(self) -> Permit:
        """A permit to call now. Raises `StoreUnavailable` at once while the breaker is open."""
        if self.state == "closed":
            return self._permit
        if (now := self._clock()) < self._until:
            raise StoreUnavailable(
                f"{self._name} failed lately and is left alone for another {self._until - now:.1f} s"
            )
        # The pause is over, or the probe before this one was lost: its permit is of an older era.
        self._era += 1
        self._until = now + self._patience
        self.state = "half_open"
        return Permit(self._era, probe=True)

    def succeeded(self, permit: Permit) -> None:
        """The call that `permit` was for was answered."""
        if permit.era != self._era:
            return
        self._failures = 0
        if self.state != "closed":
            self._open_for = self._normal
            self._era += 1
            self._permit = Permit(self._era, probe=False)
            self.state = "closed"
            _LOG.info("%s is used again", self._name)

    def failed(self, permit: Permit, why: str, *, at_once: bool = False) -> None:
        """The call failed; `at_once` opens the breaker, however many calls failed before."""
        if permit.era != self._era:
            return
        self._failures += 1
        if permit.probe:
            self._open_for = min(2 * self._open_for, self._longest)
        if permit.probe or at_once or self._failures >= self._limit:
            self._era += 1
            self._until = self._clock() + self._open_for * (0.5 + self._random())
            if self.state == "closed":
                self.opened += 1
                _LOG.warning("%s is left alone for a while: %s", self._name, why)
            self.state = "open"

    def let_go(self, permit: Permit) -> None:
        """The call ended without saying anything about the store, such as by cancellation: the next one may probe."""
        if permit.probe and permit.era == self._era:
            self._until = self._clock()
