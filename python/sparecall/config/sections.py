"""The sections of `sparecall.toml` but for the providers, as frozen structs with their defaults."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

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
    other_models: bool = False
    """Whether an answer that `[fallback]` had another model give is stored as one to its request."""
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
