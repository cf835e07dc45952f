"""The stages that control calls, made of a configuration: which upstream, within which limits, and what where it does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.config import Breaker as BreakerConfig
from sparecall.config import Retry as RetryConfig
from sparecall.config import Substitute
from sparecall.flow import Breaker, RateLimit, Retry
from sparecall.pipeline.breaker import BreakerStage
from sparecall.pipeline.endpoint import Endpoint
from sparecall.pipeline.fallback import FallbackStage, Target
from sparecall.pipeline.outcome import passes
from sparecall.pipeline.rate_limit import RateLimitStage
from sparecall.pipeline.retry import RetryStage
from sparecall.pipeline.route import RouteStage
from sparecall.pipeline.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.config import Config
    from sparecall.config import Upstream as UpstreamConfig
    from sparecall.pipeline.endpoint import Call
    from sparecall.pipeline.request import WireName
    from sparecall.pipeline.stage import Stage

WIRES: dict[str, frozenset[WireName]] = {
    "openai": frozenset({"chat", "responses", "embeddings"}),
    "anthropic": frozenset({"messages"}),
}


def upstreams(config: Config) -> list[Upstream]:
    """The stages that make calls, one for each provider, none of them controlled."""
    return [_upstream(config, one) for one in config.providers().values()]


def settings(config: Config) -> tuple[str, ...]:
    """What of the providers shapes answers, and is a part of every key."""
    providers = config.providers()
    addresses = tuple(one.url.rstrip("/") for one in providers.values())
    if not config.controlled:
        return addresses
    routed = {
        name: [one.url.rstrip("/"), one.wire, one.models, sorted(one.aliases.items())]
        for name, one in providers.items()
    }
    stored = sorted(config.fallback.items()) if config.cache.other_models else []
    return (*addresses, msgspec.json.encode([sorted(routed.items()), stored]).decode())


def stages(config: Config, *, on_call: Callable[[Call], None] | None = None) -> list[Stage]:
    """The stages from the fallback down to the upstreams."""
    several = len(config.providers()) > 1
    endpoints = [
        _endpoint(name, config, one, several=several, on_call=on_call) for name, one in config.providers().items()
    ]
    found: list[Stage] = []
    if config.fallback:
        found.append(
            FallbackStage({model: [_target(one) for one in chain] for model, chain in config.fallback.items()})
        )
    retry = config.retry or (RetryConfig() if config.upstreams else None)
    if retry is not None:
        found.append(
            RetryStage(
                Retry(
                    attempts=retry.attempts,
                    base=retry.base,
                    longest=retry.longest,
                    patience=retry.patience,
                    budget=retry.budget,
                    reserve=retry.reserve,
                    classify=passes,
                )
            )
        )
    return [*found, RouteStage(sorted(endpoints, key=lambda one: one.priority))]


def _upstream(config: Config, one: UpstreamConfig) -> Upstream:
    return Upstream(one, wires=WIRES[one.wire], max_reply_bytes=config.cache.max_reply_bytes)


def _endpoint(
    name: str, config: Config, one: UpstreamConfig, *, several: bool, on_call: Callable[[Call], None] | None
) -> Endpoint:
    chain: list[Stage] = []
    limit = one.limit
    if limit is not None and limit.rate:
        rate = RateLimit(requests=limit.requests, tokens=limit.tokens, per=limit.per, burst=limit.burst)
        chain.append(RateLimitStage(rate, max_wait=limit.max_wait))
    breaker = one.breaker or (BreakerConfig() if several else None)
    if breaker is not None and breaker.enabled:
        chain.append(
            BreakerStage(
                Breaker(
                    failure_rate=breaker.failure_rate,
                    slow_rate=breaker.slow_rate,
                    slow_after=breaker.slow_after,
                    window=breaker.window,
                    minimum_calls=breaker.minimum_calls,
                    open_for=breaker.open_for,
                    probes=breaker.probes,
                )
            )
        )
    return Endpoint(
        name,
        [*chain, _upstream(config, one)],
        models=one.models,
        aliases=one.aliases,
        priority=one.priority,
        weight=one.weight,
        on_call=on_call,
    )


def _target(one: str | Substitute) -> Target:
    return Target(one) if isinstance(one, str) else Target(one.model, one.upstream or "")
