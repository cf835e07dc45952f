"""The bound on what an ailing L2 can cost: a time for each call, a pause after failures, one probe to end it, one log line per change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from sparecall.errors import FrameError, InvalidArgument, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
_log = logging.getLogger("sparecall.store")


# Neither flow's `Breaker` nor the one that the stores of ours have inside: this stands before anybody's store and knows only that a call failed. It
# has no state but a count and a time, counts what a store's own breaker refused without a pause of its own on top, and ends with
# the first answer whatever came before.


class Guard:
    """Every call of an L2 goes through `call`: an answer within `timeout` seconds, or `StoreUnavailable`.

    After `failures` in a row the store is left alone for `pause` seconds, drawn out by chance so that processes do not come back
    together; then one call at a time may try. A refusal of a bad argument or value is no failure; it is the `__cause__`.
    """

    __slots__ = ("_clock", "_failures", "_limit", "_name", "_pause", "_probing", "_random", "_timeout", "_until", "faults", "recovered")  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        pause: float,
        clock: Callable[[], float],
        random: Callable[[], float],
        failures: int = 3,
    ) -> None:
        self._name, self._timeout, self._pause, self._limit = name, timeout, pause, failures
        self._clock, self._random = clock, random
        self._failures, self._until, self._probing = 0, 0.0, False
        self.faults = 0
        """Calls that failed or ran out of time; those that were not made for the pause left out."""
        self.recovered: Callable[[], None] = lambda: None
        """Called after the first answer that follows a failure."""

    @property
    def resting(self) -> bool:
        """Whether a call now would be refused without being made."""
        return self._failures >= self._limit and (self._probing or self._clock() < self._until)

    async def call(self, method: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **options: Any) -> T:
        """The store's answer. Raises `StoreUnavailable` for whatever goes wrong there, within the time limit."""
        if self.resting:
            raise StoreUnavailable(
                f"{self._name} is left alone after {self._failures} failures; it is tried again soon"
            )
        probes = self._failures >= self._limit
        self._probing = self._probing or probes
        try:
            async with asyncio.timeout(self._timeout):
                answer = await method(*args, **options)
        except StoreUnavailable:  # it knows itself when to be left alone, and says so in the log
            self.faults += 1
            self._failures = max(self._failures, 1)
            raise
        except (FrameError, InvalidArgument) as error:  # an answer, in its way: what was asked cannot be done
            self._answered()
            raise StoreUnavailable(f"{self._name} refused: {type(error).__name__}") from error
        except TimeoutError as error:
            self._failed(f"no answer in {self._timeout} s")
            raise StoreUnavailable(f"{self._name} did not answer in {self._timeout} s") from error
        except Exception as error:
            self._failed(type(error).__name__)
            raise StoreUnavailable(f"{self._name} failed: {type(error).__name__}") from error
        finally:
            if probes:
                self._probing = False
        self._answered()
        return answer

    def _failed(self, why: str) -> None:
        self.faults += 1
        self._failures += 1
        if self._failures >= self._limit:
            self._until = self._clock() + self._pause * (1.0 + self._random())
        if self._failures == self._limit:
            _log.warning("%s: left alone after %d failures in a row, the last: %s", self._name, self._failures, why)

    def _answered(self) -> None:
        failed, self._failures = self._failures, 0
        if failed >= self._limit:
            _log.warning("%s: answers again after %d failures", self._name, failed)
        if failed:
            self.recovered()
