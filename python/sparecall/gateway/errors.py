"""Errors in the wire's own form, so that SDKs raise their own types."""

from __future__ import annotations

import msgspec
from aiohttp import web

from sparecall.errors import InvalidArgument, InvalidDocument, SparecallError, UpstreamError


class Refusal(Exception):
    """An error reply, on its way out of a handler."""

    __slots__ = ("body", "code", "status")

    def __init__(self, status: int, message: str, *, code: str, kind: str = "invalid_request_error") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.body = error_body(message, code=code, kind=kind)

    def response(self) -> web.Response:
        """The reply itself."""
        response = web.Response(status=self.status, body=self.body, headers=ERROR_HEADERS)
        if self.status == 405:
            response.headers["allow"] = "GET, HEAD"
        return response


ERROR_HEADERS = {
    "content-type": "application/json",
    "cache-control": "private, no-store",
    "x-sparecall-cache": "bypass",
}
# Ends a stream of a wire that is only passed on; the SDKs raise for it.
ERROR_EVENT = b"event: error\ndata: %b\n\n"


def error_body(message: str, *, code: str, kind: str) -> bytes:
    """The OpenAI error object."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def refusal_of(error: SparecallError) -> Refusal:
    """The reply for an error of the pipeline."""
    match error:
        case InvalidDocument():
            return Refusal(400, f"The request body cannot be used: {error}.", code="invalid_body")
        case InvalidArgument():
            return Refusal(400, str(error), code="invalid_argument")
        case UpstreamError():
            status = 504 if error.code == "timeout" else 502
            return Refusal(status, f"Upstream: {error}.", code=f"upstream_{error.code}", kind="upstream_error")
        case _:
            return Refusal(500, "sparecall failed on this request.", code="internal_error", kind="server_error")
