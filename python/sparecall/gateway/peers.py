"""Metrics of several workers: any one of them answers a scrape for all.

Each worker gives its own text on a unix socket of a private folder, and leaves beside it, in a file, the counts it has
given last. A worker that is dead or silent is counted by its file, without its gauges; one that starts in its place
goes on from there. So no counter that was ever shown falls: what is lost is what a worker counted after its last scrape.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sparecall.errors import ConfigError
from sparecall.gateway.exposition import lasting, merged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = logging.getLogger("sparecall.gateway")
# More than the text of as many series as a registry may hold.
_MAX_BYTES = 64 * 1024 * 1024


class Peers:
    """The place of worker `number` of `count` in `folder`, which only its owner may enter."""

    __slots__ = ("_before", "_count", "_folder", "_number", "_render", "_timeout")

    def __init__(self, folder: str, number: int, count: int, *, timeout: float = 0.5) -> None:
        self._folder = Path(folder)
        self._number = number
        self._count = count
        self._timeout = timeout
        self._before = self._last(number)
        self._render: Callable[[], str] = str

    def __repr__(self) -> str:
        return f"<Peers: worker {self._number} of {self._count}>"

    @contextlib.asynccontextmanager
    async def answering(self, render: Callable[[], str]) -> AsyncIterator[None]:
        """Gives the others this worker's text while the block runs."""
        self._render = render
        path = self._socket(self._number)
        path.unlink(missing_ok=True)
        try:
            server = await asyncio.start_unix_server(self._answer, path)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"no socket can be made at {path}: {reason}; set TMPDIR to a short path") from None
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def text(self) -> str:
        """The sum over all workers."""
        others = [number for number in range(self._count) if number != self._number]
        return merged([self._own(), *await asyncio.gather(*map(self._ask, others))])

    def _own(self) -> str:
        """The text of this worker, with what its predecessors in this place have counted. It is kept before anybody sees it."""
        text = merged([self._render(), self._before])
        last = self._folder / f"{self._number}.last"
        new = last.with_suffix(".new")
        try:
            new.write_text(lasting(text), "utf-8")
            new.replace(last)
        except OSError as error:
            log.warning("the metrics of this worker would not outlive it: %s", error.strerror)
        return text

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self._own().encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _ask(self, number: int) -> str:
        writer = None
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_unix_connection(self._socket(number), limit=_MAX_BYTES)
                return (await reader.read()).decode()
        except (OSError, TimeoutError):
            return self._last(number)
        finally:
            if writer is not None:
                writer.close()

    def _last(self, number: int) -> str:
        try:
            return (self._folder / f"{number}.last").read_text("utf-8")
        except FileNotFoundError:
            return ""

    def _socket(self, number: int) -> Path:
        return self._folder / f"{number}.sock"
