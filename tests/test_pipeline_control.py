"""Retries, other models and deadlines around a route; and that nothing is held by whoever fails, leaves or is cancelled."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import virtual_time
from endpoints import Raising, Refusing, endpoint, passed, routed, saying
from sparecall.cache import BytesCache
from sparecall.errors import DeadlineExceeded, UpstreamError
from sparecall.flow import Breaker, RateLimit, Retry
from sparecall.pipeline import (
    BreakerStage,
    Coalesce,
    Digest,
    Exact,
    FallbackStage,
    Pipeline,
    RateLimitStage,
    RetryStage,
    RouteStage,
    Scope,
    Target,
)
from stages import Clock, Provider, asking, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

PRIORITIES: list[Any] = ["critical", "high", "normal", "low"]


class Flaky:
    """Fails a number of times, then asks another stage."""

    __name__ = "upstream"

    def __init__(self, times: int, failure: Callable[[], Any], then: Any) -> None:
        self.left, self.failure, self.then, self.calls = times, failure, then, 0

    async def __call__(self, request: Any, next: Any) -> Any:  # noqa: A002
        self.calls += 1
        if self.left:
            self.left -= 1
            return await self.failure()(request, next)
        return await self.then(request, next)


@pytest.mark.parametrize("stream", [False, True])
def test_all_are_asked_again_after_a_pause_or_when_they_say(stream: bool) -> None:
    async def scenario() -> None:
        flaky = Flaky(2, lambda: Refusing(500), saying("A"))
        pipeline = routed(endpoint("a", flaky), endpoint("b", Refusing(503)), retry={"attempts": 3, "base": 1.0})
        began = virtual_time.clock()
        reply = await pipeline(asking(stream=stream))
        assert await text_of(reply) == "A"
        assert virtual_time.clock() - began == pytest.approx(0.5 + 1.0)  # half of the base, then of twice that
        assert pipeline.stage(RetryStage).retries == 2

        told = Flaky(1, lambda: Refusing(429, retry_after="7"), saying("A"))
        began = virtual_time.clock()
        reply = await routed(endpoint("a", told), retry={"base": 1.0})(asking(stream=stream))
        assert await text_of(reply) == "A"
        assert virtual_time.clock() - began == pytest.approx(7.5)

    virtual_time.run(scenario())


def test_the_last_reply_or_error_is_the_client_s() -> None:
    async def scenario() -> None:
        refusing = Refusing(500)
        reply = await routed(endpoint("a", refusing), retry={"attempts": 2})(asking())
        assert (reply.status, refusing.calls) == (500, 2)
        assert await passed(reply) == ["a=500", "a=500"]
        raising = Raising(lambda: UpstreamError("away", code="unreachable"))
        with pytest.raises(UpstreamError, match="away"):
            await routed(endpoint("a", raising), retry={"attempts": 2})(asking())
        assert raising.calls == 2
        patient = Refusing(429, retry_after="30")
        reply = await routed(endpoint("a", patient), retry={"patience": 20.0})(asking())
        assert (reply.status, reply.headers["retry-after"], patient.calls) == (429, "30", 1)

    virtual_time.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_another_model_answers_where_all_upstreams_of_one_failed(stream: bool) -> None:
    async def scenario() -> None:
        small = saying("small")
        pipeline = routed(
            endpoint("a", Refusing(500), models=["gpt-4o"]),
            endpoint("b", Refusing(429), models=["gpt-4o", "o3"], priority=1),
            endpoint("c", small, models=["gpt-4o-mini"]),
            retry={"attempts": 1},
            targets={"gpt-4o": [Target("o3", "b"), Target("gpt-4o-mini")]},
        )
        reply = await pipeline(asking(stream=stream))
        assert await text_of(reply) == "small"
        assert reply.origin is not None
        assert (reply.origin.upstream, reply.origin.model, reply.origin.substitute) == ("c", "gpt-4o-mini", True)
        assert await passed(reply) == ["a=500", "b=429", "b=429"]
        assert msgspec.json.decode(small.calls[0].body)["model"] == "gpt-4o-mini"

    virtual_time.run(scenario())


def test_where_all_models_failed_the_one_that_was_asked_for_is_told_of() -> None:
    async def scenario() -> None:
        targets = {"gpt-*": [Target("other")]}
        first = endpoint("a", Refusing(503, retry_after="3"), models=["gpt-4o"])
        second = endpoint("b", Refusing(500), models=["other"])
        reply = await routed(first, second, targets=targets)(asking())
        assert (reply.status, reply.headers["retry-after"]) == (503, "3")
        nobody = endpoint("b", saying("B"), models=["other"])
        reply = await routed(nobody, targets=targets)(asking())  # nobody serves the model itself
        assert (await text_of(reply), reply.origin is not None and reply.origin.substitute) == ("B", True)

    virtual_time.run(scenario())


def test_an_answer_of_another_model_is_stored_only_where_that_is_wanted() -> None:
    async def scenario(*, stored: bool) -> None:
        cache = BytesCache(1 << 20)
        pipeline = Pipeline(
            [
                Scope(scope="team"),
                Digest(),
                Exact(cache, clock=Clock(), other_models=stored),
                Coalesce(),
                FallbackStage({"*": [Target("other")]}),
                RouteStage(
                    [endpoint("a", Refusing(500), models=["gpt-4o"]), endpoint("b", saying("B"), models=["other"])]
                ),
            ]
        )
        for stream in (False, True):
            first = await pipeline(asking(stream=stream, content=str(stream)))
            await text_of(first)
            await asyncio.sleep(0)  # a stream can be joined for a moment longer
            again = await pipeline(asking(stream=stream, content=str(stream)))
            await text_of(again)
            assert (first.hit, again.hit) == ("miss", "exact" if stored else "miss")
            assert (again.origin is None) is stored

    for stored in (False, True):
        virtual_time.run(scenario(stored=stored))


@pytest.mark.parametrize("bypass", ["state", "hosted_tool"])
def test_what_changes_something_is_sent_once(bypass: str) -> None:
    async def scenario() -> None:
        other = saying("B")
        slow = Raising(lambda: UpstreamError("slow", code="timeout"))
        for first, answered in (
            (Refusing(500), "500"),
            (slow, "timeout"),
            (Refusing(429), "B"),
            (Raising(lambda: UpstreamError("away", code="unreachable")), "B"),
        ):
            pipeline = routed(
                endpoint("a", first), endpoint("b", other, priority=1), retry={}, targets={"*": [Target("other")]}
            )
            try:
                reply = await pipeline(asking(bypass=bypass))
                said = await text_of(reply) if reply.status == 200 else str(reply.status)
            except UpstreamError as error:
                said = error.code
            assert (said, first.calls) == (answered, 1)

    virtual_time.run(scenario())


def test_a_deadline_ends_whatever_is_under_way_and_nothing_is_begun_that_cannot_end_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("time.monotonic", virtual_time.clock)
        slow = Provider(held=True)
        for retry in (None, {}):
            began = virtual_time.clock()
            with pytest.raises(DeadlineExceeded):
                await routed(endpoint("a", slow), retry=retry)(asking(deadline=began + 3.0))
            assert virtual_time.clock() - began == pytest.approx(3.0)
        assert slow.cancelled == 2

        slow.gate.set()  # a stream that has no event yet has not begun, and one that has may go on
        stream = await routed(endpoint("a", slow))(asking(stream=True, deadline=virtual_time.clock() + 3.0))
        asyncio.get_running_loop().call_later(10, slow.rest.set)
        assert await text_of(stream) == "Hi there"

        told = Refusing(429, retry_after="7")
        began = virtual_time.clock()
        reply = await routed(endpoint("a", told), retry={})(asking(deadline=began + 3.0))
        assert (reply.status, virtual_time.clock() - began) == (429, 0.0)

    virtual_time.run(scenario())


def test_a_caller_without_a_deadline_does_not_suffer_for_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("time.monotonic", virtual_time.clock)
        provider = Provider(held=True)
        retry = Retry(clock=virtual_time.clock)
        pipeline = Pipeline(
            [Digest(), Coalesce(), RetryStage(retry, clock=virtual_time.clock), RouteStage([endpoint("a", provider)])]
        )
        hurried = asyncio.create_task(pipeline(asking(scope="s", deadline=virtual_time.clock() + 1)))
        patient = asyncio.create_task(pipeline(asking(scope="s")))
        await asyncio.sleep(2)
        assert isinstance(hurried.exception(), DeadlineExceeded)
        provider.release()
        assert await text_of(await patient) == "Hi there"

    virtual_time.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", range(1, 14))
def test_a_caller_cancelled_at_any_step_holds_nothing(steps: int, stream: bool) -> None:
    async def scenario() -> None:
        breaker = Breaker(clock=virtual_time.clock)
        rate = RateLimit(requests=60, burst=1 / 60, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
        provider = Provider(held=True)
        one = endpoint("a", RateLimitStage(rate, clock=virtual_time.clock), BreakerStage(breaker), provider)
        pipeline = routed(one, retry={}, targets={"*": [Target("other")]})
        caller = asyncio.create_task(pipeline(asking(stream=stream)))
        waiter = asyncio.create_task(pipeline(asking(stream=stream, content="waits for its turn")))
        for step in range(steps):
            if step == 8:
                provider.release()
            await asyncio.sleep(0)
        caller.cancel()
        waiter.cancel()
        for outcome in await asyncio.gather(caller, waiter, return_exceptions=True):
            if not isinstance(outcome, BaseException) and outcome.stream is not None:
                outcome.stream.close()
            del outcome
        await asyncio.sleep(0)
        assert (one.running, rate.waiting, breaker.leases, breaker.state) == (0, 0, 0, "closed")
        provider.release()
        assert await text_of(await pipeline(asking(stream=stream, content="next"))) == "Hi there"
        assert one.running == 0

    virtual_time.run(scenario())


@pytest.mark.parametrize("seed", range(2))
def test_a_storm_of_failures_and_of_callers_who_leave_holds_nothing(seed: int) -> None:
    draw = random.Random(seed)

    class Stormy(Provider):
        async def __call__(self, request: Any, next: Any) -> Any:  # noqa: A002
            await asyncio.sleep(draw.choice([0, 0, 0.01, 0.2]))
            match draw.randrange(7):
                case 0:
                    return await Refusing(draw.choice([400, 429, 500, 503]))(request, next)
                case 1:
                    raise draw.choice([UpstreamError("away", code="unreachable"), ConnectionError(), TimeoutError()])
                case 2:
                    raise KeyError("a bug")
                case _:
                    return await super().__call__(request, next)

    async def scenario() -> None:
        limits = [
            RateLimit(requests=60_000, burst=0.001, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
            for _ in range(3)
        ]
        breakers = [Breaker(open_for=0.5, clock=virtual_time.clock, random=draw.random) for _ in range(3)]
        made = [
            endpoint(
                str(number),
                RateLimitStage(limit, max_wait=0.5, clock=virtual_time.clock),
                BreakerStage(breaker),
                Stormy(),
            )
            for number, (limit, breaker) in enumerate(zip(limits, breakers, strict=True))
        ]
        pipeline = routed(*made, retry={"base": 0.05, "random": draw.random}, targets={"*": [Target("other")]})

        async def call(number: int) -> None:
            await asyncio.sleep(draw.random() * 5)
            reply = await pipeline(
                asking(content=str(number), stream=number % 2 == 1, priority=draw.choice(PRIORITIES))
            )
            if reply.stream is not None and draw.random() < 0.3:
                reply.stream.close()
            elif reply.status == 200:
                assert await text_of(reply) == "Hi there"

        calls = [asyncio.create_task(call(number)) for number in range(400)]
        loop = asyncio.get_running_loop()
        for each in calls:
            if draw.random() < 0.3:
                loop.call_later(draw.random() * 5.5, each.cancel)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(one is None for one in ended) > 100
        await asyncio.sleep(1)
        assert [one.running for one in made] == [0, 0, 0]
        assert [limit.waiting for limit in limits] == [0, 0, 0]
        assert [breaker.leases for breaker in breakers] == [0, 0, 0]

    virtual_time.run(scenario())


def test_what_was_never_sent_is_given_back_and_what_was_is_settled() -> None:
    async def scenario() -> None:
        def rate() -> RateLimitStage:
            limit = RateLimit(tokens=6000, burst=1.0, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
            return RateLimitStage(limit, clock=virtual_time.clock)

        refused, unreachable, answered, streamed, failed = (rate() for _ in range(5))
        breaker = Breaker(minimum_calls=1, clock=virtual_time.clock)
        with pytest.raises(TimeoutError):
            async with breaker.call():
                raise TimeoutError
        away = Raising(lambda: UpstreamError("away", code="unreachable"))
        await asyncio.gather(
            routed(endpoint("a", refused, BreakerStage(breaker), saying("A")))(asking()),
            routed(endpoint("a", unreachable, away))(asking()),
            routed(endpoint("a", answered, saying("A")))(asking()),
            routed(endpoint("a", failed, Refusing(500)))(asking()),
            return_exceptions=True,
        )
        await text_of(await routed(endpoint("a", streamed, saying("A")))(asking(stream=True)))
        assert [round(one.limit.spent * 6000) for one in (refused, unreachable, answered, streamed, failed)] == [
            0, 0, 1100, 1100, 0,
        ]  # fmt: skip

    virtual_time.run(scenario())


def test_what_the_provider_says_of_its_limits_is_heeded() -> None:
    async def scenario() -> None:
        limit = RateLimit(requests=600, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
        told = Refusing(
            429, retry_after="4", x_ratelimit_limit_requests="60", x_junk="\x00", x_ratelimit_remaining_tokens="NaN"
        )
        stage = RateLimitStage(limit, clock=virtual_time.clock)
        pipeline = routed(endpoint("a", stage, Flaky(1, lambda: told, saying("A"))))
        assert (await pipeline(asking())).status == 429
        began = virtual_time.clock()
        assert (await pipeline(asking(content="again"))).status == 200
        assert virtual_time.clock() - began == pytest.approx(4.0)
        assert limit.requests == 60

    virtual_time.run(scenario())


def test_a_clock_that_goes_back_stops_nothing() -> None:
    async def scenario() -> None:
        back = 0.0

        def clock() -> float:
            return virtual_time.clock() - back

        breaker, rate = Breaker(clock=clock), RateLimit(requests=6000, clock=clock, wall_clock=clock)
        one = endpoint("a", RateLimitStage(rate, clock=clock), BreakerStage(breaker), saying("A"))
        pipeline = routed(one, retry={"clock": clock})
        for number in range(20):
            back += number == 10 and 5.0
            assert await text_of(await pipeline(asking(content=str(number)))) == "A"
            await asyncio.sleep(0.1)
        assert (one.running, rate.waiting, breaker.state) == (0, 0, "closed")

    virtual_time.run(scenario())
