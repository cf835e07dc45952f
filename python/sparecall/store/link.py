"""The way to one Redis: connections behind a breaker; every failure gets its verdict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisClusterException, RedisError

from sparecall.errors import InternalError, StoreUnavailable
from sparecall.store.connections import Address, Argument, Connections, answers
from sparecall.store.verdicts import Verdict, verdict, word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from sparecall.store.breaker import Breaker, Permit, State

_ADVICE: dict[Verdict, str] = {
    "unavailable": "it did not answer, or cannot now",
    "credentials": "it refuses the user or the password; look at the URL and the server's ACL",
    "cluster": "it is a node of a cluster; give the URL of a single server",
    "refused": "it answered with an error",
    "bug": "the command was wrong",
}
_LEFT_ALONE_AT_ONCE: set[Verdict] = {"credentials", "cluster"}


class Link:
    """Makes calls, each bounded by `timeout`; while the breaker is open it refuses them at once and finds out by itself, once asked.

    ``greeting`` is sent over each new connection, and ``on_greeted`` takes the answer.
    """

    __slots__ = (
        "_address", "_breaker", "_closed", "_greeting", "_on_greeted", "_probe", "_timeout", "connections", "left_alone",
        "refused", "unavailable",
    )  # fmt: skip

    def __init__(
        self,
        address: Address,
        *,
        timeout: float,
        connect_timeout: float,
        limit: int,
        breaker: Breaker,
        greeting: Callable[[], Sequence[Argument]],
        on_greeted: Callable[[Any], None],
    ) -> None:
        self._address, self._timeout, self._greeting, self._on_greeted = address, timeout, greeting, on_greeted
        self.connections = Connections(address, limit=limit, connect_timeout=connect_timeout, greet=self._greet)
        self._breaker = breaker
        self._probe: asyncio.Task[None] | None = None
        self._closed = False
        self.unavailable = self.refused = self.left_alone = 0

    @property
    def opened(self) -> int:
        """How often the breaker opened."""
        return self._breaker.opened

    @property
    def state(self) -> State:
        """The breaker's state."""
        return self._breaker.state

    async def call(self, *commands: Sequence[Argument]) -> list[Any]:
        """The replies to the commands, sent in one go. Raises `StoreUnavailable`; `InternalError` where a command was wrong."""
        permit = self._enter()
        try:
            replies = await self.connections.call(commands, timeout=self._timeout)
        except (RedisError, RedisClusterException, OSError) as error:  # TimeoutError is an OSError
            raise self._failed(permit, error) from None
        except BaseException:
            self._breaker.let_go(permit)
            raise
        for reply in replies:
            for part in reply if isinstance(reply, list) else (reply,):  # a transaction's replies come as one
                if isinstance(part, RedisError):
                    raise self._failed(permit, part) from None
        self._breaker.succeeded(permit)
        return replies

    async def close(self) -> None:
        """Close all connections; later calls raise `StoreUnavailable`."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        self.connections.close()

    def _enter(self) -> Permit:
        if self._closed:
            raise StoreUnavailable(f"{self._address} was closed; make another store")
        try:
            permit = self._breaker.enter()
        except StoreUnavailable:
            self.left_alone += 1
            raise
        if permit.probe:
            # Not on a caller's time: they are refused until it is back.
            self._probe = asyncio.get_running_loop().create_task(self._find_out(permit), name="sparecall store probe")
            self.left_alone += 1
            raise StoreUnavailable(f"{self._address} failed lately; whether it is back is being found out")
        return permit

    async def _find_out(self, permit: Permit) -> None:
        try:
            await self.connections.call([("PING",)], timeout=self._timeout)
        except (RedisError, RedisClusterException, OSError) as error:
            self._failed(permit, error)
        except BaseException:
            self._breaker.let_go(permit)
            raise
        else:
            self._breaker.succeeded(permit)

    async def _greet(self, connection: AbstractConnection) -> None:
        (reply,) = await answers(connection, [self._greeting()])
        if isinstance(reply, Exception):
            raise reply
        self._on_greeted(reply)

    def _failed(self, permit: Permit, error: BaseException) -> Exception:
        """Counts a failure; the exception to raise for it, which quotes nothing that came from the server but its error's code."""
        ruling = verdict(error)
        if ruling == "bug":
            self._breaker.let_go(permit)
            return InternalError(f"{self._address} was sent what it cannot take ({word(error)}); please report this")
        why = f"{_ADVICE[ruling]} ({word(error)})"
        if ruling == "refused":
            self.refused += 1
            self._breaker.succeeded(permit)
        else:
            self.unavailable += 1
            self._breaker.failed(permit, why, at_once=ruling in _LEFT_ALONE_AT_ONCE)
        return StoreUnavailable(f"{self._address}: {why}")
