"""Which httpx: the SDKs' clients are httpx2's today and were httpx's before. A transport serves both, each in its own types.

At least one must be installed. Where both are, a transport is one of both.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    import httpx2

    class AsyncBaseTransport(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):  # type: ignore[misc]  # each takes its own requests
        """Of both libraries."""

    class BaseTransport(httpx.BaseTransport, httpx2.BaseTransport):  # type: ignore[misc]  # each takes its own requests
        """Of both libraries."""

    class AsyncByteStream(httpx.AsyncByteStream, httpx2.AsyncByteStream):
        """Of both libraries."""

    class SyncByteStream(httpx.SyncByteStream, httpx2.SyncByteStream):
        """Of both libraries."""

    Request = httpx.Request | httpx2.Request

LIBRARIES: list[Any] = []
for _name in ("httpx2", "httpx"):
    try:
        LIBRARIES.append(importlib.import_module(_name))
    except ModuleNotFoundError as _error:
        if _error.name != _name:
            raise
if not LIBRARIES:
    raise ImportError("sparecall.httpx needs httpx2 or httpx: pip install 'sparecall[httpx]'")

if not TYPE_CHECKING:

    def _of_all(name: str) -> type:
        # An application may have made one name stand for the other: then both give the same class.
        return type(name, tuple(dict.fromkeys(getattr(library, name) for library in LIBRARIES)), {})

    AsyncBaseTransport = _of_all("AsyncBaseTransport")
    BaseTransport = _of_all("BaseTransport")
    AsyncByteStream = _of_all("AsyncByteStream")
    SyncByteStream = _of_all("SyncByteStream")


def library_of(request: Request) -> Any:
    """The library that made the request: what answers it must be of that one's types."""
    return next((library for library in LIBRARIES if isinstance(request, library.Request)), LIBRARIES[0])
