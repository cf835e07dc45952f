"""Carries a conversation to the native choice and back: what stays, what is rewritten, what goes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sparecall._core import context_select
from sparecall.context.handles import handle_of
from sparecall.context.parts import by_message
from sparecall.context.steps import stepped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sparecall._core import ContextDocument
    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.parts import Message, Part, Path
    from sparecall.context.steps import Steps
    from sparecall.context.texts import Texts

# What stands there weighs so much: what the user says is what it is about.
_WEIGHTS = {"user": 1.5, "assistant": 1.0}
_RESULT = 1.0
# Told what is asked, its relevance decides; else it is one voice among others.
_ASKED, _UNASKED = 5.0, 0.2
# Turns of so many tokens are kept or left out whole where something is asked: half an answer is none.
_WHOLE = 400


class Row(NamedTuple):
    """A text of the conversation as the choice sees it: its document, and the part it is, if it may be rewritten."""

    document: ContextDocument
    atom: int
    part: Part | None
    weight: float


class Choice(NamedTuple):
    """What is to be done: new texts, and the messages that go."""

    edits: dict[tuple[int, Path], str]
    dropped: frozenset[int]
    compact: frozenset[tuple[int, Path]]
    """Those of the edits that lose nothing."""


class Board:
    """A conversation laid out for choosing: rows, and what each atom costs without them. ``sizes``: the tokens of its messages, by ``id``.

    ``has_handles``: whether marks say the handles of what they stand in.
    """

    __slots__ = ("_costs", "_has_handles", "_sizes", "bare", "conversation", "fixed_tokens", "pinned", "rows", "scale")

    def __init__(
        self,
        conversation: Conversation,
        costs: Costs,
        *,
        sizes: Mapping[int, int],
        pinned: Collection[int],
        has_handles: bool = False,
    ) -> None:
        self.conversation = conversation
        self._has_handles = has_handles
        self._sizes = sizes
        self.pinned = set(pinned)
        self.rows: list[Row] = []
        self.bare: list[float] = []
        self.fixed_tokens = 0
        self.scale = 1.0
        self._costs = costs

    def lay(self, texts: Texts) -> Steps[None]:
        """Lay the conversation out, in steps: a call to make elsewhere, or None where others may run."""
        conversation, costs = self.conversation, self._costs
        messages = conversation.messages
        parts = by_message(conversation.parts)
        for number, atom in enumerate(conversation.atoms):
            is_pinned = number in self.pinned
            whole = 0
            rewritten = 0
            for index in atom:
                message = messages[index]
                whole += self._sizes[id(message)]
                for text in _unwritten(message):
                    yield from self._read(texts, text, number, None, 1.0, compact=False)
                role = message["role"]
                for part in parts.get(index, ()):
                    compact = part.kind == "result" or role == "user"
                    weight = _RESULT if part.kind == "result" else _WEIGHTS.get(role, 1.0)
                    free = None if is_pinned else part
                    tokens = costs.text(part.text)
                    row = yield from self._read(
                        texts, part.text, number, free, weight, compact=compact and not is_pinned
                    )
                    if free is not None:
                        rewritten += tokens
                        if row.tokens and not row.is_compact:
                            self.scale = max(self.scale, tokens / row.tokens)
            if not self.rows or self.rows[-1].atom != number:
                yield from self._read(texts, "", number, None, 1.0, compact=False)
            self.bare.append(0 if is_pinned else whole - rewritten)
            if is_pinned:
                self.fixed_tokens += whole

    def _read(
        self, texts: Texts, text: str, atom: int, part: Part | None, weight: float, *, compact: bool
    ) -> Steps[ContextDocument]:
        document = texts.known(text, compact=compact)
        if document is None:
            document = yield from stepped(lambda: texts.document(text, compact=compact), len(text))
        self.rows.append(Row(document, atom, part, weight))
        return document

    def choose(self, budget: int, query: str | None, similar: list[float] | None) -> Choice:
        """What to keep in `budget` tokens beside what is pinned. Pure."""
        conversation = self.conversation
        rows = [(row.document, row.atom, row.part is None, row.weight) for row in self.rows]
        bare = [math.ceil(max(0.0, one) / self.scale) for one in self.bare]
        asked = self._implied() if query is None else query
        handles = None
        if self._has_handles:
            handles = ["" if row.part is None else handle_of(row.part.text) for row in self.rows]
        kept, _ = context_select(
            rows,
            bare,
            budget=max(0, math.floor(budget / self.scale)),
            query=asked,
            similar=similar,
            whole=0 if query is None else _WHOLE,
            relevance=_UNASKED if query is None else _ASKED,
            handles=handles,
        )
        edits: dict[tuple[int, Path], str] = {}
        compact: set[tuple[int, Path]] = set()
        gone: set[int] = set()
        for row, one in zip(self.rows, kept, strict=True):
            if one is None:
                gone.add(row.atom)
            elif row.part is not None and (one is not True or row.document.is_compact):
                text = row.document.text if one is True else one
                if self._costs.text(text) < self._costs.text(row.part.text):
                    place = (row.part.message, row.part.path)
                    edits[place] = text
                    if one is True:
                        compact.add(place)
        dropped = frozenset(index for number in gone for index in conversation.atoms[number])
        return Choice(edits, dropped, frozenset(compact))

    def _implied(self) -> str:
        """What it seems to be about, where nobody says: the last that the user wrote."""
        return last_words(self.conversation)[:_ABOUT]


_ABOUT = 2_000


def last_words(conversation: Conversation) -> str:
    """The last text that the user wrote; empty where there is none."""
    messages = conversation.messages
    last = next((part for part in reversed(conversation.parts) if messages[part.message]["role"] == "user"), None)
    return "" if last is None else last.text


def _unwritten(message: Message) -> Iterator[str]:
    """The texts of a message that are never rewritten, but hold values: the arguments of its calls."""
    for call in message.get("tool_calls") or ():
        inner = call.get("function", call.get("custom")) if isinstance(call, dict) else None
        arguments = inner.get("arguments", inner.get("input")) if isinstance(inner, dict) else None
        if isinstance(arguments, str):
            yield arguments
    content = message.get("content")
    if type(content) is list:
        for block in content:
            if block.get("type") == "tool_use":
                yield from _strings(block.get("input"))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
