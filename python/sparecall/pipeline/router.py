"""Stage `router`: which model is asked, by rules, and by what answers of each are worth within a budget."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from sparecall.flow import Features
from sparecall.pipeline.endpoint import asking_of
from sparecall.pipeline.outcome import at_end, begun, outcome_of_reply, passes
from sparecall.pipeline.size import known_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparecall.flow import Route, Router, Rule
    from sparecall.pipeline.answer import Summary
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class _Tools(msgspec.Struct):
    tools: list[msgspec.Raw] | None = None


class RouterStage:
    """Asks for the model that `router` chooses where one of its `rules` is meant for the request, and for the model that was asked for where none is.

    Each model of the router has one endpoint, whose name does not matter: which upstream serves it is the business of the stages below.
    """

    __slots__ = ("_clock", "_rules", "router")
    __name__ = "router"

    def __init__(self, router: Router, rules: Sequence[Rule], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.router, self._rules, self._clock = router, tuple(rules), clock

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on, for the model it asks for or another."""
        if request.cache_control.only_if_cached or request.wire == "embeddings":
            return await next(request)
        asking = asking_of(request)
        features = self.features(request)
        if not any(rule.matches(features) for rule in self._rules):
            return await next(request)
        failure: Exception | None = None
        async with self.router.route(features) as route:
            own = msgspec.structs.replace(asking, model=route.model)
            try:
                reply = await begun(next(msgspec.structs.replace(request, asking=own)))
            except Exception as error:  # noqa: BLE001 - raised again below: who may be asked when is the business of other stages
                failure = error
                route.report(passes(error))
            else:
                route.report(outcome_of_reply(reply))
        if failure is not None:
            raise failure
        at_end(reply, lambda summary, _error: _settle(route, summary))
        return reply

    def features(self, request: Request) -> Features:
        """What rules may ask of a request."""
        asking = asking_of(request)
        try:
            tools = bool(msgspec.json.decode(request.body, type=_Tools).tools)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            tools = False
        return Features(
            model=asking.model,
            tokens=known_size(request).prompt,
            tools=tools,
            priority=request.priority,
            deadline=None if request.deadline is None else max(0.0, request.deadline - self._clock()),
            labels=frozenset({request.wire}),
        )


def _settle(route: Route, summary: Summary | None) -> None:
    if summary is not None:
        route.settle(summary.prompt_tokens, summary.completion_tokens, cached_tokens=summary.cached_tokens)
