"""The pure parts: what a batch costs, who is next, when a batch closes. No clock but numbers."""

from __future__ import annotations

import random

import pytest

from sparecall.batch.cost import CostModel
from sparecall.batch.policy import Policy
from sparecall.batch.waiting import PRIORITIES, WEIGHTS, Item, Waiting


def put(
    waiting: Waiting,
    priority: str,
    tokens: int = 1,
    now: float = 0.0,
    deadline: float | None = None,
    key: object = None,
) -> Item:
    item = Item((priority, tokens), tokens, now, deadline)
    waiting.add(item, waiting.lane(PRIORITIES.index(priority), key))
    return item


# Cost


@pytest.mark.parametrize("true", [(2e-5, 3e-4, 0.02), (0.0, 1e-3, 0.01), (1e-4, 0.0, 0.0), (0.0, 0.0, 0.05)], ids=str)
def test_the_cost_of_a_batch_is_learned_through_noise(true: tuple[float, float, float]) -> None:
    rng = random.Random(1)
    model = CostModel()
    for _ in range(400):
        items = rng.randint(1, 64)
        tokens = sum(rng.randint(1, 800) for _ in range(items))
        model.observe(items, tokens, (true[0] * tokens + true[1] * items + true[2]) * rng.lognormvariate(0.0, 0.02))
    assert model.cost is not None
    assert min(model.cost) >= 0
    for items, tokens in ((1, 100), (32, 12_800), (64, 40_000)):
        exact = true[0] * tokens + true[1] * items + true[2]
        assert model.cost.seconds(items, tokens) == pytest.approx(exact, rel=0.05, abs=0.003)


def test_no_coefficient_is_ever_negative() -> None:
    rng = random.Random(2)
    for _ in range(200):
        model = CostModel()
        for _ in range(rng.randint(1, 30)):
            items = rng.randint(1, 8)
            model.observe(items, items * rng.choice((1, 50)), rng.expovariate(10) / items)  # larger batches are quicker
            assert model.cost is not None
            assert min(model.cost) >= 0


def test_a_server_that_changes_is_followed() -> None:
    model = CostModel()
    rng = random.Random(3)
    for fixed in (0.01, 0.1):
        for _ in range(300):
            items = rng.randint(1, 20)
            model.observe(items, items, fixed + 0.001 * items)
    assert model.cost is not None
    assert model.cost.fixed == pytest.approx(0.1, rel=0.05)


def test_before_the_first_batch_nothing_is_known_and_the_first_is_taken_for_fixed() -> None:
    model = CostModel()
    assert model.cost is None
    model.observe(4, 4, 0.25)
    assert model.cost is not None
    assert model.cost.seconds(4, 4) == pytest.approx(0.25)


# Order


def test_weighted_shares_under_overload_are_fair_by_jain_s_index() -> None:
    rng = random.Random(4)
    waiting = Waiting()
    served = dict.fromkeys(PRIORITIES, 0)
    for priority in PRIORITIES:
        for _ in range(50):
            put(waiting, priority, rng.randint(1, 500))
    for _ in range(4_000):
        for item in waiting.take(16, 4_000)[0]:
            priority, tokens = item.value
            served[priority] += tokens
            put(waiting, priority, rng.randint(1, 500))  # always as much again
    shares = [served[priority] / WEIGHTS[priority] for priority in PRIORITIES]
    jain = sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
    assert jain >= 0.999


@pytest.mark.parametrize("seed", range(20))
def test_low_waits_no_longer_than_stated_under_any_load_of_the_others(seed: int) -> None:
    """The bound of `Waiting`: ``b * W / w + m * (W / w + 3)`` tokens, with 95 % of all arrivals critical and more than can be served."""
    rng = random.Random(seed)
    waiting = Waiting()
    most, weights = rng.choice((1, 10, 500)), sum(WEIGHTS.values())
    taken = 0
    entered: dict[Item, tuple[int, int]] = {}
    checked = 0
    for _ in range(1_500):
        for _ in range(rng.randint(0, 24)):
            priority = "critical" if rng.random() < 0.95 else rng.choice(("high", "normal", "low", "low"))
            lane = waiting.lane(PRIORITIES.index(priority), None)
            ahead = lane.tokens
            item = put(waiting, priority, rng.randint(1, most))
            if priority == "low":
                entered[item] = (taken, ahead)
        if waiting.items:
            batch, _ = waiting.take(8, None)
            for item in batch:
                if item in entered:
                    since, ahead = entered.pop(item)
                    bound = ahead * weights / WEIGHTS["low"] + most * (weights / WEIGHTS["low"] + 3)
                    assert taken - since <= bound
                    checked += 1
                taken += item.tokens
    assert checked > 50


def test_a_class_that_slept_has_nothing_saved_up() -> None:
    waiting = Waiting()
    for _ in range(100):
        put(waiting, "critical")
        waiting.take(1, None)
    for _ in range(30):
        put(waiting, "critical")
        put(waiting, "low")
    first = [item.value[0] for item in waiting.take(18, None)[0]]
    assert 1 <= first.count("low") <= 3


def test_an_item_that_does_not_fit_is_passed_by_one_batch_and_no_more() -> None:
    waiting = Waiting()
    for tokens in (6, 5, 3, 1, 4):
        put(waiting, "normal", tokens)
    assert [item.tokens for item in waiting.take(10, 10)[0]] == [6, 4], "the largest that fits"
    put(waiting, "critical", 7)
    batch, full = waiting.take(10, 10)
    assert ([item.tokens for item in batch], full) == ([7], True), "no other goes before it again"
    assert [item.tokens for item in waiting.take(10, 10)[0]] == [5, 3, 1]


def test_an_item_beyond_the_budget_goes_alone() -> None:
    waiting = Waiting()
    put(waiting, "normal", 50)
    put(waiting, "normal", 1)
    assert [item.tokens for item in waiting.take(10, 10)[0]] == [50]


@pytest.mark.parametrize("deadline", [None, 5.0])
def test_tombstones_give_their_place_and_tokens_back_and_are_bounded(deadline: float | None) -> None:
    waiting = Waiting()
    stays = put(waiting, "low", 7)
    for number in range(10_000):
        item = put(waiting, PRIORITIES[number % 4], 3, deadline=deadline, key=number % 50)
        assert waiting.cancel(item)
        assert not waiting.cancel(item)
    assert (waiting.items, waiting.tokens, waiting.dated) == (1, 7, 0)
    lanes = [lane for group in waiting._groups.values() for lane in group.lanes]
    assert sum(len(lane.plain) + len(lane.dated) for lane in lanes) < 100
    assert len(waiting._deadlines) < 100
    assert sum(len(each.heads) for each in waiting._classes) < 400
    assert waiting.take(8, None) == ([stays], False)


def test_groups_of_one_class_take_turns_by_age_and_are_forgotten_when_empty() -> None:
    waiting = Waiting()
    for number in range(6):
        put(waiting, "normal", now=float(number), key="abc"[number % 3])
    keys = []
    while waiting.items:
        batch, full = waiting.take(1, None)
        assert full
        keys.append(batch[0].arrived)
    assert keys == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert list(waiting._groups) == [None]


# When


def after_decisions(policy: Policy, delays: list[float], *, count: int = 60) -> float:
    """Lets an item come every ten seconds, others so much later, to a server that takes one; returns the time after that."""
    now = 0.0
    for _ in range(count):
        policy.waiting.add(Item(0, 1, now), policy.waiting.plain)
        later = [now + delay for delay in delays]
        free = now
        while policy.waiting.items or later:
            until = policy.wait_until(free) if policy.waiting.items else later[0]
            if until is None:
                size = len(policy.close(free).items)
                policy.ran(size, size, 1.0)
                until = free + 1.0
            while later and later[0] <= until:
                policy.waiting.add(Item(0, 1, later.pop(0)), policy.waiting.plain)
            free = until
        now += 10.0
    return now


def test_a_hold_lasts_as_long_as_others_are_likely_to_come_and_ends_when_it_costs_more_than_it_saves() -> None:
    policy = Policy(max_items=64)
    now = after_decisions(policy, [0.01, 0.03])
    policy.waiting.add(Item(0, 1, now), policy.waiting.plain)
    until = policy.wait_until(now)
    assert until == pytest.approx(now + 1 / 16), "both come within that"
    for _ in range(13):
        policy.waiting.add(Item(0, 1, now + 0.01), policy.waiting.plain)
    assert policy.wait_until(now + 0.01) == until, "14 wait for 1 / 16 s, two are spared 1 / 2 s each"
    for _ in range(4):
        policy.waiting.add(Item(0, 1, now + 0.01), policy.waiting.plain)
    assert policy.wait_until(now + 0.01) is None
    assert policy.close(now + 0.01).reason == "control_limit"


def test_with_several_servers_a_hold_is_worth_the_distance_between_batches_and_less_while_more_are_free() -> None:
    policy = Policy(max_items=64, max_concurrent=4)
    now = after_decisions(policy, [0.01, 0.03])
    lane = policy.waiting.plain
    policy.waiting.add(Item(0, 1, now), lane)
    assert policy.wait_until(now) == policy.wait_until(now, permits=4) == pytest.approx(now + 1 / 16)
    for _ in range(2):
        policy.waiting.add(Item(0, 1, now), lane)
    assert policy.wait_until(now, permits=4) is None, "3 wait for 1 / 16 s, two are spared 1 / 4 of 1 / 4 s each"
    assert policy.wait_until(now, permits=2) is not None
    for _ in range(5):
        policy.waiting.add(Item(0, 1, now), lane)
    assert policy.wait_until(now) is None, "8 wait for 1 / 16 s, two are spared 1 / 4 s each"


@pytest.mark.parametrize(
    ("policy", "came"),
    [
        (Policy(max_items=64), []),
        (Policy(max_items=64), [0.9, 0.95]),
        (Policy(max_items=64, hold=False), [0.01, 0.03]),
        (Policy(max_items=64, resolution=1.0), [0.01, 0.03]),
        (Policy(max_items=1), [0.01, 0.03]),
    ],
    ids=["nobody comes", "too late", "not wanted", "a timer too coarse", "no batches"],
)
def test_nothing_is_held_where_it_does_not_pay(policy: Policy, came: list[float]) -> None:
    now = after_decisions(policy, came)
    policy.waiting.add(Item(0, 1, now), policy.waiting.plain)
    assert policy.wait_until(now) is None


def test_the_predicted_finish_counts_full_batches_ahead_and_shares_of_other_classes() -> None:
    policy = Policy(max_items=10)
    assert policy.finish_after(policy.waiting.plain, 1, 1) == 0.0, "nothing is known"
    for size in (1, 10, 1, 10, 5):
        policy.ran(size, size, 1.0 + 0.1 * size)
    lane = policy.waiting.plain
    assert policy.finish_after(lane, 1, 1) == pytest.approx(1.1)
    for _ in range(25):
        policy.waiting.add(Item(0, 1, 0.0), lane)
    assert policy.finish_after(lane, 1, 1) == pytest.approx(6.0)
    assert policy.finish_after(lane, 1, 2) == pytest.approx(4.0)
    critical = policy.waiting.lane(0, None)
    assert policy.finish_after(critical, 1, 1) == pytest.approx(1.1)
