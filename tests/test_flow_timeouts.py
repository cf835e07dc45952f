"""Timeouts on a virtual clock: what they learn, whom they blame, that streams are closed, and that nothing is left whatever is cancelled."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtual_time
from hedges import Provider, run
from loop_steps import turns
from sparecall.errors import CallTimeout, InvalidArgument
from sparecall.flow import Breaker, Retry, Timeout, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def made(**options: Any) -> Timeout:
    return Timeout(clock=virtual_time.clock, **options)


async def learned(seconds: float = 1.0, **options: Any) -> Timeout:
    """A timeout that knows that answers, and streams' first items, take so long."""
    options.setdefault("least", 0.1)
    timeout = made(**options)
    for _ in range(30):
        await timeout.run(Provider(seconds), tokens=100)
        await read(timeout.stream(Provider(seconds, items=1).stream))
    return timeout


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def test_the_time_is_a_line_over_the_tokens_and_the_slowest_of_a_hundred_twice() -> None:
    async def main() -> None:
        dice = random.Random(2)
        timeout = made(minimum_calls=20)
        assert timeout.answer("chat", tokens=100) == 120
        for number in range(500):
            tokens = dice.randrange(50, 2000)
            work = Provider((0.5 + tokens / 100) * dice.uniform(0.7, 1.3))
            async with timeout.call("chat") as call:
                await work()
                call.settle(tokens)
            if number == 20:
                assert timeout.answer("chat", tokens=100) < 120
        assert timeout.rate("chat") == pytest.approx(100, rel=0.1)
        for tokens in (50, 500, 2000):
            assert timeout.answer("chat", tokens=tokens) == pytest.approx(2 * 1.3 * (0.5 + tokens / 100), rel=0.15)
        assert timeout.answer("chat", tokens=10**6) == 120
        assert timeout.answer("chat") == pytest.approx(
            timeout.answer("chat", tokens=2000), rel=0.15
        )  # mean and two deviations
        assert timeout.answer("other") == 120
        assert (timeout.rate("other"), timeout.first_item("chat")) == (None, 120)
        assert repr(timeout) == "<Timeout from 1 to 120 s, idle 30 s, 1 routes known>"

    run(main())


def test_what_takes_longer_is_ended_and_is_the_endpoints_fault() -> None:
    async def main() -> None:
        timeout, provider = await learned(), Provider(60.0)
        breaker = Breaker(minimum_calls=1, clock=virtual_time.clock)
        begun = virtual_time.clock()

        async def ask() -> None:
            async with breaker.call(), timeout.call(tokens=100) as call:
                assert call.seconds == pytest.approx(2, rel=0.05)
                assert repr(call).startswith("<Timed call of at most 2")
                await provider()

        with pytest.raises(CallTimeout, match=r"an answer did not come within") as caught:
            await ask()
        assert caught.value.code == "answer"
        assert caught.value.seconds == pytest.approx(2, rel=0.05)
        assert virtual_time.clock() - begun == pytest.approx(2, abs=0.1)
        assert (breaker.state, provider.open) == ("open", 0)
        assert isinstance(caught.value, TimeoutError)

    run(main())


def test_a_retry_around_it_calls_again() -> None:
    async def main() -> None:
        timeout, provider = await learned(), Provider(60.0, 0.5)
        retry = Retry(base=0.0, clock=virtual_time.clock)
        assert await retry.run(lambda: timeout.run(provider, tokens=100)) == "answer 2"
        streamed = Provider(60.0, 0.5, items=1)
        assert await read(retry.stream(lambda: timeout.stream(streamed.stream))) == ["answer 2.0"]
        assert (provider.open, streamed.open) == (0, 0)

    run(main())


def test_a_deadline_that_leaves_less_than_such_calls_take_blames_nobody() -> None:
    async def main() -> None:
        timeout = await learned()
        for seconds, code, outcome in ((0.5, "deadline", "ignored"), (1.5, "answer", "failure")):
            for way in ("answer", "first_item"):
                provider = Provider(60.0)
                deadline = virtual_time.clock() + seconds
                whole = timeout.run(provider, tokens=100, deadline=deadline)
                streamed = read(timeout.stream(provider.stream, deadline=deadline))
                used, unused = (whole, streamed) if way == "answer" else (streamed, whole)
                unused.close()
                with pytest.raises(CallTimeout) as caught:
                    await used
                assert virtual_time.clock() == pytest.approx(deadline)
                assert caught.value.code == (code if code == "deadline" else way)
                assert outcome_of(caught.value) == outcome
                assert provider.open == 0
        for work in (timeout.run(Provider(), deadline=0.0), read(timeout.stream(Provider().stream, deadline=0.0))):
            with pytest.raises(CallTimeout, match="no call was made") as caught:
                await work
            assert outcome_of(caught.value) == "ignored"

    run(main())


def test_a_provider_that_turned_slow_for_good_gets_more_time_and_no_more_than_most() -> None:
    async def main() -> None:
        timeout = await learned(most=30.0)
        ended = 0
        for _ in range(300):
            try:
                await timeout.run(Provider(10.0), tokens=100)
            except CallTimeout:
                ended += 1
        assert 0 < ended < 30
        for _ in range(300):
            with pytest.raises(CallTimeout):
                await timeout.run(Provider(300.0), tokens=100)
        assert timeout.answer(tokens=100) == 30.0
        for _ in range(3000):
            await timeout.run(Provider(1.0), tokens=100)
        assert timeout.answer(tokens=100) == pytest.approx(2, rel=0.1)

    run(main())


def test_a_stream_may_be_long_but_not_silent() -> None:
    class Pieces:
        closed = 0

        def __init__(self, *pauses: float) -> None:
            self.pauses = pauses

        async def __call__(self) -> AsyncIterator[int]:
            try:
                for number, pause in enumerate(self.pauses):
                    await asyncio.sleep(pause)
                    yield number
            finally:
                await asyncio.sleep(0.01)
                Pieces.closed += 1

    async def main() -> None:
        timeout = made(idle=5.0)
        pieces = Pieces(30.0, *[4.9] * 100)
        assert await read(timeout.stream(pieces)) == list(range(101))
        silent = timeout.stream(Pieces(1.0, 4.9, 5.1))
        assert [await anext(silent), await anext(silent)] == [0, 1]
        await asyncio.sleep(60)  # a slow reader is not the provider's fault
        before = virtual_time.clock()
        with pytest.raises(CallTimeout, match=r"silent for 5 s") as caught:
            await anext(silent)
        assert virtual_time.clock() == pytest.approx(before + 5.01)
        assert (caught.value.code, outcome_of(caught.value), Pieces.closed) == ("idle", "failure", 2)
        left = timeout.stream(Pieces(1.0, 1.0))
        await anext(left)
        await left.aclose()
        assert Pieces.closed == 3
        scheduled: Any = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert [handle for handle in scheduled if not handle.cancelled()] == []
        assert await read(timeout.stream(Provider(0.5, items=0).stream)) == []

    run(main())


def test_first_items_are_learned_by_the_prompt() -> None:
    async def main() -> None:
        timeout = made(least=0.1)
        for number in range(400):
            prompt = number % 7 * 1000
            await read(timeout.stream(Provider(0.2 + prompt / 1000, items=1).stream, route="r", prompt_tokens=prompt))
        assert timeout.first_item("r") < 1
        assert timeout.first_item("r", prompt_tokens=6000) == pytest.approx(12.4, rel=0.1)

    run(main())


def test_a_whole_answer_after_a_long_prompt_gets_more_time() -> None:
    async def main() -> None:
        dice = random.Random(3)
        timeout = made(least=0.1)
        for _ in range(400):
            tokens, prompt = dice.randrange(50, 500), dice.randrange(100, 10_000)
            async with timeout.call("r", prompt_tokens=prompt) as call:
                await Provider(0.5 + tokens / 100 + prompt / 2000)()
                call.settle(tokens)
        for tokens, prompt in ((100, 500), (100, 10_000), (500, 500), (500, 10_000)):
            wanted = 2 * (0.5 + tokens / 100 + prompt / 2000)
            assert timeout.answer("r", tokens=tokens, prompt_tokens=prompt) == pytest.approx(wanted, rel=0.1)
        assert timeout.rate("r") == pytest.approx(100, rel=0.05)
        same = made()
        for _ in range(100):
            await same.run(Provider(dice.uniform(1, 2)), tokens=100)
        assert same.rate() is None  # nothing tells a token's time from the rest
        with pytest.raises(InvalidArgument, match="prompt_tokens"):
            same.call(prompt_tokens=-1)

    run(main())


def test_a_call_that_swallows_its_end_leaves_nothing_behind() -> None:
    async def main() -> None:
        timeout = await learned()

        async def stubborn() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "all the same"
            return "never"

        async def pieces() -> AsyncIterator[str]:
            yield await stubborn()
            yield "more"

        assert await timeout.run(stubborn, tokens=100) == "all the same"
        assert await read(timeout.stream(pieces)) == ["all the same", "more"]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(100)

    run(main())


def test_an_outer_timeout_is_not_taken_for_its_own() -> None:
    async def main() -> None:
        timeout, provider = await learned(), Provider(60.0, 60.0)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await timeout.run(provider, tokens=100)
        assert not isinstance(caught.value, CallTimeout)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(timeout.answer(tokens=100)):  # both at the same time
                await timeout.run(provider, tokens=100)
        assert not isinstance(caught.value, CallTimeout)
        task = asyncio.current_task()
        assert task is not None
        assert (provider.open, task.cancelling()) == (0, 0)

    run(main())


def test_it_decorates_coroutine_functions() -> None:
    async def main() -> None:
        timeout = made(minimum_calls=1)

        @timeout
        async def ask(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "answer"

        assert await ask(1.0) == "answer"
        assert await timeout.run(lambda: ask(1.0), route="r", used=len) == "answer"
        assert timeout._estimates.estimate("r", None) == 12  # 6 and two deviations
        with pytest.raises(CallTimeout):
            await ask(60.0)
        with pytest.raises(TypeError, match=r"timeout\.stream"):
            timeout(lambda: None)  # type: ignore[arg-type,return-value]
        call = timeout.call()
        assert repr(call) == "<Timed call not entered>"
        async with call:
            pass
        with pytest.raises(InvalidArgument, match="one call"):
            async with call:
                pass

    run(main())


@pytest.mark.parametrize(
    "options", [{"least": 0}, {"most": 0.5}, {"most": float("inf")}, {"factor": 0.9}, {"idle": 0}, {"minimum_calls": 0}]
)  # fmt: skip
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Timeout(**options)
    timeout = Timeout()
    with pytest.raises(InvalidArgument, match="tokens"):
        timeout.call(tokens=-1)
    with pytest.raises(InvalidArgument, match="deadline"):
        timeout.call(deadline=float("nan"))


def test_routes_are_bounded() -> None:
    async def main() -> None:
        timeout = made()
        for number in range(1030):
            async with timeout.call(str(number)):
                pass
        assert len(timeout._wholes) == 1024

    run(main())


tenths = st.integers(0, 60).map(lambda count: count / 10)


@settings(max_examples=200)
@given(
    first=tenths, gap=tenths, limit=tenths.map(lambda s: s + 0.1037), idle=tenths.map(lambda s: s + 0.1041),
    cancel=st.one_of(st.none(), tenths.map(lambda s: s + 0.0017)), slow_reader=st.booleans(), way=st.sampled_from(["run", "stream"]),
)  # fmt: skip
def test_any_call_ends_as_it_must(
    first: float, gap: float, limit: float, idle: float, cancel: float | None, *, slow_reader: bool, way: str
) -> None:
    """Against a model of its moments; all are at odd distances from each other."""

    async def main() -> None:
        timeout = made(least=limit, most=limit, idle=idle)
        open_streams = 0

        async def pieces() -> AsyncIterator[int]:
            nonlocal open_streams
            open_streams += 1
            try:
                await asyncio.sleep(first)
                yield 1
                await asyncio.sleep(gap)
                yield 2
            finally:
                open_streams -= 1

        async def ask() -> None:
            if way == "run":
                await timeout.run(lambda: asyncio.sleep(first))
                return
            async for _ in timeout.stream(pieces):
                await asyncio.sleep(10.0 if slow_reader else 0.0)

        begun = virtual_time.clock()
        task = asyncio.create_task(ask())
        if cancel is not None:
            await asyncio.sleep(cancel)
            task.cancel()
        result: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        took = virtual_time.clock() - begun
        pause = 10.0 if slow_reader else 0.0
        if first > limit:
            expected, code = limit, "answer" if way == "run" else "first_item"
        elif way == "run":
            expected, code = first, ""
        elif gap > idle:
            expected, code = first + pause + idle, "idle"
        else:
            expected, code = first + gap + 2 * pause, ""
        if cancel is not None and cancel < expected:
            assert isinstance(result, asyncio.CancelledError)
        elif cancel is None:
            assert took == pytest.approx(expected)
            assert (result.code if isinstance(result, CallTimeout) else "") == code
        assert open_streams == 0

    run(main(), collected=False)


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("plan", [(0.0,), (5.0,)], ids=["answers", "late"])
def test_cancelled_at_any_step_nothing_goes_on(way: str, plan: tuple[float, ...]) -> None:
    async def main() -> None:
        for step in range(30):
            timeout, provider = made(least=1e-6, most=1e-6, idle=1e-6), Provider(*plan)
            task = asyncio.create_task(timeout.run(provider) if way == "run" else read(timeout.stream(provider.stream)))
            await turns(step)
            cancelled = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() == cancelled
            assert provider.open == 0

    run(main())


def cancels(calls: int) -> None:
    """Calls and streams, many at a time, that are late or cancelled at random."""
    dice = random.Random(9)

    async def main() -> None:
        breaker = Breaker(failure_rate=1.0, clock=virtual_time.clock)
        timeout = made(least=0.05, most=0.05, idle=0.05)
        ends = {"answer": 0, "first_item": 0, "idle": 0, "cancelled": 0, "well": 0}

        async def ask() -> None:
            await asyncio.sleep(dice.choice((0, 0.01, 0.06)))

        async def items() -> AsyncIterator[int]:
            for item in range(2):
                await ask()
                yield item

        async def call(number: int) -> None:
            try:
                async with breaker.call():
                    if number % 2:
                        await timeout.run(ask)
                    else:
                        await read(timeout.stream(items))
                ends["well"] += 1
            except CallTimeout as error:
                ends[error.code] += 1
            except asyncio.CancelledError:
                ends["cancelled"] += 1
                raise

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
        assert breaker.leases == 0
        assert min(ends.values()) > calls / 100

    run(main())


def test_nothing_is_left_of_random_cancels() -> None:
    cancels(10_000)  # of which seven in ten are cancelled, as in the two files beside this


@pytest.mark.soak
def test_nothing_is_left_of_a_million_random_cancels() -> None:
    cancels(1_000_000)
