"""The router against a small model of who is under way, who takes calls and what was spent, through any order of events."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flow_calls import Clock, enter, leave
from sparecall.errors import BreakerOpen, NoEndpoint
from sparecall.flow import Choice, Endpoint, Features, Route, Router
from sparecall.prices import Price, Prices

MODELS = {"small": "abc", "large": "de"}
PRICES = {"small": Price(1.0, 2.0), "large": Price(10.0, 20.0)}
ERRORS: dict[str, BaseException | None] = {
    "well": None,
    "badly": ConnectionError(),
    "cancelled": asyncio.CancelledError(),
    "refused": BreakerOpen("", retry_after=5.0),
}


class RouterMachine(RuleBasedStateMachine):
    """Who is closed or held takes no call, in-flight counts and dollars are exact, every choice had a chance."""

    @initialize(
        seed=st.integers(0, 1000), explore=st.sampled_from([0.0, 0.3, 1.0]), budget=st.sampled_from([None, 0.5, 1e6])
    )
    def begin(self, seed: int, explore: float, budget: float | None) -> None:
        self.clock = Clock()
        self.rooms = dict.fromkeys("abcde", 1.0)
        self.held = dict.fromkeys("abcde", 0.0)
        self.told: list[Choice] = []
        self.under_way: list[Route] = []
        self.dollars = 0.0
        self.router = Router(
            {model: [Endpoint(name=name, room=lambda name=name: self.rooms[name]) for name in names] for model, names in MODELS.items()},  # type: ignore[misc]
            budget=budget, prices=Prices(PRICES), explore=explore, clock=self.clock, wall_clock=self.clock,
            random=random.Random(seed).random, on_event=self.told.append,
        )  # fmt: skip
        self.budgeted = budget is not None

    def takes_calls(self, name: str) -> bool:
        return self.rooms[name] > 0 and self.clock.now >= self.held[name]

    @rule(
        model=st.sampled_from(["", "small", "large"]),
        avoid=st.sets(st.sampled_from("abcde")),
        tokens=st.integers(0, 5000),
    )
    def call(self, model: str, avoid: set[str], tokens: int) -> None:
        open_to = [
            name for asked, names in MODELS.items() if model in ("", asked) for name in names if self.takes_calls(name)
        ]
        way = self.router.route(Features(model=model, tokens=tokens), avoid=avoid)
        if not open_to:
            with pytest.raises(NoEndpoint) as caught:
                enter(way)
            assert caught.value.retry_after > 0
            return
        route: Route = enter(way)
        assert route.endpoint in open_to
        assert route.endpoint in MODELS[route.model]
        others = [name for name in MODELS[route.model] if self.takes_calls(name) and name not in avoid]
        assert route.endpoint not in avoid or not others
        assert 0 < route.propensity <= 1 + 1e-9
        self.under_way.append(route)
        self.dollars += self.router._worths[route.model].cost(tokens)

    @rule(which=st.integers(0, 50), how=st.sampled_from(sorted(ERRORS)), began=st.booleans())
    def end(self, which: int, how: str, *, began: bool) -> None:
        if not self.under_way:
            return
        route = self.under_way.pop(which % len(self.under_way))
        if began:
            route.answered()
        leave(route, ERRORS[how])
        told = self.told[-1]
        assert (told.model, told.endpoint, told.propensity) == (route.model, route.endpoint, route.propensity)
        assert (
            told.outcome == {"well": "success", "badly": "failure", "cancelled": "ignored", "refused": "limited"}[how]
        )
        if how == "refused":
            self.held[route.endpoint] = max(self.held[route.endpoint], self.clock.now + 5.0)

    @rule(which=st.integers(0, 50), prompt=st.integers(0, 5000), completion=st.integers(0, 5000))
    def settle(self, which: int, prompt: int, completion: int) -> None:
        if self.under_way:
            route = self.under_way[which % len(self.under_way)]
            price = PRICES[route.model]
            self.dollars += (prompt * price.input + completion * price.output) / 1e6 - route._dollars
            route.settle(prompt, completion)

    @rule(name=st.sampled_from("abcde"), share=st.sampled_from([0.0, 0.05, 1.0]))
    def room(self, name: str, share: float) -> None:
        self.rooms[name] = share

    @rule(seconds=st.sampled_from([0.01, 1.0, 6.0, 1000.0, -3.0]))
    def passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "router"):
            return
        for model, loads in self.router._loads.items():
            for load in loads:
                here = [route for route in self.under_way if (route.model, route.endpoint) == (model, load.name)]
                assert load.running == len(here)
                assert set(load._waiting) <= set(here)
                assert load.latency(self.clock.now, 1.0) >= 0
        assert self.router.spent == pytest.approx(self.dollars if self.budgeted else 0.0)


TestRouter = RouterMachine.TestCase
TestRouter.settings = settings(max_examples=50, stateful_step_count=40)
