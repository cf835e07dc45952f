"""Error replies as responses of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from sparecall.exchange import ERROR_HEADERS

if TYPE_CHECKING:
    from sparecall.exchange import Refusal


def response_of(refusal: Refusal) -> web.Response:
    """The reply itself."""
    response = web.Response(status=refusal.status, body=refusal.body, headers=ERROR_HEADERS)
    if refusal.status == 405:
        response.headers["allow"] = "GET, HEAD"
    return response
