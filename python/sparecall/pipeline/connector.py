"""Connections to a provider: some made before anybody asks, and word of which were new."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

_made: ContextVar[bool] = ContextVar("sparecall_connection_made", default=False)
_fresh: ContextVar[bool] = ContextVar("sparecall_connection_fresh", default=False)


class Connector(aiohttp.TCPConnector):
    """Keeps idle connections for a minute, and looks names up again every ten seconds.

    A provider may close an idle connection at the moment that a call is sent on it. `reused` says, after a call that failed, whether it
    went out on a connection that had served before.
    """

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit, keepalive_timeout=60, ttl_dns_cache=10)

    @staticmethod
    def begin(*, fresh: bool = False) -> None:
        """Begins a call of this task; a `fresh` one gets a connection of its own."""
        _made.set(False)
        _fresh.set(fresh)

    @staticmethod
    def reused() -> bool:
        """Whether the last call of this task went out on a connection that was there."""
        return not _made.get()

    async def _get(self, *others: Any) -> aiohttp.connector.Connection | None:
        return None if _fresh.get() else await super()._get(*others)

    async def _create_connection(self, req: aiohttp.ClientRequest, *others: Any, **options: Any) -> ResponseHandler:
        _made.set(True)
        return await super()._create_connection(req, *others, **options)

    async def warm(self, url: str, count: int, session: aiohttp.ClientSession, *, timeout: float) -> int:
        """Makes `count` connections to `url` and keeps them for calls; returns how many. What cannot be reached is left for a call to find out."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout)

        async def connect() -> aiohttp.connector.Connection:
            request = aiohttp.ClientRequest("GET", URL(url), loop=asyncio.get_running_loop(), session=session)
            return await self.connect(request, [], limits)

        made = await asyncio.gather(*[connect() for _ in range(count)], return_exceptions=True)
        opened = [each for each in made if isinstance(each, aiohttp.connector.Connection)]
        for connection in opened:
            connection.release()
        return len(opened)
