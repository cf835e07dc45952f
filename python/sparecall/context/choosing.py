"""Carries a conversation to the native choice and back: what stays, what is rewritten, what goes."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

from sparecall._core import ContextBoard, context_select
from sparecall.context.handles import handle_of
from sparecall.context.parts import parts_of
from sparecall.context.steps import stepped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

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
    tokens: int
    """Of the part."""
    text: str
    """The document's; the same object each time, so that it is hashed once."""


class Laid(NamedTuple):
    """An atom laid out: its rows, and what it costs. A function of its messages and of whether it is pinned."""

    rows: list[Row]
    items: list[tuple[ContextDocument, int, bool, float]]
    """The rows as the native choice takes them."""
    bare: int
    """Its tokens without the texts that may be rewritten."""
    pinned: int
    """Its tokens where it is pinned."""
    scale: float
    """How many of its tokens as they are counted here there are for each that documents count, where that is more than one."""
    weight: int
    """In bytes, about."""


class Known:
    """What earlier choices leave for the next ones of the same conversation. One choice at a time."""

    __slots__ = ("atoms", "board")

    def __init__(self) -> None:
        self.atoms: list[dict[bool, Laid]] = []
        """Of each of the first atoms, by whether it was pinned: how it is laid out."""
        self.board = ContextBoard()

    @property
    def weight(self) -> int:
        """About what it takes in memory, in bytes. O(atoms)."""
        return self.board.size + sum([one.weight for atom in self.atoms for one in atom.values()])

    def until(self, atom: int) -> Known:
        """The same for a conversation that has the atoms before `atom`, and then its own."""
        while len(self.atoms) < atom:
            self.atoms.append({})
        part = Known()
        part.atoms, part.board = self.atoms[:atom], self.board
        return part


class Choice(NamedTuple):
    """What is to be done: new texts, and the messages that go."""

    edits: dict[tuple[int, Path], str]
    before: dict[tuple[int, Path], str]
    """The texts that the edits are of."""
    dropped: frozenset[int]
    compact: frozenset[tuple[int, Path]]
    """Those of the edits that lose nothing."""


class Board:
    """A conversation laid out for choosing. ``known``: from earlier ones; ``sizes``: the tokens of its messages, by ``id``.

    ``has_handles``: whether marks say the handles of what they stand in.
    """

    __slots__ = (
        "_costs",
        "_has_handles",
        "_known",
        "_sizes",
        "bare",
        "conversation",
        "fixed_tokens",
        "items",
        "pinned",
        "rows",
        "scale",
    )

    def __init__(
        self,
        conversation: Conversation,
        costs: Costs,
        known: Known,
        *,
        sizes: Mapping[int, int],
        pinned: Collection[int],
        has_handles: bool = False,
    ) -> None:
        self._known = known
        self.conversation = conversation
        self._has_handles = has_handles
        self._sizes = sizes
        self.pinned = set(pinned)
        self.rows: list[Row] = []
        self.items: list[tuple[ContextDocument, int, bool, float]] = []
        self.bare: list[int] = []
        """What each atom costs without its rows."""
        self.fixed_tokens = 0
        self.scale = 1.0
        self._costs = costs

    def lay(self, texts: Texts) -> Steps[None]:
        """Lay the conversation out, in steps: a call to make elsewhere, or None where others may run."""
        known = self._known.atoms
        for number, atom in enumerate(self.conversation.atoms):
            is_pinned = number in self.pinned
            if number == len(known):
                known.append({})
            laid = known[number].get(is_pinned)
            if laid is None:
                laid = known[number][is_pinned] = yield from self._lay(texts, number, atom, is_pinned=is_pinned)
            elif number % _ATOMS == 0:
                yield None
            self.rows += laid.rows
            self.items += laid.items
            self.bare.append(laid.bare)
            self.fixed_tokens += laid.pinned
            self.scale = max(self.scale, laid.scale)

    def _lay(self, texts: Texts, number: int, atom: Sequence[int], *, is_pinned: bool) -> Steps[Laid]:
        rows: list[Row] = []
        costs = self._costs
        whole = rewritten = 0
        scale = 1.0
        for index in atom:
            message = self.conversation.messages[index]
            whole += self._sizes[id(message)]
            for text in _unwritten(message):
                document = yield from _read(texts, text, compact=False)
                rows.append(Row(document, number, None, 1.0, 0, _shown(document, text)))
            role = message["role"]
            for part in parts_of(self.conversation.parts, index):
                weight = _RESULT if part.kind == "result" else _WEIGHTS.get(role, 1.0)
                if is_pinned:
                    document = yield from _read(texts, part.text, compact=False)
                    rows.append(Row(document, number, None, weight, 0, _shown(document, part.text)))
                    continue
                tokens = costs.text(part.text)
                rewritten += tokens
                document = yield from _read(
                    texts,
                    part.text,
                    compact=part.kind == "result" or role == "user",
                    tokens=tokens if costs.is_sum else None,
                )
                rows.append(Row(document, number, part, weight, tokens, _shown(document, part.text)))
                if document.tokens and not document.is_compact:
                    scale = max(scale, tokens / document.tokens)
        if not rows:
            document = yield from _read(texts, "", compact=False)
            rows.append(Row(document, number, None, 1.0, 0, ""))
        return Laid(
            rows,
            [(row.document, number, row.part is None, row.weight) for row in rows],
            0 if is_pinned else max(0, whole - rewritten),
            whole if is_pinned else 0,
            scale,
            sum(row.document.size + _ROW for row in rows),
        )

    def choose(
        self, budget: int, query: str | None, similar: list[float] | None, instructions: Sequence[str]
    ) -> Steps[Choice]:
        """What to keep in `budget` tokens beside what is pinned, in steps. Pure."""
        scale, costs = self.scale, self._costs
        handles = None
        if self._has_handles:
            handles = ["" if row.part is None else handle_of(row.part.text) for row in self.rows]
        kept, _ = yield functools.partial(
            context_select,
            self.items,
            self.bare if scale == 1 else [math.ceil(one / scale) for one in self.bare],
            budget=max(0, math.floor(budget / scale)),
            query=self._implied() if query is None else query,
            similar=similar,
            whole=0 if query is None else _WHOLE,
            relevance=_UNASKED if query is None else _ASKED,
            instructions=instructions,
            handles=handles,
            board=self._known.board,
        )
        edits: dict[tuple[int, Path], str] = {}
        before: dict[tuple[int, Path], str] = {}
        compact: set[tuple[int, Path]] = set()
        gone: set[int] = set()
        for number, (row, one) in enumerate(zip(self.rows, kept, strict=True)):
            part = row.part
            if one is None:
                gone.add(row.atom)
            elif part is not None and (one is not True or row.document.is_compact):
                text = row.text if one is True else one
                if costs.text(text) < row.tokens:
                    place = (part.message, part.path)
                    edits[place], before[place] = text, part.text
                    if one is True:
                        compact.add(place)
            if number % _ROWS == 0:
                yield None
        dropped = frozenset([index for number in gone for index in self.conversation.atoms[number]])
        return Choice(edits, before, dropped, frozenset(compact))

    def _implied(self) -> str:
        """What it seems to be about, where nobody says: the last that the user wrote."""
        return last_words(self.conversation)[:_ABOUT]


_ABOUT = 2_000
# Atoms, and rows, in one step: a tenth of a millisecond.
_ATOMS, _ROWS = 128, 64
# Bytes of a row beside its document.
_ROW = 300


def _read(texts: Texts, text: str, *, compact: bool, tokens: int | None = None) -> Steps[ContextDocument]:
    document = texts.known(text, compact=compact)
    if document is None:
        make = functools.partial(texts.document, text, compact=compact, tokens=tokens)
        document = yield from stepped(make, len(text) * texts.effort)
    return document


def _shown(document: ContextDocument, text: str) -> str:
    """The document's text, which is the same object as the one it was made of where it is equal; of others it is a copy."""
    return text if text.isascii() and not document.is_compact else document.text


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
