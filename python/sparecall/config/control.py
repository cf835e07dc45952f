"""The sections of `sparecall.toml` that are of all providers together: what happens when one does not answer, or should not be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sparecall.config.checks import Rules, at_least, is_share, plain
from sparecall.flow import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall.config.upstream import Upstream


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retry]`: calls made again after every upstream of a model failed."""

    attempts: int = 3
    base: float = 0.5
    longest: float = 20.0
    patience: float = 20.0
    """A provider that asks to wait for longer than so many seconds is not waited for."""
    budget: float = 0.1
    """Retries for each call."""
    reserve: int = 10


class Hedge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[hedge]`: a second call where the first is late to begin."""

    quantile: float = 0.95
    """Late: later than this share of the calls for that model."""
    budget: float = 0.05
    """Second calls for each call."""
    reserve: int = 10
    least: float = 0.01
    """Seconds before which there is no second call."""
    minimum_calls: int = 50


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[route]`: which model is asked, for requests that a rule is meant for."""

    rules: tuple[Rule, ...] = ()
    """The first that fits counts."""
    budget: float | None = None
    """Dollars that the models of the rules may cost each `per` seconds."""
    per: float = 3600.0
    patience: float = 60.0
    """Seconds of waiting that weigh as much as an answer."""
    explore: float = 0.02
    """The share of choices among the models of a rule that is left to chance."""


class System(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[system]`: what happens while this machine is short of something."""

    cpu_high: float = 0.85
    """Share of the processors in use above which limits are cut."""
    cpu_cut: float = 0.4
    memory_soft: float = 0.8
    """Share of the memory above which the exact cache gives way."""
    memory_hard: float = 0.9
    """Share of the memory above which no calls are made."""
    lag_high: float = 0.1
    """Seconds by which the event loop is late."""
    latency_high: float = 1.5
    """Seconds that one call in twenty waits for its turn."""


class Substitute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked instead: a model, or an upstream, or a model of an upstream."""

    model: str | None = None
    """None: the one that was asked for."""
    upstream: str | None = None
    """None: any that serves the model."""


def rules_of_retry(retry: Retry) -> Rules:
    """The rules of `[retry]`."""
    return [
        (1 <= retry.attempts <= 100, "retry.attempts", retry.attempts, "1 to 100"),
        *[
            (at_least(value, 0), f"retry.{name}", value, "0 or more seconds")
            for name, value in (("base", retry.base), ("longest", retry.longest), ("patience", retry.patience))
        ],
        (at_least(retry.budget, 1e-9), "retry.budget", retry.budget, "above 0"),
        (retry.reserve >= 0, "retry.reserve", retry.reserve, "0 or more"),
    ]


def rules_of_hedge(hedge: Hedge) -> Rules:
    """The rules of `[hedge]`."""
    return [
        *[
            (is_share(value), f"hedge.{name}", value, "above 0, up to 1")
            for name, value in (("quantile", hedge.quantile), ("budget", hedge.budget))
        ],
        (hedge.reserve >= 1, "hedge.reserve", hedge.reserve, "1 or more"),
        (at_least(hedge.least, 0), "hedge.least", hedge.least, "0 or more seconds"),
        (hedge.minimum_calls >= 1, "hedge.minimum_calls", hedge.minimum_calls, "1 or more"),
    ]


def rules_of_route(route: Route) -> Rules:
    """The rules of `[route]`."""
    return [
        (
            all(plain(name) for rule in route.rules for name in rule.models),
            "route.rules",
            "an empty or odd name",
            "names of models",
        ),
        (route.budget is None or at_least(route.budget, 1e-9), "route.budget", route.budget, "above 0 dollars"),
        (at_least(route.per, 1e-3), "route.per", route.per, "above 0 seconds"),
        (at_least(route.patience, 1e-3), "route.patience", route.patience, "above 0 seconds"),
        (0 <= route.explore <= 1, "route.explore", route.explore, "0 to 1"),
    ]


def rules_of_system(system: System) -> Rules:
    """The rules of `[system]`."""
    shares = ("cpu_high", "cpu_cut", "memory_soft", "memory_hard")
    return [
        *[
            (is_share(getattr(system, name)), f"system.{name}", getattr(system, name), "above 0, up to 1")
            for name in shares
        ],
        (
            system.memory_hard >= system.memory_soft,
            "system.memory_hard",
            system.memory_hard,
            f"memory_soft, which is {system.memory_soft}, or more",
        ),
        *[
            (at_least(value, 1e-6), f"system.{name}", value, "above 0 seconds")
            for name, value in (("lag_high", system.lag_high), ("latency_high", system.latency_high))
        ],
    ]


def check_names(upstreams: Mapping[str, Upstream], fallback: Mapping[str, tuple[str | Substitute, ...]]) -> Rules:
    """The rules of names: of the upstreams, and of what `[fallback]` names."""
    rules: Rules = [
        (plain(name) and name.isascii() and len(name) <= 64 and not set(name) & set(' ,:;="\\'), "upstream", repr(name)[:80],
         "names of up to 64 ASCII letters, digits and signs but ,:;=")
        for name in upstreams
    ]  # fmt: skip
    for model, substitutes in fallback.items():
        key = f'fallback."{model}"'
        rules.append((plain(model), "fallback", repr(model)[:80], "names of models"))
        rules.append((len(substitutes) > 0, key, "empty", "models or upstreams, in the order they are asked"))
        for one in substitutes:
            if isinstance(one, str):
                rules.append((plain(one) and one != model, key, repr(one)[:80], "the name of another model"))
                continue
            given = one.model is not None or one.upstream is not None
            rules.append((given, key, "{}", "a model, an upstream or both"))
            rules.append(
                (one.model is None or plain(one.model), f"{key}.model", repr(one.model)[:80], "a model's name")
            )
            known = one.upstream is None or one.upstream in upstreams
            rules.append((known, f"{key}.upstream", repr(one.upstream)[:80], f"one of {', '.join(upstreams)}"))
    return rules
