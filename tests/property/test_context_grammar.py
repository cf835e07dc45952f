"""Of any legal conversation: what is dropped or rewritten as the grammar allows leaves one; nothing is changed in place."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations import CONVERSATIONS, GARBAGE, Messages, with_orphans
from sparecall.context.costs import Costs
from sparecall.context.grammar import faults, form_of, read, validate, write
from sparecall.errors import InvalidConversation

THINKING = {"thinking", "redacted_thinking"}
NUMBERS = st.integers(0, 2**32)


def chosen(count: int, number: int) -> set[int]:
    """A subset of `count` things, by the bits of a number."""
    return {one for one in range(count) if number >> (one % 32) & 1}


@given(CONVERSATIONS)
def test_every_one_is_valid_and_in_exactly_one_atom(pair: tuple[Any, Messages]) -> None:
    form, messages = pair
    validate(messages, form=form)
    conversation = read(messages, form)
    assert conversation.orphans == ()
    assert sorted(i for atom in conversation.atoms for i in atom) == list(range(len(messages)))
    assert all(one is other for one, other in zip(conversation.messages, messages, strict=True))
    assert form_of(messages) in {None, form}
    found = read(messages)
    assert (found.form, found.certain) == (form_of(messages) or "openai", form_of(messages) is not None)
    assert {i for i, one in enumerate(messages) if one["role"] in {"system", "developer"}} <= conversation.fixed


@given(CONVERSATIONS, NUMBERS)
def test_any_choice_with_what_it_requires_is_valid(pair: tuple[Any, Messages], number: int) -> None:
    form, messages = pair
    before = copy.deepcopy(messages)
    conversation = read(messages, form)
    kept = chosen(len(conversation.atoms), number)
    more = conversation.required(kept)
    assert kept.isdisjoint(more)
    kept.update(more)
    assert conversation.required(kept) == ()
    gone = {i for n, atom in enumerate(conversation.atoms) if n not in kept for i in atom}
    assert gone.isdisjoint(conversation.fixed)
    left = write(conversation.messages, None, gone)
    validate(left, form=form)
    assert messages == before
    assert [id(one) for one in left] == [id(one) for i, one in enumerate(messages) if i not in gone]
    if form == "anthropic":
        assert begins_with_thinking(left) or not begins_with_thinking(messages) or not last_turn(left)
        assert (left[-1]["role"] == "user") or messages[-1]["role"] == "assistant"


def last_turn(messages: Messages) -> Messages:
    """What the model said since the user last said something that is more than results."""
    turn: Messages = []
    for message in reversed(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "user" and not any(block["type"] == "tool_result" for block in blocks):
            break
        turn.insert(0, message)
    return [message for message in turn if message["role"] == "assistant"]


def begins_with_thinking(messages: Messages) -> bool:
    turn = last_turn(messages)
    return bool(turn) and isinstance(turn[0]["content"], list) and turn[0]["content"][0]["type"] in THINKING


@given(CONVERSATIONS, NUMBERS, st.sampled_from(["…", "shorter", "[removed 9 tokens: h:0011223344556677]"]))
def test_any_part_may_be_rewritten(pair: tuple[Any, Messages], number: int, text: str) -> None:
    form, messages = pair
    before = copy.deepcopy(messages)
    conversation = read(messages, form)
    places = chosen(len(conversation.parts), number)
    edits = {(part.message, part.path): text for n, part in enumerate(conversation.parts) if n in places}
    changed = write(messages, edits)
    validate(changed, form=form)
    assert messages == before
    again = read(changed, form)
    assert [part.text for part in again.parts] == [
        text if n in places else part.text for n, part in enumerate(conversation.parts)
    ]
    # All but those texts is as it was, and what has none of them is the same object.
    assert write(changed, {(part.message, part.path): part.text for part in conversation.parts}) == messages
    touched = {index for index, _ in edits}
    assert all((changed[i] is messages[i]) == (i not in touched) for i in range(len(messages)))


@given(CONVERSATIONS, NUMBERS)
def test_a_part_that_may_be_empty_may(pair: tuple[Any, Messages], number: int) -> None:
    form, messages = pair
    before = copy.deepcopy(messages)
    conversation = read(messages, form)
    empty = [part for part in conversation.parts if part.may_be_empty]
    places = chosen(len(empty), number)
    changed = write(messages, {(part.message, part.path): "" for n, part in enumerate(empty) if n in places})
    validate(changed, form=form)
    assert messages == before
    assert len(read(changed, form).parts) == len(conversation.parts) - len(places)


@given(CONVERSATIONS, NUMBERS)
def test_orphans_are_named_and_dropped(pair: tuple[Any, Messages], seed: int) -> None:
    form, messages = pair
    broken = with_orphans(form, messages, seed)
    before = copy.deepcopy(broken)
    named = read(broken, form).orphans
    wrong = list(faults(broken, form=form)) if broken else []
    assert bool(named) == bool(wrong)
    repaired = read(broken, form)
    if repaired.messages:
        validate(repaired.messages, form=form)
    assert broken == before
    assert [broken[i]["role"] for i in repaired.origin] == [one["role"] for one in repaired.messages]
    lost = {fault.index for fault in wrong}
    assert {orphan.index for orphan in named} == lost
    kept = read(broken, form, orphans="keep")
    assert kept.orphans[: len(named)] == named
    assert [id(one) for one in kept.messages] == [id(one) for one in broken]
    with pytest.raises(InvalidConversation) if named else nullcontext():
        read(broken, form, orphans="error")


@given(CONVERSATIONS, st.sampled_from([None, "gpt-4o", "claude-sonnet-4-5"]))
def test_costs_add_up(pair: tuple[Any, Messages], model: str | None) -> None:
    _, messages = pair
    costs = Costs(model=model)
    each = [costs.message(one) for one in messages]
    assert min(each) >= 0
    whole = costs.request(messages)
    assert whole <= costs.per_request + sum(each) <= whole + (len(messages) if model else 0)
    assert [costs.message(copy.deepcopy(one)) for one in messages] == each
    assert [Costs(model=model).message(one) for one in messages] == each


@given(GARBAGE, st.sampled_from([None, "openai", "anthropic"]), st.sampled_from(["drop", "keep"]))
def test_whatever_is_sent_is_read_or_a_typed_error(messages: Messages, form: Any, orphans: Any) -> None:
    before = copy.deepcopy(messages)
    try:
        conversation = read(messages, form, orphans=orphans)
    except TypeError as error:
        assert "must be a dict" in str(error)  # noqa: PT017
        return
    assert sorted(i for atom in conversation.atoms for i in atom) == list(range(len(conversation.messages)))
    named = {orphan.index for orphan in conversation.orphans}
    assert named.issuperset(set(range(len(messages))) - set(conversation.origin))  # nothing goes without its name
    list(faults(messages, form=form))
    kept = conversation.required(())
    write(conversation.messages, {(part.message, part.path): "x" for part in conversation.parts}, set(kept))
    assert messages == before
