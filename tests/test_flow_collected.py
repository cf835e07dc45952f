"""What nobody holds any more goes, with all that waited in it or was lost."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from flow_calls import Clock, enter
from sparecall.flow import AdaptiveLimit, Breaker, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_breaker_and_its_lost_permits_are_collected() -> None:
    class Mark:
        """Held by the breaker through its clock."""

        def __call__(self) -> float:
            return 1000.0

    mark = Mark()
    gone = weakref.ref(mark)
    breaker = Breaker(slow_rate=0.5, slow_after=1.0, clock=mark)
    enter(breaker.call())  # it is watched, and never heard of again
    del breaker, mark
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", [partial(RateLimit, requests=1, burst=1.0), partial(AdaptiveLimit, initial=1)])
def test_a_limit_whose_loop_is_gone_is_collected(make: Callable[..., RateLimit | AdaptiveLimit]) -> None:
    clock = Clock()
    gone = weakref.ref(clock)
    limit = make(clock=clock)
    assert limit.try_acquire() is not None
    loop = asyncio.new_event_loop()
    waiting = limit.acquire().__aenter__()
    loop.run_until_complete(asyncio.wait([task := loop.create_task(waiting)], timeout=0))  # type: ignore[arg-type]
    assert limit.waiting == 1
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    del limit, clock, waiting, task, loop
    gc.collect()
    assert gone() is None
