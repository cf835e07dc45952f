"""What hedging gains on a heavy-tailed provider, on a virtual clock: the bars of `benches/flow_hedge.py`, at less length."""

from __future__ import annotations

import pytest
from benches import flow_hedge as sim


@pytest.mark.parametrize("slow", [False, True])
def test_the_tail_shrinks_several_times_for_one_call_in_twenty(*, slow: bool) -> None:
    none, ours, late = (sim.played(name, 5_000, 1, slow=slow) for name in ("none", "sparecall 0.95", "sparecall 0.99"))
    assert ours.quantile(0.999) <= none.quantile(0.999) / (3 if slow else 5)
    assert ours.quantile(0.99) <= 0.9 * none.quantile(0.99)
    assert ours.quantile(0.5) == pytest.approx(none.quantile(0.5), rel=0.02)
    assert ours.budget_held
    assert 2 <= ours.extra <= 5
    gained = [(none.quantile(0.999) - outcome.quantile(0.999)) / outcome.extra for outcome in (ours, late)]
    assert gained[1] > 2 * gained[0] > 2  # seconds for each per cent: the later, the rarer, and the better paid
