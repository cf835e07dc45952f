"""Which values a configuration may hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sparecall.config.checks import A_LIFE, A_TIMEOUT, Rules, at_least, check_text, is_amount, is_life, plain
from sparecall.config.context import rules_of_context
from sparecall.config.control import (
    check_names,
    rules_of_hedge,
    rules_of_retry,
    rules_of_route,
    rules_of_system,
)
from sparecall.config.sections import MIB
from sparecall.config.upstream import rules_of_upstream
from sparecall.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall.config import Config
    from sparecall.config.sections import Embeddings
    from sparecall.config.upstream import Upstream


def checked(config: Config) -> Config:
    """The same configuration, or `ConfigError` for a value out of its range."""
    server, cache, snapshot = config.server, config.cache, config.cache.snapshot
    for key in server.client_keys:
        check_text("server.client_keys", key)
    rules: Rules = [
        (plain(server.host), "server.host", repr(server.host), "an address or a host name"),
        (all(server.client_keys), "server.client_keys", "an empty key", "keys of one character or more"),
        (0 <= server.port <= 65535, "server.port", server.port, "0 to 65535"),
        (server.max_body_bytes > 0, "server.max_body_bytes", server.max_body_bytes, "1 or more"),
        (at_least(server.request_timeout, 1e-3), "server.request_timeout", server.request_timeout, A_TIMEOUT),
        (1 <= server.workers <= 1024, "server.workers", server.workers, "1 to 1024"),
        (at_least(server.shutdown_grace, 0), "server.shutdown_grace", server.shutdown_grace, "0 or more seconds"),
        (0 <= cache.max_bytes < 2**63, "cache.max_bytes", cache.max_bytes, "0 to 2^63-1"),
        (is_life(cache.ttl), "cache.ttl", cache.ttl, A_LIFE),
        (at_least(cache.second_price, 0), "cache.second_price", cache.second_price, "0 or more dollars"),
        (0 <= cache.jitter <= 1, "cache.jitter", cache.jitter, "0 to 1"),
        (is_amount(cache.compress_above), "cache.compress_above", cache.compress_above, "0 or more"),
        (at_least(cache.max_temperature, 0), "cache.max_temperature", cache.max_temperature, "0 or more"),
        (1 <= cache.max_n < 2**63, "cache.max_n", cache.max_n, "1 or more"),
        (cache.max_reply_bytes > 0, "cache.max_reply_bytes", cache.max_reply_bytes, "1 or more"),
        (snapshot is None or plain(snapshot), "cache.snapshot", repr(snapshot), "the path of a file"),
        (at_least(cache.snapshot_every, 0), "cache.snapshot_every", cache.snapshot_every, "0 or more seconds"),
        (0 <= config.version < 2**63, "version", config.version, "0 to 2^63-1"),
        (config.scope != "", "scope", "empty", "a path such as team/service, or leave it out"),
    ]
    for model, price in config.prices.items():
        for name in price.__struct_fields__:
            rate = getattr(price, name)
            allowed = "1 or more tokens" if name == "window" else "0 or more dollars"
            rules.append((rate is None or at_least(rate, name == "window"), f'prices."{model}".{name}', rate, allowed))
    rules += _rules_of_semantic(config) + _rules_of_store(config) + _rules_of_embeddings(config.embeddings)
    rules += rules_of_context(config.context)
    for section, provider in config.sections().items():
        rules += rules_of_upstream(section, provider)
    if config.upstreams:
        rules += check_names(config.upstreams, config.fallback)
        rules.append(
            (
                config.anthropic is None or "anthropic" not in config.upstreams,
                "upstream.anthropic",
                "given",
                "only without [anthropic]",
            )
        )
        _check_client_keys(config.upstreams)
    else:
        rules += check_names(config.providers(), config.fallback)
    if config.retry is not None:
        rules += rules_of_retry(config.retry)
    if config.hedge is not None:
        rules += rules_of_hedge(config.hedge)
    if config.route is not None:
        rules += rules_of_route(config.route)
    if config.system is not None:
        rules += rules_of_system(config.system)
    for holds, key, value, limit in rules:
        if not holds:
            raise ConfigError(f"{key} is {value}; allowed: {limit}")
    return config


def _check_client_keys(upstreams: Mapping[str, Upstream]) -> None:
    """Raises where the client's key would go to more than one host without anybody having said so."""
    hosts = {
        urlsplit(one.url).hostname: name
        for name, one in upstreams.items()
        if one.client_key is None and one.api_key is None and one.api_key_env is None
    }
    if len(hosts) > 1:
        first, second = list(hosts.values())[:2]
        raise ConfigError(
            f"upstream.{first} and upstream.{second} are of two hosts and have no key of their own, so that a client's key would go "
            "to both; give them api_key_env, or say client_key = true (or false) for each"
        )


def _rules_of_store(config: Config) -> Rules:
    """Raises at once for a URL, which may hold a password."""
    store = config.store
    if store.url_env is not None and store.address() is None:
        raise ConfigError(f"store.url_env names {store.url_env}, which is not set in the environment")
    address = store.address()
    if address is not None and not (plain(address) and re.match(r"(redis|rediss|unix)://.|sqlite:.", address)):
        raise ConfigError("store.url is none; allowed: redis://, rediss:// or unix://, or sqlite:PATH")
    return [
        (address is None or config.cache.enabled, "store.url", "given", "only with cache.enabled"),
        (plain(store.prefix), "store.prefix", repr(store.prefix), "printable characters"),
        (MIB <= store.max_bytes < 2**63, "store.max_bytes", store.max_bytes, f"{MIB} to 2^63-1"),
    ]


def _rules_of_embeddings(embeddings: Embeddings) -> Rules:
    amounts = {name: getattr(embeddings, name) for name in ("max_concurrent", "max_inputs", "max_tokens")}
    return [
        (at_least(embeddings.max_wait, 0), "embeddings.max_wait", embeddings.max_wait, "0 or more seconds"),
        *((1 <= value < 2**63, f"embeddings.{name}", value, "1 or more") for name, value in amounts.items()),
    ]


def _rules_of_semantic(config: Config) -> Rules:
    semantic = config.semantic
    limit, least = "more than 0, up to 1", semantic.min_similarity
    rules: Rules = [
        (config.cache.enabled or not semantic.enabled, "semantic.enabled", "true", "only with cache.enabled"),
        (0 < semantic.max_error <= 1, "semantic.max_error", semantic.max_error, limit),
        (0 <= semantic.audit_share <= 1, "semantic.audit_share", semantic.audit_share, "0 to 1"),
        (least is None or -1 <= least <= 1, "semantic.min_similarity", least, "-1 to 1"),
        (0 <= semantic.max_bytes < 2**63, "semantic.max_bytes", semantic.max_bytes, "0 to 2^63-1"),
        (is_life(semantic.ttl), "semantic.ttl", semantic.ttl, A_LIFE),
        (1 <= semantic.max_characters <= MIB, "semantic.max_characters", semantic.max_characters, f"1 to {MIB}"),
        (semantic.seed is None or 0 <= semantic.seed < 2**63, "semantic.seed", semantic.seed, "0 to 2^63-1"),
        (1 <= semantic.promote_after <= 64, "semantic.promote_after", semantic.promote_after, "1 to 64"),
        (is_amount(semantic.write_quota), "semantic.write_quota", semantic.write_quota, "0 or more"),
        (
            (semantic.embedder != "static") == (semantic.folder is not None)
            and (semantic.folder is None or plain(semantic.folder)),
            "semantic.folder",
            "none" if semantic.folder is None else repr(semantic.folder),
            'the path of a model, with semantic.embedder = "minilm" or "cascade" and only there',
        ),
    ]
    for name, category in semantic.categories.items():
        key = f"semantic.categories.{name}"
        error = category.max_error
        rules += [
            (plain(name), "semantic.categories", repr(name), "names of printable characters"),
            (error is None or 0 < error <= 1, f"{key}.max_error", error, limit),
            (is_life(category.ttl), f"{key}.ttl", category.ttl, A_LIFE),
        ]
        try:
            re.compile(category.pattern or "")
        except re.error as wrong:
            raise ConfigError(f"{key}.pattern is no regular expression: {wrong}") from None
    return rules
