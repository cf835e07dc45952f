"""The same conversation turn after turn, its beginning left alone: what a provider's prefix cache holds is paid a tenth.

A result is made smaller once, when it first comes: JSON in its compact form, lines that stand above by a pointer. Nothing is
lost by either; of encoded bytes, which no model reads, length and digest stay. Only where the budget is passed the whole is cut anew, an epoch, down to a share of the budget, so that many
turns fit before the next. All of it is a fold over the atoms, in which no step looks ahead: whoever begins anew, in another
worker or without memory, comes to the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall._core import ContextRepeats
from sparecall.context.parts import by_message
from sparecall.context.writing import write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.parts import Message, Part, Path
    from sparecall.context.report import Change, Changes
    from sparecall.context.texts import Texts
    from sparecall.tokens import Encoding


class Fold:
    """A conversation up to some atom, as it is sent. ``has_data``: with encoded bytes as they are."""

    __slots__ = (
        "_costs",
        "_encoding",
        "_has_data",
        "_repeats",
        "_texts",
        "atoms",
        "changes",
        "dropped",
        "epochs",
        "out",
        "spent",
    )

    def __init__(self, costs: Costs, texts: Texts, encoding: str | Encoding, *, has_data: bool = True) -> None:
        self._has_data = has_data
        self._costs, self._texts, self._encoding = costs, texts, encoding
        self._repeats = ContextRepeats(encoding)
        self.atoms = 0
        """How many atoms are in it."""
        self.out: list[Message] = []
        self.spent = 0
        """Tokens of `out`."""
        self.epochs = 0
        self.dropped: frozenset[int] = frozenset()
        self.changes: dict[tuple[int, Path], tuple[str, str, Change]] = {}
        """By message and path of what came: the text as it was, as it is, and what was done."""

    def add(self, conversation: Conversation, parts: Mapping[int, Sequence[Part]], *, still: Collection[int]) -> None:
        """Take in the next atom; ``still`` are the messages that are not rewritten."""
        self._send(conversation, self.atoms, parts, still, range(len(conversation.messages)), {})
        self.atoms += 1

    def cut(
        self,
        conversation: Conversation,
        before: Changes,
        dropped: Collection[int],
        *,
        still: Collection[int],
        origin: Sequence[int],
    ) -> None:
        """Begin a new epoch with what a cut has left: it comes to be sent as if it were new.

        ``before``: what the cut did to texts; ``origin``: the messages' numbers before it, by which changes are named.
        """
        self.out, self.spent, self.changes, self.dropped = [], 0, dict(before), frozenset(dropped)
        self.epochs += 1
        self._repeats = ContextRepeats(self._encoding)
        parts = by_message(conversation.parts)
        for number in range(len(conversation.atoms)):
            self._send(conversation, number, parts, still, origin, before)

    def _send(
        self,
        conversation: Conversation,
        number: int,
        parts: Mapping[int, Sequence[Part]],
        still: Collection[int],
        origin: Sequence[int],
        before: Changes,
    ) -> None:
        for index in conversation.atoms[number]:
            message = conversation.messages[index]
            edits: dict[tuple[int, Path], str] = {}
            for part in parts.get(index, ()):
                born = self._born(part, message["role"], may_change=index not in still)
                if born is not None:
                    text, change = born
                    edits[0, part.path] = text
                    place = (origin[index], part.path)
                    was, _, earlier = before.get(place, (part.text, "", change))
                    self.changes[place] = (was, text, "cut" if earlier == "cut" else change)
            if edits:
                message = write([message], edits)[0]
            self.out.append(message)
            self.spent += self._costs.message(message)

    def _born(self, part: Part, role: str, *, may_change: bool) -> tuple[str, Change] | None:
        """The text in its smaller form, or None for as it came."""
        if not may_change or (part.kind != "result" and role != "user"):
            self._repeats.push(part.text)
            return None
        document = self._texts.document(part.text, compact=True)
        change: Change = "compact"
        text = document.text
        bare = None if self._has_data or part.kind != "result" else document.without_data
        if bare is not None:
            text, change = bare, "data"
        shorter = self._repeats.push(text)
        if shorter is not None:
            text, change = shorter, "repeat" if bare is None else "data"
        if text is part.text or self._costs.text(text) >= self._costs.text(part.text):
            return None
        return text, change


class Folds:
    """The folds of the latest conversations, found again by what they were made of. Thread-safe."""

    __slots__ = ("_folds", "_most")

    def __init__(self, most: int) -> None:
        self._folds: dict[object, Fold] = {}
        self._most = most

    def take(self, chain: Sequence[object]) -> Fold | None:
        """The longest fold that the chain of a conversation begins with. Whoever takes it gives it back."""
        for link in reversed(chain):
            fold = self._folds.pop(link, None)
            if fold is not None:
                return fold
        return None

    def put(self, link: object, fold: Fold) -> None:
        """Keep a fold; the one that was put first leaves for it."""
        self._folds[link] = fold
        while len(self._folds) > self._most:
            try:
                self._folds.pop(next(iter(self._folds)), None)
            except (StopIteration, RuntimeError):  # another thread was quicker
                break


def links(seed: object, keys: Sequence[Sequence[object]]) -> list[object]:
    """For each atom what stands for it and all before it, given the keys of their messages."""
    out: list[object] = []
    link: Any = seed
    for key in keys:
        link = hash((link, *key))
        out.append((len(out), link))
    return out
