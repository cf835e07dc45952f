"""What an optimizer remembers makes it faster and never another: whatever it has seen, it gives the bytes of one that has seen nothing."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import CONVERSATIONS, Messages, with_orphans
from sparecall._core import context_same
from sparecall.context import ContextOptimizer
from sparecall.context.costs import Costs
from sparecall.context.grammar import read, read_in_steps
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit

EMBEDDER = StaticEmbedder()
COSTS = Costs()
SCALARS = st.sampled_from(["", "a", "b", "é", "\ud800", 0, 1, 1.0, True, False, None, -0.0, 0.0, float("nan"), 2**70])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6
)


def written(value: Any) -> object:
    """A value so that only what is the same JSON is equal."""
    if isinstance(value, dict):
        return "dict", [(name, written(one)) for name, one in value.items()]
    if isinstance(value, list):
        return "list", [written(one) for one in value]
    return type(value).__name__, repr(value)


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_what_is_the_same_is_the_same_json(one: list[Any], other: list[Any]) -> None:
    pairs = [written(a) == written(b) for a, b in zip(one, other, strict=False)]
    assert context_same(one, other) == (pairs.index(False) if False in pairs else len(pairs))
    assert context_same(one, copy.deepcopy(one)) == len(one)


def test_what_is_no_plain_json_is_never_the_same() -> None:
    class Text(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = str.__hash__

    deep: Any = "a"
    for _ in range(70):
        deep = [deep]
    for value in (Text("a"), ("a",), {"a"}, {1: "a"}, {Text("a"): 1}, b"a", deep):
        assert context_same([value], [value]) == 0


def run(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@given(CONVERSATIONS, st.data())
def test_what_goes_on_is_read_as_if_anew(pair: tuple[Any, Messages], data: st.DataObject) -> None:
    form, messages = pair
    if data.draw(st.booleans()):
        messages = with_orphans(form, messages, data.draw(st.integers(0, 2**32)))
    orphans: Literal["drop", "keep"] = data.draw(st.sampled_from(["drop", "keep"]))
    given_form = data.draw(st.sampled_from([None, form]))
    k = data.draw(st.integers(0, len(messages)))
    before = read(messages[:k], given_form, orphans=orphans)
    same = min(k, data.draw(st.integers(0, len(messages))))
    new = read(messages, given_form, orphans=orphans)
    later, known = run(read_in_steps(messages, given_form, orphans=orphans, before=before, same=same))
    for name in ("form", "certain", "messages", "atoms", "parts", "fixed", "orphans", "open_calls"):
        assert getattr(later, name) == getattr(new, name), name
    assert list(later.origin) == list(new.origin)
    assert later.atoms[:known] == before.atoms[:known]
    for _ in range(3):
        kept = data.draw(st.sets(st.integers(0, max(0, len(new.atoms) - 1))))
        if new.atoms:
            assert later.required(kept) == new.required(kept)


@settings(max_examples=60)
@given(
    st.lists(CONVERSATIONS, min_size=1, max_size=2),
    st.sampled_from(["free", "stable"]),
    st.floats(0.2, 1.0),
    st.sampled_from([None, None, "gpt-4o", "claude-sonnet-4-5"]),
    st.sampled_from([64 * 1024 * 1024, 40_000]),
    st.data(),
)
def test_whatever_was_seen_the_bytes_are_those_of_a_new_one(
    pairs: list[tuple[Any, Messages]],
    prefix: Literal["free", "stable"],
    share: float,
    model: str | None,
    cache_bytes: int,
    data: st.DataObject,
) -> None:
    budget = max(1, int(share * COSTS.request(pairs[0][1])))
    options: dict[str, Any] = {"budget": budget, "prefix": prefix, "model": model, "keep_last": 1, "embedder": EMBEDDER}
    mine = ContextOptimizer(**options, cache_bytes=cache_bytes)
    conversations = [messages for _, messages in pairs]
    for _ in range(data.draw(st.integers(2, 6))):
        at = data.draw(st.integers(0, len(conversations) - 1))
        messages = conversations[at]
        if messages and data.draw(st.integers(0, 3)) == 0:
            # Somebody changes a message in place, and nothing says so.
            row = messages[data.draw(st.integers(0, len(messages) - 1))]
            if isinstance(row.get("content"), str) and row["content"].strip():
                row["content"] += " changed"
        history = messages[: data.draw(st.integers(1, len(messages)))]
        query = data.draw(st.sampled_from([None, "Where is R-1?"])) if prefix == "free" else None
        answers: list[Any] = []
        for optimizer in (mine, ContextOptimizer(**options)):
            try:
                out = optimizer.optimize(history, query=query)
                # What a provider knows of a prefix is what was sent before.
                report = msgspec.structs.replace(out.report, prefix=None)
                answers.append(msgspec.structs.replace(out, report=report))
            except CannotFit as error:
                answers.append((error.least, error.budget))
        assert answers[0] == answers[1]
        if not isinstance(answers[0], tuple):
            assert repr(answers[0].messages) == repr(answers[1].messages)
            assert all(mine.fetch(one.handle) for one in answers[0].report.removed)


def test_threads_that_share_an_optimizer_get_what_each_would_alone() -> None:
    messages: Messages = [{"role": "system", "content": "You keep the fleet in the air."}]
    for turn in range(12):
        call = {
            "id": f"c{turn}",
            "type": "function",
            "function": {"name": "look", "arguments": f'{{"at": "HAT{turn}"}}'},
        }
        result = "\n".join(f"{n}: part_{n * turn % 7} of HAT{turn}" for n in range(12))
        messages += [
            {"role": "user", "content": f"And HAT{turn}?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": result},
        ]
    histories = [messages[:end] for end in range(4, len(messages) + 1, 3)] * 4
    for prefix in ("free", "stable"):
        options: dict[str, Any] = {"budget": 500, "prefix": prefix, "keep_last": 1, "embedder": None}
        alone = [ContextOptimizer(**options).optimize(history).messages for history in histories]
        shared = ContextOptimizer(**options)
        with ThreadPoolExecutor(4) as pool:
            together = pool.map(lambda history: shared.optimize(copy.deepcopy(history)).messages, histories)  # noqa: B023
            assert list(together) == alone


def test_the_collector_finds_nothing_to_do_for_whoever_left_in_the_middle() -> None:
    messages: Messages = [{"role": "user", "content": f"{turn} " * 200} for turn in range(20)]
    optimizer = ContextOptimizer(budget=1_000, embedder=None)
    steps = optimizer._steps(messages, None, None, None, (), "", None, None)
    for _ in range(12):
        next(steps)
    with optimizer._readings._lock:  # where a collection may come, too
        steps.close()
    assert not optimizer._readings._heads
