"""The configuration: `sparecall.toml` read into frozen structs. An unknown key is an error that names it."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from sparecall.errors import ConfigError
from sparecall.prices import Price

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1024 * 1024


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[server]`: where the gateway listens and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 8787
    client_keys: tuple[str, ...] = ()
    """Keys that clients must present. Empty: any client that reaches the port may use it."""
    max_body_bytes: int = 32 * MIB
    """Larger request bodies are refused with 413."""
    shutdown_grace: float = 10.0
    """Seconds that running requests get to end when the server stops."""

    def __repr__(self) -> str:
        return f"Server(host={self.host!r}, port={self.port}, client_keys=<{len(self.client_keys)}>)"


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstream]`: the provider behind the gateway."""

    url: str = "https://api.openai.com/v1"
    api_key: str | None = None
    """The gateway's own key; it replaces the client's. Prefer `api_key_env`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the gateway's own key."""
    connect_timeout: float = 10.0
    read_timeout: float = 300.0
    """Seconds of silence from the provider before a call is given up."""
    connections: int = 1024

    def key(self) -> str | None:
        """The gateway's own key, if it has one."""
        if self.api_key is not None:
            return self.api_key
        return os.environ.get(self.api_key_env) if self.api_key_env is not None else None

    def __repr__(self) -> str:
        return f"Upstream(url={self.url!r})"


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[cache]`: what may be answered from memory."""

    enabled: bool = True
    max_bytes: int = 256 * MIB
    ttl: float | None = 24 * 3600.0
    """Seconds an answer may be served; None for no limit but space."""
    max_temperature: float = 1.0
    """A request above this temperature asks for variety and bypasses the cache. Absent counts as 1."""
    max_n: int = 1
    """A request for more choices than this asks for variety and bypasses the cache."""
    max_reply_bytes: int = 8 * MIB
    """Larger answers are passed on but not stored, nor merged with later calls."""
    snapshot: str | None = None
    """A file to load the cache from at the start and to save it to at the end."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. Every field has a default, so `Config()` is the embedded one."""

    scope: str | None = None
    """The tenant boundary for every request. None: each client key is a tenant of its own."""
    version: int = 0
    """Part of every key: raise it to leave all stored answers behind."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    cache: Cache = Cache()
    prices: dict[str, Price] = {}
    """Prices of models the shipped list does not know, or other than list prices."""

    def with_changes(self, section: str, **changes: Any) -> Config:
        """A copy with fields of one section replaced; a field given as None keeps its value."""
        given = {name: value for name, value in changes.items() if value is not None}
        part = msgspec.structs.replace(getattr(self, section), **given)
        return checked(msgspec.structs.replace(self, **{section: part}))


def load(source: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None) -> Config:
    """Reads a configuration from a TOML file's path, a mapping of the same shape, or nothing (all defaults).

    Raises `ConfigError` naming the file and the key that is unknown, of the wrong type or out of range.
    """
    if isinstance(source, Config):
        return checked(source)
    where = "configuration"
    content: Any = {}
    if isinstance(source, str | os.PathLike):
        where = str(source)
        try:
            content = tomllib.loads(Path(source).read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}; give another path with --config") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} is not TOML: {error}") from None
    elif source is not None:
        content = dict(source)
    try:
        return checked(msgspec.convert(content, Config, strict=True))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}; see docs/config.md for every key") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def checked(config: Config) -> Config:
    """The same configuration, or `ConfigError` for a value out of its range."""
    server, upstream, cache = config.server, config.upstream, config.cache
    parts = urlsplit(upstream.url)
    rules: list[tuple[bool, str, object, str]] = [
        (0 <= server.port <= 65535, "server.port", server.port, "0 to 65535"),
        (server.max_body_bytes > 0, "server.max_body_bytes", server.max_body_bytes, "1 or more"),
        (_at_least(server.shutdown_grace, 0), "server.shutdown_grace", server.shutdown_grace, "0 or more seconds"),
        (all(server.client_keys), "server.client_keys", "an empty key", "keys of one character or more"),
        (
            "@" not in parts.netloc,
            "upstream.url",
            "a URL with a password",
            "no user and password; use upstream.api_key_env",
        ),
        (parts.scheme in {"http", "https"} and bool(parts.netloc), "upstream.url", upstream.url, "http(s)://host/v1"),
        (not parts.query and not parts.fragment, "upstream.url", upstream.url, "no query and no fragment"),
        (_at_least(upstream.connect_timeout, 1e-3), "upstream.connect_timeout", upstream.connect_timeout, "above 0"),
        (_at_least(upstream.read_timeout, 1e-3), "upstream.read_timeout", upstream.read_timeout, "above 0"),
        (upstream.connections > 0, "upstream.connections", upstream.connections, "1 or more"),
        (cache.max_bytes >= 0, "cache.max_bytes", cache.max_bytes, "0 or more"),
        (cache.ttl is None or _at_least(cache.ttl, 0), "cache.ttl", cache.ttl, "0 or more seconds"),
        (_at_least(cache.max_temperature, 0), "cache.max_temperature", cache.max_temperature, "0 or more"),
        (cache.max_n >= 1, "cache.max_n", cache.max_n, "1 or more"),
        (cache.max_reply_bytes > 0, "cache.max_reply_bytes", cache.max_reply_bytes, "1 or more"),
        (0 <= config.version < 2**63, "version", config.version, "0 to 2^63-1"),
        (config.scope != "", "scope", "empty", "a path such as team/service, or leave it out"),
    ]
    for holds, key, value, limit in rules:
        if not holds:
            raise ConfigError(f"{key} is {value}; allowed: {limit}")
    if upstream.api_key_env is not None and upstream.key() is None:
        raise ConfigError(f"upstream.api_key_env names {upstream.api_key_env}, which is not set in the environment")
    return config


def _at_least(value: float, least: float) -> bool:
    return math.isfinite(value) and value >= least
