"""Stage `scope`: settles whose memory a request may see. Without an identity there is none, and nothing is cached."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from sparecall.digest import scope_of_key
from sparecall.pipeline.request import checked_scope

if TYPE_CHECKING:
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

# Hashing a key costs a microsecond; a service has few keys. Holds digests' inputs only in this process's memory.
_scope_of_key = functools.lru_cache(maxsize=4096)(lambda key: "key/" + scope_of_key(key))


class Scope:
    """Scope of a request: `scope` of the configuration if given, else a digest of the client's key; then what the request adds.

    A request may only narrow it: its own `scope` is a path below the tenant's.
    """

    __slots__ = ("scope",)

    def __init__(self, *, scope: str | None = None) -> None:
        self.scope = None if scope is None else checked_scope(scope)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on with its full scope."""
        scope = self.scope
        if scope is None and request.key is not None:
            scope = _scope_of_key(request.key)
        if request.scope is not None:
            below = checked_scope(request.scope)
            scope = below if scope is None else f"{scope}/{below}"
        if scope is None:
            return await next(msgspec.structs.replace(request, bypass=request.bypass or "no_scope"))
        return await next(msgspec.structs.replace(request, scope=scope))
