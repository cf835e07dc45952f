"""A complete reply, written in one piece. aiohttp's own way to the same bytes costs more than the cache, the digest and the pipeline."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

if TYPE_CHECKING:
    from collections.abc import Mapping


def whole(http: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """A 200 with these headers and this body. Where the connection is not simply kept open, aiohttp's own response.

    Only for a server of our own: middlewares and signals of an application could not look into it.
    """
    if http.version != HttpVersion11 or not http.keep_alive:
        return web.Response(body=body, headers=headers)
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if fields.count("\n") != len(headers) or fields.count("\r") != len(headers):
        raise ValueError("a header of the reply holds a line break")
    date = _date(int(time.time()))
    head = f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\nDate: {date}\r\n\r\n"
    return Whole(head.encode(), body)


class Whole(web.StreamResponse):
    """Head and body, ready to be written. Its headers cannot be changed any more."""

    def __init__(self, head: bytes, body: bytes) -> None:
        super().__init__()
        self._data = head + body
        self._size = len(body)

    @property
    def keep_alive(self) -> bool:
        """True: see `whole`."""
        return True

    @property
    def body_length(self) -> int:
        """Bytes of the body."""
        return self._size

    async def prepare(self, request: web.BaseRequest) -> None:
        """Writes everything, and waits where the client does not keep up: its next request is not answered before."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(self._data)
        if request.protocol.writing_paused:
            await request.protocol._drain_helper()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
