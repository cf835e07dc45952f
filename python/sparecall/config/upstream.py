"""The providers' sections of `sparecall.toml`: where they are, what they serve, and how much may be asked of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sparecall.config.checks import A_TIMEOUT, Rules, at_least, check_text, check_url, is_share, plain
from sparecall.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstream.NAME.limit]`: how much of an upstream may be asked at once, and in a time."""

    requests: float | None = None
    """Calls each `per` seconds; None for no limit but the provider's own."""
    tokens: float | None = None
    """Tokens of prompts and answers each `per` seconds."""
    per: float | None = None
    """None: a minute; of a limit that is learned, learned with it."""
    burst: float = 0.1
    """The share of the limits that may go at once after a pause."""
    concurrency: int | Literal["adaptive"] | None = None
    """Calls at once: so many, or as many as it takes without making them wait, as learned from them."""
    most: int = 1000
    """Calls at once that the adaptive one may come to."""
    learn: bool = False
    """Whether limits that are not given are learned from the provider's headers, beginning with a few calls."""
    max_wait: float = 10.0
    """Seconds that a call may wait for its turn here; one that would wait longer goes elsewhere, or is refused."""
    share: float = 1.0
    """Of all these, and of what is learned, that is for this gateway, where others have the rest."""

    @property
    def rate(self) -> bool:
        """Whether there is a limit on calls or tokens in a time."""
        return self.requests is not None or self.tokens is not None or self.learn


class Timeout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstream.NAME.timeout]`: how long a call may take, by its tokens and what such calls took lately."""

    least: float = 1.0
    most: float = 120.0
    factor: float = 2.0
    """Times what all but one in a hundred take."""


class Breaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstream.NAME.breaker]`: when an upstream is left alone."""

    enabled: bool = True
    failure_rate: float = 0.5
    slow_rate: float | None = None
    slow_after: float | None = None
    """Seconds after which a call that has not begun to answer is slow."""
    window: float = 10.0
    minimum_calls: int = 10
    open_for: float = 30.0
    probes: int = 3


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstream]`: the provider behind the gateway; `[upstream.NAME]`: one of several."""

    url: str = OPENAI_URL
    wire: Literal["openai", "anthropic"] = "openai"
    """The API it speaks."""
    api_key: str | None = None
    """The gateway's own key; it replaces the client's. Prefer `api_key_env`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the gateway's own key."""
    client_key: bool | None = None
    """Whether the client's key goes to it where the gateway has none of its own. None: yes, where it is clear whose key that is."""
    models: tuple[str, ...] = ()
    """Names of the models it serves, with `*` and `?`; none: all."""
    aliases: dict[str, str] = {}
    """Its own names of models, by those they are asked for by."""
    priority: int = 0
    """Upstreams of a lower number are asked first."""
    weight: float = 1.0
    """Its share of the calls among those of one priority."""
    connect_timeout: float = 10.0
    first_byte_timeout: float | None = None
    """Seconds that a stream may take to begin."""
    read_timeout: float = 300.0
    """Seconds of silence from the provider before a call is given up."""
    total_timeout: float | None = None
    """Seconds that a call may take in all, to the end of its answer."""
    connections: int = 1024
    warm: int = 0
    """Connections that are made at the start, before anybody asks."""
    limit: Limit | None = None
    timeout: Timeout | None = None
    """None: no other than those above."""
    breaker: Breaker | None = None
    """None: one with its defaults where there are several upstreams, else none."""

    def key(self) -> str | None:
        """The gateway's own key, if it has one."""
        if self.api_key is not None:
            return self.api_key
        return os.environ.get(self.api_key_env) if self.api_key_env is not None else None

    @property
    def controlled(self) -> bool:
        """Whether it has limits, a timeout that is learned, or a breaker."""
        return self.limit is not None or self.timeout is not None or (self.breaker is not None and self.breaker.enabled)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url!r})"


class Anthropic(Upstream, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[anthropic]`: the provider of ``/v1/messages``."""

    url: str = "https://api.anthropic.com/v1"
    wire: Literal["openai", "anthropic"] = "anthropic"


def named(content: Mapping[str, Any]) -> dict[str, Upstream] | None:
    """The upstreams of the tables `[upstream.NAME]`; None where `[upstream]` is that of one. Raises `msgspec.ValidationError`."""
    own = {field.name for field in msgspec.structs.fields(Upstream)}
    names = [name for name, value in content.items() if name not in own and isinstance(value, Mapping)]
    if not names:
        return None
    if len(names) < len(content):
        odd = next(name for name in content if name not in names)
        raise ConfigError(
            f"upstream.{odd} stands beside [upstream.{names[0]}]; give it to one of the named upstreams, or name none"
        )
    found: dict[str, Upstream] = {}
    for name in names:
        kind = Anthropic if content[name].get("wire") == "anthropic" else Upstream
        try:
            found[name] = msgspec.convert(content[name], kind, strict=True)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(_located(str(error), f"$.upstream.{name}")) from None
    return found


def _located(message: str, place: str) -> str:
    before, at, path = message.partition(" - at `$")
    return f"{before} - at `{place}{path}" if at else f"{before} - at `{place}`"


def rules_of_upstream(section: str, provider: Upstream) -> Rules:
    """The rules of one provider. Raises at once for what must not be repeated, such as a key."""
    check_url(f"{section}.url", provider.url)
    check_text(f"{section}.api_key", provider.api_key)
    variable = provider.api_key_env
    if variable is not None:
        if provider.key() is None:
            raise ConfigError(f"{section}.api_key_env names {variable}, which is not set in the environment")
        check_text(f"the environment variable {variable} ({section}.api_key_env)", provider.key())
    rules: Rules = [
        (all(map(plain, provider.models)), f"{section}.models", "an empty or odd name", "names, with * and ?"),
        (
            all(plain(name) for pair in provider.aliases.items() for name in pair),
            f"{section}.aliases",
            "an empty or odd name",
            "names of models",
        ),
        (-(2**31) <= provider.priority < 2**31, f"{section}.priority", provider.priority, "-2^31 to 2^31-1"),
        (at_least(provider.weight, 1e-6), f"{section}.weight", provider.weight, "above 0"),
        (provider.connections > 0, f"{section}.connections", provider.connections, "1 or more"),
        (
            0 <= provider.warm <= provider.connections,
            f"{section}.warm",
            provider.warm,
            f"0 to {section}.connections, {provider.connections}",
        ),
    ]
    for name in ("connect_timeout", "first_byte_timeout", "read_timeout", "total_timeout"):
        seconds = getattr(provider, name)
        rules.append((seconds is None or at_least(seconds, 1e-3), f"{section}.{name}", seconds, A_TIMEOUT))
    if provider.limit is not None:
        rules += _rules_of_limit(f"{section}.limit", provider.limit)
    if provider.timeout is not None:
        one = provider.timeout
        rules += [
            (at_least(one.least, 1e-3), f"{section}.timeout.least", one.least, A_TIMEOUT),
            (at_least(one.most, one.least), f"{section}.timeout.most", one.most, "its least or more seconds"),
            (at_least(one.factor, 1), f"{section}.timeout.factor", one.factor, "1 or more"),
        ]
    if provider.breaker is not None:
        rules += _rules_of_breaker(f"{section}.breaker", provider.breaker)
    return rules


def _rules_of_limit(key: str, limit: Limit) -> Rules:
    return [
        *[
            (value is None or at_least(value, 1e-9), f"{key}.{name}", value, "above 0")
            for name, value in (("requests", limit.requests), ("tokens", limit.tokens), ("per", limit.per))
        ],
        (
            not isinstance(limit.concurrency, int) or limit.concurrency >= 1,
            f"{key}.concurrency",
            limit.concurrency,
            '1 or more, or "adaptive"',
        ),
        (limit.most >= 1, f"{key}.most", limit.most, "1 or more"),
        (is_share(limit.burst), f"{key}.burst", limit.burst, "above 0, up to 1"),
        (is_share(limit.share), f"{key}.share", limit.share, "above 0, up to 1"),
        (at_least(limit.max_wait, 0), f"{key}.max_wait", limit.max_wait, "0 or more seconds"),
    ]


def _rules_of_breaker(key: str, breaker: Breaker) -> Rules:
    both = (breaker.slow_rate is None) == (breaker.slow_after is None)
    return [
        (is_share(breaker.failure_rate), f"{key}.failure_rate", breaker.failure_rate, "above 0, up to 1"),
        (both, f"{key}.slow_rate", breaker.slow_rate, "given with slow_after, or neither"),
        (breaker.slow_rate is None or is_share(breaker.slow_rate), f"{key}.slow_rate", breaker.slow_rate, "above 0, up to 1"),
        *[
            (value is None or at_least(value, 1e-3), f"{key}.{name}", value, A_TIMEOUT)
            for name, value in (("slow_after", breaker.slow_after), ("window", breaker.window), ("open_for", breaker.open_for))
        ],
        (breaker.minimum_calls >= 1, f"{key}.minimum_calls", breaker.minimum_calls, "1 or more"),
        (breaker.probes >= 1, f"{key}.probes", breaker.probes, "1 or more"),
    ]  # fmt: skip
