"""Stage `route`: picks the upstream of each call, and the next one where that does not answer."""

from __future__ import annotations

import contextlib
import random as _random
import time
from typing import TYPE_CHECKING, Self

import msgspec

from sparecall.errors import InvalidArgument, LimitExceeded, Overloaded, UnknownName
from sparecall.flow import Passed
from sparecall.flow.outcome import retry_after_of
from sparecall.pipeline.endpoint import asking_of, model_of
from sparecall.pipeline.outcome import FailedReply, passes, reason_of
from sparecall.pipeline.reply import Origin, no_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sparecall.pipeline.endpoint import Endpoint
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Asking, Request
    from sparecall.pipeline.stage import Next, Stage

_MOST_PASSED = 32  # that are remembered of one request


class RouteStage:
    """Asks the endpoints that serve the model of a request, one after the other, until one answers.

    Those of a lower priority are first, and of these the one with the fewest calls under way for its weight; those whose breaker is open are last. The next is asked where one fails, is over its limits or is left alone by its breaker; of several, none is waited for while another could answer at
    once. Once an answer has begun it is not made again. Where none answers, the reply or the error is of the one that may be asked again soonest. A model that
    nobody serves raises `UnknownName`; a request on a wire that no endpoint has is passed on.
    """

    __slots__ = ("_exits", "_random", "_wall_clock", "endpoints")
    __name__ = "route"

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        random: Callable[[], float] = _random.random,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not endpoints:
            raise InvalidArgument("endpoints is empty; it needs at least one")
        self.endpoints = tuple(endpoints)
        self._random, self._wall_clock = random, wall_clock
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            for stage in self.stages:
                if hasattr(stage, "__aenter__"):
                    await exits.enter_async_context(stage)  # type: ignore[arg-type]
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    def __repr__(self) -> str:
        return f"<RouteStage to {', '.join(one.name for one in self.endpoints)}>"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of all endpoints."""
        return tuple(stage for one in self.endpoints for stage in one.stages)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Makes the call, unless the client forbids one."""
        if request.cache_control.only_if_cached:  # no cache stands above that could have said so
            return no_call(request.bypass or "absent", request.wire)
        on_wire = [one for one in self.endpoints if request.wire in one.wires]
        if not on_wire:
            return await next(request)
        asking = asking_of(request)
        fit = [one for one in on_wire if one.serves(asking.model) and asking.upstream in ("", one.name)]
        if not fit:
            raise UnknownName("no upstream here serves the model that was asked for; see [upstream.NAME] models")
        return await _Search(self, request, asking, substitute=asking.model != model_of(request)).run(
            self.in_order(fit)
        )

    def in_order(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """The endpoints in the order they are to be asked."""
        if len(endpoints) == 1:
            return list(endpoints)
        return sorted(endpoints, key=self._rank)

    def _rank(self, one: Endpoint) -> tuple[bool, int, float, float]:
        return one.left_alone, one.priority, (one.running + 1) / one.weight, self._random()


class _Search:
    """Who was asked for one request, and what came of it."""

    __slots__ = ("_asking", "_failures", "_request", "_stage", "_substitute")

    def __init__(self, stage: RouteStage, request: Request, asking: Asking, *, substitute: bool) -> None:
        self._stage, self._request, self._asking, self._substitute = stage, request, asking, substitute
        self._failures: list[tuple[Endpoint, Exception]] = []

    async def run(self, order: Sequence[Endpoint]) -> Reply:
        max_wait = self._asking.max_wait if len(order) == 1 else 0.0
        for endpoint in order:
            reply = await self._ask(endpoint, max_wait)
            if reply is not None:
                return reply
        due = self._worth_waiting_for() if len(order) > 1 else None
        if due is not None:
            reply = await self._ask(due, self._asking.max_wait)
            if reply is not None:
                return reply
        endpoint, error = min(reversed(self._failures), key=lambda failure: self._retry_after(failure[1]) or 0.0)
        if isinstance(error, FailedReply):
            return self._of(error.reply, endpoint)
        raise error

    async def _ask(self, endpoint: Endpoint, max_wait: float | None) -> Reply | None:
        passed = self._asking.passed
        asking = msgspec.structs.replace(self._asking, upstream=endpoint.name, max_wait=max_wait, waited=0.0)
        try:
            return self._of(await endpoint(msgspec.structs.replace(self._request, asking=asking)), endpoint)
        except Exception as error:
            outcome = passes(error)
            if outcome not in ("failure", "limited"):
                raise
            self._failures.append((endpoint, error))
            if len(passed) < _MOST_PASSED:
                passed.append(Passed(endpoint.name, outcome, reason_of(error)))
            self._asking.size = asking.size
            return None

    def _worth_waiting_for(self) -> Endpoint | None:
        """The endpoint whose limit is due soonest; None where waiting is not what they want."""
        waits = [
            (error.retry_after, number)
            for number, (_, error) in enumerate(self._failures)
            if isinstance(error, LimitExceeded | Overloaded) and error.retry_after is not None
        ]
        return self._failures[min(waits)[1]][0] if waits else None

    def _retry_after(self, error: Exception) -> float | None:
        return retry_after_of(error, wall=self._stage._wall_clock())

    def _of(self, reply: Reply, endpoint: Endpoint) -> Reply:
        asking = self._asking
        origin = Origin(
            upstream=endpoint.name, model=asking.model, substitute=self._substitute, passed=tuple(asking.passed)
        )
        return msgspec.structs.replace(reply, origin=origin)
