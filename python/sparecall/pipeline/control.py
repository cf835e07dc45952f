"""The stages that control calls, made of a configuration: which upstream, within which limits, and what where it does not answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from sparecall.config import Breaker as BreakerConfig
from sparecall.config import Retry as RetryConfig
from sparecall.config import Substitute
from sparecall.errors import ConfigError, InvalidArgument
from sparecall.flow import AdaptiveLimit, Breaker, Hedge, RateLimit, Retry, Router, SystemSignals, Timeout
from sparecall.pipeline.adaptive_limit import AdaptiveLimitStage
from sparecall.pipeline.breaker import BreakerStage
from sparecall.pipeline.endpoint import Endpoint
from sparecall.pipeline.fallback import FallbackStage, Target
from sparecall.pipeline.hedge import HedgeStage
from sparecall.pipeline.outcome import passes
from sparecall.pipeline.rate_limit import RateLimitStage
from sparecall.pipeline.retry import RetryStage
from sparecall.pipeline.route import RouteStage
from sparecall.pipeline.router import RouterStage
from sparecall.pipeline.system import SystemStage
from sparecall.pipeline.timeout import TimeoutStage
from sparecall.pipeline.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.cache import BytesCache
    from sparecall.config import Config
    from sparecall.config import Limit as LimitConfig
    from sparecall.config import Route as RouteConfig
    from sparecall.config import System as SystemConfig
    from sparecall.config import Upstream as UpstreamConfig
    from sparecall.flow import Shortage
    from sparecall.pipeline.endpoint import Call
    from sparecall.pipeline.request import WireName
    from sparecall.pipeline.stage import Stage
    from sparecall.prices import Prices

log = logging.getLogger("sparecall.pipeline")
_FIRST_PLACES = 20  # calls at once that an adaptive limit begins with
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
    stored: list[object] = []
    if config.cache.other_models:
        stored = [sorted(config.fallback.items()), None if config.route is None else config.route.rules]
    return (*addresses, msgspec.json.encode([sorted(routed.items()), stored]).decode())


def stages(
    config: Config,
    *,
    prices: Prices,
    memory: BytesCache | None = None,
    on_call: Callable[[Call], None] | None = None,
) -> list[Stage]:
    """The stages from the machine's own down to the upstreams. `memory` gives way while the machine is short of it."""
    signals = None if config.system is None else _signals(config.system, memory)
    if signals is not None:
        on_call = _watched(signals, on_call)
    several = len(config.providers()) > 1
    endpoints = [
        _endpoint(name, config, one, several=several, signals=signals, on_call=on_call)
        for name, one in config.providers().items()
    ]
    found: list[Stage] = []
    if signals is not None:
        found.append(SystemStage(signals))
    if config.route is not None and config.route.rules:
        found.append(_router(config.route, prices))
    if config.fallback:
        targets = {model: [_target(one) for one in chain] for model, chain in config.fallback.items()}
        found.append(FallbackStage(targets))
    retry = config.retry or (RetryConfig() if config.upstreams else None)
    if retry is not None:
        found.append(RetryStage(Retry(**msgspec.structs.asdict(retry), classify=passes)))
    if config.hedge is not None:
        hedge = Hedge(**msgspec.structs.asdict(config.hedge), allowed=lambda: all(one.calm() for one in endpoints))
        found.append(HedgeStage(hedge))
    return [*found, RouteStage(sorted(endpoints, key=lambda one: one.priority))]


def _watched(signals: SystemSignals, on_call: Callable[[Call], None] | None) -> Callable[[Call], None]:
    """Tells the signals how long calls wait for their turn: that is what this machine could do about."""

    def told(call: Call) -> None:
        signals.observe(call.waited)
        if on_call is not None:
            on_call(call)

    return told


def _signals(system: SystemConfig, memory: BytesCache | None) -> SystemSignals:
    def changed(what: Shortage, begins: bool) -> None:
        log.warning("%s %s", "short of" if begins else "no longer short of", what)

    caches = () if memory is None else (memory,)
    return SystemSignals(**msgspec.structs.asdict(system), caches=caches, on_change=changed)


def _router(route: RouteConfig, prices: Prices) -> RouterStage:
    models = list(dict.fromkeys(model for rule in route.rules for model in rule.models))
    try:
        router = Router(
            {model: [model] for model in models},
            rules=route.rules,
            budget=route.budget,
            per=route.per,
            prices=prices,
            patience=route.patience,
            explore=route.explore,
            classify=passes,
            on_event=lambda choice: log.debug("%s", choice),
        )
    except InvalidArgument as error:
        raise ConfigError(f"route: {error}") from None
    return RouterStage(router, route.rules)


def _upstream(config: Config, one: UpstreamConfig) -> Upstream:
    return Upstream(one, wires=WIRES[one.wire], max_reply_bytes=config.cache.max_reply_bytes)


def _endpoint(
    name: str,
    config: Config,
    one: UpstreamConfig,
    *,
    several: bool,
    signals: SystemSignals | None,
    on_call: Callable[[Call], None] | None,
) -> Endpoint:
    chain: list[Stage] = [] if one.limit is None else _limits(one.limit, signals)
    breaker = one.breaker or (BreakerConfig() if several else None)
    if breaker is not None and breaker.enabled:
        options = msgspec.structs.asdict(breaker)
        del options["enabled"]
        chain.append(BreakerStage(Breaker(**options)))
    if one.timeout is not None:
        chain.append(TimeoutStage(Timeout(**msgspec.structs.asdict(one.timeout))))
    return Endpoint(
        name,
        [*chain, _upstream(config, one)],
        models=one.models,
        aliases=one.aliases,
        priority=one.priority,
        weight=one.weight,
        on_call=on_call,
    )


def _limits(limit: LimitConfig, signals: SystemSignals | None) -> list[Stage]:
    found: list[Stage] = []
    if limit.rate:
        rate = RateLimit(
            requests=limit.requests, tokens=limit.tokens, per=limit.per, burst=limit.burst, share=limit.share
        )
        found.append(RateLimitStage(rate, max_wait=limit.max_wait))
    places, most = limit.concurrency, max(1, int(limit.most * limit.share))
    if places == "adaptive":
        adaptive = AdaptiveLimit(initial=min(_FIRST_PLACES, most), most=most, signals=signals)
        found.append(AdaptiveLimitStage(adaptive, max_wait=limit.max_wait))
    elif places is not None:
        places = max(1, int(places * limit.share))
        fixed = AdaptiveLimit(initial=places, least=places, most=places, signals=signals)
        found.append(AdaptiveLimitStage(fixed, max_wait=limit.max_wait))
    return found


def _target(one: str | Substitute) -> Target:
    return Target(one) if isinstance(one, str) else Target(one.model, one.upstream or "")
