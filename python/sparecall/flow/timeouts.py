"""How long a call may take: by its tokens and what such calls took lately; and how long a stream may be silent.

One event loop, no locks.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import OrderedDict
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from sparecall.errors import CallTimeout, InvalidArgument
from sparecall.flow.arguments import count, finite, positive
from sparecall.flow.completion import CompletionEstimates
from sparecall.flow.duration import Durations
from sparecall.flow.stream import closed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")

_RESOLUTION = 1e-3  # seconds by which a loop's timers may come too soon
_ROUTES = 1_024  # remembered; the one longest unused is forgotten


class Timeout:
    """Ends calls that take ``factor`` times what all but one in a hundred of their route and length take, and streams that are silent.

    A whole answer's time is learned over its tokens and its prompt's: seconds to begin, and seconds a token of either. Of a stream it is the time to its
    first item that is learned; after it, a silence of ``idle`` seconds while the reader waits ends it. What is learned is held between ``least`` and
    ``most`` seconds, and is ``most`` until ``minimum_calls`` ended. Calls that were ended count as longer than usual, so that a provider that has turned slow
    for good gets more time, up to ``most``. A ``deadline``, a time of the clock, ends a call sooner.

    Ended calls raise `CallTimeout`, to a breaker and a retry inside which they run a failure; but where a deadline left less time than
    such calls take, that says nothing of the endpoint, and is ``ignored``. ``clock``: monotonic seconds. A call costs O(1), and a stream one timer, not one an item.
    Belongs to one event loop; safe to cancel anywhere.
    """

    __slots__ = ("_clock", "_estimates", "_factor", "_firsts", "_idle", "_least", "_minimum", "_most", "_wholes")

    def __init__(
        self,
        *,
        least: float = 1.0,
        most: float = 120.0,
        factor: float = 2.0,
        idle: float = 30.0,
        minimum_calls: int = 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least, self._most = positive("least", least), positive("most", most)
        if most < least:
            raise InvalidArgument(f"most is {most}; it must be at least `least`, which is {least}")
        self._factor = positive("factor", factor)
        if factor < 1:
            raise InvalidArgument(f"factor is {factor}; it must be at least 1")
        self._idle = positive("idle", idle)
        self._minimum = count("minimum_calls", minimum_calls)
        self._clock = clock
        self._wholes: OrderedDict[str, Durations] = OrderedDict()
        self._firsts: OrderedDict[str, Durations] = OrderedDict()
        self._estimates = CompletionEstimates()

    def answer(self, route: str = "", *, tokens: int | None = None, prompt_tokens: int = 0) -> float:
        """Seconds that a whole answer of `tokens` tokens may take; None: of as many as answers on `route` had lately, or rather more."""
        return self._bounded(self._wholes.get(route), self._tokens(route, tokens), prompt_tokens)

    def first_item(self, route: str = "", *, prompt_tokens: int = 0) -> float:
        """Seconds that a stream on `route` may take to its first item."""
        return self._bounded(self._firsts.get(route), prompt_tokens)

    def rate(self, route: str = "") -> float | None:
        """Tokens a second that whole answers on `route` gain, the time to begin left out; None while unknown."""
        known = self._wholes.get(route)
        each = None if known is None else known.each
        return None if each is None else 1 / each

    def __repr__(self) -> str:
        return f"<Timeout from {self._least:g} to {self._most:g} s, idle {self._idle:g} s, {len(self._wholes) + len(self._firsts)} routes known>"

    def call(
        self, route: str = "", *, tokens: int | None = None, prompt_tokens: int = 0, deadline: float | None = None
    ) -> Timed:
        """One whole answer's time, for the length of an ``async with``; `tokens`: of the answer, as expected (`answer`)."""
        if tokens is not None:
            count("tokens", tokens, least=0)
        count("prompt_tokens", prompt_tokens, least=0)
        if deadline is not None:
            finite("deadline", deadline)
        return Timed(self, route, self._tokens(route, tokens), prompt_tokens, deadline)

    async def run(
        self,
        work: Callable[[], Awaitable[R]],
        *,
        route: str = "",
        tokens: int | None = None,
        prompt_tokens: int = 0,
        deadline: float | None = None,
        used: Callable[[R], int | None] = lambda answer: None,
    ) -> R:
        """What `work()` returns; ``used`` reads its completion's tokens from it, so that the route's rate is learned. Other arguments: `call`."""
        async with self.call(route, tokens=tokens, prompt_tokens=prompt_tokens, deadline=deadline) as call:
            answer = await work()
            completion = used(answer)
            if completion is not None:
                call.settle(completion)
            return answer

    async def stream(
        self,
        work: Callable[[], AsyncIterator[R]],
        *,
        route: str = "",
        prompt_tokens: int = 0,
        deadline: float | None = None,
    ) -> AsyncGenerator[R, None]:
        """The items of `work()`, which is closed where the first comes too late, or the next after too long a silence.

        ``prompt_tokens``: where given, the time to the first item is learned as a line over them. The deadline is that of the first
        item: a stream that began goes on past it.
        """
        count("prompt_tokens", prompt_tokens, least=0)
        if deadline is not None:
            finite("deadline", deadline)
        known = _of(self._firsts, route)
        at = self._clock()
        seconds = _left(self._bounded(known, prompt_tokens), at, deadline)
        alarm, began = _Alarm(), False
        items = aiter(work())
        try:
            while True:
                alarm.set(seconds)
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    if not alarm.rang(error):
                        raise
                    if began:
                        text = f"a stream was silent for {self._idle:g} s, which is the limit"
                        raise CallTimeout(text, code="idle", seconds=self._idle) from error
                    taken = self._clock() - at
                    raise self._late(known, (prompt_tokens,), taken, deadline, "first_item") from error
                finally:
                    alarm.rest()
                if not began:
                    began, seconds = True, self._idle
                    known.learn(max(0.0, self._clock() - at), prompt_tokens)
                yield item
        finally:
            alarm.close()
            await closed(items)

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of a coroutine function, whose name is the route; for one that yields, use `stream`."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is not a coroutine function; use `timeout.run` or `timeout.stream`")

        @wraps(function)
        async def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self.call(function.__qualname__):
                return await function(*args, **kwargs)

        return timed

    def _tokens(self, route: str, tokens: int | None) -> int:
        return self._estimates.estimate(route, None) if tokens is None else tokens

    def _bounded(self, known: Durations | None, *size: float) -> float:
        if known is None or known.calls < self._minimum:
            return self._most
        return min(max(self._factor * known.usual(*size), self._least), self._most)

    def _late(
        self, known: Durations, size: Sequence[float], taken: float, deadline: float | None, code: str
    ) -> CallTimeout:
        """The error for a call that was ended, which is learned from where the endpoint was late."""
        usual = known.usual(*size) if known.calls >= self._minimum else self._least
        if deadline is not None and self._clock() >= deadline - _RESOLUTION and taken < usual:
            return CallTimeout(
                f"the deadline left {taken:.3g} s for a call that may take {usual:.3g} s",
                code="deadline",
                seconds=taken,
            )
        known.cut(taken, *size)
        what = "an answer" if code == "answer" else "a stream's first item"
        return CallTimeout(f"{what} did not come within {taken:.3g} s", code=code, seconds=taken)


class Timed:
    """The time of one call: the holder of an ``async with timeout.call(...)``."""

    __slots__ = ("_alarm", "_at", "_deadline", "_known", "_prompt", "_route", "_timeout", "_tokens", "_used", "seconds")

    def __init__(self, timeout: Timeout, route: str, tokens: int, prompt: int, deadline: float | None) -> None:
        self._timeout, self._route, self._deadline = timeout, route, deadline
        self._tokens, self._prompt = tokens, prompt
        self._used: int | None = None
        self._alarm: _Alarm | None = None
        self.seconds: float | None = None
        """The seconds that it may take, once entered."""

    async def __aenter__(self) -> Self:
        if self._alarm is not None:
            raise InvalidArgument("it times one call; ask timeout.call() for another")
        timeout = self._timeout
        self._alarm = _Alarm()
        self._known = _of(timeout._wholes, self._route)
        self._at = timeout._clock()
        self.seconds = _left(timeout._bounded(self._known, self._tokens, self._prompt), self._at, self._deadline)
        self._alarm.set(self.seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._alarm is not None  # noqa: S101 - for mypy; it was entered
        rang = self._alarm.rang(error)
        self._alarm.close()
        timeout = self._timeout
        taken = max(0.0, timeout._clock() - self._at)
        if rang:
            raise timeout._late(self._known, (self._tokens, self._prompt), taken, self._deadline, "answer") from error
        if error is None:
            self._known.learn(taken, self._tokens if self._used is None else self._used, self._prompt)

    def settle(self, tokens: int) -> None:
        """Say how many tokens the answer had, so that the route's rate and usual length are learned."""
        self._used = count("tokens", tokens, least=0)
        self._timeout._estimates.observe(self._route, tokens)

    def __repr__(self) -> str:
        return "<Timed call not entered>" if self.seconds is None else f"<Timed call of at most {self.seconds:.3g} s>"


class _Alarm:
    """Cancels who set it once it is due, and takes that back, as `asyncio.timeout` does; with one timer, however often it is set."""

    __slots__ = ("_at", "_cancelling", "_due", "_loop", "_rang", "_task", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at = self._due = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._rang = False

    def set(self, seconds: float) -> None:
        """Cancel the current task in so many seconds, unless it rests before. Once it has rung, it is to be asked `rang` first."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a timeout needs to run in a task")
        self._task, self._cancelling = task, task.cancelling()
        self._due = self._loop.time() + seconds
        if self._timer is None or self._due < self._at:
            self.close()
            self._start()

    def rest(self) -> None:
        """Nobody waits: the timer finds that out by itself."""
        if self._rang:
            self.rang(None)
        self._task = None

    def rang(self, error: BaseException | None) -> bool:
        """Whether it is by this alarm that `error`, a cancellation, came: then it is none for anybody else."""
        if not self._rang or self._task is None:
            return False
        self._rang = False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._at = self._due
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._due > self._at:  # it was set anew since, for later
            self._start()
        else:
            self._rang = True
            self._task.cancel()


def _left(seconds: float, now: float, deadline: float | None) -> float:
    if deadline is None:
        return seconds
    if now >= deadline:
        raise CallTimeout(
            f"the deadline passed {now - deadline:.1f} s ago; no call was made", code="deadline", seconds=0.0
        )
    return min(seconds, deadline - now)


def _of(routes: OrderedDict[str, Durations], route: str) -> Durations:
    known = routes.get(route)
    if known is None:
        if len(routes) >= _ROUTES:
            routes.popitem(last=False)
        known = routes[route] = Durations()
    else:
        routes.move_to_end(route)
    return known
