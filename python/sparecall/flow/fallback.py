"""One call, several endpoints that can take it: the next is asked where one fails, and the answer says whose it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

import msgspec

from sparecall.errors import EndpointsFailed, InvalidArgument
from sparecall.flow.arguments import positive
from sparecall.flow.outcome import Outcome, outcome_of
from sparecall.flow.stream import Stream, begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")


class Passed(msgspec.Struct, frozen=True):
    """An endpoint that was asked and did not serve the call."""

    endpoint: str
    outcome: Outcome
    reason: str
    """The kind of the error: never its text, which may quote what was asked."""


class Served(msgspec.Struct, Generic[R], frozen=True):
    """What an endpoint returned, which one it was, and who was asked before it."""

    value: R
    served_by: str
    passed: tuple[Passed, ...]


class Fallback(Generic[P, R]):
    """Asks endpoints in order until one answers. Each is a coroutine function; all take the same arguments.

    The next is asked where one ended in ``failure`` or ``limited`` by ``classify`` (`outcome_of`): down, too slow, a `BreakerOpen`, a limit. Another
    error, such as the caller's own mistake or a 4xx, is raised at once: elsewhere it would be one too. ``timeout``: the seconds that each
    but the last may take. Where all failed, `EndpointsFailed` carries what each of them raised, and comes from the last. ``on_passed`` is told of
    each endpoint that is passed over. Give each endpoint its own breaker and retries. Safe to cancel anywhere.
    """

    __slots__ = ("_classify", "_endpoints", "_on_passed")

    def __init__(
        self,
        endpoints: Mapping[str, Callable[P, Awaitable[R]]],
        *,
        timeout: float | None = None,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_passed: Callable[[Passed], None] = lambda passed: None,
    ) -> None:
        seconds = None if timeout is None else positive("timeout", timeout)
        *first, last = _checked(endpoints).items()
        self._endpoints = (*((name, call, seconds) for name, call in first), (*last, None))
        self._classify, self._on_passed = classify, on_passed

    def __repr__(self) -> str:
        return f"<Fallback over {', '.join(name for name, _, _ in self._endpoints)}>"

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> Served[R]:
        """What the first endpoint that answers returned."""
        failed: dict[str, Exception] = {}
        passed: tuple[Passed, ...] = ()
        for name, call, seconds in self._endpoints:
            try:
                if seconds is None:  # an empty context would cost more than all this
                    value = await call(*args, **kwargs)
                else:
                    async with asyncio.timeout(seconds):
                        value = await call(*args, **kwargs)
            except Exception as error:
                outcome = self._classify(error)
                if outcome not in ("failure", "limited"):
                    raise
                failed[name] = error
                passed += (Passed(name, outcome, type(error).__name__),)
                self._on_passed(passed[-1])
            else:
                return Served(value, name, passed)
        reasons = ", ".join(f"{each.endpoint}: {each.reason}" for each in passed)
        message = f"all {len(passed)} endpoints failed ({reasons})"
        raise EndpointsFailed(message, failed) from failed[passed[-1].endpoint]


class StreamFallback(Generic[P, R]):
    """`Fallback` for endpoints that stream: async generator functions. Once one has given its first item, its errors are the caller's.

    ``timeout``: the seconds to the first item that each but the last may take.
    """

    __slots__ = ("_fallback",)

    def __init__(
        self,
        endpoints: Mapping[str, Callable[P, AsyncIterator[R]]],
        *,
        timeout: float | None = None,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_passed: Callable[[Passed], None] = lambda passed: None,
    ) -> None:
        beginning = {name: _first(call) for name, call in _checked(endpoints).items()}
        self._fallback = Fallback(beginning, timeout=timeout, classify=classify, on_passed=on_passed)

    def __repr__(self) -> str:
        return f"<StreamFallback over {', '.join(name for name, _, _ in self._fallback._endpoints)}>"

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> Served[Stream[R]]:
        """The stream of the first endpoint that gave an item. Exhaust it, or ``await served.value.aclose()``."""
        return await self._fallback.run(*args, **kwargs)


def _checked(endpoints: Mapping[str, R]) -> dict[str, R]:
    if not endpoints:
        raise InvalidArgument("endpoints is empty; it needs at least one")
    for name, call in endpoints.items():
        if not callable(call):
            raise TypeError(f"endpoint {name!r} must be callable, not {type(call).__name__}")
    return dict(endpoints)


def _first(call: Callable[P, AsyncIterator[R]]) -> Callable[P, Awaitable[Stream[R]]]:
    """Waits for the first item, and gives a stream that begins with it."""

    async def begin(*args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        return await begun(aiter(call(*args, **kwargs)))

    return begin
