"""Connections to a provider: some made before anybody asks, and for how long each has been idle."""

from __future__ import annotations

import asyncio
import time
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

STALE_AFTER = 1.0
"""Seconds after which an idle connection may have been closed by the provider. Servers keep one for two seconds or longer."""
_idle: ContextVar[float] = ContextVar("sparecall_connection_idle", default=0.0)
_fresh: ContextVar[bool] = ContextVar("sparecall_connection_fresh", default=False)


class Connector(aiohttp.TCPConnector):
    """Keeps idle connections for a minute, and looks names up again after ten seconds.

    What a provider has closed is dropped when word of it comes. A call may be sent before that: `idle` tells, once it has failed.
    """

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit, keepalive_timeout=60, ttl_dns_cache=10)
        self._released: weakref.WeakKeyDictionary[ResponseHandler, float] = weakref.WeakKeyDictionary()

    @staticmethod
    def begin(*, fresh: bool = False) -> None:
        """Begins a call of this task; a `fresh` one gets a connection of its own."""
        _idle.set(0.0)
        _fresh.set(fresh)

    @staticmethod
    def idle() -> float:
        """For how many seconds the connection of this task's last call had been idle; 0 for a new one."""
        return _idle.get()

    async def _get(self, *others: Any) -> aiohttp.connector.Connection | None:
        if _fresh.get():
            return None
        connection = await super()._get(*others)
        if connection is not None and connection.protocol is not None:
            now = time.monotonic()
            _idle.set(now - self._released.pop(connection.protocol, now))
        return connection

    def _release(self, key: Any, protocol: ResponseHandler, **options: Any) -> None:
        self._released[protocol] = time.monotonic()
        super()._release(key, protocol, **options)

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
