"""Answers by meaning that other gateways were given: read from a stream of the shared store, and written to it for them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random as _random
import time
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import FrameError, InvalidArgument, StoreUnavailable
from sparecall.frame import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sparecall.store import Store

_STREAM = "semantic"
_AT_ONCE = 64


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=1):
    """One answer, as it is stored by meaning. A field that is added goes to the end, with a default."""

    sender: str
    text: str
    value: bytes
    scope: str
    context: bytes
    category: str
    principal: str
    model: str
    dollars: float
    seconds: float
    expires: float
    """Unix time; `inf` for no end."""


class Relay:
    """Tells other gateways of new entries, and takes in theirs: those of the past at the start, about the newest `keep`.

    ``lives``: seconds that an entry lives, by its category; None for no end. New entries are looked for every `interval` seconds,
    jittered by a fifth. While the store is away nothing is told, and entries from then are not told later.
    """

    __slots__ = ("_clock", "_interval", "_keep", "_lives", "_random", "_sleep", "_store", "odd")

    def __init__(
        self,
        store: Store,
        *,
        lives: Callable[[str], float | None],
        keep: int = 10_000,
        interval: float = 1.0,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._lives, self._keep, self._interval = store, lives, keep, interval
        self._clock, self._random, self._sleep = clock, random, sleep
        self.odd = 0
        """Records that were none, or could not be stored here."""

    def expires(self, category: str) -> float:
        """When an entry of now ends, as Unix time."""
        life = self._lives(category)
        return math.inf if life is None else self._clock() + life

    async def tell(self, record: Record) -> None:
        """Write a record for the others; while the store is away, nothing."""
        with contextlib.suppress(StoreUnavailable, FrameError):
            await self._store.append(_STREAM, pack(record), keep=self._keep)

    async def hear(self, take: Callable[[Record, float | None], Awaitable[None]], *, sender: str) -> None:
        """Calls `take` with the record and what is left of its life, for each that is not of `sender`, until cancelled."""
        position = ""
        while True:
            try:
                records = await self._store.read(_STREAM, after=position, limit=_AT_ONCE)
            except StoreUnavailable:
                records = []
            for position, data in records:  # noqa: B007 - where the next read goes on
                await self._take(data, take, sender)
                await asyncio.sleep(0)  # storing one takes a while: others first
            if len(records) < _AT_ONCE:
                await self._sleep(self._interval * (0.8 + 0.4 * self._random()))

    async def _take(self, data: bytes, take: Callable[[Record, float | None], Awaitable[None]], sender: str) -> None:
        try:
            record = msgspec.convert(unpack(data), Record)
            left = record.expires - self._clock()
            if record.sender != sender and left > 0:
                await take(record, None if math.isinf(left) else left)
        except (FrameError, msgspec.ValidationError, InvalidArgument, TypeError):
            self.odd += 1
