"""Stage `route`: picks the upstream of each call, and the next one where that does not answer."""

from __future__ import annotations

import contextlib
import random as _random
import time
from typing import TYPE_CHECKING, Self

import msgspec

from sparecall.errors import InvalidArgument, LimitExceeded, UnknownName
from sparecall.flow import Passed
from sparecall.flow.load import less_loaded
from sparecall.flow.outcome import retry_after_of
from sparecall.pipeline.endpoint import asking_of
from sparecall.pipeline.outcome import ONCE, REFUSED, FailedReply, at_end, passes, reason_of, unsent
from sparecall.pipeline.reply import Origin, no_call
from sparecall.pipeline.stage import entered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sparecall.pipeline.endpoint import Endpoint
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Asking, Request
    from sparecall.pipeline.stage import Next, Stage

_MOST_PASSED = 32  # that are remembered of one request
_MODELS = 256  # whose usual time is remembered
_USUAL = 1.0  # seconds that a call takes where nothing is known
_GAIN = 1 / 8  # of the last call in what is usual
_HELD_AT_MOST = 60.0  # seconds, whatever an endpoint asks for


class RouteStage:
    """Asks the endpoints that serve the model of a request, one after the other, until one answers.

    Those of a lower priority are first. Of these two are drawn, and the one is asked whose calls take less time (peaks first, as in Finagle's balancer) for the
    number under way, its weight and the room that its limits have; then the others by the same measure. Those whose breaker is open, or that said when to come
    again, are last. The next is asked where one fails, is over its limits or is left alone by its breaker; of several, none is waited for while another could answer at
    once. Once an answer has begun it is not made again, and a request that is to be sent once (`outcome.ONCE`) is not after it was. Where none answers, the reply or the error is of the one that may be asked again soonest. A model that
    nobody serves raises `UnknownName`; a request on a wire that no endpoint has is passed on.
    """

    __slots__ = ("_clock", "_exits", "_random", "_usual", "_wall_clock", "endpoints")
    __name__ = "route"

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        random: Callable[[], float] = _random.random,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not endpoints:
            raise InvalidArgument("endpoints is empty; it needs at least one")
        self.endpoints = tuple(endpoints)
        self._random, self._clock, self._wall_clock = random, clock, wall_clock
        self._usual: dict[str, float] = {}
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._exits = await entered(self.stages)
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
        return await _Search(self, request, asking).run(self.in_order(fit, asking))

    def in_order(self, endpoints: Sequence[Endpoint], asking: Asking) -> list[Endpoint]:
        """The endpoints in the order they are to be asked."""
        if len(endpoints) == 1:
            return list(endpoints)
        now, usual = self._clock(), self._usual.get(asking.model, _USUAL)
        ranks: dict[tuple[bool, bool, int], list[tuple[float, float, Endpoint]]] = {}
        for one in endpoints:
            load = one.load(asking.model)
            room = load.room(now)
            rank = (room <= 0, one.name == asking.avoid, one.priority)
            score = load.score(now, usual, room) if room > 0 else 0.0
            ranks.setdefault(rank, []).append((score, self._random(), one))
        order: list[Endpoint] = []
        for _, equals in sorted(ranks.items()):
            drawn = less_loaded([score for score, _, _ in equals], self._random) if len(equals) > 1 else 0
            order.append(equals.pop(drawn)[2])
            order += [one for _, _, one in sorted(equals, key=lambda each: each[:2])]
        return order

    def took(self, model: str, seconds: float) -> None:
        """An answer for that model has begun after so long."""
        known = self._usual.get(model)
        if known is None and len(self._usual) >= _MODELS:
            self._usual.pop(next(iter(self._usual)))
        self._usual[model] = seconds if known is None else known + _GAIN * (seconds - known)


class _Search:
    """Who was asked for one request, and what came of it."""

    __slots__ = ("_asking", "_failures", "_request", "_stage")

    def __init__(self, stage: RouteStage, request: Request, asking: Asking) -> None:
        self._stage, self._request, self._asking = stage, request, asking
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
        clock, usual = self._stage._clock, self._stage._usual.get(self._asking.model, _USUAL)
        load, call = endpoint.load(self._asking.model), object()
        self._asking.at = endpoint.name
        asking = msgspec.structs.replace(self._asking, upstream=endpoint.name, max_wait=max_wait, waited=0.0)
        load.began(call, clock())
        try:
            reply = await endpoint(msgspec.structs.replace(self._request, asking=asking))
        except BaseException as error:
            outcome = passes(error)
            load.ended(call, clock(), failed=outcome == "failure", usual=usual)
            if not isinstance(error, Exception) or outcome not in ("failure", "limited"):
                raise
            wait = self._retry_after(error)
            if wait is not None and not isinstance(error, REFUSED):  # our own limits and breakers know by themselves
                load.held_until = clock() + min(wait, _HELD_AT_MOST)
            self._failures.append((endpoint, error))
            if len(passed) < _MOST_PASSED:
                passed.append(Passed(endpoint.name, outcome, reason_of(error)))
            self._asking.size = asking.size
            if self._request.bypass in ONCE and not unsent(error):
                if not isinstance(error, FailedReply):
                    raise
                return self._of(error.reply, endpoint)
            return None
        seconds = load.answered(call, clock())
        if seconds is not None:
            self._stage.took(self._asking.model, seconds)
        at_end(reply, lambda _summary, _error: load.ended(call, clock(), failed=False, usual=usual))
        return self._of(reply, endpoint)

    def _worth_waiting_for(self) -> Endpoint | None:
        """The endpoint whose limit is due soonest; None where waiting is not what they want."""
        waits = [
            (error.retry_after, number)
            for number, (_, error) in enumerate(self._failures)
            if isinstance(error, LimitExceeded) and error.retry_after is not None
        ]
        return self._failures[min(waits)[1]][0] if waits else None

    def _retry_after(self, error: Exception) -> float | None:
        return retry_after_of(error, wall=self._stage._wall_clock())

    def _of(self, reply: Reply, endpoint: Endpoint) -> Reply:
        asking = self._asking
        origin = Origin(
            upstream=endpoint.name,
            model=asking.model,
            substitute=asking.model != asking.asked,
            passed=tuple(asking.passed),
        )
        return msgspec.structs.replace(reply, origin=origin)
