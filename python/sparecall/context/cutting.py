"""Cuts a conversation to a budget, and checks that it is one the request as a whole keeps to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from sparecall.context.choosing import Board
from sparecall.context.writing import write
from sparecall.errors import CannotFit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sparecall.context.choosing import Choice
    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.laying import Known
    from sparecall.context.parts import Message
    from sparecall.context.steps import Steps
    from sparecall.context.texts import Texts

# Choices until a request fits that counts otherwise than its parts; each is smaller by what was too much.
_TRIES = 8


class Cut(NamedTuple):
    """A conversation within its budget."""

    out: list[Message]
    tokens: int
    choice: Choice


def cut(
    conversation: Conversation,
    costs: Costs,
    texts: Texts,
    *,
    sizes: Mapping[int, int],
    budget: int,
    beside: int,
    whole: Callable[[list[Message]], int] | None,
    pinned: Collection[int],
    query: str | None,
    instructions: Sequence[str],
    known: Known,
    has_handles: bool = False,
) -> Steps[Cut]:
    """Choose and write, in steps: a call to make in a thread or at once, or None where others may run.

    ``sizes``: the tokens of the messages, by ``id``; ``beside``: those of the request beside its messages; ``whole``: counts it
    as a whole, None where that is the sum of its parts; ``pinned``: atoms that stay as they are; ``instructions``: texts that
    may list commands; ``known``: from earlier cuts of the same conversation, and for later ones; ``has_handles``: whether marks say the handles of what they stand in. Raises
    `CannotFit`.
    """
    still = set(pinned)
    while True:
        board = Board(conversation, costs, known, sizes=sizes, pinned=still, has_handles=has_handles)
        yield from board.lay(texts)
        free = budget - beside - board.fixed_tokens
        similar = None
        if query is not None and free > 0:
            similar = yield functools.partial(board.similarities, texts, query)
        required: tuple[int, ...] = ()
        for _ in range(_TRIES):
            if free < 0:
                break
            choice = yield from board.choose(free, query, similar, instructions)
            left = [n for n, atom in enumerate(conversation.atoms) if atom[0] not in choice.dropped]
            required = conversation.required(left)
            if required:
                break
            yield None
            out = write(conversation.messages, choice.edits, choice.dropped)
            yield None
            if whole is None:
                tokens = beside + sum([sizes.get(id(message)) or costs.message(message) for message in out])
            else:
                tokens = whole(out)
            if tokens <= budget:
                return Cut(out, tokens, choice)
            free -= tokens - budget
        if not required:
            least = budget - free
            raise CannotFit(
                f"what must stay takes {least} tokens, the budget is {budget}; raise it, or lower keep_last and pins",
                least=least,
                budget=budget,
            )
        still.update(required)
