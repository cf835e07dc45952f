"""The configuration: `sparecall.toml` read into frozen structs. An unknown key is an error that names it."""

from __future__ import annotations

import math
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
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
    """Larger request bodies are refused with 413; those that only pass through are not read whole and have no limit."""
    request_timeout: float = 60.0
    """Seconds that a client may take to send a request's head, and again for its body; then 408."""
    shutdown_grace: float = 10.0
    """Seconds that running requests get to end when the server stops."""
    workers: int = 1
    """Processes of `sparecall serve` that share the port, each with a cache of its own."""

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


class Anthropic(Upstream, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[anthropic]`: the provider of ``/v1/messages``."""

    url: str = "https://api.anthropic.com/v1"

    def __repr__(self) -> str:
        return f"Anthropic(url={self.url!r})"


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[cache]`: what may be answered from memory."""

    enabled: bool = True
    max_bytes: int = 256 * MIB
    policy: Literal["adaptive", "cost", "lru"] = "cost"
    """Who leaves when room is needed: what saves least for its size, what is least likely to be asked for, the longest unused."""
    second_price: float = 0.001
    """Dollars that a second of waiting is worth to the policy `cost`."""
    ttl: float | None = 24 * 3600.0
    """Seconds an answer may be served; `inf` (or None in Python) for no limit but space."""
    jitter: float = 0.0
    """The share of each `ttl`, from 0 to 1, by which chance may shorten it, so that answers do not all leave at once."""
    compress_above: int | None = None
    """Answers of more bytes than this are held compressed; None for none."""
    max_temperature: float = 1.0
    """A request above this temperature asks for variety and bypasses the cache. Absent counts as 1."""
    max_n: int = 1
    """A request for more choices than this asks for variety and bypasses the cache."""
    max_reply_bytes: int = 8 * MIB
    """Larger answers are passed on but not stored, nor merged with later calls."""
    snapshot: str | None = None
    """A file to load the cache from at the start, and to save it to from time to time and at the end."""
    snapshot_every: float = 300.0
    """Seconds between two saves; 0 for only the one at the end."""


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[store]`: a tier behind the cache that processes share, and that outlives them."""

    url: str | None = None
    """``redis://``, ``rediss://`` or ``unix://`` with what they need, or ``sqlite:PATH``. None: no such tier."""
    url_env: str | None = None
    """Name of the environment variable that holds the URL, where it has a password."""
    prefix: str = "sparecall:"
    """Before all keys in Redis: gateways that differ in it share nothing."""
    max_bytes: int = 1024 * MIB
    """Of a SQLite file."""

    def address(self) -> str | None:
        """The URL, wherever it stands."""
        if self.url is not None:
            return self.url
        return os.environ.get(self.url_env) if self.url_env is not None else None

    def __repr__(self) -> str:
        address = self.address()
        return f"Store({None if address is None else address.partition(':')[0]!r})"


class SemanticCategory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[semantic.categories.NAME]`: questions that have a limit, a life or a switch of their own."""

    pattern: str | None = None
    """A regular expression to be found in the question; None for any."""
    model: str | None = None
    """The model asked for, with `*` and `?`; None for any."""
    enabled: bool = True
    max_error: float | None = None
    """None: that of `[semantic]`, as below."""
    ttl: float | None = None


class Semantic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[semantic]`: what may be answered from memory though it is worded differently."""

    enabled: bool = False
    max_error: float = 0.02
    """The share of wrong answers among those served that is never knowingly exceeded."""
    audit_share: float = 0.05
    """The share of good hits that go upstream all the same, so that their answers are compared."""
    embedder: Literal["static", "minilm", "cascade"] = "static"
    """Who makes vectors of questions: the model in the package, the one in `folder`, or the first and in doubt the second."""
    folder: str | None = None
    """Of all-MiniLM-L6-v2 or another BERT-family sentence encoder."""
    min_similarity: float | None = None
    """Stored questions with a lower cosine are not looked at. None: what suits the embedder."""
    max_bytes: int = 256 * MIB
    ttl: float | None = 24 * 3600.0
    """Seconds an answer may be served; `inf` (or None in Python) for no limit but space."""
    max_characters: int = 8192
    """Longer questions are not answered."""
    seed: int | None = None
    """Of the draw of audits; None for chance."""
    promote_after: int = 1
    """So many clients must have got the same answer before others get it."""
    write_quota: int | None = None
    """Answers that one client may have stored in an hour; None for no limit."""
    other_models: bool = False
    """Whether answers are stored of a model that calls itself otherwise than it was asked for, as Azure's deployments do."""
    categories: dict[str, SemanticCategory] = {}


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[embeddings]`: how inputs of ``/v1/embeddings`` that are not in memory go to the provider."""

    batch: bool = True
    """Whether requests of one client that come while its calls run go out together."""
    max_concurrent: int = 16
    """Calls of one client at once; what comes while as many run waits for one of them to end."""
    max_inputs: int = 2048
    """The most inputs of one call."""
    max_tokens: int = 300_000
    """The most tokens of one call."""
    max_wait: float = 1.0
    """Seconds after which a request that still waits goes by itself."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. Every field has a default, so `Config()` is the embedded one."""

    scope: str | None = None
    """The tenant boundary for every request. None: each client key is a tenant of its own."""
    version: int = 0
    """Part of every key: raise it to leave all stored answers behind."""
    server: Server = Server()
    upstream: Upstream = Upstream()
    anthropic: Anthropic | None = None
    """None: calls of ``/v1/messages`` are refused."""
    cache: Cache = Cache()
    store: Store = Store()
    semantic: Semantic = Semantic()
    embeddings: Embeddings = Embeddings()
    prices: dict[str, Price] = {}
    """Prices of models the shipped list does not know, or other than list prices."""

    def with_changes(self, section: str, **changes: Any) -> Config:
        """A copy with fields of one section replaced; a field given as None keeps its value. An absent section begins with its defaults."""
        given = {name: value for name, value in changes.items() if value is not None}
        if not given:
            return self
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
    try:
        return checked(msgspec.convert(content, Config, strict=True))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}; see docs/config.md for every key") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def checked(config: Config) -> Config:
    """The same configuration, or `ConfigError` for a value out of its range."""
    server, cache, snapshot = config.server, config.cache, config.cache.snapshot
    for key in server.client_keys:
        _check_text("server.client_keys", key)
    rules: list[tuple[bool, str, object, str]] = [
        (_plain(server.host), "server.host", repr(server.host), "an address or a host name"),
        (all(server.client_keys), "server.client_keys", "an empty key", "keys of one character or more"),
        (0 <= server.port <= 65535, "server.port", server.port, "0 to 65535"),
        (server.max_body_bytes > 0, "server.max_body_bytes", server.max_body_bytes, "1 or more"),
        (_at_least(server.request_timeout, 1e-3), "server.request_timeout", server.request_timeout, _A_TIMEOUT),
        (1 <= server.workers <= 1024, "server.workers", server.workers, "1 to 1024"),
        (_at_least(server.shutdown_grace, 0), "server.shutdown_grace", server.shutdown_grace, "0 or more seconds"),
        (0 <= cache.max_bytes < 2**63, "cache.max_bytes", cache.max_bytes, "0 to 2^63-1"),
        (_is_life(cache.ttl), "cache.ttl", cache.ttl, _A_LIFE),
        (_at_least(cache.second_price, 0), "cache.second_price", cache.second_price, "0 or more dollars"),
        (0 <= cache.jitter <= 1, "cache.jitter", cache.jitter, "0 to 1"),
        (_is_amount(cache.compress_above), "cache.compress_above", cache.compress_above, "0 or more"),
        (_at_least(cache.max_temperature, 0), "cache.max_temperature", cache.max_temperature, "0 or more"),
        (1 <= cache.max_n < 2**63, "cache.max_n", cache.max_n, "1 or more"),
        (cache.max_reply_bytes > 0, "cache.max_reply_bytes", cache.max_reply_bytes, "1 or more"),
        (snapshot is None or _plain(snapshot), "cache.snapshot", repr(snapshot), "the path of a file"),
        (_at_least(cache.snapshot_every, 0), "cache.snapshot_every", cache.snapshot_every, "0 or more seconds"),
        (0 <= config.version < 2**63, "version", config.version, "0 to 2^63-1"),
        (config.scope != "", "scope", "empty", "a path such as team/service, or leave it out"),
    ]
    for model, price in config.prices.items():
        for name in price.__struct_fields__:
            rate = getattr(price, name)
            rules.append((rate is None or _at_least(rate, 0), f'prices."{model}".{name}', rate, "0 or more dollars"))
    rules += _rules_of_semantic(config) + _rules_of_store(config) + _rules_of_embeddings(config.embeddings)
    for section, provider in (("upstream", config.upstream), ("anthropic", config.anthropic)):
        if provider is not None:
            rules += _rules_of(section, provider)
    for holds, key, value, limit in rules:
        if not holds:
            raise ConfigError(f"{key} is {value}; allowed: {limit}")
    return config


def _rules_of(section: str, provider: Upstream) -> list[tuple[bool, str, object, str]]:
    """The rules of one provider. Raises at once for what must not be repeated, such as a key."""
    _check_url(f"{section}.url", provider.url)
    _check_text(f"{section}.api_key", provider.api_key)
    variable = provider.api_key_env
    if variable is not None:
        if provider.key() is None:
            raise ConfigError(f"{section}.api_key_env names {variable}, which is not set in the environment")
        _check_text(f"the environment variable {variable} ({section}.api_key_env)", provider.key())
    return [
        (_at_least(provider.connect_timeout, 1e-3), f"{section}.connect_timeout", provider.connect_timeout, _A_TIMEOUT),
        (_at_least(provider.read_timeout, 1e-3), f"{section}.read_timeout", provider.read_timeout, _A_TIMEOUT),
        (provider.connections > 0, f"{section}.connections", provider.connections, "1 or more"),
    ]


def _rules_of_store(config: Config) -> list[tuple[bool, str, object, str]]:
    """Raises at once for a URL, which may hold a password."""
    store = config.store
    if store.url_env is not None and store.address() is None:
        raise ConfigError(f"store.url_env names {store.url_env}, which is not set in the environment")
    address = store.address()
    if address is not None and not (_plain(address) and re.match(r"(redis|rediss|unix)://.|sqlite:.", address)):
        raise ConfigError("store.url is none; allowed: redis://, rediss:// or unix://, or sqlite:PATH")
    return [
        (address is None or config.cache.enabled, "store.url", "given", "only with cache.enabled"),
        (_plain(store.prefix), "store.prefix", repr(store.prefix), "printable characters"),
        (MIB <= store.max_bytes < 2**63, "store.max_bytes", store.max_bytes, f"{MIB} to 2^63-1"),
    ]


def _rules_of_embeddings(embeddings: Embeddings) -> list[tuple[bool, str, object, str]]:
    amounts = {name: getattr(embeddings, name) for name in ("max_concurrent", "max_inputs", "max_tokens")}
    return [
        (_at_least(embeddings.max_wait, 0), "embeddings.max_wait", embeddings.max_wait, "0 or more seconds"),
        *((1 <= value < 2**63, f"embeddings.{name}", value, "1 or more") for name, value in amounts.items()),
    ]


def _rules_of_semantic(config: Config) -> list[tuple[bool, str, object, str]]:
    semantic = config.semantic
    limit, least = "more than 0, up to 1", semantic.min_similarity
    rules: list[tuple[bool, str, object, str]] = [
        (config.cache.enabled or not semantic.enabled, "semantic.enabled", "true", "only with cache.enabled"),
        (0 < semantic.max_error <= 1, "semantic.max_error", semantic.max_error, limit),
        (0 <= semantic.audit_share <= 1, "semantic.audit_share", semantic.audit_share, "0 to 1"),
        (least is None or -1 <= least <= 1, "semantic.min_similarity", least, "-1 to 1"),
        (0 <= semantic.max_bytes < 2**63, "semantic.max_bytes", semantic.max_bytes, "0 to 2^63-1"),
        (_is_life(semantic.ttl), "semantic.ttl", semantic.ttl, _A_LIFE),
        (1 <= semantic.max_characters <= MIB, "semantic.max_characters", semantic.max_characters, f"1 to {MIB}"),
        (semantic.seed is None or 0 <= semantic.seed < 2**63, "semantic.seed", semantic.seed, "0 to 2^63-1"),
        (1 <= semantic.promote_after <= 64, "semantic.promote_after", semantic.promote_after, "1 to 64"),
        (_is_amount(semantic.write_quota), "semantic.write_quota", semantic.write_quota, "0 or more"),
        (
            (semantic.embedder != "static") == (semantic.folder is not None)
            and (semantic.folder is None or _plain(semantic.folder)),
            "semantic.folder",
            "none" if semantic.folder is None else repr(semantic.folder),
            'the path of a model, with semantic.embedder = "minilm" or "cascade" and only there',
        ),
    ]
    for name, category in semantic.categories.items():
        key = f"semantic.categories.{name}"
        error = category.max_error
        rules += [
            (_plain(name), "semantic.categories", repr(name), "names of printable characters"),
            (error is None or 0 < error <= 1, f"{key}.max_error", error, limit),
            (_is_life(category.ttl), f"{key}.ttl", category.ttl, _A_LIFE),
        ]
        try:
            re.compile(category.pattern or "")
        except re.error as wrong:
            raise ConfigError(f"{key}.pattern is no regular expression: {wrong}") from None
    return rules


_A_LIFE = "0 or more seconds, inf for no end"


def _is_life(ttl: float | None) -> bool:
    return ttl is None or ttl >= 0


def _is_amount(value: int | None) -> bool:
    return value is None or 0 <= value < 2**63


_A_TIMEOUT = "0.001 or more seconds"


def _at_least(value: float, least: float) -> bool:
    return math.isfinite(value) and value >= least


def _plain(text: str) -> bool:
    return text != "" and text.isprintable()


def _check_text(key: str, value: str | None) -> None:
    """Raises for a key that no header could carry. The message never repeats it."""
    if value is not None and not (_plain(value) and value.isascii() and value == value.strip()):
        raise ConfigError(f"{key} is empty, begins or ends with a space, or holds a line end or what is not ASCII")


def _check_url(key: str, url: str) -> None:
    """Raises for an address that is no provider's. A password in it is never repeated."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        raise ConfigError(f"{key} is no address; allowed: http(s)://host/v1") from None
    if "@" in parts.netloc:
        raise ConfigError(f"{key} holds a user name or password; leave it out and use api_key_env")
    if not _plain(url) or " " in url:
        raise ConfigError(f"{key} holds white space, a line end or another character that no address may hold")
    if not fits:
        raise ConfigError(f"{key} is {url}; allowed: http(s)://host/v1")
    if "?" in url or "#" in url:
        # Not repeated: a query may hold a key.
        raise ConfigError(f"{key} holds a query or a fragment; allowed: http(s)://host/v1")
