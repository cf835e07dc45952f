"""Connections to one Redis: each is lent to one call at a time, and one whose reply is outstanding is closed, never lent again.

redis-py makes the connections and reads the replies. Its client and pool are not used: they cost several times what the command does,
and the pool (8.1) lends connections on with replies unread where RESP3's maintenance notifications are on, as they are by default.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Argument = bytes | str | int
# What the owner of the connections decides for itself, whatever the URL says.
_OURS = {
    "protocol",
    "socket_timeout",
    "socket_connect_timeout",
    "retry",
    "retry_on_timeout",
    "health_check_interval",
    "max_connections",
}


def pack(commands: Sequence[Sequence[Argument]]) -> bytes:
    """The bytes of the commands, one behind the other."""
    pieces: list[bytes] = []
    for command in commands:
        pieces.append(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


class Address:
    """Where a Redis is and how to greet it, read from a URL. Its `repr` and `str` hold no password."""

    __slots__ = ("_kind", "_options", "database", "shown")

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))
            parts = urlsplit(url)
            host = f"{parts.hostname or 'localhost'}:{parts.port or 6379}" if parts.scheme != "unix" else parts.path
        except ValueError:  # not quoted: it may hold a password
            raise InvalidArgument(
                "the URL is none of a Redis: redis://, rediss:// or unix://, [user:password@]host:port[/database]"
            ) from None
        for name in _OURS & options.keys():
            raise InvalidArgument(f"the URL's {name} is the store's to decide; leave it out")
        self._kind: type[AbstractConnection] = options.pop("connection_class", Connection)
        self.database = options.get("db", 0)
        self._options = options
        self.shown = f"{parts.scheme}://{host}/{self.database}"
        try:
            self.connection(1.0)
        except (TypeError, ValueError):
            raise InvalidArgument("the URL has a query parameter that redis-py's connections do not know") from None

    def __repr__(self) -> str:
        return self.shown

    def connection(self, connect_timeout: float) -> AbstractConnection:
        """A new connection, not yet made."""
        return self._kind(
            **self._options, protocol=3, socket_timeout=None, socket_connect_timeout=connect_timeout, driver_info=None
        )


def drop(connection: Any) -> None:
    """Close a connection at once, whatever it is in the middle of. What is unsent is not sent."""
    writer = connection._writer
    connection._parser.on_disconnect()
    connection._reader = connection._writer = None
    if writer is not None:
        writer.transport.abort()


async def answers(connection: AbstractConnection, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """Send commands and read the reply to each; one that is an error of the server's is returned, not raised.

    After any exception, cancellation included, replies are outstanding: the connection is closed.
    """
    writer = connection._writer  # redis-py forgets it in closing, and closing waits for a peer that does not read
    whole = False
    try:
        await connection.send_packed_command(pack(commands), check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
        whole = True
        return replies
    finally:
        if not whole:
            drop(connection)
            if writer is not None:
                writer.transport.abort()


class Connections:
    """Up to `limit` connections, made when they are needed, kept while they are good, the one used last lent first.

    `greet` is called with each new one; what it raises, `call` does. Belongs to one event loop.
    """

    __slots__ = ("_address", "_closed", "_connect_timeout", "_greet", "_idle", "_lent", "_slots", "made")

    def __init__(
        self,
        address: Address,
        *,
        limit: int,
        connect_timeout: float,
        greet: Callable[[AbstractConnection], Awaitable[None]],
    ) -> None:
        self._address, self._connect_timeout, self._greet = address, connect_timeout, greet
        self._idle: list[AbstractConnection] = []
        self._lent: dict[AbstractConnection, bool] = {}  # whether to take it back
        self._slots = asyncio.Semaphore(limit)
        self._closed = False
        self.made = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._lent)

    @property
    def idle(self) -> int:
        """How many wait to be lent."""
        return len(self._idle)

    async def call(self, commands: Sequence[Sequence[Argument]], *, timeout: float) -> list[Any]:
        """The replies to the commands, sent over one connection in one go, as `answers` gives them.

        Raises redis-py's errors, ``OSError``, and ``TimeoutError`` where the replies, or a free connection, take more than `timeout` seconds;
        the first call of a connection has the connect timeout besides.
        """
        async with asyncio.timeout(timeout) as deadline:
            async with self._slots:
                connection = await self._usable() or await self._made(deadline, timeout)
                self._lent[connection] = True
                try:
                    return await answers(connection, commands)
                finally:
                    if self._lent.pop(connection) and connection.is_connected:
                        self._idle.append(connection)
                    else:
                        drop(connection)

    async def open(self) -> AbstractConnection:
        """A new connection that was greeted, for the caller to keep and to `drop`. Raises what `call` does."""
        connection: Any = self._address.connection(self._connect_timeout)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await connection.connect()
                await self._greet(connection)
        except BaseException:
            drop(connection)
            raise
        self.made += 1
        return cast("AbstractConnection", connection)

    def forget(self) -> None:
        """Close those that wait to be lent, and those that are lent once they come back."""
        while self._idle:
            drop(self._idle.pop())
        self._lent = dict.fromkeys(self._lent, False)

    def close(self) -> None:
        """Close all; calls under way raise what they make of it."""
        self._closed = True
        self.forget()
        for connection in tuple(self._lent):
            drop(connection)

    async def _usable(self) -> AbstractConnection | None:
        """A connection that waits and is still good: open, with nothing to read."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_connected and not await connection.can_read():
                return connection
            drop(connection)
        return None

    async def _made(self, deadline: asyncio.Timeout, timeout: float) -> AbstractConnection:
        loop = asyncio.get_running_loop()
        deadline.reschedule(loop.time() + self._connect_timeout + timeout)
        connection = await self.open()
        if self._closed:
            drop(connection)
            raise RedisConnectionError("the store is closed")
        deadline.reschedule(loop.time() + timeout)
        return connection
