"""Of any conversation of either grammar: with summaries in the place of what is left out, and tools left out, it is valid and fits."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from conversations import CONVERSATIONS, Messages
from sparecall.context import ContextOptimizer
from sparecall.context.costs import Costs
from sparecall.context.grammar import faults, read, validate
from sparecall.context.parts import THINKING, blocks_of, kind_of
from sparecall.errors import CannotFit

TEXTS = st.sampled_from(
    ["They looked for R-1 and found it.", "", "  ", "word " * 400, "lone \ud800 surrogate", "[… 3 lines]", None]
)
NAMES = ("find", "read_file", "shell", "never_called")


def tools_of(form: str) -> list[dict[str, Any]]:
    if form == "openai":
        return [{"type": "function", "function": {"name": name, "parameters": {}}} for name in NAMES]
    return [{"name": name, "input_schema": {"type": "object"}} for name in NAMES]


def turn_begins_with_thinking(messages: Messages) -> bool:
    """Whether the model's last turn does: what follows the last that the user said, results left out."""
    said = -1
    for index, message in enumerate(messages):
        kinds = [kind_of(block) for block in blocks_of(message)]
        if message["role"] == "user" and (not kinds or set(kinds) != {"tool_result"}):
            said = index
    turn = [message for message in messages[said + 1 :] if message["role"] == "assistant"]
    return bool(turn) and bool(blocks_of(turn[0])) and kind_of(blocks_of(turn[0])[0]) in THINKING


@given(
    CONVERSATIONS, st.floats(0.3, 0.99), st.sampled_from(["free", "stable"]), TEXTS, st.integers(0, 2), st.booleans()
)
def test_with_summaries_and_fewer_tools_it_is_valid_and_fits(
    pair: tuple[Any, Messages], share: float, prefix: str, text: str | None, keep_last: int, fails: bool
) -> None:
    form, messages = pair
    tools = tools_of(form)
    given_ = read(messages, form)
    if not messages or given_.orphans or any(faults(messages, form=form, tools=tools)):
        return
    before, asked = copy.deepcopy(messages), []

    async def summarise(span: Messages) -> Any:
        asked.append(span)
        await asyncio.sleep(0)
        if fails:
            raise RuntimeError
        return text

    options: dict[str, Any] = {
        "keep_last": keep_last, "form": form, "prefix": prefix, "keep_tools": ["shell"], "summary_share": 0.4, "min_gain": 0.0,
    }  # fmt: skip
    costs = Costs()
    budget = max(1, int(share * costs.request(messages, tools)))
    mine = ContextOptimizer(budget=budget, embedder=None, **options)
    try:
        out = asyncio.run(mine.optimize_async(messages, tools, summarise=summarise))
    except CannotFit:
        return
    assert messages == before
    validate(out.messages, form=form, tools=out.tools)
    assert out.report.after <= out.report.budget
    assert costs.request(out.messages, out.tools) <= out.report.after
    assert all(mine.fetch(one.handle) for one in out.report.removed)
    if form == "anthropic" and turn_begins_with_thinking(messages) and out.messages[-1] is messages[-1]:
        last = read(out.messages, form).messages
        assert turn_begins_with_thinking(last) or not any(kind_of(b) in THINKING for m in last for b in blocks_of(m))
    changes = {one.change for one in out.report.removed}
    assert ("summary" in changes) <= bool(asked)
    # The same in another process, as long as the same is said.
    again = ContextOptimizer(budget=budget, embedder=None, **options)
    assert asyncio.run(again.optimize_async(messages, tools, summarise=summarise)) == out
