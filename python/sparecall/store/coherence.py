"""How a process hears what others change in Redis: one connection of its own, checked by a question every interval, made anew when it is lost."""

from __future__ import annotations

import asyncio
import random as _random
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from sparecall.store.connections import answers, drop, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from sparecall.store.connections import Argument

_PUSHED = object()


class Hearing:
    """Subscribed to a channel, and told by Redis of keys under a prefix that were written, expired, or flushed.

    ``open`` makes a connection. ``on_message`` takes what came over the channel, ``on_keys`` the keys that changed (None: all of
    them), ``on_checked`` the answer to ``question``, which is asked every `interval` seconds: a connection that does not answer within
    another `interval` is given up. ``on_state`` is told True whenever all is subscribed and False when that is over or the first
    attempt failed, with the reason. None of them may block; an exception of theirs ends the connection, as one of Redis's does.
    """

    __slots__ = (
        "_channel", "_interval", "_on_checked", "_on_keys", "_on_message", "_on_state", "_open", "_prefix", "_question", "_random",
        "_sleep", "_told", "heard",
    )  # fmt: skip

    def __init__(
        self,
        open: Callable[[], Awaitable[AbstractConnection]],  # noqa: A002
        *,
        channel: str,
        prefix: str,
        interval: float,
        question: Callable[[], Sequence[Argument]],
        on_message: Callable[[bytes], None],
        on_keys: Callable[[list[bytes] | None], None],
        on_checked: Callable[[Any], None],
        on_state: Callable[[bool, BaseException | None], None],
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open, self._channel, self._prefix, self._interval, self._question = (
            open,
            channel,
            prefix,
            interval,
            question,
        )
        self._on_message, self._on_keys, self._on_checked, self._on_state = on_message, on_keys, on_checked, on_state
        self._random, self._sleep = random, sleep
        self._told = False
        self.heard = False

    async def run(self) -> None:
        """Hear until cancelled. Pauses between attempts grow from a tenth of a second to five, each of them a random part of that."""
        pause = 0.1
        while True:
            reason: BaseException | None = None
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001 - redis-py's, the socket's, or of who heard: all are told to trust nothing
                reason = error
            finally:
                was, self.heard = self.heard, False
                if was or not self._told:
                    self._told = True
                    self._on_state(False, reason)
            pause = 0.1 if was else min(2 * pause, 5.0)
            await self._sleep(pause * self._random())

    async def _hear(self) -> None:
        connection = await self._open()
        try:
            parser: Any = connection._parser
            parser.set_pubsub_push_handler(self._pushed)
            parser.set_invalidation_push_handler(self._invalidated)
            async with asyncio.timeout(self._interval):
                # RESP3 confirms a subscription by a push: the handler takes it, and the question's answer is what ends the wait.
                await connection.send_packed_command(pack([("SUBSCRIBE", self._channel)]), check_health=False)
                tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix, "NOLOOP")
                tracked, answer = await answers(connection, [tracking, self._question()])
                for reply in (tracked, answer):
                    if isinstance(reply, Exception):
                        raise reply
            self._on_checked(answer)
            self.heard = self._told = True
            self._on_state(True, None)
            await self._listen(connection)
        finally:
            drop(connection)

    async def _listen(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        due, waiting = loop.time() + self._interval, False
        while True:
            left = due - loop.time()
            if left <= 0:
                if waiting:
                    raise RedisConnectionError("no answer in time")
                await connection.send_packed_command(pack([self._question()]), check_health=False)
                due, waiting = loop.time() + self._interval, True
                continue
            # None: nothing came in time; what had come of a reply by then is kept for the next call.
            reply = await connection.read_response(disable_decoding=True, timeout=left, push_request=True)
            if reply is not None and reply is not _PUSHED:
                self._on_checked(reply)
                waiting = False

    async def _pushed(self, response: list[Any]) -> object:
        if response[0] == b"message":
            self._on_message(response[2])
        return _PUSHED

    async def _invalidated(self, response: list[Any]) -> object:
        self._on_keys(response[1])
        return _PUSHED
