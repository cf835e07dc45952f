"""Which upstream a call goes to, and to which next: without sockets, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import virtual_time
from endpoints import Raising, Refusing, endpoint, passed, routed, saying
from sparecall.errors import BreakerOpen, InvalidArgument, LimitExceeded, UnknownName, UpstreamError
from sparecall.flow import Breaker, RateLimit
from sparecall.pipeline import BreakerStage, CacheControl, Call, Endpoint, RateLimitStage, RouteStage, Target
from stages import Provider, asking, text_of

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(work: Coroutine[Any, Any, None]) -> None:
    virtual_time.run(work)


def limited(**limits: Any) -> RateLimitStage:
    return RateLimitStage(
        RateLimit(clock=virtual_time.clock, wall_clock=virtual_time.wall_clock, **limits),
        max_wait=5.0,
        clock=virtual_time.clock,
    )


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_by_priority_answers_and_is_named(stream: bool) -> None:
    async def scenario() -> None:
        pipeline = routed(endpoint("b", saying("B"), priority=1), endpoint("a", saying("A")))
        reply = await pipeline(asking(stream=stream))
        assert await text_of(reply) == "A"
        assert reply.origin is not None
        assert (reply.origin.upstream, reply.origin.model, reply.origin.substitute) == ("a", "gpt-4o", False)
        assert reply.origin.passed == ()

    run(scenario())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (lambda: Refusing(500), "500"),
        (lambda: Refusing(429), "429"),
        (lambda: Refusing(408), "408"),
        (lambda: Raising(lambda: UpstreamError("away", code="unreachable")), "unreachable"),
        (lambda: Raising(lambda: UpstreamError("slow", code="timeout")), "timeout"),
        (lambda: Provider(b"<html>"), "200"),
        (lambda: Provider(b'{"error": {"message": "overloaded"}}'), "200"),
    ],
)
def test_the_next_answers_where_one_fails(first: Any, reason: str, stream: bool) -> None:
    async def scenario() -> None:
        one = first()
        if stream and isinstance(one, Provider):
            return  # only a whole answer is read before it is passed on
        pipeline = routed(endpoint("a", one), endpoint("b", saying("B"), priority=1))
        reply = await pipeline(asking(stream=stream))
        assert await text_of(reply) == "B"
        assert await passed(reply) == [f"a={reason}"]

    run(scenario())


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_no_other_would_mend_is_nobody_else_s(status: int) -> None:
    async def scenario() -> None:
        other = saying("B")
        pipeline = routed(endpoint("a", Refusing(status)), endpoint("b", other, priority=1))
        reply = await pipeline(asking())
        assert (reply.status, other.calls) == (status, [])

    run(scenario())


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": "odd"}', b'{"error": null, "output": []}', b'{"error": {}, "choices": []}']
)
def test_an_odd_answer_is_the_client_s_to_judge(body: bytes) -> None:
    async def scenario() -> None:
        other = saying("B")
        reply = await routed(endpoint("a", Provider(body)), endpoint("b", other, priority=1))(asking())
        assert (reply.body, other.calls) == (body, [])

    run(scenario())


def test_a_bug_in_a_stage_is_raised_and_holds_nothing() -> None:
    async def scenario() -> None:
        breaker, rate = Breaker(minimum_calls=1), limited(requests=60)
        other = saying("B")
        first = endpoint("a", rate, BreakerStage(breaker), Raising(lambda: KeyError("mine")))
        with pytest.raises(KeyError):
            await routed(first, endpoint("b", other, priority=1))(asking())
        assert (breaker.state, first.running, rate.limit.waiting, other.calls) == ("closed", 0, 0, [])

    run(scenario())


def test_a_stream_that_breaks_before_its_first_event_is_another_s_and_later_is_not() -> None:
    async def scenario() -> None:
        broken = Raising(lambda: UpstreamError("cut", code="broken"))

        class Late(Provider):
            async def __call__(self, request: Any, next: Any) -> Any:  # noqa: A002
                reply = await super().__call__(request, next)
                log = self.logs[-1]
                log._events.clear()
                log.fail(UpstreamError("cut before the first event", code="broken"))
                return reply

        early, cut, other = Late(), saying("half"), saying("B")
        cut.cut = True
        pipeline = routed(
            endpoint("early", early), endpoint("broken", broken, priority=1), endpoint("b", other, priority=2)
        )
        reply = await pipeline(asking(stream=True))
        assert await text_of(reply) == "B"
        assert await passed(reply) == ["early=broken", "broken=broken"]

        pipeline = routed(endpoint("cut", cut), endpoint("b", other, priority=1), retry={"attempts": 3})
        reply = await pipeline(asking(stream=True))
        with pytest.raises(ConnectionResetError):
            await text_of(reply)
        assert len(other.calls) == 1  # that of before
        assert len(cut.calls) == 1

    run(scenario())


def test_models_and_aliases_say_who_may_be_asked_and_how() -> None:
    async def scenario() -> None:
        azure, local = saying("azure"), saying("local")
        pipeline = routed(
            endpoint("azure", azure, models=["gpt-4o*"], aliases={"gpt-4o": "deployment"}),
            endpoint("local", local, models=["llama?"], priority=-1),
        )
        assert await text_of(await pipeline(asking(temperature=0.5))) == "azure"
        sent = msgspec.json.decode(azure.calls[0].body)
        assert (sent.pop("model"), sent["temperature"]) == ("deployment", 0.5)
        assert await text_of(await pipeline(asking(model="gpt-4o-mini"))) == "azure"
        assert msgspec.json.decode(azure.calls[1].body)["model"] == "gpt-4o-mini"
        assert azure.calls[1].body == asking(model="gpt-4o-mini").body  # as it came
        assert await text_of(await pipeline(asking(model="llama3"))) == "local"
        with pytest.raises(UnknownName, match="no upstream here serves the model"):
            await pipeline(asking(model="other"))

    run(scenario())


def test_calls_go_where_fewest_are_under_way_for_the_weight() -> None:
    async def scenario() -> None:
        one, two = Provider(held=True), Provider(held=True)
        light, heavy = endpoint("light", one), endpoint("heavy", two, weight=3.0)
        pipeline = routed(light, heavy)
        calls = [asyncio.create_task(pipeline(asking(content=str(number)))) for number in range(40)]
        await asyncio.sleep(1)
        assert (light.running, heavy.running) == (10, 30)
        one.release()
        two.release()
        await asyncio.gather(*calls)
        assert (light.running, heavy.running) == (0, 0)

    run(scenario())


def test_a_stream_counts_as_under_way_to_its_end_or_until_its_reader_leaves() -> None:
    async def scenario() -> None:
        provider = Provider(held=True)
        provider.gate.set()
        one = endpoint("a", provider)
        pipeline = routed(one)
        read, left = await pipeline(asking(stream=True)), await pipeline(asking(stream=True))
        assert one.running == 2
        assert left.stream is not None
        left.stream.close()
        assert one.running == 1
        provider.rest.set()
        await text_of(read)
        assert one.running == 0

    run(scenario())


def test_none_is_waited_for_while_another_could_answer_at_once() -> None:
    async def scenario() -> None:
        small, large = limited(requests=6, burst=1 / 6), limited(requests=60, burst=1 / 60)  # one at once; 10 s and 1 s
        pipeline = routed(
            endpoint("small", small, saying("small")), endpoint("large", large, saying("large"), priority=1)
        )
        answers = [await text_of(await pipeline(asking(content=str(number)))) for number in range(2)]
        assert answers == ["small", "large"]
        began = virtual_time.clock()
        reply = await pipeline(asking(content="third"))
        assert await text_of(reply) == "large"  # the one that is due sooner
        assert 0.9 < virtual_time.clock() - began < 1.1
        assert await passed(reply) == ["small=limit", "large=limit"]

    run(scenario())


def test_who_would_wait_too_long_is_told_when_to_come_again() -> None:
    async def scenario() -> None:
        pipeline = routed(endpoint("a", limited(requests=6, burst=1 / 6), saying("A")))
        await pipeline(asking())
        with pytest.raises(LimitExceeded) as caught:
            await pipeline(asking())
        assert caught.value.retry_after == pytest.approx(10.0)

    run(scenario())


def test_of_several_failures_the_one_that_may_be_asked_again_soonest_is_told() -> None:
    async def scenario() -> None:
        breaker = Breaker(minimum_calls=1, open_for=30.0, clock=virtual_time.clock)
        with pytest.raises(TimeoutError):
            async with breaker.call():
                raise TimeoutError
        shut = endpoint("shut", BreakerStage(breaker), saying("never"))
        told = endpoint("told", Refusing(429, retry_after="7"), priority=1)
        reply = await routed(shut, told)(asking())
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        assert await passed(reply) == ["told=429", "shut=breaker_open"]
        down = endpoint("down", Refusing(500), priority=2)
        assert (await routed(shut, told, down)(asking())).status == 500
        with pytest.raises(BreakerOpen):
            await routed(shut)(asking())

    run(scenario())


def test_the_calls_are_told_of_and_a_watcher_that_raises_costs_nobody_an_answer() -> None:
    async def scenario() -> None:
        calls: list[Call] = []
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

        def watch(call: Call) -> None:
            calls.append(call)
            raise RuntimeError("mine")

        rate = limited(requests=12, burst=1 / 12)  # one at once, the next after 5 s
        pipeline = routed(
            endpoint("a", Refusing(500), on_call=watch),
            endpoint("b", rate, saying("B"), priority=1, on_call=watch),
        )
        assert await text_of(await pipeline(asking())) == "B"
        assert await text_of(await pipeline(asking(content="again"))) == "B"
        assert [(call.upstream, call.outcome, round(call.waited, 3)) for call in calls] == [
            ("a", "failure", 0), ("b", "success", 0), ("a", "failure", 0), ("b", "refused", 0), ("b", "success", 5),
        ]  # fmt: skip
        assert len(complaints) == len(calls)

    run(scenario())


def test_a_call_that_never_fits_one_goes_to_another() -> None:
    async def scenario() -> None:
        small, large = limited(tokens=100), limited(tokens=1e6)
        pipeline = routed(
            endpoint("small", small, saying("small")), endpoint("large", large, saying("large"), priority=1)
        )
        reply = await pipeline(asking(content="word " * 400))
        assert await text_of(reply) == "large"
        with pytest.raises(LimitExceeded) as caught:
            await routed(endpoint("small", small, saying("small")))(asking(content="word " * 400))
        assert caught.value.retry_after is None

    run(scenario())


def test_only_if_cached_makes_no_call_and_a_wire_nobody_speaks_is_passed_on() -> None:
    async def scenario() -> None:
        provider = saying("A")
        pipeline = routed(endpoint("a", provider), retry={}, targets={"*": [Target("b")]})
        reply = await pipeline(asking(cache_control=CacheControl(only_if_cached=True)))
        assert (reply.status, reply.reason, provider.calls) == (504, "absent", [])
        with pytest.raises(Exception, match="no Anthropic provider"):
            await pipeline(asking(wire="messages"))

    run(scenario())


def test_what_cannot_be_routed_to_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="endpoints is empty"):
        RouteStage([])
    with pytest.raises(InvalidArgument, match="endpoint 'a' has no stages"):
        Endpoint("a", [])
    with pytest.raises(InvalidArgument, match="weight is 0"):
        Endpoint("a", [saying("A")], weight=0)

    async def scenario() -> None:
        async def through(request: Any, next: Any) -> Any:  # noqa: A002
            return await next(request)

        with pytest.raises(RuntimeError, match="end it with Upstream"):
            await routed(endpoint("a", through))(asking())

    run(scenario())
