"""The router on an injected clock: rules, which of two, what is passed over, what a choice is worth, and that no call stays under way."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtual_time
from flow_calls import Clock, enter, leave
from hedges import Provider, learned, run
from sparecall.errors import BreakerOpen, InvalidArgument, NoEndpoint, UnknownName
from sparecall.flow import Breaker, Choice, Endpoint, Features, RateLimit, Route, Router, Rule, outcome_of, room
from sparecall.flow.load import Load, less_loaded, probability
from sparecall.flow.spending import Budget, Option, drawn, mixture
from sparecall.prices import Price, Prices

if TYPE_CHECKING:
    from collections.abc import Sequence

PRICES = Prices({"small": Price(0.2, 0.8), "large": Price(3.0, 12.0)})


class World:
    """A router with its clock, dice and diary."""

    def __init__(self, models: Any = None, *, seed: int = 0, **options: Any) -> None:
        self.clock = Clock()
        self.told: list[Choice] = []
        options.setdefault("explore", 0.0)
        self.router = Router(
            models or {"m": ["a", "b"]}, clock=self.clock, wall_clock=self.clock, random=random.Random(seed).random, on_event=self.told.append, prices=PRICES, **options
        )  # fmt: skip

    def enter(self, **features: Any) -> Route:
        route: Route = enter(self.router.route(Features(**features)))
        return route

    def call(self, seconds: float = 1.0, error: BaseException | None = None, **features: Any) -> Route:
        route = self.enter(**features)
        self.clock.now += seconds
        leave(route, error)
        return route

    def to(self, endpoint: str) -> Route:
        """A call to this endpoint of the first model."""
        others = [load.name for load in next(iter(self.router._loads.values())) if load.name != endpoint]
        route: Route = enter(self.router.route(avoid=others))
        return route

    def took(self, endpoint: str, seconds: float) -> None:
        """The endpoint has answered one call, after so many seconds."""
        route = self.to(endpoint)
        self.clock.now += seconds
        leave(route)


URGENT = Rule(
    name="short and urgent", models=("small",), tokens_at_most=500, tools=False, priorities=("urgent",)
)  # fmt: skip


@pytest.mark.parametrize(
    ("features", "model", "rule"),
    [
        ({"model": "large", "tokens": 400, "priority": "urgent"}, "small", "short and urgent"),
        ({"model": "large", "tokens": 501, "priority": "urgent"}, "large", ""),
        ({"model": "large", "tokens": 400, "priority": "urgent", "tools": True}, "large", ""),
        ({"model": "large", "tokens": 400}, "large", ""),
        ({"model": "large", "deadline": 1.5, "tools": True}, "small", "in a hurry"),
        ({"model": "gpt-4o", "tokens": 9000}, "large", "others'"),
        ({"model": "small", "labels": frozenset({"code", "eu"})}, "large", "code in Europe"),
        ({"model": "small", "tokens": 123456}, "large", "long"),
    ],
)
def test_the_first_rule_that_matches_names_the_models(features: dict[str, Any], model: str, rule: str) -> None:
    def long(features: Features) -> Sequence[str]:
        return ["large"] if features.tokens > 100_000 else []

    rules = [
        URGENT,
        Rule(name="in a hurry", models=("small",), deadline_at_most=2.0),
        Rule(name="others'", models=("large",), model="gpt-*", tokens_at_least=1000),
        Rule(name="code in Europe", models=("large",), labels=("code", "eu")),
        long,
    ]
    world = World({"small": ["a"], "large": ["b"]}, rules=rules)
    route = world.enter(**features)
    assert (route.model, route.rule) == (model, rule)
    assert repr(route) == f"<Route to {model} at {route.endpoint}>"


def test_rules_come_from_configurations_too() -> None:
    found = msgspec.convert(
        [{"name": "n", "models": ["small"], "tokens_at_most": 500, "priorities": ["urgent"]}], list[Rule]
    )
    assert found[0].matches(Features(priority="urgent"))
    for bad, text in (
        ({"models": []}, "no models"),
        ({"models": ["m"], "tokens_at_least": 5, "tokens_at_most": 4}, "5 to 4 tokens"),
        ({"models": ["m"], "deadline_at_most": 0.0}, "deadline_at_most"),
        ({"models": ["m"], "tokens": 5}, "unknown field `tokens`"),
    ):
        with pytest.raises(msgspec.ValidationError, match=text):
            msgspec.convert(bad | {"name": "n"}, Rule)
    for rule in (Rule(name="n", models=("other",)), lambda features: ["other"]):
        with pytest.raises(UnknownName, match="'other' is none of m"):
            World(rules=[rule]).enter()
    with pytest.raises(UnknownName, match="'gpt' is none of m"):
        World().enter(model="gpt")


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
    world.took("b", 1.5)
    assert world.enter().endpoint == "a"  # it will never come back
    world.clock.now += 5.0
    for _ in range(3):
        assert world.call(0.5).endpoint == "b"


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
    assert world.router._worths["m"].quality == 1.0


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
        assert room(breaker)() == (1.0 if breaker.leases < 3 else 0.0)
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


def test_choices_are_logged_with_their_propensities_and_these_are_true() -> None:
    """Each kind of state is visited again and again from the same beginning: the frequencies are the propensities, and add up to one."""
    told: dict[tuple[str, str], tuple[float, int]] = {}
    dice = random.Random(1)
    clock = Clock()
    router = Router(
        {"small": ["a", "b", Endpoint(name="c", room=lambda: 0.0)], "large": ["d", "e", "f"]},
        budget=3.0, prices=PRICES, explore=0.1, clock=clock, random=dice.random,
    )  # fmt: skip
    for model, endpoint, seconds in (
        ("small", 0, 1.0),
        ("small", 1, 2.0),
        ("large", 0, 1.0),
        ("large", 1, 1.0),
        ("large", 2, 3.0),
    ):
        router._loads[model][endpoint]._latency, router._loads[model][endpoint]._at = seconds, clock.now
    router._worths["small"].quality = 0.6
    budget = router._budget
    assert budget is not None
    for _ in range(20_000):
        budget.credit, budget._gap, budget._at = 0.0, 4.0, clock.now - 4.0
        chosen = router._choose(Features(tokens=500), (), clock.now)
        router._requests, router._tokens = 1, 500.0
        known = told.get((chosen.model, chosen.load.name), (chosen.propensity, 0))
        assert known[0] == pytest.approx(chosen.propensity)
        told[chosen.model, chosen.load.name] = (chosen.propensity, known[1] + 1)
    assert len(told) == 5
    assert sum(propensity for propensity, _ in told.values()) == pytest.approx(1)
    for propensity, seen in told.values():
        assert seen / 20_000 == pytest.approx(propensity, abs=0.01)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=2, max_size=6))
def test_the_probability_of_two_choices_is_that_of_all_pairs(scores: list[float]) -> None:
    count = len(scores)
    seen: Counter[int] = Counter()
    for one in range(count):
        for other in range(count - 1):
            numbers = [(other + 0.5) / (count - 1), (one + 0.5) / count]
            seen[less_loaded(scores, numbers.pop)] += 1
    for chosen in range(count):
        assert seen[chosen] / (count * (count - 1)) == pytest.approx(probability(scores, chosen))


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(-5, 20)), min_size=1, max_size=5),
    st.integers(0, 25),
)
def test_the_mixture_is_the_best_of_all_mixtures_of_two(points: list[tuple[int, int]], allowance: int) -> None:
    options = [Option(float(cost), float(utility)) for cost, utility in points]
    shares = mixture(options, float(allowance))
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0
    cost = sum(part * option.cost for part, option in zip(shares, options, strict=True))
    worth = sum(part * option.utility for part, option in zip(shares, options, strict=True))
    cheapest = min(option.cost for option in options)
    if allowance < cheapest:
        assert cost == cheapest
        return
    assert cost <= allowance + 1e-9
    for one in options:
        for other in options:
            for part in (
                (0.0, 1.0) if one.cost == other.cost else (0.0, 1.0, (allowance - other.cost) / (one.cost - other.cost))
            ):
                if 0 <= part <= 1 and part * one.cost + (1 - part) * other.cost <= allowance + 1e-9:
                    assert worth >= part * one.utility + (1 - part) * other.utility - 1e-9


def test_the_budget_gives_what_comes_in_and_takes_back_what_was_too_much() -> None:
    budget = Budget(36.0, per=3600.0, now=0.0)
    for second in range(1, 500):
        assert budget.asked(float(second)) == pytest.approx(0.01, rel=0.01)
        budget.spend(0.01)
    budget.spend(0.5)
    assert budget.asked(500.0) < 0.01
    assert Budget(36.0, per=3600.0, now=0.0).asked(7200.0) == pytest.approx(7200 * 0.02)
    assert drawn([0.0, 0.3, 0.7, 0.0], 0.9999999999999999) == 2
    assert drawn([0.3, 0.7], 0.1) == 0
    assert drawn([0.3, 0.7], 1.0) == 1


def test_models_are_asked_by_what_they_are_worth() -> None:
    world = World({"small": ["a"], "large": ["b"]}, patience=60.0)
    for _ in range(200):
        route = world.enter()
        world.clock.now += 1.0 if route.model == "small" else 2.0
        route.report(0.5 if route.model == "small" else 0.9)
        leave(route)
    assert Counter(choice.model for choice in world.told[100:])["large"] == 100
    for _ in range(100):
        route = world.enter()
        leave(route, ConnectionError() if route.model == "large" else None)
    assert world.told[-1].model == "small"  # the large one fails now
    fast = World({"small": ["a"], "large": ["b"]})
    fast.router._worths["large"].latency, fast.router._worths["small"].quality = 20.0, 0.1
    assert fast.enter().model == "large"
    assert fast.enter(deadline=10.0).model == "small"
    fast.router._worths["small"].latency = 15.0
    assert fast.enter(deadline=10.0).model == "large"  # neither is in time


def test_dollars_are_settled_by_usage() -> None:
    world = World({"large": ["a"]}, budget=1.0)
    route = world.enter(tokens=1000)
    thought = world.router.spent
    assert thought == pytest.approx((1000 * 3 + 512 * 12) / 1e6)
    route.settle(1000, 100, cached_tokens=0)
    leave(route)
    assert world.router.spent == world.told[0].dollars == pytest.approx((1000 * 3 + 100 * 12) / 1e6)
    assert World({"other": ["a"]}).call().model == "other"
    assert World({"other": ["a"]}).router.spent == 0.0
    with pytest.raises(InvalidArgument, match=r"models \['other'\] have no price"):
        World({"other": ["a"]}, budget=1.0)
    with pytest.raises(InvalidArgument, match="have no price"):
        World({"large": ["a"]}, budget=1.0).router.reprice(_without_large())


def _without_large() -> Prices:
    prices = Prices()
    prices._models.pop("large", None)
    return prices


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
            route.report(quality)
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


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 3)), max_size=60), st.integers(0, 1000))
def test_whatever_happens_counts_and_bounds_hold(steps: list[tuple[int, float]], seed: int) -> None:
    world = World(
        {"small": ["a", "b"], "large": ["c", Endpoint(name="d", weight=0.5)]}, seed=seed, explore=0.3, budget=5.0
    )
    under_way: list[Route] = []
    made = ended = 0
    for kind, seconds in steps:
        world.clock.now += seconds if kind != 6 else -seconds
        if kind < 3:
            with contextlib.suppress(NoEndpoint):
                under_way.append(world.enter(tokens=100))
                made += 1
        elif under_way:
            route = under_way.pop(int(seconds) % len(under_way))
            if kind == 3:
                route.answered()
                route.settle(90, 30)
            leave(
                route,
                [
                    None,
                    None,
                    None,
                    None,
                    ConnectionError(),
                    asyncio.CancelledError(),
                    BreakerOpen("", retry_after=seconds),
                ][kind],
            )
            ended += 1
    loads = [load for loads in world.router._loads.values() for load in loads]
    assert sum(load.running for load in loads) == made - ended == len(under_way)
    assert all(len(load._waiting) <= load.running for load in loads)
    assert all(0 < choice.propensity <= 1 + 1e-9 for choice in world.told)
    assert len(world.told) == ended


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
    cancels(20_000)


@pytest.mark.soak
def test_no_call_stays_under_way_after_a_million_random_cancels() -> None:
    cancels(1_000_000)
