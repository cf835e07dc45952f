"""Purges of an L3: gathered, sent in batches, tried again when they fail."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from sparecall.store.cdn import Purger

BATCH = 256
"""What one purge of Fastly's takes at most."""


class Purging:
    """Sends names to a purger, one batch at a time and in the background; at most `limit` wait, beyond that everything is purged."""

    __slots__ = ("_counts", "_limit", "_purger", "_random", "_task", "_waiting")

    def __init__(
        self, purger: Purger, *, random: Callable[[], float], counts: Counter[str], limit: int = 100_000
    ) -> None:
        self._purger, self._random, self._counts, self._limit = purger, random, counts, limit
        self._waiting: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, names: Iterable[str]) -> None:
        """Purge these as soon as possible."""
        self._waiting |= dict.fromkeys(names)
        if len(self._waiting) > self._limit:
            self._waiting = {"all": None}
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Give what waits one more try, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        while self._waiting and await self._send():
            pass

    async def _run(self) -> None:
        pause = 1.0
        try:
            while self._waiting:
                if await self._send():
                    pause = 1.0
                else:
                    await asyncio.sleep(pause * (0.5 + self._random()))
                    pause = min(2.0 * pause, 60.0)
        finally:
            self._task = None

    async def _send(self) -> bool:
        batch = list(itertools.islice(self._waiting, BATCH))
        for name in batch:
            del self._waiting[name]
        sent = False
        try:
            await self._purger.purge(batch)
            sent = True
        except Exception:  # noqa: BLE001 - whatever it is, it is tried again
            self._counts["purge_faults"] += 1
        finally:
            if not sent:
                self._waiting = dict.fromkeys(batch) | self._waiting
        self._counts["purged"] += len(batch) * sent
        return sent
