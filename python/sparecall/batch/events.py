"""What a batcher says about itself: an event a batch, and statistics on request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.batch.cost import Cost
    from sparecall.batch.policy import Reason

__all__ = ["BatchEvent", "BatcherStats", "tell"]


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """One batch that ended. Holds counts and seconds, never items.

    ``reason``: why it closed. ``items``, ``tokens``: its size. ``waited``: seconds from the arrival of its oldest item to its start. ``seconds``: how long
    it ran, retries of its parts included. ``calls``: of the function, more than one where a failed batch was taken apart. ``failed``: items that ended with an error;
    ``left``: items whose callers had left.
    """

    reason: Reason
    items: int
    tokens: int
    waited: float
    seconds: float
    calls: int
    failed: int
    left: int


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """The counts of a batcher's life, and what it has learnt.

    ``batches``: how many closed, by reason. ``items``: those that were answered, with a result or an error of the function; ``failed``: with an
    error; ``left``: those whose callers left, waiting or running; ``refused``: by overflow or deadline. ``waiting`` and ``running`` (batches): now.
    ``rate``: items a second, recently. ``cost``: seconds of a batch, None before the first.
    """

    batches: dict[Reason, int]
    items: int
    failed: int
    left: int
    refused: int
    waiting: int
    running: int
    rate: float
    cost: Cost | None


def tell(hook: Callable[[BatchEvent], None], event: BatchEvent) -> None:
    """Calls `hook`, whose errors go to the loop's handler: whoever listens must not stop the batches."""
    try:
        hook(event)
    except Exception as error:  # noqa: BLE001 - the user's
        context = {"message": "on_event of a Batcher raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
