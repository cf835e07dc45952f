"""Calls made again after they failed: one owner of retries, within a budget and a deadline, never once an answer has begun.

One event loop, no locks.
"""

from __future__ import annotations

import asyncio
import inspect
import random as _random
import time
import warnings
from contextlib import nullcontext
from contextvars import ContextVar, Token
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from sparecall.flow.arguments import count, finite, positive
from sparecall.flow.outcome import Outcome, outcome_of, retry_after_of
from sparecall.flow.stream import begun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

P = ParamSpec("P")
R = TypeVar("R")

_GAIN = 1 / 8  # of the last call in the expected duration
# The retried call under way. Tasks inherit it: what such a call starts is made again with it, for as long as it is under way.
_owner: ContextVar[_Calls | None] = ContextVar("sparecall_retry", default=None)


class Attempt(msgspec.Struct, frozen=True):
    """One call that failed and is made again: what `on_retry` is called with."""

    number: int
    """Of the call that failed; the first is 1."""
    delay: float
    """Seconds until the next."""
    outcome: Outcome
    error: Exception


class Retry:
    """Makes a call again where it failed by no fault of the caller's, after pauses that grow and are spread.

    The pause before the n-th retry is a random part of ``base * 2 ** (n - 1)`` seconds, at most ``longest`` ("full jitter"); where
    the server said how long to wait, that, and a random part of ``base`` on top. The last error is raised, with a note why it was the last:
    ``attempts`` calls were made; it would not help, by ``classify`` (`outcome_of`: only ``failure`` and ``limited`` are made again); the
    pause and a call of the usual length would end past the deadline; the server asks for more than ``patience`` seconds; or the
    budget is spent. Each call adds ``budget`` retries to it, at
    most ``reserve``, which it begins with, so that an outage gets at most that share more of calls.

    Nested in another's work a Retry makes one call and warns: retries of retries multiply. ``on_retry`` is told of each.
    ``clock``: monotonic seconds. Belongs to one event loop; safe to cancel anywhere.
    """

    __slots__ = (
        "_attempts", "_base", "_budget", "_classify", "_clock", "_expected", "_left", "_longest", "_on_retry", "_patience", "_random",
        "_reserve", "_wall_clock",
    )  # fmt: skip

    def __init__(
        self,
        *,
        attempts: int = 3,
        base: float = 0.5,
        longest: float = 20.0,
        patience: float = 60.0,
        budget: float = 0.1,
        reserve: int = 10,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_retry: Callable[[Attempt], None] = lambda attempt: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._attempts = count("attempts", attempts)
        self._base = positive("base", base, zero=True)
        self._longest = positive("longest", longest, zero=True)
        self._patience = positive("patience", patience, zero=True)
        self._budget = positive("budget", budget, zero=True)
        self._reserve = count("reserve", reserve, least=0)
        self._left = float(reserve)
        self._classify, self._on_retry, self._clock, self._wall_clock = classify, on_retry, clock, wall_clock
        self._random = random
        self._expected = 0.0

    @property
    def budget(self) -> float:
        """How many retries may be made now."""
        return self._left

    def __repr__(self) -> str:
        return f"<Retry of up to {self._attempts} attempts, {self._left:.1f} retries in the budget>"

    def owns(self, client: Any) -> None:
        """Warn where `client`, an SDK's, makes calls again by itself: its ``max_retries`` should be 0 below a Retry."""
        retries = getattr(client, "max_retries", 0)
        if isinstance(retries, int) and retries > 0:
            warnings.warn(
                f"{type(client).__name__} has max_retries={retries} below a Retry of {self._attempts} attempts: "
                f"up to {self._attempts * (retries + 1)} calls for one; make it with max_retries=0",
                RuntimeWarning,
                stacklevel=2,
            )

    async def run(self, work: Callable[[], Awaitable[R]], *, deadline: float | None = None) -> R:
        """What `work()` returns, called again where it failed. ``deadline``: a time of the clock, at which a call under way is cancelled.

        Raises what the last call raised; ``TimeoutError`` where the deadline came while one was under way.
        """
        calls = self._calls(deadline)
        while True:
            at = calls.begin()
            try:
                if deadline is None:  # an empty context would cost a third of all this
                    value = await work()
                else:
                    async with asyncio.timeout(deadline - at):
                        value = await work()
            except Exception as error:
                if not await calls.again(error):
                    raise
            else:
                calls.succeeded(at)
                return value
            finally:
                calls.end()

    async def stream(
        self, work: Callable[[], AsyncIterator[R]], *, deadline: float | None = None
    ) -> AsyncGenerator[R, None]:
        """The items of `work()`, called again where it failed before its first item; after that an error is the caller's.

        The deadline is that of the first item: a stream that began goes on past it.
        """
        calls = self._calls(deadline)
        while True:
            at = calls.begin()
            try:
                async with _until(at, deadline):
                    stream = await begun(aiter(work()))
            except Exception as error:
                if not await calls.again(error):
                    raise
                continue
            finally:
                calls.end()
            calls.succeeded(at)
            try:
                async for item in stream:
                    yield item
            finally:
                await stream.aclose()
            return

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function; for one that yields, use `stream`."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is not a coroutine function; use `retry.run` or `retry.stream`")

        @wraps(function)
        async def retried(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.run(lambda: function(*args, **kwargs))

        return retried

    def _calls(self, deadline: float | None) -> _Calls:
        if deadline is not None:
            finite("deadline", deadline)
        owner = _owner.get()
        nested = owner is not None and owner.under_way
        if nested and self._attempts > 1:
            warnings.warn(
                "a Retry inside the work of another makes no retries of its own: leave one of them out",
                RuntimeWarning,
                stacklevel=3,
            )
        self._left = min(self._left + self._budget, max(self._reserve, self._budget))
        return _Calls(self, deadline, 1 if nested else self._attempts)


class _Calls:
    """The calls made for one `run` or `stream`."""

    __slots__ = ("_deadline", "_left", "_made", "_retry", "_token")

    def __init__(self, retry: Retry, deadline: float | None, attempts: int) -> None:
        self._retry, self._deadline, self._left = retry, deadline, attempts
        self._made = 0
        self._token: Token[_Calls | None] | None = None

    @property
    def under_way(self) -> bool:
        return self._token is not None

    def begin(self) -> float:
        now = self._retry._clock()
        if self._deadline is not None and now >= self._deadline:
            raise TimeoutError(f"the deadline passed {now - self._deadline:.1f} s ago; {self._made} calls were made")
        self._made += 1
        self._left -= 1
        self._token = _owner.set(self)
        return now

    def end(self) -> None:
        if self._token is not None:
            _owner.reset(self._token)
            self._token = None

    def succeeded(self, at: float) -> None:
        retry = self._retry
        taken = max(0.0, retry._clock() - at)
        retry._expected = taken if not retry._expected else retry._expected + _GAIN * (taken - retry._expected)

    async def again(self, error: Exception) -> bool:
        """Whether to call again, after the pause; where not, `error` gets a note why."""
        self.end()
        retry = self._retry
        outcome = retry._classify(error)
        asked = retry_after_of(error, wall=retry._wall_clock())
        if asked is None:
            delay = retry._random() * min(retry._base * 2.0 ** min(self._made - 1, 60), retry._longest)
        else:
            delay = asked + retry._random() * retry._base
        why = self._obstacle(outcome, delay, asked)
        if why:
            error.add_note(f"not called again after {self._made} calls: {why}")
            return False
        retry._left -= 1
        retry._on_retry(Attempt(self._made, delay, outcome, error))
        await asyncio.sleep(delay)
        return True

    def _obstacle(self, outcome: Outcome, delay: float, asked: float | None) -> str:
        retry = self._retry
        if outcome not in ("failure", "limited"):
            return "it is not of a kind that another call mends"
        if self._left <= 0:
            return "these were all attempts"
        if asked is not None and asked > retry._patience:
            return f"the server asks to wait for {asked:g} s, and patience is {retry._patience:g} s"
        if self._deadline is not None and retry._clock() + delay + retry._expected > self._deadline:
            return f"a pause of {delay:.1f} s and a call of about {retry._expected:.1f} s would end past the deadline"
        if retry._left < 1:
            return "the budget of retries is spent"
        return ""


def _until(now: float, deadline: float | None) -> AbstractAsyncContextManager[object]:
    return nullcontext() if deadline is None else asyncio.timeout(deadline - now)
