"""A rate limit and cancellations: nothing is lost to them, however many, and however the server counts."""

from __future__ import annotations

import asyncio
import random

import pytest

import virtual_time
from sparecall.flow import RateLimit


def cancels(calls: int) -> None:
    """Calls of which half are cancelled at random; from the middle on also held to a log."""
    dice = random.Random(5)

    async def main() -> None:
        limit = RateLimit(requests=6000, tokens=600_000, burst=0.2, clock=virtual_time.clock)

        async def call() -> None:
            async with limit.acquire(dice.randint(7, 200), background=dice.random() < 0.2) as lease:
                try:
                    await asyncio.sleep(dice.choice((0, 0.01)))
                    dice.choice((lease.refund, lambda: lease.settle(7)))()
                finally:
                    lease.refund()

        tasks: list[asyncio.Task[None]] = []
        for number in range(calls):
            if number == calls // 2:
                await asyncio.gather(*tasks, return_exceptions=True)
                limit.sync({"retry-after": "0"}, status=429)
                await asyncio.sleep(130)  # until what the log was begun with has left
            tasks.append(asyncio.create_task(call()))
            if dice.random() < 0.6:
                dice.choice(tasks[-200:]).cancel()
            await asyncio.sleep(dice.choice((0, 0, 0.002)))
            if len(tasks) > 2000:
                await asyncio.gather(*tasks[:1000], return_exceptions=True)
                del tasks[:1000]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.waiting == 0
        assert limit._requests.taken == pytest.approx(0, abs=1e-6)
        assert limit._tokens.taken == pytest.approx(0, abs=1e-6)
        assert limit._timer is None
        now = virtual_time.clock()
        assert limit._requests.ready_at(6000, now) <= now, "nothing is left in the log either"
        assert limit._tokens.ready_at(600_000, now) <= now

    virtual_time.run(main())


def test_no_token_is_lost_to_random_cancels() -> None:
    cancels(10_000)


@pytest.mark.soak
def test_no_token_is_lost_to_a_million_random_cancels() -> None:
    cancels(1_000_000)
