"""What the tests of stores share: entries, a listener that remembers, waiting for something to become true, a cancelling driver."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from sparecall.store import Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence


def entry(key: str, value: Any = "value", *, scope: str = "team", life: float = 60.0, **fields: Any) -> Entry:
    now = time.time()
    return Entry(scope=scope, key=key, value=value, created=now, expires=now + life, dead=now + life, **fields)


class Heard:
    """A listener that keeps what it hears, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def changed(self, names: Sequence[str], versions: Sequence[int]) -> None:
        self.all.append(("changed", *names, *versions))

    def dropped(self, scope: str, keys: Sequence[str]) -> None:
        self.all.append(("dropped", scope, *keys))

    def lost(self) -> None:
        self.all.append(("lost",))


async def until(condition: Callable[[], Any], *, seconds: float = 10.0) -> None:
    """Waits for `condition` to hold; fails where it does not in so long that something must be wrong."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class CancelledAt:
    """Awaits a coroutine and cancels the task as it suspends for the k-th time (from 0). `reached` says whether it did."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], k: int) -> None:
        self.coroutine, self.k, self.reached = coroutine, k, False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.coroutine.__await__()
        count = 0
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            if count == self.k:
                self.reached = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            count += 1
            value, error = None, None
            try:
                value = yield waits_for
            except BaseException as thrown:  # noqa: BLE001
                error = thrown


async def cancelled_at_each(make: Callable[[], Coroutine[Any, Any, Any]], after: Callable[[], Awaitable[None]]) -> int:
    """Runs what `make` gives again and again, cancelled at each of its suspensions, then `after` each time; how many there were."""
    for k in range(1000):
        driver = CancelledAt(make(), k)

        async def whole(driver: CancelledAt = driver) -> None:
            await driver

        task = asyncio.create_task(whole())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        await after()
        if not driver.reached:
            assert outcome is None or not isinstance(outcome, BaseException), outcome
            return k
        assert isinstance(outcome, asyncio.CancelledError), "a cancellation must not be swallowed"
    raise AssertionError("it never ended")
