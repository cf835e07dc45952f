"""Leave to run a batch from something outside, such as a rate limit: asked for before the batch closes, held while it runs. asyncio, one loop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from sparecall.batch.running import Running

__all__ = ["Gate"]


class Gate:
    """Asks ``permit(tokens)`` for one batch at a time.

    Let in, it calls ``admit``, which closes the batch, or gives None where nothing waits any more, and runs that; refused, it calls
    ``deny``. What lets in is told how it went: by ``settle(tokens)`` or ``refund()``, where it has these.
    """

    __slots__ = ("_admit", "_asking", "_deny", "_permit", "_tasks")

    def __init__(
        self,
        permit: Callable[[int], AbstractAsyncContextManager[Any]],
        *,
        admit: Callable[[], Running | None],
        deny: Callable[[Exception], None],
    ) -> None:
        self._permit, self._admit, self._deny = permit, admit, deny
        self._asking: asyncio.Task[bool] | None = None
        self._tasks: set[asyncio.Task[bool]] = set()

    @property
    def asking(self) -> bool:
        """Whether leave has been asked for, and neither given nor refused."""
        return self._asking is not None

    def ask(self, tokens: int) -> None:
        """Asks for a batch of about so many tokens. Call it only while nothing is asked."""
        self._asking = task = asyncio.get_running_loop().create_task(self._pass(tokens))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_up(self) -> None:
        """Nothing waits any more: whoever asks stops."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    async def _pass(self, tokens: int) -> bool:
        """The batch's task: what `Running.drive` gives."""
        try:
            return await self._held(tokens)
        except Exception as error:  # noqa: BLE001 - of the user's `__aexit__`: the batch's callers have their results
            context = {"message": "leaving the permit of a Batcher raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            return False

    async def _held(self, tokens: int) -> bool:
        async with AsyncExitStack() as exits:
            try:
                lease = await exits.enter_async_context(self._permit(tokens))
            except Exception as error:  # noqa: BLE001 - the user's; those whose batch it would have been get it
                self._asking = None
                self._deny(error)
                return False
            self._asking = None
            running = self._admit()
            if running is None:
                if hasattr(lease, "refund"):
                    lease.refund()
                return False
            if hasattr(lease, "settle"):
                lease.settle(running.tokens)
            return await running.drive()
