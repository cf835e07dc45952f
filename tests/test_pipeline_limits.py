"""Places at an upstream, times that are learned, second calls, and what the machine itself is short of: without sockets, in virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

import sparecall
import virtual_time
from endpoints import Raising, Refusing, endpoint, passed, routed, saying
from sparecall import config as configuration
from sparecall.cache import BytesCache
from sparecall.errors import ConfigError, LimitExceeded, Overloaded, UpstreamError
from sparecall.flow import (
    AdaptiveLimit,
    AdaptivePermit,
    Breaker,
    Hedge,
    RateLimit,
    Router,
    Rule,
    SystemReading,
    SystemSignals,
    Timeout,
)
from sparecall.pipeline import (
    AdaptiveLimitStage,
    BreakerStage,
    Digest,
    HedgeStage,
    Pipeline,
    RateLimitStage,
    RouterStage,
    RouteStage,
    SystemStage,
    TimeoutStage,
    control,
)
from sparecall.pipeline.adaptive_limit import kind_of
from sparecall.prices import Price, Prices
from stages import Provider, asking, text_of

if TYPE_CHECKING:
    from collections.abc import Callable


def places(count: int, **options: Any) -> AdaptiveLimitStage:
    limit = AdaptiveLimit(initial=count, least=count, most=count, clock=virtual_time.clock)
    return AdaptiveLimitStage(limit, clock=virtual_time.clock, **options)


class Slow(Provider):
    """Takes so long to begin."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds = list(seconds)

    async def __call__(self, request: Any, next: Any) -> Any:  # noqa: A002
        reply = await super().__call__(request, next)
        try:
            await asyncio.sleep(self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return reply


@pytest.mark.parametrize("stream", [False, True])
def test_a_place_is_held_to_the_end_of_the_answer_and_given_back_by_who_leaves(stream: bool) -> None:
    async def scenario() -> None:
        stage, provider = places(2), Provider(held=True)
        provider.gate.set()
        if not stream:
            provider.gate.clear()
        pipeline = routed(endpoint("a", stage, provider))
        first, second, third = (
            asyncio.create_task(pipeline(asking(stream=stream, content=str(number)))) for number in range(3)
        )
        await asyncio.sleep(0.1)
        assert (stage.limit.in_flight, stage.limit.waiting) == (2, 1)
        first.cancel()
        if stream:
            left = await first if first.done() else None
            if left is not None and left.stream is not None:
                left.stream.close()
        await asyncio.sleep(0.1)
        assert (stage.limit.in_flight, stage.limit.waiting) == (2, 0)
        provider.release()
        for call in (second, third):
            assert await text_of(await call) == "Hi there"
        await asyncio.sleep(0)
        assert (stage.limit.in_flight, stage.limit.waiting) == (0, 0)

    virtual_time.run(scenario())


def test_who_finds_no_place_in_time_goes_elsewhere_or_is_told_when_to_come_again() -> None:
    async def scenario() -> None:
        stage, slow = places(1, max_wait=0.5), Slow(10.0)
        one = endpoint("a", stage, slow)
        pipeline = routed(one)
        running = asyncio.create_task(pipeline(asking()))
        await asyncio.sleep(0.1)
        with pytest.raises(LimitExceeded) as caught:
            await pipeline(asking(content="second"))
        assert caught.value.retry_after is not None
        reply = await routed(one, endpoint("b", saying("B"), priority=1))(asking(content="third"))
        assert await text_of(reply) == "B"
        await running

    virtual_time.run(scenario())


def test_the_class_of_a_call_is_its_priority_or_its_size() -> None:
    assert [kind_of(asking(priority=priority)) for priority in ("critical", "high", "normal", "low")] == [
        "light", "light", "light", "heavy",
    ]  # fmt: skip
    assert kind_of(asking(content="word " * 4_000)) == "standard"
    assert kind_of(asking(content="word " * 40_000)) == "heavy"
    assert kind_of(asking(content="A" * 300_000)) == "standard"  # base64, of an image


@pytest.mark.parametrize("stream", [False, True])
def test_the_limit_is_told_of_the_prompt_as_well_since_reading_it_takes_time(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[tuple[int, int]] = []
    settle = AdaptivePermit.settle

    def told(permit: AdaptivePermit, tokens: int, *, prompt_tokens: int) -> None:
        settled.append((tokens, prompt_tokens))
        settle(permit, tokens, prompt_tokens=prompt_tokens)

    monkeypatch.setattr(AdaptivePermit, "settle", told)

    async def scenario() -> None:
        reply = await routed(endpoint("a", places(2), saying("A")))(asking(stream=stream))
        assert await text_of(reply) == "A"
        assert settled == [(100, 1_000)]

    virtual_time.run(scenario())


def test_a_call_that_takes_much_longer_than_such_calls_do_is_ended() -> None:
    async def scenario() -> None:
        timeout = Timeout(least=0.2, most=30.0, minimum_calls=20, clock=virtual_time.clock)
        for stream in (False, True):
            slow = Slow(*[0.1] * 30, 20.0)
            pipeline = routed(endpoint("a", TimeoutStage(timeout), slow), endpoint("b", saying("B"), priority=1))
            for number in range(30):
                reply = await pipeline(asking(content=str(number), stream=stream))
                assert await text_of(reply) == "Hi there"
            began = virtual_time.clock()
            reply = await pipeline(asking(content="slow", stream=stream))
            assert (await text_of(reply), await passed(reply)) == ("B", ["a=timeout"])
            assert virtual_time.clock() - began < 1.0
            assert slow.cancelled == 1
            with pytest.raises(UpstreamError, match="took too long"):
                await routed(endpoint("a", TimeoutStage(timeout), slow))(asking(content="slow", stream=stream))

    virtual_time.run(scenario())


def hedged(hedge: Hedge, *endpoints: Any) -> Pipeline:
    route = RouteStage(endpoints, random=lambda: 0.5, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
    return Pipeline([Digest(), HedgeStage(hedge), route])


@pytest.mark.parametrize("stream", [False, True])
def test_a_late_call_is_made_again_elsewhere_and_the_one_that_lost_holds_nothing(stream: bool) -> None:
    async def scenario() -> None:
        hedge = Hedge(minimum_calls=20, budget=0.5, clock=virtual_time.clock)
        slow, stage, breaker = Slow(*[0.1] * 20, 20.0), places(5), Breaker(clock=virtual_time.clock)
        rate = RateLimitStage(RateLimit(requests=6000, clock=virtual_time.clock), clock=virtual_time.clock)
        first = endpoint("a", rate, stage, BreakerStage(breaker), slow)
        second = endpoint("b", saying("B"), priority=1)
        pipeline = hedged(hedge, first, second)
        for number in range(20):
            assert await text_of(await pipeline(asking(content=str(number), stream=stream))) == "Hi there"
        began = virtual_time.clock()
        reply = await pipeline(asking(content="late", stream=stream))
        assert await text_of(reply) == "B"
        assert reply.origin is not None
        assert reply.origin.upstream == "b"
        assert virtual_time.clock() - began < 0.5
        await asyncio.sleep(0)
        assert (hedge.stats.hedges, hedge.stats.won) == (1, 1)
        assert (first.running, stage.limit.in_flight, rate.limit.waiting, breaker.leases) == (0, 0, 0, 0)
        assert slow.cancelled == 1
        once = asyncio.create_task(pipeline(asking(content="changes a state", stream=stream, bypass="state")))
        await asyncio.sleep(5)
        assert not once.done()
        assert hedge.stats.hedges == 1
        once.cancel()
        await asyncio.gather(once, return_exceptions=True)

    virtual_time.run(scenario())


def test_a_failing_reply_is_hedged_s_caller_s() -> None:
    async def scenario() -> None:
        reply = await hedged(Hedge(clock=virtual_time.clock), endpoint("a", Refusing(500)))(asking())
        assert reply.status == 500
        away = Raising(lambda: UpstreamError("away", code="unreachable"))
        with pytest.raises(UpstreamError):
            await hedged(Hedge(clock=virtual_time.clock), endpoint("a", away))(asking())

    virtual_time.run(scenario())


class Machine:
    """What is read of it."""

    def __init__(self) -> None:
        self.memory = 10
        self.seconds = 0.0

    def __call__(self) -> SystemReading:
        return SystemReading(cpu_seconds=self.seconds, cpus=1.0, memory=self.memory, memory_limit=100)


def test_no_calls_are_made_while_memory_is_short_and_low_ones_wait_while_anything_is() -> None:
    async def scenario() -> None:
        machine, emptied = Machine(), list[float]()
        signals = SystemSignals(read=machine, shrink=emptied.append, clock=virtual_time.clock)
        stage = SystemStage(signals, max_wait=3.0, clock=virtual_time.clock)
        provider = saying("A")
        async with Pipeline(
            [Digest(), stage, RouteStage([endpoint("a", provider)], clock=virtual_time.clock)]
        ) as pipeline:
            await pipeline(asking())
            machine.memory = 85
            await asyncio.sleep(2)
            assert emptied
            assert await text_of(await pipeline(asking(content="normal"))) == "A"
            began = virtual_time.clock()
            with pytest.raises(Overloaded) as caught:
                await pipeline(asking(content="low", priority="low"))
            assert (caught.value.code, round(virtual_time.clock() - began, 1)) == ("deferred", 3.0)
            waiting = asyncio.create_task(pipeline(asking(content="low", priority="low")))
            await asyncio.sleep(1)
            assert not waiting.done()
            machine.memory = 10
            assert await text_of(await waiting) == "A"
            machine.memory = 95
            await asyncio.sleep(2)
            calls = len(provider.calls)
            for priority in ("critical", "low"):
                with pytest.raises(Overloaded) as caught:
                    await pipeline(asking(content="any", priority=priority))
                assert caught.value.code == "memory"
            assert len(provider.calls) == calls

    virtual_time.run(scenario())


def test_the_exact_cache_of_a_configuration_gives_way_while_memory_is_short_and_comes_back() -> None:
    async def scenario() -> None:
        cache = BytesCache(1 << 20)
        for number in range(10_000):
            cache.set(f"{number:05}", b"x" * 31)
        config = configuration.Config(system=configuration.System())
        stage = next(
            one for one in control.stages(config, prices=Prices(), memory=cache) if isinstance(one, SystemStage)
        )
        machine = stage.signals._read = Machine()
        machine.memory = 90  # of which a fifth is too much
        stage.signals.update()
        while not stage.signals._pressure.step():
            pass
        stats = cache.stats()
        assert 0.79 * 10_000 < stats.entries <= 0.8 * 10_000 + 1
        assert stats.weight <= stats.max_weight < 1 << 20
        machine.memory = 50
        for _ in range(30):
            stage.signals.update()
        assert cache.stats().max_weight == 1 << 20
        assert cache.stats().entries == stats.entries

    virtual_time.run(scenario())


def ruled(*endpoints: Any, rules: list[Rule], **options: Any) -> Pipeline:
    models = list(dict.fromkeys(model for rule in rules for model in rule.models))
    router = Router({model: [model] for model in models}, rules=rules, clock=virtual_time.clock, explore=0.0, **options)
    route = RouteStage(endpoints, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
    return Pipeline([Digest(), RouterStage(router, rules, clock=virtual_time.clock), route])


def test_a_rule_says_which_model_is_asked() -> None:
    async def scenario() -> None:
        small, large = saying("small"), saying("large")
        rules = [
            Rule(
                name="simple and urgent",
                models=("gpt-4o-mini",),
                tokens_at_most=100,
                priorities=("critical",),
                tools=False,
            )
        ]
        pipeline = ruled(
            endpoint("small", small, models=["gpt-4o-mini"]), endpoint("large", large, models=["gpt-4o"]), rules=rules
        )
        tools = [{"type": "function", "function": {"name": "f"}}]
        urgent: dict[str, Any] = {"priority": "critical"}
        asked: list[dict[str, Any]] = [urgent, {}, {**urgent, "content": "word " * 200}, {**urgent, "tools": tools}]
        for stream in (False, True):
            replies = [await pipeline(asking(stream=stream, **fields)) for fields in asked]
            assert [await text_of(reply) for reply in replies] == ["small", "large", "large", "large"]
            assert [reply.origin is not None and reply.origin.substitute for reply in replies] == [
                True,
                False,
                False,
                False,
            ]

    virtual_time.run(scenario())


def test_among_the_models_of_a_rule_failures_and_a_budget_count() -> None:
    async def scenario() -> None:
        rules = [Rule(name="any", models=("good", "bad"))]
        good, bad = endpoint("good", saying("good"), models=["good"]), endpoint("bad", Refusing(500), models=["bad"])
        pipeline = ruled(good, bad, rules=rules)
        statuses = [(await pipeline(asking(content=str(number)))).status for number in range(40)]
        assert statuses[-30:] == [200] * 30

    virtual_time.run(scenario())
    with pytest.raises(ConfigError, match="no price"):
        sparecall.open({"route": {"budget": 1.0, "rules": [{"name": "a", "models": ["nobody-s-model"]}]}})
    assert Prices({"nobody-s-model": Price(1.0, 1.0)})


def test_calls_go_to_those_that_answer_sooner() -> None:
    async def scenario() -> None:
        draw = random.Random(5)
        made = [endpoint(str(number), Slow(2.0 if number == 3 else 0.1)) for number in range(4)]
        route = RouteStage(made, random=draw.random, clock=virtual_time.clock, wall_clock=virtual_time.wall_clock)
        pipeline = Pipeline([Digest(), route])

        async def call(number: int) -> str:
            await asyncio.sleep(number * 0.02)
            reply = await pipeline(asking(content=str(number)))
            assert reply.origin is not None
            return reply.origin.upstream

        served = await asyncio.gather(*[call(number) for number in range(1000)])
        shares = {str(number): served.count(str(number)) / 1000 for number in range(4)}
        assert shares["3"] < 0.03
        assert all(0.25 < shares[name] < 0.4 for name in "012")

    virtual_time.run(scenario())


def test_one_that_said_when_to_come_again_is_left_alone_until_then() -> None:
    async def scenario() -> None:
        told = Refusing(429, retry_after="5")
        pipeline = routed(endpoint("told", told), endpoint("other", saying("other"), priority=1))
        for _ in range(3):
            assert await text_of(await pipeline(asking())) == "other"
        assert told.calls == 1
        await asyncio.sleep(6)
        await pipeline(asking())
        assert told.calls == 2

    virtual_time.run(scenario())


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "concurrency": lambda: {"upstream": {"limit": {"concurrency": 0}}},
    "most": lambda: {"upstream": {"limit": {"most": 0}}},
}


@pytest.mark.parametrize("name", CASES)
def test_places_are_one_or_more(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"upstream\.limit\.{name} is 0; allowed: 1 or more"):
        sparecall.open(CASES[name]())


def test_a_whole_configuration_makes_every_stage() -> None:
    pipeline = sparecall.open(
        {
            "upstream": {
                "one": {
                    "url": "http://127.0.0.1:1/v1",
                    "limit": {"requests": 5, "concurrency": "adaptive", "most": 7},
                    "timeout": {},
                },
                "two": {"url": "http://127.0.0.1:2/v1", "limit": {"concurrency": 3}, "breaker": {"enabled": False}},
            },
            "retry": {},
            "hedge": {"budget": 0.1},
            "fallback": {"a": ["b"]},
            "route": {"rules": [{"name": "r", "models": ["gpt-4o", "gpt-4o-mini"]}], "budget": 5.0},
            "system": {"memory_soft": 0.7},
        }
    )
    names = [getattr(stage, "__name__", type(stage).__name__.lower()) for stage in pipeline.stages]
    assert names[-6:] == ["system", "router", "fallback", "retry", "hedge", "route"]
    one, two = pipeline.stage(RouteStage).endpoints
    assert [getattr(stage, "__name__", type(stage).__name__.lower()) for stage in one.stages] == [
        "rate_limit", "adaptive_limit", "breaker", "timeout", "upstream",
    ]  # fmt: skip
    assert [getattr(stage, "__name__", type(stage).__name__.lower()) for stage in two.stages] == [
        "adaptive_limit", "upstream",
    ]  # fmt: skip
    assert (one.stages[1].limit.limit, two.stages[0].limit.limit) == (7, 3)
