"""Which model and which of its endpoints a call goes to: rules, then worth against a budget, then the less loaded of two.

One event loop, no locks: no step awaits.
"""

from __future__ import annotations

import logging
import random as _random
import time
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import msgspec

from sparecall.errors import InvalidArgument, NoEndpoint, UnknownName
from sparecall.flow.arguments import count, positive, share
from sparecall.flow.load import Endpoint, Load, less_loaded, probability
from sparecall.flow.outcome import OUTCOMES, Outcome, outcome_of, outcome_of_status, retry_after_of
from sparecall.flow.rules import Features, Rule
from sparecall.flow.spending import Budget, Option, Worth, drawn, mixture
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from types import TracebackType

R = TypeVar("R")

_LOG = logging.getLogger("sparecall.flow")
_USUAL = 1.0  # seconds that a call takes, where nothing is known
_HELD_AT_MOST = 60.0  # seconds, whatever an endpoint asks for
_SOON = 1.0  # seconds after which to ask again where no endpoint takes calls


class Choice(msgspec.Struct, frozen=True):
    """Where a call went, why, and what came of it: what `on_event` is called with, once it is over."""

    model: str
    endpoint: str
    rule: str
    """Of the rule that named the models; empty where none did."""
    propensity: float
    """The probability with which this model and endpoint were chosen: what an estimate of other policies divides by."""
    explored: bool
    """Whether chance alone chose."""
    outcome: Outcome
    seconds: float
    """To the answer, or its beginning where `Route.answered` told; of a failed call, to its end."""
    dollars: float
    """What it cost, as settled, or else as thought before; 0 where the price is unknown."""


class Router:
    """Chooses a model, then an endpoint for each call.

    The models that may answer are those of the first of ``rules`` that matches (a `Rule`, or a function from `Features` to models, or none); else
    the one asked for; else all. Among several, each is worth its quality over the last ``memory`` seconds (a failure is 0) less latency over
    ``patience`` seconds; the best mixture that keeps to ``budget`` dollars each ``per`` seconds is drawn from. Among a model's endpoints two are drawn,
    and the one is taken whose latency (peaks at once, forgotten over ``decay`` seconds) times calls under way, by weight and room, is less. Endpoints without
    room are passed over, as are those that asked to be left alone by a ``retry-after``. A share ``explore`` of the choices is left to chance among what takes calls.

    ``classify`` gives an exception's outcome (`outcome_of`): a ``failure`` counts as slow and of no worth, ``ignored`` ones tell only that they took so
    long. ``on_event`` is told of each call with its propensity; what it raises is logged. The same ``random`` makes the same choices. ``clock``:
    monotonic seconds. A choice is O(models + endpoints of one). Belongs to one event loop.
    """

    __slots__ = (
        "_budget", "_classify", "_clock", "_explore", "_loads", "_on_event", "_patience", "_prices", "_random", "_requests", "_rules",
        "_tokens", "_wall_clock", "_worths",
    )  # fmt: skip

    def __init__(
        self,
        models: Mapping[str, Sequence[Endpoint | str]],
        *,
        rules: Sequence[Rule | Callable[[Features], Sequence[str]]] = (),
        budget: float | None = None,
        per: float = 3600.0,
        prices: Prices | None = None,
        patience: float = 60.0,
        memory: float = 300.0,
        decay: float = 20.0,
        explore: float = 0.02,
        classify: Callable[[BaseException | None], Outcome] = outcome_of,
        on_event: Callable[[Choice], None] = lambda choice: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random.random,
    ) -> None:
        positive("decay", decay)
        if not models:
            raise InvalidArgument("models is empty; it needs at least one")
        self._loads = {
            model: [Load(endpoint, decay=decay) for endpoint in endpoints] for model, endpoints in models.items()
        }
        for model, loads in self._loads.items():
            if len({load.name for load in loads}) != len(loads) or not loads:
                raise InvalidArgument(
                    f"the endpoints of {model!r} are {[load.name for load in loads]}; they must be some, each of another name"
                )
        self._rules = tuple(rules)
        self._patience = positive("patience", patience)
        self._explore = positive("explore", explore, zero=True)
        if explore:
            share("explore", explore)
        self._classify, self._on_event = classify, on_event
        self._clock, self._wall_clock, self._random = clock, wall_clock, random
        self._budget = (
            None if budget is None else Budget(positive("budget", budget), per=positive("per", per), now=clock())
        )
        self._worths = {model: Worth(model, memory=positive("memory", memory)) for model in models}
        self._requests, self._tokens = 0, 0.0
        self.reprice(Prices() if prices is None else prices)
        for rule in self._rules:
            if isinstance(rule, Rule):
                self._known(rule.models)

    def reprice(self, prices: Prices) -> None:
        """Take over other prices, from the next choice on. Raises `InvalidArgument` where a model has none and there is a budget."""
        found = {model: prices.of(model) for model in self._worths}
        unknown = [model for model, price in found.items() if price is None]
        if unknown and self._budget is not None:
            raise InvalidArgument(f"models {unknown} have no price, which a budget needs; give it in `prices`")
        self._prices = prices
        for model, price in found.items():
            self._worths[model].price = price

    @property
    def spent(self) -> float:
        """Dollars spent since the beginning, as far as known; 0 without a budget."""
        return 0.0 if self._budget is None else self._budget.spent

    def __repr__(self) -> str:
        models = ", ".join(f"{model} at {len(loads)}" for model, loads in self._loads.items())
        return f"<Router of {models} endpoints: {sum(load.running for loads in self._loads.values() for load in loads)} calls under way>"

    def route(self, features: Features | None = None, *, avoid: Collection[str] = ()) -> Route:
        """A call's way, for the length of an ``async with``; entering it chooses.

        ``avoid``: endpoints to go to only where there is no other, such as that of the call which this one is to overtake. Entering raises
        `NoEndpoint` where none takes calls, and `UnknownName` where the model asked for is none of the router's and no rule is meant for it.
        """
        return Route(self, Features() if features is None else features, avoid)

    async def run(
        self, work: Callable[[Route], Awaitable[R]], features: Features | None = None, *, avoid: Collection[str] = ()
    ) -> R:
        """What `work(route)` returns, which is to call ``route.endpoint`` for ``route.model``. Arguments and errors: `route`."""
        async with Route(self, Features() if features is None else features, avoid) as route:
            return await work(route)

    def _known(self, models: Sequence[str]) -> Sequence[str]:
        for model in models:
            if model not in self._loads:
                raise UnknownName(f"model {model!r} is none of {', '.join(self._loads)}")
        return models

    def _named(self, features: Features) -> tuple[str, Sequence[str]]:
        """The models that may answer, and the rule that says so."""
        for rule in self._rules:
            if isinstance(rule, Rule):
                if rule.matches(features):
                    return rule.name, rule.models
            else:
                models = rule(features)
                if models:
                    return getattr(rule, "__name__", "rule"), self._known(models)
        return "", self._known((features.model,)) if features.model else tuple(self._loads)

    def _usual(self, model: str) -> float:
        return self._worths[model].latency or _USUAL

    def _choose(self, features: Features, avoid: Collection[str], now: float) -> _Chosen:
        """Where to go. A model's endpoints are asked for room once each; a model that has none is not there."""
        rule, named = self._named(features)
        self._requests += 1
        self._tokens += max(1 / self._requests, 1 / 256) * (features.tokens - self._tokens)
        models, opens = [], []
        for model in named:
            found = self._open(model, avoid, now)
            if found:
                models.append(model)
                opens.append(found)
        if not models:
            raise self._nothing(named, now)
        shares = self._shares(models, features, now)
        explored = self._explore > 0 and self._random() < self._explore
        picked = 0
        if len(models) > 1:
            picked = int(self._random() * len(models)) if explored else drawn(shares, self._random())
        model, ends = models[picked], opens[picked]
        chosen, likely = 0, 1.0
        if len(ends) > 1:
            usual = self._usual(model)
            scores = [load.score(now, usual, room) for load, room in ends]
            chosen = int(self._random() * len(ends)) if explored else less_loaded(scores, self._random)
            likely = probability(scores, chosen)
        propensity = (1 - self._explore) * shares[picked] * likely + self._explore / (len(models) * len(ends))
        return _Chosen(model, ends[chosen][0], rule, propensity, explored)

    def _open(self, model: str, avoid: Collection[str], now: float) -> list[tuple[Load, float]]:
        """The model's endpoints that take calls, and their room."""
        found = [(load, room) for load in self._loads[model] if (room := load.room(now)) > 0]
        return [end for end in found if end[0].name not in avoid] or found if avoid else found

    def _shares(self, models: Sequence[str], features: Features, now: float) -> list[float]:
        """How often to ask each of these models."""
        allowance = None if self._budget is None else self._budget.asked(now)
        if len(models) == 1:
            return [1.0]
        worths = [self._worths[model] for model in models]
        fits = [features.deadline is None or worth.latency <= features.deadline for worth in worths]
        if not any(fits):
            fits = [True] * len(worths)
        options = [
            Option(worth.cost(self._tokens), worth.quality(now) - worth.latency / self._patience)
            for worth, fit in zip(worths, fits, strict=True)
            if fit
        ]
        if allowance is None:
            best = max(range(len(options)), key=lambda index: options[index].utility)
            found = [float(index == best) for index in range(len(options))]
        else:
            mean = sum(option.cost for option in options) / len(options)
            found = mixture(
                options, (allowance - self._explore * mean) / (1 - self._explore) if self._explore < 1 else allowance
            )
        left = iter(found)
        return [next(left) if fit else 0.0 for fit in fits]

    def _nothing(self, named: Sequence[str], now: float) -> NoEndpoint:
        holds = [load.held_until - now for model in named for load in self._loads[model] if load.held_until > now]
        wait = min(holds, default=_SOON)
        return NoEndpoint(
            f"no endpoint of {', '.join(named)} takes calls now; try again in {wait:.1f} s", retry_after=wait
        )

    def _tell(self, choice: Choice) -> None:
        try:
            self._on_event(choice)
        except Exception:  # noqa: BLE001 - the user's code, of any kind
            _LOG.exception("on_event of a router failed")


class Route:
    """The way of one call: the holder of an ``async with router.route(...)``. It is under way until the block ends, however that is."""

    __slots__ = ("_at", "_avoid", "_chosen", "_dollars", "_features", "_outcome", "_quality", "_router", "_seconds")

    def __init__(self, router: Router, features: Features, avoid: Collection[str]) -> None:
        self._router, self._features, self._avoid = router, features, avoid
        self._chosen: _Chosen | None = None
        self._seconds: float | None = None
        self._outcome: Outcome | None = None
        self._quality: float | None = None
        self._dollars = 0.0

    async def __aenter__(self) -> Self:
        if self._chosen is not None:
            raise InvalidArgument("a route serves one call; ask router.route() for another")
        router = self._router
        self._at = router._clock()
        self._chosen = router._choose(self._features, self._avoid, self._at)
        self._chosen.load.began(self, self._at)
        self._dollars = router._worths[self.model].cost(self._features.tokens)
        if router._budget is not None:
            router._budget.spend(self._dollars)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = self._outcome or "ignored"
        try:
            if self._outcome is None:
                outcome = self._router._classify(error)
                if outcome not in OUTCOMES:
                    raise InvalidArgument(f"classify gave {outcome!r}; it must give one of {sorted(OUTCOMES)}")
        finally:
            # Whatever happens in code that is not ours, the call is under way no more.
            self._end(outcome if outcome in OUTCOMES else "ignored", error)

    @property
    def model(self) -> str:
        """The model to ask for."""
        return self._entered().model

    @property
    def endpoint(self) -> str:
        """The endpoint to call."""
        return self._entered().load.name

    @property
    def rule(self) -> str:
        """The rule that named the models; empty where none did."""
        return self._entered().rule

    @property
    def propensity(self) -> float:
        """The probability with which this model and endpoint were chosen."""
        return self._entered().propensity

    def answered(self) -> None:
        """Say that the answer has begun, such as a stream with its first item: that is the latency that counts."""
        chosen = self._entered()
        seconds = chosen.load.answered(self, self._router._clock())
        if seconds is not None:
            self._seconds = seconds
            self._router._worths[chosen.model].took(seconds)

    def settle(self, prompt_tokens: int, completion_tokens: int, *, cached_tokens: int = 0) -> None:
        """Say what `usage` tells, so that the budget and the model's cost are right. Also after the ``async with``; the last word counts."""
        count("prompt_tokens", prompt_tokens, least=0)
        count("completion_tokens", completion_tokens, least=0)
        router, worth = self._router, self._router._worths[self._entered().model]
        worth.used(completion_tokens)
        dollars = router._prices.cost(worth.name, prompt_tokens, completion_tokens, cached_tokens=cached_tokens) or 0.0
        if router._budget is not None:
            router._budget.spend(dollars - self._dollars)
        self._dollars = dollars

    def report(self, outcome: Outcome | int) -> None:
        """Say how the call went where no exception tells: a word, or the HTTP status of the reply. The last report counts."""
        if isinstance(outcome, int) and not isinstance(outcome, bool):
            self._outcome = outcome_of_status(outcome)
        elif outcome in OUTCOMES:
            self._outcome = outcome
        else:
            raise InvalidArgument(f"outcome is {outcome!r}; it must be an HTTP status or one of {sorted(OUTCOMES)}")

    def rate(self, quality: float) -> None:
        """Say how good the answer is, from 0 to 1, before the ``async with`` ends; without it, an answer is a 1."""
        positive("quality", quality, zero=True)
        if quality > 1:
            raise InvalidArgument(f"quality is {quality}; it must be at most 1")
        self._quality = quality

    def __repr__(self) -> str:
        return "<Route not chosen>" if self._chosen is None else f"<Route to {self.model} at {self.endpoint}>"

    def _entered(self) -> _Chosen:
        if self._chosen is None:
            raise InvalidArgument("the route has not been chosen: enter it by `async with`")
        return self._chosen

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        router, chosen = self._router, self._entered()
        now = router._clock()
        if outcome == "success":
            self.answered()
        failed = outcome in ("failure", "limited")
        chosen.load.ended(self, now, failed=failed, usual=router._usual(chosen.model))
        if outcome == "limited" and error is not None:
            wait = retry_after_of(error, wall=router._wall_clock())
            if wait is not None:
                chosen.load.held_until = max(chosen.load.held_until, now + min(wait, _HELD_AT_MOST))
        if outcome in ("success", "failure"):
            worth = router._worths[chosen.model]
            worth.judged(0.0 if outcome == "failure" else 1.0 if self._quality is None else self._quality, now)
        seconds = now - self._at if self._seconds is None else self._seconds
        router._tell(
            Choice(
                chosen.model,
                chosen.load.name,
                chosen.rule,
                chosen.propensity,
                chosen.explored,
                outcome,
                seconds,
                self._dollars,
            )
        )


class _Chosen(NamedTuple):
    model: str
    load: Load
    rule: str
    propensity: float
    explored: bool
