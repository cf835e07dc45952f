"""Carries a conversation to the native choice and back: what stays, what is rewritten, what goes."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

from sparecall._core import context_select
from sparecall.context.handles import handle_of
from sparecall.context.laying import Laid, Row
from sparecall.context.parts import parts_of
from sparecall.context.texts import Wanted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sparecall._core import ContextDocument
    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.laying import Known
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


class _Text(NamedTuple):
    """A text of a message, before it is read: see `Row`."""

    wanted: Wanted
    part: Part | None
    weight: float
    tokens: int


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

    __slots__ = ("_costs", "_has_handles", "_known", "_sizes", "conversation", "pinned")

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
        self._costs = costs

    @property
    def fixed_tokens(self) -> int:
        """The tokens of what is pinned."""
        return self._known.fixed_tokens

    def lay(self, texts: Texts) -> Steps[None]:
        """Lay the conversation out, in steps: a call to make elsewhere, or None where others may run."""
        known, atoms = self._known, self.conversation.atoms
        known.forget(len(atoms))
        changed = sorted(number for number in known.pinned ^ self.pinned if number < len(known))
        found: list[tuple[int, list[_Text]]] = []
        for number in (*changed, *range(len(known), len(atoms))):
            texts_of = [one for index in atoms[number] for one in self._found(index, is_pinned=number in self.pinned)]
            found.append((number, texts_of or [_Text(Wanted("", compact=False), None, 1.0, 0)]))
            yield None
        documents = iter((yield from texts.documents([one.wanted for _, each in found for one in each])))
        new: dict[int, Laid] = {}
        for number, each in found:
            new[number] = self._laid(number, each, documents)
            yield None
        yield from known.lay(new, len(atoms))

    def _found(self, index: int, *, is_pinned: bool) -> Iterator[_Text]:
        """The texts of a message."""
        costs, message = self._costs, self.conversation.messages[index]
        for text in _unwritten(message):
            yield _Text(Wanted(text, compact=False), None, 1.0, 0)
        role = message["role"]
        for part in parts_of(self.conversation.parts, index):
            weight = _RESULT if part.kind == "result" else _WEIGHTS.get(role, 1.0)
            if is_pinned:
                yield _Text(Wanted(part.text, compact=False), None, weight, 0)
                continue
            tokens = costs.text(part.text)
            compact = part.kind == "result" or role == "user"
            yield _Text(Wanted(part.text, compact, tokens if costs.is_sum else None), part, weight, tokens)

    def _laid(self, number: int, found: list[_Text], documents: Iterator[ContextDocument]) -> Laid:
        """An atom of these texts; their documents come next."""
        messages, is_pinned = self.conversation.messages, number in self.pinned
        whole = sum([self._sizes[id(messages[index])] for index in self.conversation.atoms[number]])
        rows, items = [], []
        rewritten = weight = 0
        scale = 1.0
        for (wanted, part, share, tokens), document in zip(found, documents, strict=False):
            text = _shown(document, wanted.text)
            rows.append(Row(document, number, part, share, tokens, text))
            items.append((document, number, part is None, share))
            rewritten += tokens
            # What a choice leaves of a text is no longer than that.
            weight += document.size + len(text) + _ROW
            if part is not None and document.tokens and not document.is_compact:
                scale = max(scale, tokens / document.tokens)
        bare = 0 if is_pinned else max(0, whole - rewritten)
        return Laid(is_pinned, rows, items, bare, whole if is_pinned else 0, scale, weight)

    def similarities(self, texts: Texts, query: str) -> list[float] | None:
        """How near each of its texts is to a query; see `Texts.similarities`."""
        return texts.similarities([row.text for row in self._known.rows], query, self._known.vectors)

    def choose(
        self, budget: int, query: str | None, similar: list[float] | None, instructions: Sequence[str]
    ) -> Steps[Choice]:
        """What to keep in `budget` tokens beside what is pinned, in steps. Pure."""
        known, costs = self._known, self._costs
        scale, rows = known.scale, known.rows
        handles = None
        if self._has_handles:
            handles = ["" if row.part is None else handle_of(row.part.text) for row in rows]
        same, known.chosen = known.chosen, 0
        kept, _ = yield functools.partial(
            context_select,
            known.items[same:],
            known.bare if scale == 1 else [math.ceil(one / scale) for one in known.bare],
            budget=max(0, math.floor(budget / scale)),
            query=self._implied() if query is None else query,
            similar=similar,
            whole=0 if query is None else _WHOLE,
            relevance=_UNASKED if query is None else _ASKED,
            instructions=instructions,
            handles=handles,
            board=known.board,
            same=same,
        )
        known.chosen = len(rows)
        edits: dict[tuple[int, Path], str] = {}
        before: dict[tuple[int, Path], str] = {}
        compact: set[tuple[int, Path]] = set()
        gone: set[int] = set()
        for number, ((document, atom, part, _, whole, as_it_is), one) in enumerate(zip(rows, kept, strict=True)):
            if one is None:
                gone.add(atom)
            elif part is not None and (one is not True or document.is_compact):
                text, tokens = known.cut(number, as_it_is if one is True else one, costs)
                if tokens < whole:
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
# Rows in one step: a tenth of a millisecond.
_ROWS = 64
# Bytes of a row beside its document.
_ROW = 300


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
