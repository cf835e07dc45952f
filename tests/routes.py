"""A router with its clock, dice and diary, entered and left step by step."""

from __future__ import annotations

import random
from typing import Any

from flow_calls import Clock, enter, leave
from sparecall.flow import Choice, Features, Route, Router
from sparecall.prices import Price, Prices

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
