"""The figures of a demo: what was spared, and whether the answers were the same."""

from __future__ import annotations

import math
import platform
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from sparecall import tokens
from sparecall.demo.rereads import Rereads, rereads
from sparecall.demo.session import Session
from sparecall.demo.workday import SHARES
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sparecall.demo.drive import Outcome
    from sparecall.demo.run import Run
    from sparecall.demo.task import Day
    from sparecall.simulate import Latency

HITS = ("exact", "semantic", "coalesced", "miss", "bypass")
_SPARED = frozenset({"exact", "semantic", "coalesced"})


class Work(msgspec.Struct, frozen=True):
    """Calls of one kind of work, by kind of hit."""

    kind: str
    calls: int
    exact: int
    semantic: int
    coalesced: int
    miss: int
    bypass: int

    @property
    def spared(self) -> float:
        """The share of its calls that the provider did not get."""
        return (self.exact + self.semantic + self.coalesced) / self.calls


class Spending(msgspec.Struct, frozen=True):
    """What a run took of the provider; `dollars` is None where a model has no known price."""

    calls: int
    prompt_tokens: int
    answer_tokens: int
    dollars: float | None
    seconds: float
    """Wall time of the whole day."""


class Quantiles(msgspec.Struct, frozen=True):
    """Some measurements, in milliseconds: how many, and their nearest-rank percentiles."""

    name: str
    count: int
    p50: float
    p95: float
    p99: float


class Vectors(msgspec.Struct, frozen=True):
    """What embedding the functions of the day took, a request each, all at once."""

    requests: int
    calls_off: int
    """Calls to the provider, with the cache off and on."""
    calls_on: int
    seconds_off: float
    seconds_on: float


class Check(msgspec.Struct, frozen=True):
    """A fact about the run that must hold for all."""

    claim: str
    held: int
    of: int

    @property
    def holds(self) -> bool:
        """Whether it held everywhere, and anywhere at all."""
        return self.held == self.of > 0


class PhaseFigures(msgspec.Struct, frozen=True):
    """Calls that began in one phase, and who answered them."""

    name: str
    calls: int
    answered: int
    by_a: int
    by_b: int
    passed: int
    """Answered after a provider had failed or said 429."""
    milliseconds: Quantiles


class Change(msgspec.Struct, frozen=True):
    """A breaker's new state, so many seconds after the beginning."""

    seconds: float
    provider: str
    state: str


class Outage(msgspec.Struct, frozen=True):
    """What became of the calls, and what it took."""

    seconds: float
    phases: list[PhaseFigures]
    faults: dict[str, int]
    """What the providers did to calls, by its name."""
    provider_calls: int
    retries: int
    hedges: int
    hedges_won: int
    breakers: list[Change]

    @property
    def calls(self) -> int:
        """Calls of the clients."""
        return sum(phase.calls for phase in self.phases)

    @property
    def answered(self) -> int:
        """Those of them that got a whole answer."""
        return sum(phase.answered for phase in self.phases)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All of them. `latencies` are what clients waited for whole answers; `pipeline` is the time in it for exact hits."""

    simulated: bool = True
    python: str
    seed: int
    calls: int
    agents: int
    speed: float
    first_token: float
    per_token: float
    per_prompt_token: float
    jitter: float
    prices_of: str
    chosen_shares: dict[str, float]
    work: list[Work]
    cache_off: Spending
    cache_on: Spending
    latencies: list[Quantiles]
    pipeline: list[Quantiles]
    vectors: Vectors
    rereads: Rereads
    session: Session
    outage: Outage | None
    """None: that part was left out."""
    checks: list[Check]

    @property
    def hold(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


def figures(
    day: Day, off: Run, on: Run, session: Session, *, latency: Latency, speed: float, outage: Outage | None = None
) -> Figures:
    """Computes them from the same day run with the cache off and on, from the long session, and from failing providers."""
    prices = Prices()
    return Figures(
        python=platform.python_version(),
        seed=day.seed,
        calls=day.calls,
        agents=len(day.hours[0]),
        speed=speed,
        first_token=latency.first_token,
        per_token=latency.per_token,
        per_prompt_token=latency.per_prompt_token,
        jitter=latency.jitter,
        prices_of=prices.date.isoformat(),
        chosen_shares=dict(SHARES),
        work=[_work(kind, [o for o in on.outcomes if o.task.kind == kind]) for kind in SHARES]
        + [_work("all", on.outcomes)],
        cache_off=_spending(off, off.outcomes, prices),
        cache_on=_spending(on, [o for o in on.outcomes if o.hit not in _SPARED], prices),
        latencies=[
            quantiles("cache off", [o.seconds * 1e3 for o in off.outcomes]),
            quantiles("cache on", [o.seconds * 1e3 for o in on.outcomes]),
            *[quantiles(hit, [o.seconds * 1e3 for o in on.outcomes if o.hit == hit]) for hit in HITS],
        ],
        pipeline=[quantiles("exact", [o.micros / 1e3 for o in on.outcomes if o.hit == "exact"])],
        vectors=Vectors(len(on.vectors), off.vector_calls, on.vector_calls, off.vector_seconds, on.vector_seconds),
        rereads=rereads(day),
        session=session,
        outage=outage,
        checks=[*checks(off, on), *_checks_of_session(session), *_checks_of_outage(outage)],
    )


def checks(off: Run, on: Run) -> list[Check]:
    """What must hold of the two runs."""
    pairs = [(a, b) for a, b in zip(off.outcomes, on.outcomes, strict=True) if b.hit != "semantic"]
    retyped = [o for o in on.outcomes if o.task.kind == "retype"]
    answers = {(o.task.number, o.step): o.answer for o in on.outcomes}
    rereads = [o for o in on.outcomes if o.task.kind == "re-read"]
    texts = [o.answer for o in on.outcomes if o.answer.content]
    paid = [o.answer for o in on.outcomes if o.hit not in _SPARED]
    counted = on.provider_prompt_tokens + on.provider_completion_tokens
    return [
        Check(
            "answers equal to those without a cache",
            sum((a.task.number, a.step, a.answer) == (b.task.number, b.step, b.answer) for a, b in pairs),
            len(pairs),
        ),
        Check(
            "retyped questions got the answer to the question as it was first typed",
            sum(o.hit == "semantic" and o.answer.content == answers[o.task.earlier or 0, 0].content for o in retyped),
            sum(o.task.kind == "retype" or o.hit == "semantic" for o in on.outcomes),
        ),
        Check(
            "re-reads of an edited file got an answer of their own",
            sum(o.hit == "miss" and o.answer.id != answers[o.task.earlier or 0, 0].id for o in rereads),
            len(rereads),
        ),
        Check("calls that were no hits reached the provider, once each", on.provider_calls, len(paid)),
        Check(
            "tokens that the clients saw it charge were counted by the provider",
            counted,
            sum(a.prompt_tokens + a.completion_tokens for a in paid),
        ),
        Check(
            "vectors equal to those of calls of their own",
            sum(a == b for a, b in zip(off.vectors, on.vectors, strict=True)),
            len(on.vectors),
        ),
        Check(
            "texts have as many tokens as their usage says, counted by sparecall.tokens",
            sum(tokens.count(a.content) == a.completion_tokens for a in texts),
            len(texts),
        ),
    ]


def _checks_of_session(session: Session) -> list[Check]:
    """What must hold of every request that the optimizer let out."""
    return [
        Check("requests of the long session kept to the provider's grammar", session.valid, session.steps),
        Check(f"of them were within {session.budget:,} tokens", session.within, session.steps),
    ]


def _checks_of_outage(outage: Outage | None) -> list[Check]:
    if outage is None:
        return []
    return [Check("calls got their answer while providers hung, refused and failed", outage.answered, outage.calls)]


def quantiles(name: str, values: Sequence[float]) -> Quantiles:
    """The percentiles of the values; NaN where there are none."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan

    return Quantiles(name, len(ordered), rank(0.50), rank(0.95), rank(0.99))


def _work(kind: str, outcomes: Sequence[Outcome]) -> Work:
    hits = Counter(outcome.hit for outcome in outcomes)
    return Work(kind, len(outcomes), *(hits[hit] for hit in HITS))


def _spending(run: Run, outcomes: Iterable[Outcome], prices: Prices) -> Spending:
    answers = [outcome.answer for outcome in outcomes]
    costs = [prices.cost(a.model, a.prompt_tokens, a.completion_tokens) for a in answers]
    known = [cost for cost in costs if cost is not None]
    return Spending(
        len(answers),
        sum(a.prompt_tokens for a in answers),
        sum(a.completion_tokens for a in answers),
        sum(known) if len(known) == len(costs) else None,
        run.seconds,
    )
