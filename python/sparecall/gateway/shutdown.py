"""How a server ends: no new work, a grace for what runs, an error for what remains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sparecall.exchange import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

# What an error needs to reach a client that reads, once the grace is over.
LINGER = 1.0
# How often to look whether everything has ended.
_LOOK_EVERY = 0.01


def stopping() -> Refusal:
    """The reply to a request that comes while the server ends, or that has none when the grace is over."""
    return Refusal(503, "This gateway is stopping; call again.", code="stopping", kind="server_error")


async def drain(runner: web.BaseRunner, *, grace: float, cut: Callable[[], None]) -> None:
    """Closes the door, lets running requests end for `grace` seconds, then ends them: returns at most 2 `LINGER` later.

    Kept connections stay open, so that a request on one of them gets its refusal and not a reset. After the grace,
    `cut` ends the streams with an error of their own; requests without a first byte are cancelled, and what still
    runs a moment later, such as a client that does not read, is cancelled too.
    """
    for site in runner.sites:
        await site.stop()
    await asyncio.sleep(0)  # what was accepted just now gets its handler
    server = runner.server
    if server is None or await _ended(server, grace):
        return
    cut()
    for connection in _busy(server):
        request = connection._current_request
        if request is not None and request.writer.output_size == 0:
            _cancel(connection)
    if await _ended(server, LINGER):
        return
    for connection in _busy(server):
        _cancel(connection)
    await _ended(server, LINGER)


def _busy(server: web.Server) -> list[web.RequestHandler]:
    return [each for each in server.connections if each._request_in_progress or each._messages]


def _cancel(connection: web.RequestHandler) -> None:
    if connection._task_handler is not None:
        connection._task_handler.cancel()


async def _ended(server: web.Server, within: float) -> bool:
    """Waits for the last running request; False where it takes longer."""
    try:
        async with asyncio.timeout(within):
            while _busy(server):  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        return not _busy(server)
    return True
