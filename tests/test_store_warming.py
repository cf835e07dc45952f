"""Refresh-ahead: what is popular is made before it ends, within the budget, where it is worth its price; guesses are accounted for."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from shared_store import Shared
from sparecall.cache import Cache
from sparecall.errors import InvalidArgument
from sparecall.store import Route, TieredCache, Warmer
from sparecall.store.popularity import DAY, HOUR, Popularity
from tiers import SCOPE, tiered
from virtual_time import clock, run, wall_clock

if TYPE_CHECKING:
    from sparecall.store import Making

ROUTE = Route(ttl=100)


class Loader:
    def __init__(self, *, dollars: float = 0.01, seconds: float = 2.0) -> None:
        self.dollars, self.seconds = dollars, seconds
        self.calls: list[str] = []
        self.error: Exception | None = None

    async def __call__(self, key: str, scope: str, making: Making) -> str:
        self.calls.append(key)
        number = len(self.calls)
        await asyncio.sleep(self.seconds)
        making.dollars = self.dollars
        if self.error is not None:
            raise self.error
        return f"{scope} {key} {number}"


def warmer(cache: TieredCache, loader: Any, **options: Any) -> Warmer:
    options = {"route": ROUTE, "second_price": 0.1, "clock": wall_clock, "random": random.Random(0).random} | options
    return Warmer(cache, loader, **options)


def test_the_popular_are_made_before_they_end_and_the_rest_is_not() -> None:
    async def scenario() -> None:
        loader = Loader()
        async with tiered(Shared().connect()) as cache:
            warm = warmer(cache, loader, top=2)
            for key, uses in (("a", 9), ("b", 8), ("c", 7)):
                for _ in range(uses):
                    assert (await warm.get(key, scope=SCOPE)).startswith(f"{SCOPE} {key}")
            assert loader.calls == ["a", "b", "c"]
            assert await warm.step() == 0, "their lives have hardly begun"
            await asyncio.sleep(91)
            assert await warm.step() == 2
            assert sorted(loader.calls[3:]) == ["a", "b"]
            await asyncio.sleep(15)
            before = clock()
            assert await warm.get("a", scope=SCOPE) == f"{SCOPE} a {4 + loader.calls[3:].index('a')}"
            assert clock() == before, "it was there already"
            await warm.get("c", scope=SCOPE)
            await asyncio.sleep(200)
            await warm.step()
            report = warm.report()
            assert (report.warmed >= 2, report.used, report.wasted, report.misses) == (True, 1, 1, 4)
            assert (report.precision, report.coverage, report.wasted_dollars) == (0.5, 0.2, 0.01)

    run(scenario())


def test_a_guess_has_to_be_worth_its_price() -> None:
    async def scenario(**options: Any) -> int:
        loader = Loader(dollars=0.01, seconds=2.0)
        async with tiered() as cache:
            warm = warmer(cache, loader, **options)
            await warm.get("key", scope=SCOPE)
            await asyncio.sleep(95)
            made = await warm.step()
            assert made + warm.report().not_worth == 1
            return made

    # One use in the last hour: the next is to be expected in these 100 seconds with a chance of about 0.02.
    assert run(scenario(second_price=0.0)) == 0, "a call spared later is worth no more than the call made now"
    assert run(scenario(second_price=0.1)) == 0
    assert run(scenario(second_price=1.0)) == 1
    assert run(scenario(second_price=0.0, price_share=0.01)) == 1


@pytest.mark.parametrize(
    ("budget", "made"), [({"calls_per_minute": 3}, 3), ({"dollars_per_hour": 0.055}, 5), ({"dollars_per_hour": 0}, 0)]
)
def test_the_budget_holds_and_fills_up(budget: dict[str, Any], made: int) -> None:
    async def scenario() -> None:
        loader = Loader(seconds=0.0)
        async with tiered(route=ROUTE) as cache:
            warm = warmer(cache, loader, second_price=10.0, **budget)
            loader.seconds = 1.0
            for number in range(10):
                for _ in range(5):
                    await warm.get(str(number), scope=SCOPE)
            await asyncio.sleep(95)
            assert await warm.step() == made
            assert warm.report().over_budget == 10 - made
            assert warm.report().dollars == pytest.approx(made * 0.01)
            assert await warm.step() == 0
            if "calls_per_minute" in budget:
                await asyncio.sleep(21)
                assert await warm.step() == 1

    run(scenario())


def test_a_loader_that_fails_harms_nobody() -> None:
    async def scenario() -> None:
        loader = Loader()
        async with tiered() as cache:
            warm = warmer(cache, loader)
            for _ in range(9):
                await warm.get("key", scope=SCOPE)
            await asyncio.sleep(95)
            loader.error = ValueError("down")
            assert await warm.step() == 0
            assert warm.report().failed == 1
            assert await warm.get("key", scope=SCOPE) == f"{SCOPE} key 1"

    run(scenario())


def test_run_goes_on_until_it_is_cancelled() -> None:
    async def scenario() -> None:
        loader = Loader()
        async with tiered() as cache:
            warm = warmer(cache, loader)
            task = asyncio.ensure_future(warm.run(every=5.0))
            for _ in range(100):
                await warm.get("key", scope=SCOPE)
                await asyncio.sleep(10)
            assert (warm.report().misses, len(loader.calls) > 9) == (1, True)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(scenario())


def test_what_is_asked_for_at_this_hour_of_other_days_is_expected() -> None:
    now = 1000 * DAY
    uses = Popularity(100, clock=lambda: now, random=lambda: 0.5)
    for day in range(5):
        now = (1000 + day) * DAY + 9 * HOUR
        for _ in range(36):
            uses.used(("scope", "mornings"))
        now += 5 * HOUR
        uses.used(("scope", "always"))
    now = 1005 * DAY + 9 * HOUR + 60
    assert uses.rate(("scope", "mornings")) == pytest.approx(36 / HOUR, rel=0.15)
    now += 5 * HOUR
    assert uses.rate(("scope", "mornings")) < 1 / HOUR
    now += 365 * DAY - 5 * HOUR
    assert uses.rate(("scope", "mornings")) < 0.001 / HOUR, "what was forgotten a year ago"
    assert uses.rate(("scope", "unknown")) == 0


def test_so_many_keys_are_counted_and_the_popular_stay() -> None:
    now = 1000 * DAY
    chance = random.Random(0)
    uses = Popularity(100, clock=lambda: now, random=chance.random)
    for number in range(20_000):
        now += 1
        uses.used(("scope", f"hot {number % 20}" if number % 2 else f"cold {number}"))
        assert len(uses) <= 100
    assert sum(place[1].startswith("hot") for place in uses.places()) == 10


def test_wrong_guesses_push_nothing_proven_out_of_l1() -> None:
    async def scenario() -> None:
        loader = Loader(seconds=0.0)
        async with tiered(l1=Cache(100, clock=clock)) as cache:
            for _ in range(20):
                for number in range(90):
                    await cache.get_or_set(f"proven {number}", lambda: 1, scope=SCOPE, ttl=10_000)
            for number in range(1000):
                await cache.refresh(f"guess {number}", lambda making: loader("", "", making), scope=SCOPE)
            there = sum(cache.get_nowait(f"proven {number}", scope=SCOPE) is not None for number in range(90))
            assert there >= 85

    run(scenario())


@pytest.mark.parametrize(
    "options",
    [
        {"top": 0},
        {"top": 10, "tracked": 9},
        {"ahead": 0},
        {"ahead": 1.1},
        {"dollars_per_hour": -1},
        {"calls_per_minute": float("nan")},
        {"second_price": -1},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"top|ahead|dollars|calls|price"):
        Warmer(TieredCache(), Loader(), **options)
