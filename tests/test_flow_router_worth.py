"""Which models may answer, by rules; and which of them does, by its worth and a budget, with the propensity that was logged."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_calls import Clock, leave
from routes import PRICES, World
from sparecall.errors import InvalidArgument, UnknownName
from sparecall.flow import Endpoint, Features, Router, Rule
from sparecall.flow.load import less_loaded, probability
from sparecall.flow.spending import Budget, Option, drawn, mixture
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    with pytest.raises(InvalidArgument, match="tokens is -1"):
        Features(tokens=-1)
    for rule in (Rule(name="n", models=("other",)), lambda features: ["other"]):
        with pytest.raises(UnknownName, match="'other' is none of m"):
            World(rules=[rule]).enter()
    with pytest.raises(UnknownName, match="'gpt' is none of m"):
        World().enter(model="gpt")


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
    _judge(router, "small", 0.6)
    budget = router._budget
    assert budget is not None
    for _ in range(10_000):
        budget.credit, budget._gap, budget._at = 0.0, 4.0, clock.now - 4.0
        chosen = router._choose(Features(tokens=500), (), clock.now)
        router._requests, router._tokens = 1, 500.0
        known = told.get((chosen.model, chosen.load.name), (chosen.propensity, 0))
        assert known[0] == pytest.approx(chosen.propensity)
        told[chosen.model, chosen.load.name] = (chosen.propensity, known[1] + 1)
    assert len(told) == 5
    assert sum(propensity for propensity, _ in told.values()) == pytest.approx(1)
    for propensity, seen in told.values():
        assert seen / 10_000 == pytest.approx(propensity, abs=0.015)


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


def _judge(router: Router, model: str, quality: float) -> None:
    """As after 99 answers, just now, that make the model's quality this."""
    worth = router._worths[model]
    worth._at, worth._calls, worth._good = router._clock(), 99.0, 100 * quality - 1


def test_a_model_that_failed_is_asked_again_after_a_while() -> None:
    world = World({"small": ["a"], "large": ["b"]}, memory=100.0)
    for _ in range(50):
        route = world.enter()
        route.rate(0.8 if route.model == "small" else 0.9)
        leave(route)
    for _ in range(10):
        world.call(0.0, ConnectionError(), model="large")
    assert {world.call(1.0).model for _ in range(10)} == {"small"}
    _judge(world.router, "small", 0.8)
    for _ in range(1000):
        route = world.enter()
        world.clock.now += 1.0
        route.rate(0.8 if route.model == "small" else 0.9)
        leave(route)
    assert Counter(choice.model for choice in world.told[-200:])["large"] > 150


def test_models_are_asked_by_what_they_are_worth() -> None:
    world = World({"small": ["a"], "large": ["b"]}, patience=60.0)
    for _ in range(200):
        route = world.enter()
        world.clock.now += 1.0 if route.model == "small" else 2.0
        route.rate(0.5 if route.model == "small" else 0.9)
        leave(route)
    assert Counter(choice.model for choice in world.told[100:])["large"] >= 95
    for _ in range(100):
        route = world.enter()
        leave(route, ConnectionError() if route.model == "large" else None)
    assert world.told[-1].model == "small"  # the large one fails now
    fast = World({"small": ["a"], "large": ["b"]})
    _judge(fast.router, "small", 0.1)
    fast.router._worths["large"].latency = 20.0
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
