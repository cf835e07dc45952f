"""What the gateway counts of calls to its upstreams, where these are controlled: how they went, what waits, and which breakers are open."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from sparecall.flow import Shortage, State
from sparecall.pipeline import (
    AdaptiveLimitStage,
    BreakerStage,
    HedgeStage,
    RateLimitStage,
    RetryStage,
    RouteStage,
    SystemStage,
)

if TYPE_CHECKING:
    from sparecall.metrics import Counter, Histogram, Registry
    from sparecall.pipeline import Call, Endpoint, Pipeline, Reply

WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_STATES = get_args(State)
_SHORTAGES = get_args(Shortage)


class Calls:
    """The families of calls. The labels are names of the configuration and closed lists."""

    __slots__ = ("_breakers", "_counted", "_failovers", "_hedges", "_hedges_told", "_limits", "_outcomes", "_places", "_retries", "_retries_told",
                 "_running", "_seconds", "_short", "_spent", "_substitutes", "_waiting", "_waits")  # fmt: skip

    def __init__(self, registry: Registry) -> None:
        self._outcomes = registry.counter(
            "sparecall_upstream_calls_total", "Calls to an upstream, by how they went.", ("upstream", "outcome")
        )
        self._seconds = registry.histogram(
            "sparecall_upstream_seconds",
            "Seconds to an upstream's answer, of a stream to its first event; without the wait for its turn.",
            ("upstream",),
            buckets=SECONDS,
        )
        self._waits = registry.histogram(
            "sparecall_queue_wait_seconds",
            "Seconds that a call waited for its turn at an upstream.",
            ("upstream",),
            buckets=WAITS,
        )
        self._running = registry.gauge(
            "sparecall_upstream_running",
            "Calls under way, waiting ones too, to the end of their answers.",
            ("upstream",),
        )
        self._waiting = registry.gauge("sparecall_queue_waiting", "Calls that wait for their turn.", ("upstream",))
        self._limits = registry.gauge(
            "sparecall_concurrency_limit", "Calls that an upstream is given at once.", ("upstream",)
        )
        self._places = registry.gauge("sparecall_concurrency_used", "Of those, the ones under way.", ("upstream",))
        self._hedges = registry.counter(
            "sparecall_hedges_total",
            "Calls made a second time since the first was late, by whether that won.",
            ("won",),
        )
        self._hedges_told = (0, 0)
        self._short = registry.gauge("sparecall_system_short", "1 for what the machine is short of.", ("of",))
        self._spent = registry.gauge(
            "sparecall_rate_limit_spent", "Share of an upstream's rate limit that is spent.", ("upstream",)
        )
        self._breakers = registry.gauge(
            "sparecall_breaker_state", "1 for the state that an upstream's breaker is in.", ("upstream", "state")
        )
        self._failovers = registry.counter(
            "sparecall_failovers_total", "Answers by an upstream after another had failed.", ("upstream",)
        )
        self._substitutes = registry.counter(
            "sparecall_fallbacks_total", "Answers by another model than the one asked for.", ("upstream",)
        )
        self._retries = registry.counter("sparecall_retries_total", "Calls made again after all upstreams had failed.")
        self._retries_told = 0
        # Series on the way of every call are fetched once.
        self._counted: dict[str, tuple[Histogram, Histogram, dict[str, Counter]]] = {}

    def observe(self, call: Call) -> None:
        """Counts one call."""
        counted = self._counted.get(call.upstream)
        if counted is None:
            labels = (call.upstream,)
            counted = self._counted[call.upstream] = (self._waits.labels(*labels), self._seconds.labels(*labels), {})
        waits, seconds, outcomes = counted
        outcome = outcomes.get(call.outcome)
        if outcome is None:
            outcome = outcomes[call.outcome] = self._outcomes.labels(call.upstream, call.outcome)
        outcome.add()
        if call.outcome != "refused":
            waits.observe(call.waited)
            seconds.observe(call.seconds)

    def answered(self, reply: Reply) -> None:
        """Counts who answered a request that made a call of its own."""
        origin = reply.origin
        if origin is None or reply.hit not in {"miss", "bypass"} or reply.status != 200:
            return
        if origin.passed:
            self._failovers.labels(origin.upstream).add()
        if origin.substitute:
            self._substitutes.labels(origin.upstream).add()

    def look(self, pipeline: Pipeline) -> None:
        """Takes over what the stages hold right now."""
        retry, route = pipeline.stage(RetryStage), pipeline.stage(RouteStage)
        if retry is not None:
            self._retries.labels().add(retry.retries - self._retries_told)
            self._retries_told = retry.retries
        hedge, system = pipeline.stage(HedgeStage), pipeline.stage(SystemStage)
        if hedge is not None:
            stats = hedge.hedge.stats
            made, won = self._hedges_told
            self._hedges.labels("yes").add(stats.won - won)
            self._hedges.labels("no").add(stats.hedges - stats.won - (made - won))
            self._hedges_told = stats.hedges, stats.won
        if system is not None:
            for what in _SHORTAGES:
                self._short.labels(what).set(what in system.signals.short_of)
        for endpoint in route.endpoints if route is not None else ():
            self._look(endpoint)

    def _look(self, endpoint: Endpoint) -> None:
        self._running.labels(endpoint.name).set(endpoint.running)
        waiting = 0
        for stage in endpoint.stages:
            if isinstance(stage, AdaptiveLimitStage):
                waiting += stage.limit.waiting
                self._limits.labels(endpoint.name).set(stage.limit.limit)
                self._places.labels(endpoint.name).set(stage.limit.in_flight)
            elif isinstance(stage, RateLimitStage):
                waiting += stage.limit.waiting
                self._spent.labels(endpoint.name).set(stage.limit.spent)
            elif isinstance(stage, BreakerStage):
                for state in _STATES:
                    self._breakers.labels(endpoint.name, state).set(stage.breaker.state == state)
        self._waiting.labels(endpoint.name).set(waiting)
