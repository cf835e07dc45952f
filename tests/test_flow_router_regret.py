"""What routing loses against an oracle that knows every endpoint and model, on a virtual clock: the bars of `benches/flow_router.py`, at less length."""

from __future__ import annotations

from collections import Counter

import pytest
from benches import flow_router as sim


@pytest.mark.parametrize(("kind", "regret"), [("one slow", 1.1), ("drift", 1.25), ("none slow", 1.01)])
def test_the_router_is_near_the_oracle_and_far_from_what_does_not_look(kind: str, regret: float) -> None:
    calls = 4_000
    policies = sim.policies(1)
    found = {
        name: sim.played(policies[name], sim.World(kind, calls), calls, seed=1)
        for name in ("oracle", "sparecall", "random")
    }
    ours, oracle = found["sparecall"], found["oracle"]
    assert ours.mean <= regret * oracle.mean
    assert ours.slow <= 0.025 * calls
    if kind != "none slow":
        assert ours.mean <= 0.7 * found["random"].mean


def test_exploration_stays_within_its_share() -> None:
    ours = sim.Ours(3, explore=0.05)
    sim.played(ours, sim.World("one slow", 4_000), 4_000, seed=3)
    explored = Counter(choice.explored for choice in ours.chosen)
    assert explored[True] == pytest.approx(0.05 * 4_000, rel=0.2)
    assert all(choice.propensity >= 0.05 / 10 - 1e-12 for choice in ours.chosen)


def test_propensities_estimate_what_another_policy_would_have_had() -> None:
    """Inverse propensity: the latency that random routing would have had, from the log of ours, is what the endpoints take on average."""
    ours = sim.Ours(5, explore=0.3)
    sim.played(ours, sim.World("one slow", 12_000), 12_000, seed=5)
    estimate = sum(choice.seconds * 0.1 / choice.propensity for choice in ours.chosen) / len(ours.chosen)
    assert estimate == pytest.approx(0.9 * 1 + 0.1 * sim.SLOW, rel=0.1)


def test_a_budget_is_kept_and_well_spent_before_and_after_prices_flip() -> None:
    calls = 12_000
    ours, oracle = sim.spent("sparecall", calls, 2), sim.spent("oracle", calls, 2)
    hours = calls / sim.CALLS_A_SECOND / 3600
    for half in (0, 1):
        assert ours.dollars[half] <= sim.BUDGET * hours / 2 * 1.05 + 0.1 * sim.BUDGET
        assert ours.utility[half] >= oracle.utility[half] - 0.03
    small = sim.spent("small", calls, 2)
    assert ours.utility[0] > small.utility[0] + 0.05
    assert ours.shares[1]["large"] > 0.8
