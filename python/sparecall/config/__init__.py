"""The configuration: `sparecall.toml` read into frozen structs. An unknown key is an error that names it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sparecall.config.context import Context
from sparecall.config.control import Hedge, Retry, Route, Substitute, System
from sparecall.config.rules import checked
from sparecall.config.sections import MIB, Cache, Embeddings, Semantic, SemanticCategory, Server, Store
from sparecall.config.upstream import Anthropic, Breaker, Limit, Timeout, Upstream, named
from sparecall.errors import ConfigError
from sparecall.prices import Price

__all__ = ["MIB", "Anthropic", "Breaker", "Cache", "Config", "Context", "Embeddings", "Hedge", "Limit", "Retry", "Route", "Semantic", "SemanticCategory", "Server", "Store",
           "Substitute", "System", "Timeout", "Upstream", "checked", "load"]  # fmt: skip


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. Every field has a default, so `Config()` is the embedded one."""

    scope: str | None = None
    """The tenant boundary for every request. None: each client key is a tenant of its own."""
    version: int = 0
    """Part of every key: raise it to leave all stored answers behind."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    upstreams: dict[str, Upstream] = {}
    """Several providers by name, in place of `upstream`: the tables `[upstream.NAME]`."""
    anthropic: Anthropic | None = None
    """None: calls of ``/v1/messages`` are refused."""
    cache: Cache = Cache()
    store: Store = Store()
    semantic: Semantic = Semantic()
    context: Context = Context()
    embeddings: Embeddings = Embeddings()
    retry: Retry | None = None
    """None: one with its defaults where there are several upstreams, else none."""
    fallback: dict[str, tuple[str | Substitute, ...]] = {}
    """What is asked instead of a model whose upstreams all failed, in this order."""
    hedge: Hedge | None = None
    """None: no call is made twice."""
    route: Route | None = None
    """None: the model that is asked for is asked."""
    system: System | None = None
    """None: what the machine is short of changes nothing."""
    prices: dict[str, Price] = {}
    """Prices of models the shipped list does not know, or other than list prices."""

    def providers(self) -> dict[str, Upstream]:
        """Every provider by name; the one of `[upstream]` is called ``upstream``, that of `[anthropic]` ``anthropic``."""
        found = dict(self.upstreams) or {"upstream": self.upstream}
        if self.anthropic is not None:
            found["anthropic"] = self.anthropic
        return found

    def sections(self) -> dict[str, Upstream]:
        """The same, by the name of the section."""
        named = self.upstreams
        return {f"upstream.{name}" if name in named else name: one for name, one in self.providers().items()}

    @property
    def controlled(self) -> bool:
        """Whether calls are routed, limited, retried or otherwise controlled, and not just made."""
        sections = (self.upstreams, self.retry, self.fallback, self.hedge, self.route, self.system)
        return any(sections) or any(one.controlled or one.models or one.aliases for one in self.providers().values())

    def with_changes(self, section: str, **changes: Any) -> Config:
        """A copy with fields of one section replaced; a field given as None keeps its value. An absent section begins with its defaults."""
        given = {name: value for name, value in changes.items() if value is not None}
        if not given:
            return self
        if section == "upstream" and self.upstreams:
            raise ConfigError(
                f"the configuration names several upstreams ({', '.join(self.upstreams)}); give their addresses there, without --upstream"
            )
        part = msgspec.structs.replace(getattr(self, section) or Anthropic(), **given)
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
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} is not TOML: {error}") from None
        except (OSError, ValueError) as error:  # the latter for a path that none could be
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{where} cannot be read: {reason}; give another path with --config") from None
    elif source is not None:
        content = dict(source)
    if "upstreams" in content:
        raise ConfigError(f"{where}: upstreams is no section; write [upstream.NAME] for each of several")
    try:
        upstream = content.get("upstream")
        several = named(upstream) if isinstance(upstream, Mapping) else None
        if several is not None:
            del content["upstream"]
        config = msgspec.convert(content, Config, strict=True)
        return checked(config if several is None else msgspec.structs.replace(config, upstreams=several))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}; see docs/config.md for every key") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
