"""Stage `scope`: settles whose memory a request may see. Without an identity there is none, and nothing is cached."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from sparecall.digest import scope_of_key
from sparecall.errors import InvalidArgument
from sparecall.pipeline.request import checked_scope

if TYPE_CHECKING:
    from sparecall.pipeline import Pipeline
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

_KEYS = "key"


# Hashing a key costs a microsecond; a service has few keys. Holds digests' inputs only in this process's memory.
@functools.lru_cache(maxsize=4096)
def scope_of_client(key: str) -> str:
    """The scope of a client's key. Raises `InvalidArgument` for a key that is no text."""
    try:
        return f"{_KEYS}/{scope_of_key(key)}"
    except UnicodeEncodeError:
        raise InvalidArgument(
            "the client's key holds bytes that are no text; send the key as the provider gave it"
        ) from None


def tenant_of(scope: str) -> str:
    """The client's key that a full scope begins with, or else its first part."""
    first, _, below = scope.partition("/")
    return f"{first}/{below.partition('/')[0]}" if first == _KEYS else first


def scope_in(pipeline: Pipeline, request: Request) -> str | None:
    """The full scope that a pipeline gives a request, for whoever asks beside a call; None without stage or identity. Raises as `Scope.of`."""
    stage: Scope | None = pipeline.stage(Scope)
    return None if stage is None else stage.of(request)


class Scope:
    """Scope of a request: `scope` of the configuration if given, else a digest of the client's key; then what the request adds.

    A request may only narrow it: its own `scope` is a path below the tenant's.
    """

    __slots__ = ("scope",)

    def __init__(self, *, scope: str | None = None) -> None:
        self.scope = None if scope is None else checked_scope(scope)

    def of(self, request: Request) -> str | None:
        """The full scope of a request; None without an identity. Raises `InvalidArgument` for one that could be mistaken."""
        scope = self.scope
        if scope is None and request.key is not None:
            scope = scope_of_client(request.key)
        if request.scope is not None:
            below = checked_scope(request.scope)
            if scope is None and below.partition("/")[0] == _KEYS:
                raise InvalidArgument(
                    f"scope begins with {_KEYS}/, which is kept for clients' keys; choose another first part"
                )
            scope = below if scope is None else f"{scope}/{below}"
        return scope

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on with its full scope."""
        scope = self.of(request)
        if scope is None:
            return await next(msgspec.structs.replace(request, bypass=request.bypass or "no_scope"))
        return await next(msgspec.structs.replace(request, scope=scope))
