"""`Request`: one model call on its way down the stages. Immutable; a stage that knows more passes a copy on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sparecall.digest import Inspection
from sparecall.errors import InvalidArgument
from sparecall.flow import Passed

WireName = Literal["chat", "responses", "messages", "embeddings"]
Priority = Literal["critical", "high", "normal", "low"]
MAX_SCOPE = 256
_SCOPE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/@:=+")


class CacheControl(msgspec.Struct, frozen=True, kw_only=True):
    """What the client asks of the cache, in the words of RFC 9111."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age: float | None = None

    @classmethod
    def parse(cls, header: str) -> CacheControl:
        """Reads a `Cache-Control` header. Unknown directives are ignored; a broken `max-age` counts as 0, the safe side.

        Of several `max-age` the smallest counts.
        """
        found: dict[str, Any] = {}
        for directive in header.lower().split(","):
            name, _, value = directive.strip().partition("=")
            if name in {"no-store", "no-cache", "only-if-cached"}:
                found[name.replace("-", "_")] = True
            elif name == "max-age":
                digits = value.strip(' "')
                seconds = float(digits) if digits.isdecimal() and digits.isascii() else 0.0
                found["max_age"] = min(seconds, found.get("max_age", seconds))
        return cls(**found)


DEFAULT_CACHE_CONTROL = CacheControl()


class Size(msgspec.Struct, frozen=True):
    """How large a call is, about."""

    prompt: int
    """Tokens of the prompt."""
    at_most: int | None
    """Tokens that the answer may have; None where the request does not say."""


class Asking(msgspec.Struct):
    """One call on its way to an upstream: what the stages that control it tell each other. Mutable, like a trace."""

    asked: str
    """The model that the client asks for; empty where it names none."""
    model: str
    """The one that is asked for now."""
    upstream: str = ""
    """The only one that may be asked; empty for any."""
    avoid: str = ""
    """The one to be asked last: a call that this is to overtake is there."""
    at: str = ""
    """The one that is being asked, or was last."""
    max_wait: float | None = None
    """Seconds that it may wait for its turn; None: as long as each limit has it."""
    waited: float = 0.0
    """Seconds that it has waited for its turn."""
    size: Size | None = None
    """How large the call is, once somebody has looked."""
    passed: list[Passed] = []
    """Who was asked before, and why they did not serve: one list for the whole request."""


class Request(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One model call.

    `body` is the JSON the client sent, `wire` the API it was sent to: ``chat``, ``responses``, ``messages`` or ``embeddings``. `scope` is the tenant boundary, a path such as ``team/user``; without one, and
    without a client's `key` to derive it from, nothing is cached. Of `headers` a closed list is passed on to the provider.
    """

    body: bytes
    wire: WireName = "chat"
    scope: str | None = None
    key: str | None = None
    headers: Mapping[str, str] = {}
    cache_control: CacheControl = DEFAULT_CACHE_CONTROL
    deadline: float | None = None
    """When the caller gives up, in seconds of `time.monotonic`; of a stream, waiting for its first event."""
    priority: Priority = "normal"
    """``low`` waits for others, and is refused first."""
    inspection: Inspection | None = None
    """Set by the digest stage."""
    bypass: str = ""
    """Why this call may not be answered from memory, nor merged, nor stored; set by whichever stage finds out first."""
    asking: Asking | None = None
    """Set by the stages that control calls."""
    trace: dict[str, int] = msgspec.field(default_factory=dict)
    """When each stage was first entered, in nanoseconds of a monotonic clock; under ``reply``, when the pipeline returned."""

    def __repr__(self) -> str:
        return f"<Request of {len(self.body)} bytes, scope={self.scope!r}>"

    @classmethod
    def of(cls, body: bytes | str | Mapping[str, Any], **fields: Any) -> Request:
        """A request from JSON text or from a mapping such as ``{"model": ..., "messages": [...]}``."""
        if isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        return cls(body=body, **fields)


def checked_scope(scope: str) -> str:
    """The same scope, or `InvalidArgument` for one that could be mistaken for another."""
    if not scope or len(scope) > MAX_SCOPE or not _SCOPE_CHARACTERS.issuperset(scope) or "" in scope.split("/"):
        shown = scope if len(scope) <= 40 else f"{scope[:40]}... ({len(scope)} characters)"
        raise InvalidArgument(
            f"scope is {shown!r}; allowed: 1 to {MAX_SCOPE} letters, digits or ._-@:=+ in parts divided by single slashes"
        )
    return scope
