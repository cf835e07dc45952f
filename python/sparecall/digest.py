"""digest: what a chat-completion body means, as 32 bytes, in one pass and without ``json.loads``.

``inspect(body, scope=...)`` gives the digest under which an answer may be kept and says whether it may be kept at all;
``inspect_async`` does so for event loops; ``compare(a, b)`` names the first field in which two bodies differ; ``scope_of_key`` derives a tenant's scope from a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sparecall import queue
from sparecall._core import (
    Difference,
    Inspection,
    _digest_inspect_work,
)
from sparecall._core import (
    digest_compare as compare,
)
from sparecall._core import (
    digest_inspect as inspect,
)
from sparecall._core import (
    digest_scope_of_key as scope_of_key,
)

if TYPE_CHECKING:
    from sparecall.queue import Priority

__all__ = ["INLINE_BYTES", "Difference", "Inspection", "compare", "inspect", "inspect_async", "scope_of_key"]

INLINE_BYTES = 256 * 1024
"""A body of so many bytes takes about half a millisecond."""


async def inspect_async(
    body: bytes,
    *,
    scope: str,
    wire: Literal["chat", "responses", "messages"] = "chat",
    version: int = 0,
    max_temperature: float = 1.0,
    max_n: int = 1,
    priority: Priority = "high",
) -> Inspection:
    """`inspect`, without holding the running loop up: a body above 256 KiB is read by a worker of `sparecall.queue`. Raises what `inspect` raises."""
    if len(body) <= INLINE_BYTES:
        return inspect(body, scope=scope, wire=wire, version=version, max_temperature=max_temperature, max_n=max_n)
    return await queue.run(_digest_inspect_work(body, scope, wire, version, max_temperature, max_n), priority=priority)
