"""Routing on a virtual clock: regret against the oracle and the best fixed choice, as markdown tables.

    python -m benches.flow_router [--seeds 10] [--calls 20000]

Ten endpoints of one model, of which one is slow, or another each tenth of the time; and three models under a budget whose prices flip half-way.
Every policy sees the same arrivals and draws the same luck for the n-th call. The oracle knows what each endpoint takes just now, and each model's quality and price.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sparecall.flow import Choice, Features, Router
from sparecall.flow.spending import Option, drawn, mixture
from sparecall.prices import Price, Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ENDPOINTS, RATE, SERVES = 10, 20.0, 32  # calls a second in all; an endpoint serves so many at once at full speed
SLOW = 10.0  # times


def now_of(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that awaits nothing returns."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("it waits")


class World:
    """Ten endpoints: what a call to one takes depends on the time, on how many it serves, and on luck."""

    def __init__(self, kind: str, calls: int) -> None:
        self.kind, self.end = kind, calls / RATE
        self.running = [0] * ENDPOINTS
        self.clock = 0.0

    def slow(self, now: float) -> int | None:
        if self.kind == "none slow":
            return None
        return 3 if self.kind == "one slow" else int(ENDPOINTS * now / self.end) % ENDPOINTS

    def seconds(self, endpoint: int, now: float) -> float:
        """On average, for a call that begins now."""
        crowd = max(1.0, (self.running[endpoint] + 1) / SERVES)
        return crowd * (SLOW if endpoint == self.slow(now) else 1.0)


class Policy(Protocol):
    def begin(self, world: World) -> Any: ...
    def end(self, ticket: Any) -> None: ...


class Simple:
    """Policies that keep nothing but a rule; a ticket is the endpoint's number."""

    def __init__(self, pick: Callable[[World], int]) -> None:
        self.pick = pick

    def begin(self, world: World) -> int:
        return self.pick(world)

    def end(self, ticket: int) -> None:
        pass


class Ours:
    """The Router; a ticket is its route."""

    def __init__(self, seed: int, **options: Any) -> None:
        self.world: World | None = None
        self.chosen: list[Choice] = []
        self.router = Router(
            {"m": [str(number) for number in range(ENDPOINTS)]},
            clock=lambda: 0.0 if self.world is None else self.world.clock,
            random=random.Random(seed).random,
            on_event=self.chosen.append,
            **options,
        )

    def begin(self, world: World) -> Any:
        self.world = world
        return now_of(self.router.route().__aenter__())

    def end(self, ticket: Any) -> None:
        now_of(ticket.__aexit__(None, None, None))


def number_of(ticket: Any) -> int:
    return ticket if isinstance(ticket, int) else int(ticket.endpoint)


def policies(seed: int) -> dict[str, Policy]:
    dice = random.Random(seed)
    turn = iter(range(10**9))
    return {
        "oracle": Simple(lambda world: min(range(ENDPOINTS), key=lambda end: world.seconds(end, world.clock))),
        "sparecall": Ours(seed),
        "sparecall, no exploration": Ours(seed, explore=0.0),
        "least in flight": Simple(
            lambda world: min(range(ENDPOINTS), key=lambda end: (world.running[end], dice.random()))
        ),
        "round robin": Simple(lambda world: next(turn) % ENDPOINTS),
        "random": Simple(lambda world: dice.randrange(ENDPOINTS)),
        "best fixed": Simple(lambda world: 1),
    }


@dataclass
class Outcome:
    """What the calls took, in the order they came, and how many went to an endpoint that was slow then."""

    seconds: list[float] = field(default_factory=list)
    slow: int = 0

    @property
    def mean(self) -> float:
        return statistics.fmean(self.seconds)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def played(policy: Policy, world: World, calls: int, seed: int) -> Outcome:
    """An open loop of Poisson arrivals; the n-th call's luck is the same for every policy."""
    dice = random.Random(seed)
    outcome = Outcome()
    ends: list[tuple[float, int, Any]] = []
    now = 0.0
    for number in range(calls):
        now += dice.expovariate(RATE)
        luck = dice.lognormvariate(-0.125, 0.5)  # of mean 1
        while ends and ends[0][0] <= now:
            world.clock, _, ticket = heapq.heappop(ends)
            world.running[number_of(ticket)] -= 1
            policy.end(ticket)
        world.clock = now
        ticket = policy.begin(world)
        endpoint = number_of(ticket)
        taken = world.seconds(endpoint, now) * luck
        outcome.seconds.append(taken)
        outcome.slow += endpoint == world.slow(now)
        world.running[endpoint] += 1
        heapq.heappush(ends, (now + taken, number, ticket))
    for world.clock, _, ticket in sorted(ends, key=lambda end: end[:2]):
        policy.end(ticket)
    return outcome


@dataclass(frozen=True)
class Model:
    """How often its answers are good, what they take, and dollars per million tokens, before the flip and after."""

    quality: float
    seconds: float
    before: Price
    after: Price


MODELS = {
    "small": Model(0.70, 1.0, Price(0.2, 0.8), Price(0.2, 0.8)),
    "middle": Model(0.85, 2.0, Price(1.0, 4.0), Price(3.0, 12.0)),
    "large": Model(0.95, 4.0, Price(3.0, 12.0), Price(1.0, 4.0)),
}
PROMPT, COMPLETION, BUDGET, CALLS_A_SECOND, PATIENCE = 1_000, 400, 9.0, 1.0, 60.0


def dollars(model: Model, *, flipped: bool) -> float:
    price = model.after if flipped else model.before
    return (PROMPT * price.input + COMPLETION * price.output) / 1e6


def utility(model: Model) -> float:
    return model.quality - model.seconds / PATIENCE


@dataclass
class Spent:
    """Utility and dollars of all calls, and the share of each model, in the halves before and after the flip."""

    utility: list[float] = field(default_factory=lambda: [0.0, 0.0])
    dollars: list[float] = field(default_factory=lambda: [0.0, 0.0])
    shares: list[dict[str, float]] = field(default_factory=lambda: [dict.fromkeys(MODELS, 0.0) for _ in range(2)])


def spent(name: str, calls: int, seed: int) -> Spent:
    """One policy under a budget of `BUDGET` dollars an hour. Prices flip half-way."""
    dice, luck = random.Random(seed), random.Random(seed + 1)
    clock = 0.0
    prices = [
        Prices({model: kind.before for model, kind in MODELS.items()}),
        Prices({model: kind.after for model, kind in MODELS.items()}),
    ]
    router = Router(
        {model: ["only"] for model in MODELS},
        budget=BUDGET,
        prices=prices[0],
        patience=PATIENCE,
        clock=lambda: clock,
        random=dice.random,
    )
    kinds = list(MODELS.values())
    allowed = BUDGET / 3600 / CALLS_A_SECOND
    best = [
        mixture([Option(dollars(kind, flipped=flip), utility(kind)) for kind in kinds], allowed)
        for flip in (False, True)
    ]
    found = Spent()
    for number in range(calls):
        clock += luck.expovariate(CALLS_A_SECOND)
        half = int(2 * number >= calls)
        if 2 * number == calls:
            router.reprice(prices[1])
        route = router.route(Features(tokens=PROMPT))
        if name == "sparecall":
            now_of(route.__aenter__())
            model = route.model
        elif name == "oracle":
            model = list(MODELS)[drawn(best[half], luck.random())]
        else:
            model = name
        kind = MODELS[model]
        good = float(luck.random() < kind.quality)
        if name == "sparecall":
            clock_was = clock
            clock += kind.seconds
            route.settle(PROMPT, COMPLETION)
            route.rate(good)
            now_of(route.__aexit__(None, None, None))
            clock = clock_was
        found.utility[half] += (good - kind.seconds / PATIENCE) / (calls / 2)
        found.dollars[half] += dollars(kind, flipped=bool(half))
        found.shares[half][model] += 1 / (calls / 2)
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=20_000)
    args = parser.parse_args()
    for kind in ("one slow", "drift", "none slow"):
        print(f"\n| {kind} of ten | mean s | regret | p99 | p99.9 | to the slow one |\n|---|---|---|---|---|---|")
        rows: dict[str, list[Outcome]] = {}
        for seed in range(args.seeds):
            for name, policy in policies(seed).items():
                rows.setdefault(name, []).append(played(policy, World(kind, args.calls), args.calls, seed))
        oracle = statistics.fmean(outcome.mean for outcome in rows["oracle"])
        for name, outcomes in rows.items():
            mean = statistics.fmean(outcome.mean for outcome in outcomes)
            tails = [statistics.median(outcome.quantile(share) for outcome in outcomes) for share in (0.99, 0.999)]
            slow = statistics.fmean(outcome.slow for outcome in outcomes) / args.calls
            print(f"| {name} | {mean:.3f} | {mean / oracle - 1:.1%} | {tails[0]:.2f} | {tails[1]:.1f} | {slow:.2%} |")
    hours = args.calls / CALLS_A_SECOND / 3600
    print(
        f"\n| {BUDGET:g} dollars an hour, prices flip | utility before | after | dollars an hour before | after | small, middle, large after |\n|---|---|---|---|---|---|"
    )
    for name in ("oracle", "sparecall", *MODELS):
        runs = [spent(name, args.calls, seed) for seed in range(args.seeds)]
        worth = [statistics.fmean(run.utility[half] for run in runs) for half in (0, 1)]
        rate = [statistics.fmean(run.dollars[half] for run in runs) / (hours / 2) for half in (0, 1)]
        shares = ", ".join(f"{statistics.fmean(run.shares[1][model] for run in runs):.0%}" for model in MODELS)
        print(f"| {name} | {worth[0]:.3f} | {worth[1]:.3f} | {rate[0]:.2f} | {rate[1]:.2f} | {shares} |")


if __name__ == "__main__":
    main()
