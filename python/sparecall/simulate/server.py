"""Serves a provider on a socket of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sparecall.simulate.provider import Provider

_BACKLOG = 4096  # tests open a thousand connections at once
_SHUTDOWN_SECONDS = 1.0


@asynccontextmanager
async def serve(provider: Provider, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the provider until the block ends; gives its base URL, such as ``http://127.0.0.1:54321/v1``.

    Port 0 takes a free one. At the end, replies in flight have a second before they are cut off.
    """
    # Handlers are cancelled when their client leaves: an abandoned stream must not keep on streaming.
    runner = web.AppRunner(
        provider.app(), handler_cancellation=True, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
