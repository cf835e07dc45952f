"""Connections to a provider: some made before anybody asks, and for how long each has been idle."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.client_reqrep import ConnectionKey

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

    @staticmethod
    def idle() -> float:
        """For how many seconds, at most, the connection of this task's last call had been idle; 0 for a new one."""
        return _idle.get()

    @staticmethod
    @contextlib.contextmanager
    def fresh() -> Iterator[None]:
        """What this task calls within gets connections of its own."""
        token = _fresh.set(True)
        try:
            yield
        finally:
            _fresh.reset(token)

    async def _get(self, key: ConnectionKey, *others: Any) -> aiohttp.connector.Connection | None:
        waiting = None if _fresh.get() else self._conns.get(key)
        if not waiting:
            _idle.set(0.0)
            return None
        since = waiting[0][1]  # of the one that has waited longest: it is the first to be taken
        connection = await super()._get(key, *others)
        _idle.set(0.0 if connection is None else time.monotonic() - since)
        return connection

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
