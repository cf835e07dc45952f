"""The adaptive limit before a provider whose capacity it does not see, on a virtual clock: how much of it is used, how soon a change is found.

The provider, its stories and the rivals are those of `benches/flow_limits.py`; the bounds here are what one seed gives, and a little less.
"""

from __future__ import annotations

import math
import statistics
from functools import cache

import pytest
from benches import flow_limits
from benches.flow_limits import Aimd, Gradient2, Ours, Policy, Record

STORIES = {story.name: story for story in flow_limits.STORIES}
STEPS = "capacity 50 -> 20 -> 80"
TRIP = flow_limits.FIRST + flow_limits.TOKEN * 113  # seconds of a mean call of an idle provider


@cache
def best(name: str, shared: bool) -> Record:
    return flow_limits.optimum(STORIES[name], shared=shared)


@cache
def ours(name: str, shared: bool, streamed: bool) -> Record:
    return flow_limits.played(STORIES[name], Ours(), shared=shared, streamed=streamed)


@pytest.mark.parametrize(
    ("name", "shared", "streamed", "least"),
    [
        (STEPS, False, False, 0.95),
        (STEPS, True, False, 0.95),
        (STEPS, False, True, 0.95),
        (STEPS, True, True, 0.95),
        ("answers 5 times as long for a while", True, False, 0.95),
        ("restarts", False, True, 0.95),
        ("refuses above its capacity", False, False, 0.88),
        ("little demand, then all", False, False, 0.95),
    ],
)
def test_most_of_the_capacity_is_used(name: str, shared: bool, streamed: bool, least: float) -> None:
    assert ours(name, shared, streamed).goodput(10) >= least * best(name, shared).goodput(10)


class Untold(Ours):
    """Nobody counts the tokens of its answers."""

    def ended(self, call: flow_limits.Call, now: float) -> None:
        self.now = now
        self.permits.pop(call).release()


@pytest.mark.parametrize("shared", [False, True])
def test_streams_whose_lengths_nobody_tells_go_by_their_first_tokens(shared: bool) -> None:
    shares = [
        flow_limits.played(STORIES[STEPS], Untold(), shared=shared, streamed=True, seed=seed).goodput(10)
        / flow_limits.optimum(STORIES[STEPS], shared=shared, seed=seed).goodput(10)
        for seed in range(3)
    ]
    assert statistics.median(shares) >= 0.92


@pytest.mark.parametrize("rival", [Aimd, Gradient2])
def test_the_others_use_less(rival: type[Policy]) -> None:
    record = flow_limits.played(STORIES[STEPS], rival())
    assert record.goodput(10) < 0.95 * ours(STEPS, False, False).goodput(10)


@pytest.mark.parametrize(("shared", "streamed"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_change_of_capacity_is_found_in_a_few_round_trips(shared: bool, streamed: bool) -> None:
    record = ours(STEPS, shared, streamed)
    down, up = record.settled(180, 360, 0, 1.4 * 20), record.settled(360, 540, 0.9 * 80, math.inf)
    assert down <= (3 if streamed and not shared else 6) * TRIP  # a first token that waits tells it soonest
    assert up <= 10 * TRIP
    assert record.limit(300, 360) == pytest.approx(24, rel=0.2)
    assert record.limit(480, 540) == pytest.approx(90, rel=0.2)


@pytest.mark.parametrize(("shared", "streamed"), [(False, False), (True, False), (False, True), (True, True)])
def test_long_answers_are_not_congestion(shared: bool, streamed: bool) -> None:
    story, while_long, after = STORIES["answers 5 times as long for a while"], [], []
    for seed in range(3):
        record = flow_limits.played(story, Ours(), shared=shared, streamed=streamed, seed=seed)
        before = record.limit(100, 200)
        while_long.append(record.limit(250, 500) / before)
        after.append(record.limit(560, 800) / before)
    assert statistics.median(while_long) == pytest.approx(1, abs=0.08)  # of twenty seeds it is within 0.04
    assert statistics.median(after) == pytest.approx(1, abs=0.12)  # with nothing changing it creeps up by 0.02 to 0.1


def test_long_prompts_are_not_congestion_however_slowly_they_are_read() -> None:
    name, shared, streamed = "prompts 5 times as long for a while, read slowly", True, True
    record = ours(name, shared, streamed)
    before, while_long, after = record.limit(100, 200), record.limit(250, 500), record.limit(560, 800)
    assert while_long == pytest.approx(before, rel=0.1)
    assert after == pytest.approx(before, rel=0.1)
    assert record.goodput(10) >= 0.95 * best(name, shared).goodput(10)


def test_the_same_seed_gives_the_same() -> None:
    name = "little demand, then all"
    assert flow_limits.played(STORIES[name], Ours()).limits == ours(name, False, False).limits
