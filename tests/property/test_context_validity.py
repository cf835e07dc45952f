"""Of any conversation of either grammar, at any budget: what the optimizer gives is valid, fits, is no larger and loses nothing unnamed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from conversations import CONVERSATIONS, Messages, with_orphans
from sparecall.context import ContextOptimizer
from sparecall.context.costs import Costs
from sparecall.context.grammar import faults, read, validate
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit

EMBEDDER = StaticEmbedder()
MODELS = st.sampled_from([None, None, "gpt-4o", "claude-sonnet-4-5"])
SHARES = st.floats(0.02, 1.1)
QUERIES = st.sampled_from([None, "Where is R-1?", "", "lone \ud800 surrogate"])
BROKEN = st.none() | st.integers(0, 2**32)


def optimizer(share: float, messages: Messages, **options: Any) -> ContextOptimizer:
    """One whose budget is a share of what the messages cost."""
    costs = Costs(model=options.get("model"))
    return ContextOptimizer(budget=max(1, int(share * costs.request(messages))), embedder=EMBEDDER, **options)


@given(CONVERSATIONS, SHARES, st.integers(0, 3), st.booleans(), QUERIES, MODELS, BROKEN)
def test_what_is_left_is_valid_and_fits(
    pair: tuple[Any, Messages],
    share: float,
    keep_last: int,
    keep_first_user: bool,
    query: str | None,
    model: str | None,
    broken: int | None,
) -> None:
    form, messages = pair
    messages = messages if broken is None else with_orphans(form, messages, broken)
    before = copy.deepcopy(messages)
    given_ = read(messages, form)
    if not given_.messages or any(faults(given_.messages, form=form)):
        return
    options = {"keep_last": keep_last, "keep_first_user": keep_first_user, "form": form, "model": model}
    mine, costs = optimizer(share, given_.messages, **options), Costs(model=model)
    try:
        out = mine.optimize(messages, query=query)
    except CannotFit:
        assert messages == before
        return
    assert messages == before
    validate(out.messages, form=form)
    assert costs.request(out.messages) <= out.report.after <= out.report.budget
    assert costs.request(out.messages) <= costs.request(given_.messages)
    assert all(mine.fetch(one.handle) for one in out.report.removed)
    assert out.report.orphans == given_.orphans
    if not given_.orphans:  # else some messages are repaired copies
        kept = {id(one) for one in out.messages}
        still = {*range(max(0, len(messages) - keep_last), len(messages)), *given_.fixed}
        assert all(id(messages[i]) in kept for i in still)
        # What is not there as it was has its name in the report.
        assert {one.index for one in out.report.removed} == {i for i, one in enumerate(messages) if id(one) not in kept}
    # Warm or cold, once or twice: the same.
    assert mine.optimize(out.messages, query=query).messages == out.messages
    assert optimizer(share, given_.messages, **options).optimize(messages, query=query) == out


@given(CONVERSATIONS, st.floats(0.1, 1.1), st.integers(0, 3))
def test_turn_by_turn_the_prefix_stays_until_it_is_cut(
    pair: tuple[Any, Messages], share: float, keep_last: int
) -> None:
    form, messages = pair
    options = {"keep_last": keep_last, "form": form, "prefix": "stable"}
    mine = optimizer(share, messages, **options)
    sent: Messages | None = None
    epochs = 0
    for k in range(1, len(messages) + 1):
        history = messages[:k]
        if history[-1]["role"] == "assistant" or read(history, form).open_calls or any(faults(history, form=form)):
            continue  # no request ends so
        try:
            out = mine.optimize(history)
        except CannotFit:
            sent = None
            continue
        validate(out.messages, form=form)
        assert out.report.after <= out.report.budget
        assert optimizer(share, messages, **options).optimize(history).messages == out.messages
        assert optimizer(share, messages, **options).optimize(out.messages).messages == out.messages
        if sent is not None and out.report.epochs == epochs:
            assert out.messages[: len(sent)] == sent
        sent, epochs = out.messages, out.report.epochs
