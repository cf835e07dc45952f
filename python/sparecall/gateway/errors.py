"""Error replies as responses of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from sparecall.pipeline.wire import CHAT

if TYPE_CHECKING:
    from sparecall.exchange import Refusal
    from sparecall.pipeline.wire import Wire


def response_of(refusal: Refusal, wire: Wire = CHAT) -> web.Response:
    """The reply itself."""
    response = web.Response(status=refusal.status, body=refusal.body(wire), headers=refusal.headers())
    if refusal.status == 405:
        response.headers["allow"] = "GET, HEAD"
    if refusal.status in {408, 413, 417}:
        response.force_close()  # what is left of the request is not read
    return response
