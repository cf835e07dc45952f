"""The router on an injected clock: which of two endpoints, what is passed over, what it learns, and that no call stays under way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

import virtual_time
from flow_calls import Clock, enter, leave
from hedges import Provider, learned, run
from routes import World
from sparecall.errors import BreakerOpen, InvalidArgument, NoEndpoint
from sparecall.flow import Breaker, Endpoint, RateLimit, Route, Router, calm, outcome_of, room
from sparecall.flow.load import Load


def test_of_two_it_takes_the_one_that_is_less_loaded() -> None:
    world = World()
    world.took("a", 3.0)
    world.took("b", 1.0)
    assert {world.enter().endpoint for _ in range(2)} == {"b"}  # 1 s times one, and times two
    assert Counter(world.enter().endpoint for _ in range(8)) == {"a": 2, "b": 6}
    assert repr(world.router) == "<Router of m at 2 endpoints: 10 calls under way>"


def test_a_peak_counts_at_once_and_is_forgotten_slowly_and_by_silence() -> None:
    load = Load("a", decay=10.0)
    assert load.latency(0.0, usual=2.0) == 2.0
    for at, taken, found in (
        (0.0, 1.0, 1.0),
        (5.0, 4.0, 4.0),
        (6.0, 1.0, 1 + 3 * 0.905),
        (16.0, 1.0, 1 + 3 * 0.905 * 0.368),
    ):
        call = object()
        load.began(call, at - taken)
        load.answered(call, at)
        load.ended(call, at, failed=False, usual=1.0)
        assert load.latency(at, usual=1.0) == pytest.approx(found, rel=1e-3)
    assert load.latency(16.0 + 30.0, usual=1.0) == pytest.approx(1.0, abs=0.06)
    assert load.running == 0


def test_a_black_hole_is_seen_before_anything_comes_back() -> None:
    world = World()
    world.took("a", 1.0)
    world.took("b", 3.0)
    assert world.enter().endpoint == "a"  # it will never come back
    world.clock.now += 6.0
    for _ in range(3):
        assert world.call(2.0).endpoint == "b"  # though a has but one under way, and answered in a second


def test_failures_and_calls_that_were_given_up_count_as_slow() -> None:
    world = World()
    world.took("a", 1.0)
    world.took("b", 1.2)
    assert world.call(0.01, ConnectionError()).endpoint == "a"
    assert world.call(1.0).endpoint == "b"
    assert [choice.outcome for choice in world.told[-2:]] == ["failure", "success"]
    world = World()
    world.took("a", 1.0)
    world.took("b", 1.2)
    route = world.enter()
    world.clock.now += 6.0
    leave(route, asyncio.CancelledError())
    assert (route.endpoint, world.call().endpoint) == ("a", "b")
    assert world.router._worths["m"].quality(world.clock.now) == 1.0


def test_reports_stand_for_replies_that_raise_nothing() -> None:
    world = World()
    for status, outcome in (
        (503, "failure"),
        (200, "success"),
        (429, "limited"),
        (400, "ignored"),
        ("failure", "failure"),
    ):
        route = world.enter()
        route.report(status)  # type: ignore[arg-type]
        leave(route)
        assert world.told[-1].outcome == outcome
    assert 0 < world.router._worths["m"].quality(world.clock.now) < 1
    with pytest.raises(InvalidArgument, match="'failed'"):
        route.report("failed")  # type: ignore[arg-type]
    wordless = World(classify=lambda error: "bad")
    with pytest.raises(InvalidArgument, match="classify gave 'bad'"):
        leave(wordless.enter())
    assert "0 calls under way" in repr(wordless.router)


def test_the_beginning_of_an_answer_is_what_counts() -> None:
    world = World()
    for endpoint, first in (("a", 0.2), ("b", 1.0)):
        route = world.to(endpoint)
        world.clock.now += first
        route.answered()
        route.answered()
        world.clock.now += 60.0 if endpoint == "a" else 0.0
        leave(route)
    assert world.told[-1].seconds == 1.0
    assert world.enter().endpoint == "a"


def test_endpoints_that_take_no_calls_are_passed_over() -> None:
    clock = Clock()
    breaker = Breaker(minimum_calls=1, clock=clock, random=lambda: 0.5)
    limit = RateLimit(requests=100, clock=clock)
    world = World({"m": [Endpoint(name="a", room=room(breaker, limit)), "b"]})
    assert {world.enter().endpoint for _ in range(2)} == {"a", "b"}
    permit = enter(breaker.call())
    leave(permit, TimeoutError())
    assert {world.enter().endpoint for _ in range(20)} == {"b"}
    clock.now += 31  # half open: a probe is wanted
    assert "a" in {world.enter().endpoint for _ in range(20)}
    for probe in [enter(breaker.call()) for _ in range(3)]:
        assert room(breaker)() == 0.0  # it has all the probes it wants
        leave(probe)
    assert (breaker.state, room(breaker)()) == ("ramping", 1.0)
    held = [enter(breaker.call()) for _ in range(3)]
    assert room(breaker)() == 0.1
    for _ in range(10):
        assert limit.try_acquire()
    assert room(limit)() == pytest.approx(0.9)
    assert not limit.try_acquire()
    assert room()() == 1.0
    del held

    class Adaptive:
        load, shrinking = 0.4, False

    adaptive = Adaptive()
    assert (room(adaptive)(), calm(adaptive)()) == (0.6, True)
    adaptive.load = 1.2
    assert (room(adaptive)(), calm(adaptive)()) == (0.01, False)
    adaptive.load, adaptive.shrinking = 0.99, True
    assert (room(adaptive)(), calm(adaptive)()) == (0.05, False)


def test_a_retry_after_keeps_it_away_and_where_nothing_is_left_it_says_until_when() -> None:
    world = World()
    refusal = BreakerOpen("", retry_after=7.0)
    first = world.call(0.0, refusal)
    assert {world.call().endpoint for _ in range(5)} == {"a", "b"} - {first.endpoint}
    world.call(0.0, BreakerOpen("", retry_after=1e9))
    with pytest.raises(NoEndpoint, match=r"no endpoint of m takes calls now; try again in 2\.0 s") as caught:
        world.enter()
    assert outcome_of(caught.value) == "limited"
    world.clock.now += 2.1
    assert world.enter().endpoint == first.endpoint
    shut = World({"m": [Endpoint(name="a", room=lambda: 0.0)], "n": ["b"]})
    assert shut.enter().model == "n"
    with pytest.raises(NoEndpoint) as caught:
        shut.enter(model="m")
    assert caught.value.retry_after == 1.0


def test_what_is_to_be_avoided_is_where_there_is_another() -> None:
    world = World()
    for _ in range(5):
        assert enter(world.router.route(avoid=("a",))).endpoint == "b"
    assert enter(world.router.route(avoid=("a", "b"))).endpoint in ("a", "b")


def test_a_hedge_goes_to_another_endpoint() -> None:
    async def main() -> None:
        router = Router({"m": ["a", "b"]}, clock=virtual_time.clock, explore=0.0)
        provider, used = Provider(60.0, 0.5), []

        async def ask(route: Route) -> str:
            used.append(route.endpoint)
            return await provider()

        answer = await learned().run(
            lambda: router.run(ask), second=lambda: router.run(ask, avoid=used), idempotent=True
        )
        assert (answer, sorted(used)) == ("answer 2", ["a", "b"])
        assert sum(load.running for load in router._loads["m"]) == 0

    run(main())


def test_weights_and_unknown_endpoints() -> None:
    world = World({"m": [Endpoint(name="a", weight=3.0), "b"]})
    assert Counter(world.enter().endpoint for _ in range(40))["a"] == 30


def test_the_same_dice_make_the_same_choices() -> None:
    def choices(seed: int) -> list[tuple[str, float]]:
        world = World({"m": ["a", "b", "c"], "n": ["d"]}, seed=seed, explore=0.2)
        for _ in range(50):
            world.call(0.5)
        return [(choice.endpoint, choice.propensity) for choice in world.told]

    assert choices(1) == choices(1)
    assert choices(1) != choices(2)


def test_code_that_is_not_ours_leaves_no_call_under_way(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("hook")

    world = World(classify=broken)
    world.router._on_event = broken
    route = world.enter()
    with pytest.raises(RuntimeError, match="hook"):
        leave(route, TimeoutError())
    assert "0 calls under way" in repr(world.router)
    assert "on_event of a router failed" in caplog.text
    world = World({"m": [Endpoint(name="a", room=broken)]})
    with pytest.raises(RuntimeError, match="hook"):
        world.enter()
    assert "0 calls under way" in repr(world.router)


def test_a_route_serves_one_call() -> None:
    world = World()
    route = world.router.route()
    assert repr(route) == "<Route not chosen>"
    with pytest.raises(InvalidArgument, match="enter it"):
        route.model  # noqa: B018
    enter(route)
    with pytest.raises(InvalidArgument, match="one call"):
        enter(route)
    for quality in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgument, match="quality"):
            route.rate(quality)
    with pytest.raises(InvalidArgument, match="completion_tokens"):
        route.settle(1, -1)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"models": {}}, "models"),
        ({"models": {"m": []}}, "endpoints"),
        ({"models": {"m": ["a", "a"]}}, "endpoints"),
        ({"models": {"m": [Endpoint(name="a", weight=0)]}}, "weight"),
        ({"budget": 0}, "budget"),
        ({"budget": 1, "per": 0}, "per"),
        ({"patience": 0}, "patience"),
        ({"decay": -1}, "decay"),
        ({"explore": 1.1}, "explore"),
        ({"explore": -0.1}, "explore"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        Router(**({"models": {"large": ["a"]}} | options))
    with pytest.raises(TypeError, match="room"):
        Router({"m": [Endpoint(name="a", room=0.5)]})  # type: ignore[arg-type]


def cancels(calls: int) -> None:
    """Calls through hedge and router to breakers and limits, half of them cancelled at random."""
    dice = random.Random(4)

    async def main() -> None:
        breakers = {name: Breaker(slow_rate=0.9, slow_after=30.0, clock=virtual_time.clock) for name in "abc"}
        router = Router(
            {"m": [Endpoint(name=name, room=room(breaker)) for name, breaker in breakers.items()]},
            clock=virtual_time.clock, random=dice.random, explore=0.1,
        )  # fmt: skip
        hedge = learned(0.05, quantile=0.5, budget=0.3, reserve=1000)

        async def ask(route: Route) -> None:
            async with breakers[route.endpoint].call():
                await asyncio.sleep(dice.choice((0, 0.01, 0.1)))
                route.answered()
                await asyncio.sleep(dice.choice((0, 0.01)))
                if dice.random() < 0.05:
                    raise TimeoutError

        tasks: list[asyncio.Task[None]] = []
        for _ in range(calls):
            tasks.append(asyncio.create_task(hedge.run(lambda: router.run(ask), idempotent=True)))
            if dice.random() < 0.7:
                dice.choice(tasks[-20:]).cancel()
            await asyncio.sleep(dice.choice((0, 0, 0.01)))
            if len(tasks) > 200:
                await asyncio.gather(*tasks[:100], return_exceptions=True)
                del tasks[:100]
        await asyncio.gather(*tasks, return_exceptions=True)
        for load in router._loads["m"]:
            assert (load.running, len(load._waiting)) == (0, 0)
        assert sum(breaker.leases for breaker in breakers.values()) == 0
        assert hedge.stats.hedges > calls / 100

    run(main())


def test_no_call_stays_under_way_after_random_cancels() -> None:
    cancels(10_000)  # of which seven in ten are cancelled, as in the two files beside this


@pytest.mark.soak
def test_no_call_stays_under_way_after_a_million_random_cancels() -> None:
    cancels(1_000_000)
