"""Retries on a virtual clock: pauses, budget, deadline and what the server asks for; never twice, never after a first item."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

import virtual_time
from loop_steps import turns
from sparecall.errors import BreakerOpen, InvalidArgument
from sparecall.flow import Attempt, Breaker, Hedge, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


class Refused(Exception):
    """As an SDK raises it: with the reply."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.response = self
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Work:
    """Fails as told, then succeeds; keeps when it was called."""

    def __init__(self, *errors: BaseException | None, seconds: float = 0.0, items: int = 3) -> None:
        self.errors, self.seconds, self.items = list(errors), seconds, items
        self.calls: list[float] = []
        self.closed = 0

    async def __call__(self) -> str:
        self.calls.append(virtual_time.clock() - 1000)
        await asyncio.sleep(self.seconds)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return "answer"

    async def stream(self) -> AsyncIterator[int]:
        try:
            await self()
            for number in range(self.items):
                yield number
                await asyncio.sleep(self.seconds)
        finally:
            self.closed += 1


def made(**options: Any) -> Retry:
    options = {"random": lambda: 0.5, "clock": virtual_time.clock, "wall_clock": virtual_time.wall_clock} | options
    return Retry(**options)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return virtual_time.run(work)


def notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", []))


def test_pauses_double_and_are_a_random_part() -> None:
    work = Work(*[TimeoutError()] * 6)
    told: list[Attempt] = []
    retry = made(attempts=7, base=1.0, longest=8.0, on_retry=told.append)
    assert run(retry.run(work)) == "answer"
    assert [attempt.delay for attempt in told] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert work.calls == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5]
    assert [attempt.number for attempt in told] == [1, 2, 3, 4, 5, 6]
    assert {attempt.outcome for attempt in told} == {"failure"}


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (TimeoutError(), 3),
        (ConnectionError(), 3),
        (Refused(503), 3),
        (Refused(429), 3),
        (Refused(400), 1),
        (Refused(401), 1),
        (KeyError("my bug"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_only_what_another_call_may_mend_is_made_again(error: BaseException, calls: int) -> None:
    work = Work(*[error] * 10)
    with pytest.raises(type(error)) as caught:
        run(made().run(work))
    assert len(work.calls) == calls
    assert caught.value is error
    if isinstance(error, Exception):
        assert f"not called again after {calls} calls" in notes(error)


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (Refused(429, retry_after="7"), 7.25),
        (Refused(503, Retry_After="7"), 7.25),
        (Refused(429, retry_after_ms="1500"), 1.75),
        (Refused(429, retry_after="soon"), 0.25),
        (BreakerOpen("", retry_after=3.0), 3.25),
    ],
)
def test_what_the_server_asks_for_is_honoured(error: Exception, delay: float) -> None:
    work = Work(error)
    assert run(made().run(work)) == "answer"
    assert work.calls == [0.0, delay]


def test_it_gives_up_at_once_where_the_wait_is_past_the_deadline_or_patience() -> None:
    async def main() -> None:
        work = Work(Refused(429, retry_after="7"))
        with pytest.raises(Refused) as caught:
            await made().run(work, deadline=virtual_time.clock() + 5)
        assert virtual_time.clock() == 1000.0
        assert "past the deadline" in notes(caught.value)
        with pytest.raises(Refused) as caught:
            await made(patience=60).run(Work(Refused(429, retry_after="61")))
        assert "patience is 60 s" in notes(caught.value)

    run(main())


def test_a_call_that_cannot_end_before_the_deadline_is_not_begun() -> None:
    async def main() -> None:
        retry = made(base=2.0)
        for _ in range(3):
            await retry.run(Work(seconds=4.0))
        work = Work(TimeoutError())
        with pytest.raises(TimeoutError) as caught:
            await retry.run(work, deadline=virtual_time.clock() + 4.9)
        assert "a call of about 4.0 s" in notes(caught.value)
        assert len(work.calls) == 1
        assert await retry.run(Work(TimeoutError()), deadline=virtual_time.clock() + 5.1) == "answer"

    run(main())


def test_the_deadline_ends_a_call_under_way_and_begins_none() -> None:
    async def main() -> None:
        work = Work(seconds=60.0)
        with pytest.raises(TimeoutError):
            await made().run(work, deadline=virtual_time.clock() + 5)
        assert (virtual_time.clock(), len(work.calls)) == (1005.0, 1)
        with pytest.raises(TimeoutError, match=r"passed 1\.0 s ago; 0 calls"):
            await made().run(work, deadline=virtual_time.clock() - 1)
        assert len(work.calls) == 1

    run(main())


def test_an_outage_gets_a_tenth_more_calls_at_most() -> None:
    async def main() -> None:
        retry = made(attempts=5, base=0.0)
        calls = 0

        async def down() -> None:
            nonlocal calls
            calls += 1
            raise ConnectionError

        for _ in range(1000):
            with pytest.raises(ConnectionError) as caught:
                await retry.run(down)
        assert calls <= 1000 * 1.1 + 10
        assert "budget of retries is spent" in notes(caught.value)
        for _ in range(200):
            await retry.run(Work())
        assert retry.budget == 10
        assert repr(retry) == "<Retry of up to 5 attempts, 10.0 retries in the budget>"

    run(main())


def test_one_owner_of_retries() -> None:
    async def main() -> None:
        inner_work = Work(TimeoutError(), TimeoutError())
        outer, inner = made(), made()
        with pytest.warns(RuntimeWarning, match="inside the work of another"):
            assert await outer.run(lambda: inner.run(inner_work)) == "answer"
        assert len(inner_work.calls) == 3  # not nine

    run(main())


def test_three_layers_make_as_many_calls_as_the_outermost() -> None:
    async def main() -> None:
        work = Work(*[TimeoutError()] * 45)
        hedge = Hedge(clock=virtual_time.clock)
        with pytest.warns(RuntimeWarning, match="inside the work of another"), pytest.raises(TimeoutError):
            await made(attempts=3).run(
                lambda: made(attempts=3).run(lambda: hedge.run(lambda: made(attempts=5).run(work), idempotent=True))
            )
        assert len(work.calls) == 3  # not 45

    run(main())


def test_what_a_retried_call_left_running_retries_for_itself() -> None:
    async def main() -> None:
        background: list[asyncio.Task[str]] = []
        work = Work(TimeoutError())

        async def later() -> str:
            await asyncio.sleep(10)
            return await made().run(work)

        async def start() -> None:
            background.append(asyncio.create_task(later()))

        await made().run(start)
        assert await background[0] == "answer"

    run(main())


def test_it_warns_of_an_sdk_that_retries_below_it() -> None:
    class Client:
        max_retries = 2

    with pytest.warns(RuntimeWarning, match=r"Client has max_retries=2 .* up to 9 calls for one"):
        made().owns(Client())
    Client.max_retries = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().owns(Client())
        made().owns(object())


@pytest.mark.parametrize("client", [openai.AsyncOpenAI, openai.OpenAI, anthropic.AsyncAnthropic, anthropic.Anthropic])
def test_the_official_sdks_are_such(client: Any) -> None:
    with pytest.warns(RuntimeWarning, match=rf"{client.__name__} has max_retries=2"):
        made().owns(client(api_key="test"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().owns(client(api_key="test", max_retries=0))
        made().owns(client(api_key="test").with_options(max_retries=0))


def test_a_stream_is_begun_again_before_its_first_item_only() -> None:
    async def main() -> None:
        work = Work(TimeoutError(), Refused(500))
        assert [item async for item in made().stream(work.stream)] == [0, 1, 2]
        assert (len(work.calls), work.closed) == (3, 3)

        async def breaks() -> AsyncIterator[int]:
            calls.append(1)
            yield 1
            raise ConnectionError

        calls: list[int] = []
        broken = made().stream(breaks)
        assert await anext(broken) == 1
        with pytest.raises(ConnectionError):
            await anext(broken)
        assert calls == [1]
        assert [item async for item in made().stream(Work(items=0).stream)] == []
        with pytest.raises(Refused):
            async for _ in made().stream(Work(Refused(400)).stream):
                pass

    run(main())


def test_a_stream_that_is_left_or_late_is_closed() -> None:
    async def main() -> None:
        work = Work(seconds=1.0)
        stream = made().stream(work.stream, deadline=virtual_time.clock() + 1.5)
        assert await anext(stream) == 0
        assert await anext(stream) == 1  # past the deadline: that is for the first item
        await stream.aclose()
        assert work.closed == 1
        work = Work(seconds=60.0)
        with pytest.raises(TimeoutError):
            await anext(made().stream(work.stream, deadline=virtual_time.clock() + 1.5))
        assert work.closed == 1

    run(main())


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("way", ["run", "stream"])
def test_cancelled_at_any_step_it_calls_no_more(way: str, step: int) -> None:
    async def main() -> None:
        breaker = Breaker(clock=virtual_time.clock)
        work = Work(TimeoutError(), TimeoutError(), seconds=0.0)

        async def call() -> None:
            async with breaker.call():
                if way == "run":
                    await made(base=0.0).run(work)
                else:
                    async for _ in made(base=0.0).stream(work.stream):
                        pass

        task = asyncio.create_task(call())
        await turns(step)
        done = len(work.calls)
        cancelled = task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() == cancelled
        assert len(work.calls) == done
        assert way == "run" or work.closed == done

    run(main())


def test_it_decorates_coroutine_functions() -> None:
    retry = made(base=0.0)
    errors: list[Exception] = [TimeoutError()]

    @retry
    async def ask(question: str) -> str:
        if errors:
            raise errors.pop()
        return question.upper()

    assert run(ask("a")) == "A"
    with pytest.raises(TypeError, match=r"retry\.stream"):
        retry(lambda: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"base": -1}, {"longest": float("nan")}, {"budget": -0.1}, {"reserve": -1}, {"patience": -1}]
)  # fmt: skip
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Retry(**options)
    with pytest.raises(InvalidArgument, match="deadline"):
        run(made().run(Work(), deadline=float("inf")))


def test_code_that_is_not_ours_ends_it_with_its_own_error() -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("hook")

    for options in ({"on_retry": broken}, {"classify": broken}):
        with pytest.raises(RuntimeError, match="hook"):
            run(made(**options).run(Work(TimeoutError())))
