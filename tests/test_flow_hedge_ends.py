"""However a hedged call ends, nothing of it goes on: any race against a model, cancellation at every step, and random cancels by the thousand."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

import virtual_time
from hedges import Provider, asked, learned, run
from loop_steps import turns
from sparecall.errors import CallTimeout
from sparecall.flow import Breaker, Hedge, Timeout, calm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

seconds = st.integers(0, 40).map(lambda tenths: tenths / 10)


@settings(max_examples=200)
@given(
    first=seconds, second=seconds, first_fails=st.booleans(), second_fails=st.booleans(), ending=st.sampled_from([0.0, 0.35]),
    cancel=st.one_of(st.none(), seconds), twice=st.booleans(), way=st.sampled_from(["run", "stream"]),
)  # fmt: skip
def test_any_race_ends_as_it_must_with_nothing_left(
    first: float,
    second: float,
    *,
    first_fails: bool,
    second_fails: bool,
    ending: float,
    cancel: float | None,
    twice: bool,
    way: str,
) -> None:
    """Against a model of two timelines: first at `first`, second from 1.003 on, cancelled at `cancel` + 0.0017, so that nothing comes at once."""

    async def main() -> None:
        hedge = learned()
        hedge._lanes[""].seen._value, hedge._lanes[""].seen._stale = 1.003, 0
        provider = Provider(
            (first, ConnectionError("one")) if first_fails else first,
            (second, ConnectionError("two")) if second_fails else second,
            ending=ending,
            items=1,
        )
        task = asyncio.create_task(asked(hedge, provider, way))
        if cancel is not None:
            await asyncio.sleep(cancel + 0.0017)
            task.cancel()
            if twice:
                await asyncio.sleep(0.1)
                task.cancel()
        result: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        assert (provider.open, len(provider.ended)) == (0, len(provider.calls))

        ends = {"first": first + ending, "second": 1.003 + second + ending}
        hedged = ends["first"] > 1.003
        assert cancel is not None or len(provider.calls) == 1 + hedged
        good = [
            name
            for name, fails in (("first", first_fails), ("second", second_fails and hedged))
            if not fails and (name == "first" or hedged)
        ]
        over = min((ends[name] for name in good), default=max(ends.values()) if hedged else ends["first"])
        if cancel is not None and cancel + 0.0017 < over:
            assert isinstance(result, asyncio.CancelledError)
        elif cancel is None:
            if not good:
                assert isinstance(result, ConnectionError)
                assert str(result) == "one"
            else:
                winner = min(good, key=lambda name: ends[name])
                name = "answer 1" if winner == "first" else "answer 2"
                assert result == (name if way == "run" else [f"{name}.0"])
        assert task.cancelled() == isinstance(result, asyncio.CancelledError)

    run(main(), collected=False)


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize(
    "plan", [(5.0, 0.0), (0.0, 0.0), (5.0, 5.0)], ids=["second wins", "first wins", "both under way"]
)
def test_cancelled_at_any_step_nothing_goes_on(way: str, plan: tuple[float, ...]) -> None:
    async def main() -> None:
        for step in range(40):
            hedge, provider = learned(1e-4), Provider(*plan)
            hedge._lanes[""].seen._value, hedge._lanes[""].seen._stale = (
                0.0,
                0,
            )  # the second call is made in the same turn
            task = asyncio.create_task(asked(hedge, provider, way))
            await turns(step)
            cancelled = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() == cancelled
            assert provider.open == 0
            assert len(provider.calls) == len(provider.ended)

    run(main())


def test_on_uvloop_too() -> None:
    """In real time, but nothing depends on how much of it passes: what is ended would go on for ever."""

    async def main() -> None:
        hedge, timeout = Hedge(minimum_calls=1, least=0.001), Timeout(least=0.001, most=0.001, idle=0.001)
        hedge._credit = 5.0
        await hedge.run(lambda: asyncio.sleep(0), idempotent=True)
        ended = 0

        async def never() -> AsyncGenerator[int, None]:
            nonlocal ended
            try:
                await asyncio.Event().wait()
                yield 0
            finally:
                ended += 1

        async def two() -> AsyncIterator[int]:
            yield 1
            yield 2

        async def begins() -> AsyncIterator[int]:
            yield 1
            async with aclosing(never()) as rest:
                async for item in rest:
                    yield item

        assert [item async for item in hedge.stream(never, second=two, idempotent=True)] == [1, 2]
        assert await hedge.run(asyncio.Event().wait, second=lambda: asyncio.sleep(0, True), idempotent=True)
        with pytest.raises(CallTimeout):
            await timeout.run(asyncio.Event().wait)
        for work, code in ((never, "first_item"), (begins, "idle")):
            with pytest.raises(CallTimeout) as caught:
                _ = [item async for item in timeout.stream(work)]
            assert caught.value.code == code
        assert ended == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    uvloop.run(main())


def cancels(calls: int) -> None:
    """Hedged calls and streams through a breaker, many at a time, of which seven in ten are cancelled at random."""
    dice = random.Random(3)

    async def main() -> None:
        breaker = Breaker(slow_rate=0.9, slow_after=30.0, clock=virtual_time.clock)
        hedge = learned(0.05, quantile=0.4, budget=0.5, reserve=1000, allowed=calm(breaker))
        seen = {"first": 0, "second": 0, "none": 0}
        hedge._on_event = lambda hedged: seen.__setitem__(hedged.winner, seen[hedged.winner] + 1)
        open_calls = 0

        async def ask() -> int:
            nonlocal open_calls
            async with breaker.call():
                open_calls += 1
                try:
                    await asyncio.sleep(dice.choice((0, 0.01, 0.06, 0.5)))
                    if dice.random() < 0.02:
                        raise TimeoutError
                    return 1
                finally:
                    open_calls -= 1

        async def items() -> AsyncIterator[int]:
            yield await ask()
            yield await ask()

        async def call(number: int) -> None:
            if number % 2:
                await hedge.run(ask, idempotent=True)
            else:
                async for _ in hedge.stream(items, idempotent=True):
                    pass

        tasks: list[asyncio.Task[None]] = []
        for number in range(calls):
            tasks.append(asyncio.create_task(call(number)))
            if dice.random() < 0.7:
                dice.choice(tasks[-20:]).cancel()
            await asyncio.sleep(dice.choice((0, 0, 0.01)))
            if len(tasks) > 200:
                await asyncio.gather(*tasks[:100], return_exceptions=True)
                del tasks[:100]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert open_calls == breaker.leases == len(breaker._running) == 0
        assert min(seen.values()) > calls / 500

    run(main())


def test_nothing_is_left_of_random_cancels() -> None:
    cancels(10_000)  # of which seven in ten are cancelled, as in the two files beside this


@pytest.mark.soak
def test_nothing_is_left_of_a_million_random_cancels() -> None:
    cancels(1_000_000)
