"""Endpoints asked in order: who served, who was passed over and why; a stream is another's only before its first item."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from loop_steps import turns
from sparecall.errors import EndpointsFailed, InvalidArgument
from sparecall.flow import Breaker, Fallback, Passed, Retry, Served, Stream, StreamFallback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Endpoint:
    def __init__(self, name: str, error: BaseException | None = None, *, seconds: float = 0.0) -> None:
        self.name, self.error, self.seconds = name, error, seconds
        self.calls = self.closed = 0

    async def __call__(self, question: str) -> str:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return f"{self.name}: {question}"

    async def stream(self, question: str) -> AsyncIterator[str]:
        try:
            yield await self(question)
            yield "more"
        finally:
            self.closed += 1


def test_the_next_is_asked_and_the_answer_says_whose_it_is() -> None:
    told: list[Passed] = []
    first, second = Endpoint("a", TimeoutError("secret prompt")), Endpoint("b")
    fallback = Fallback({"a": first, "b": second}, on_passed=told.append)
    served = virtual_time.run(fallback.run("why"))
    assert served == Served("b: why", "b", (Passed("a", "failure", "TimeoutError"),))
    assert list(served.passed) == told
    assert repr(fallback) == "<Fallback over a, b>"
    first.error = None
    assert virtual_time.run(fallback.run(question="why")) == Served("a: why", "a", ())


def test_a_mistake_is_one_everywhere() -> None:
    second = Endpoint("b")
    with pytest.raises(ValueError, match="mine"):
        virtual_time.run(Fallback({"a": Endpoint("a", ValueError("mine")), "b": second}).run("why"))
    assert second.calls == 0


def test_all_that_failed_are_named_but_not_quoted() -> None:
    errors = {"a": TimeoutError("secret prompt"), "b": ConnectionError("secret prompt")}
    with pytest.raises(EndpointsFailed) as caught:
        virtual_time.run(Fallback({name: Endpoint(name, error) for name, error in errors.items()}).run("why"))
    assert str(caught.value) == "all 2 endpoints failed (a: TimeoutError, b: ConnectionError)"
    assert caught.value.errors == errors
    assert caught.value.__cause__ is errors["b"]


def test_one_that_is_too_slow_is_passed_over_but_not_the_last() -> None:
    slow, last = Endpoint("a", seconds=60.0), Endpoint("b", seconds=60.0)
    served = virtual_time.run(Fallback({"a": slow, "b": last}, timeout=2.0).run("why"))
    assert (served.served_by, served.passed[0].reason) == ("b", "TimeoutError")


def test_each_with_its_own_breaker_and_retries() -> None:
    async def main() -> None:
        down, well = Endpoint("a", ConnectionError()), Endpoint("b")
        breaker = Breaker(minimum_calls=5, clock=virtual_time.clock)
        retry = Retry(base=0.0, clock=virtual_time.clock)

        async def first(question: str) -> str:
            async with breaker.call():
                return await down(question)

        async def retried(question: str) -> str:
            return await retry.run(lambda: first(question), deadline=virtual_time.clock() + 5)

        fallback = Fallback({"a": retried, "b": well})
        served = [await fallback.run("why") for _ in range(20)]
        assert {answer.served_by for answer in served} == {"b"}
        assert down.calls == 5  # then the breaker is open, its pause past the deadline, and the next is asked at once
        assert served[-1].passed[0] == Passed("a", "limited", "BreakerOpen")
        assert virtual_time.clock() == 1000.0

    virtual_time.run(main())


def test_a_stream_is_another_s_before_its_first_item_only() -> None:
    async def main() -> None:
        first, second = Endpoint("a", TimeoutError()), Endpoint("b")
        fallback = StreamFallback({"a": first.stream, "b": second.stream}, timeout=5.0)
        served = await fallback.run("why")
        assert repr(served.value) == "<Stream at its first item>"
        assert [item async for item in served.value] == ["b: why", "more"]
        assert (served.served_by, first.closed, second.closed) == ("b", 1, 1)
        assert repr(fallback) == "<StreamFallback over a, b>"

        async def breaks(question: str) -> AsyncIterator[str]:
            yield question
            raise ConnectionError

        broken = await StreamFallback({"a": breaks, "b": second.stream}).run("why")
        assert await anext(broken.value) == "why"
        with pytest.raises(ConnectionError):
            await anext(broken.value)
        assert second.calls == 1

    virtual_time.run(main())


def test_a_stream_that_nobody_reads_can_be_closed() -> None:
    async def main() -> None:
        endpoint = Endpoint("a")
        stream: Stream[str] = (await StreamFallback({"a": endpoint.stream}).run("why")).value
        await stream.aclose()
        assert endpoint.closed == 1
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    virtual_time.run(main())


def test_an_iterator_that_is_no_generator_is_closed_too() -> None:
    class Lines:
        closed = 0

        def __aiter__(self) -> Lines:
            return self

        async def __anext__(self) -> str:
            await asyncio.sleep(60)
            return "late"

        async def aclose(self) -> None:
            self.closed += 1

    async def main() -> None:
        lines = Lines()
        served = await StreamFallback({"a": lambda: lines, "b": lambda: Lines()}, timeout=1.0).run()
        assert (lines.closed, served.served_by) == (1, "b")

    virtual_time.run(main())


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("streamed", [False, True])
def test_cancelled_at_any_step_it_asks_no_more_and_closes_what_began(streamed: bool, step: int) -> None:
    async def main() -> None:
        endpoints = [Endpoint("a", TimeoutError()), Endpoint("b", TimeoutError()), Endpoint("c", seconds=1.0)]
        fallback: Any = (
            StreamFallback({each.name: each.stream for each in endpoints}, timeout=9.0)
            if streamed
            else Fallback({each.name: each for each in endpoints}, timeout=9.0)
        )
        task = asyncio.create_task(fallback.run("why"))
        await turns(step)
        before = [each.calls for each in endpoints]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [each.calls for each in endpoints] == before
        if streamed:
            assert [each.closed for each in endpoints] == before

    virtual_time.run(main())


def test_bad_options_are_named() -> None:
    with pytest.raises(InvalidArgument, match="endpoints is empty"):
        Fallback({})
    with pytest.raises(TypeError, match="'a' must be callable"):
        Fallback({"a": "https://a"})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgument, match="timeout"):
        StreamFallback({"a": Endpoint("a").stream}, timeout=0)
