"""Epochs before they must come: only where they pay, and never is the bill above that of the raw conversation, whenever it ends."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall.context import ContextOptimizer, Rates, Till, validate
from sparecall.context.costs import Costs
from sparecall.context.electing import Ledger
from sparecall.errors import InvalidArgument

Messages = list[dict[str, Any]]
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name * 9, "parameters": {}}}
    for name in ("read", "weigh", "paint")
]


def run_of(sizes: list[int], seed: int) -> Messages:
    """An agent's run: at each step so many rows as JSON, which can be said in fewer tokens, or a file that cannot."""
    draw = Random(seed)
    messages: Messages = [{"role": "system", "content": "You work."}, {"role": "user", "content": "Do it. Read all."}]
    for step, size in enumerate(sizes):
        rows = [{"name": f"x{step}y{n}", "kind": "function", "weight": draw.randrange(9999)} for n in range(size)]
        result = json.dumps(rows) if draw.random() < 0.7 else "\n".join(f"{row}" for row in rows)
        call = {"name": "read", "arguments": f'{{"path": "a{step}"}}'}
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{step}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"c{step}", "content": result},
        ]
    return messages


def bills(
    messages: Messages, rates: Rates, **options: Any
) -> tuple[list[float], list[float], ContextOptimizer, Messages]:
    """What each request came to so far, as sent and as it came; the optimizer, and what it sent last."""
    optimizer = ContextOptimizer(
        budget=1_000_000, prefix="stable", embedder=None, keep_last=2, rates=rates, min_gain=0.05, **options
    )
    costs = Costs()
    sent, came = Till(costs, rates), Till(costs, rates)
    totals: list[float] = []
    raw: list[float] = []
    last: Messages = []
    for end in range(2, len(messages) + 1, 2):
        done = optimizer.optimize(messages[:end], TOOLS)
        validate(done.messages, form="openai", tools=done.tools)
        sent.charge(done.messages, done.tools)
        came.charge(messages[:end], TOOLS)
        totals.append(sent.total)
        raw.append(came.total)
        last = done.messages
    return totals, raw, optimizer, last


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 60), min_size=6, max_size=20),
    st.integers(0, 5),
    st.sampled_from([Rates(), Rates(1.0, 0.5), Rates(1.0, 0.25)]),
    st.sampled_from(["as_before", 10.0, 200.0]),
    st.booleans(),
)
def test_whenever_it_ends_the_bill_is_not_above_the_raw_one(
    sizes: list[int], seed: int, rates: Rates, turns: Any, keep_tools: bool
) -> None:
    messages = run_of(sizes, seed)
    sent, raw, _, last = bills(messages, rates, expected_turns=turns, keep_tools=keep_tools)
    assert all(one <= other + 1e-6 for one, other in zip(sent, raw, strict=True))
    fresh = ContextOptimizer(
        budget=1_000_000, prefix="stable", embedder=None, keep_last=2, rates=rates, min_gain=0.05, expected_turns=turns, keep_tools=keep_tools,
    )  # fmt: skip
    assert fresh.optimize(messages, TOOLS).messages == last


def test_a_long_run_is_cut_sooner_than_it_must_and_costs_less() -> None:
    messages = run_of([40] * 40, 1)
    kept, raw, stays, _ = bills(messages, Rates())
    sent, _, elects, _ = bills(messages, Rates(), expected_turns=200.0)
    assert stays.optimize(messages, TOOLS).report.epochs == 0
    assert elects.optimize(messages, TOOLS).report.epochs >= 1
    assert sent[-1] < kept[-1] < raw[-1]


def test_it_is_not_cut_where_few_turns_are_to_come() -> None:
    messages = run_of([40] * 12, 1)
    _, _, optimizer, _ = bills(messages, Rates(), expected_turns=1.0)
    assert optimizer.optimize(messages, TOOLS).report.epochs == 0


def test_the_rule_in_numbers() -> None:
    """Of 1,000 tokens sent and 1,000 new: a cut to 1,000 of which 100 stay is 1,135 now instead of 1,350, and 100 a turn less."""
    ledger = Ledger(Rates())
    ledger.turn(1_000, 1_000)
    ledger.turn(1_000, 1_000)
    assert (ledger.paid, ledger.raw_paid, ledger.turns) == (1_350.0, 1_350.0, 2)
    assert ledger.pays(2_000, 2_000, 100, 1_000, turns=None, min_gain=0.1)
    assert not ledger.pays(2_000, 2_000, 100, 1_000, turns=None, min_gain=0.6)
    # Dearer now than raw: never, however many turns are to come.
    assert not ledger.pays(2_000, 2_000, 0, 1_900, turns=1e9, min_gain=0.0)
    # What lossless work has spared before pays for it.
    ledger.turn(1_000, 3_000)
    assert ledger.pays(2_000, 4_000, 0, 1_900, turns=1e9, min_gain=0.0)
    assert not ledger.pays(2_000, 4_000, 0, 1_900, turns=3.0, min_gain=0.0)


def test_it_looks_seldom() -> None:
    ledger = Ledger(Rates())
    looks = []
    for turn in range(100):
        if ledger.is_due():
            looks.append(turn)
        ledger.turn(turn, turn)
    assert looks == [6, 10, 16, 25, 38, 58, 88]


@pytest.mark.parametrize("turns", [0, -1.0, "soon"])
def test_turns_out_of_range_are_named(turns: Any) -> None:
    with pytest.raises(InvalidArgument, match="expected_turns"):
        ContextOptimizer(budget=5, expected_turns=turns)
