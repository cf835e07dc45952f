"""Stage `digest`: reads the body once, in the core, and gives the request its key, or the reason why it has none."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from sparecall.digest import INLINE_BYTES, inspect, inspect_async, scope_of_key

if TYPE_CHECKING:
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

# Headers by which a client of the Messages API chooses how it is answered.
_DIALECT = ("anthropic-version", "anthropic-beta")


def suffix_of(settings: tuple[str, ...]) -> str:
    """What stands behind every scope in keys, for all that shapes answers beside the request."""
    # "|" stands in no scope, so a scope and its settings cannot be mistaken for another scope.
    return "|" + scope_of_key(msgspec.json.encode(settings).decode())


def dialect_of(request: Request) -> str:
    """What the request's headers add to that."""
    if request.wire != "messages":
        return ""
    return "|" + scope_of_key(msgspec.json.encode([request.headers.get(name) for name in _DIALECT]).decode())


class Digest:
    """Gives each request its `Inspection`. Raises `InvalidDocument` for a body that is not JSON or is ambiguous.

    `settings` are all that shapes answers beside the request, such as the provider's address: part of every key.
    """

    __slots__ = ("_inspect", "_inspect_async", "_suffix")

    def __init__(
        self, *, version: int = 0, max_temperature: float = 1.0, max_n: int = 1, settings: tuple[str, ...] = ()
    ) -> None:
        self._suffix = suffix_of(settings)
        self._inspect = functools.partial(inspect, version=version, max_temperature=max_temperature, max_n=max_n)
        self._inspect_async = functools.partial(
            inspect_async, version=version, max_temperature=max_temperature, max_n=max_n
        )

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on with its inspection, and the reply back; what is not cacheable says why in `bypass`."""
        if request.wire == "embeddings":
            return await next(request)
        scope = (request.scope or "") + self._suffix + dialect_of(request)
        if len(request.body) <= INLINE_BYTES:
            inspection = self._inspect(request.body, scope=scope, wire=request.wire)
        else:
            inspection = await self._inspect_async(request.body, scope=scope, wire=request.wire)
        bypass = request.bypass or inspection.why
        reply = await next(msgspec.structs.replace(request, inspection=inspection, bypass=bypass))
        # Merged replies carry what their leader asked for.
        return reply if reply.inspection is inspection else msgspec.structs.replace(reply, inspection=inspection)
