"""Drives a scenario step by step: lets the loop turn exactly k times, acts, and collects whatever the loop complains of."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def turns(count: int) -> None:
    """Lets everything that is ready run, `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settled() -> None:
    """Lets everything that can run without waiting for time or sockets run to its end."""
    await turns(30)


@asynccontextmanager
async def no_complaints() -> AsyncIterator[None]:
    """Fails if anything in the block reaches the loop's exception handler, such as an exception that nobody retrieved."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    try:
        yield
        await turns(5)
        gc.collect()
        await turns(2)
    finally:
        loop.set_exception_handler(before)
    assert complaints == []
