"""How large a call is, by a look at its body: what limits reserve, and settle once the provider has counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from sparecall.pipeline.request import Size

if TYPE_CHECKING:
    from sparecall.pipeline.request import Request

# What a text of JSON comes to a token, about; `RateLimit` learns what is left of it with the completions.
_BYTES_A_TOKEN = 4
# Images and files stand in a body as base64. How many tokens one is depends on the provider: about so many.
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{2048,}")
_TOKENS_OF_AN_IMAGE = 1000
_LONG = 16 * 1024


class _Bounds(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


def size_of(request: Request) -> Size:
    """The size of a call by a look at its body. Linear in the body."""
    body = request.body
    characters, images = len(body), 0
    if characters > _LONG:
        for found in _ENCODED.finditer(body):
            characters -= found.end() - found.start()
            images += 1
    if request.wire == "embeddings":
        at_most: int | None = 0
    else:
        try:
            bounds = msgspec.json.decode(body, type=_Bounds)
            given = (bounds.max_completion_tokens, bounds.max_output_tokens, bounds.max_tokens)
            at_most = next((bound for bound in given if bound is not None and bound >= 0), None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            at_most = None  # an odd body, which is the provider's to judge
    return Size(characters // _BYTES_A_TOKEN + images * _TOKENS_OF_AN_IMAGE, at_most)


def known_size(request: Request) -> Size:
    """The same, looked at once for each request."""
    asking = request.asking
    if asking is None:
        return size_of(request)
    if asking.size is None:
        asking.size = size_of(request)
    return asking.size


def wait_of(request: Request, max_wait: float, now: float) -> float:
    """Seconds that a call may wait for its turn: as long as a limit has it, or the request, and not past its deadline."""
    if request.asking is not None and request.asking.max_wait is not None:
        max_wait = request.asking.max_wait
    return max_wait if request.deadline is None else max(0.0, min(max_wait, request.deadline - now))
