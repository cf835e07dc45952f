"""The same conversation turn after turn, its beginning left alone: what a provider's prefix cache holds is paid a tenth.

A result is made smaller once, when it first comes: JSON in its compact form, lines that stand above by a pointer. Nothing is
lost by either. Only where the budget is passed the whole is cut anew, an epoch, down to a share of the budget, so that many
turns fit before the next. All of it is a fold over the atoms, in which no step looks ahead: whoever begins anew, in another
worker or without memory, comes to the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall._core import ContextRepeats
from sparecall.context.writing import write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.parts import Message, Part, Path
    from sparecall.context.report import Change
    from sparecall.context.texts import Texts
    from sparecall.tokens import Encoding

# A text is rewritten where that saves so much of it: less is not worth another form.
_GAIN = 0.05


class Fold:
    """A conversation up to some atom, as it is sent."""

    __slots__ = ("_costs", "_encoding", "_repeats", "_texts", "atoms", "changes", "dropped", "epochs", "out", "spent")

    def __init__(self, costs: Costs, texts: Texts, encoding: str | Encoding) -> None:
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

    def add(self, conversation: Conversation, parts: Sequence[Part], *, still: Collection[int]) -> None:
        """Take in the next atom; `parts` are those of its messages, `still` the messages that are not rewritten."""
        messages = conversation.messages
        edits: dict[tuple[int, Path], str] = {}
        for part in parts:
            text = self._born(part, messages[part.message]["role"], may_change=part.message not in still)
            if text is not None:
                edits[part.message, part.path] = text
        for index in conversation.atoms[self.atoms]:
            mine = {(0, path): text for (message, path), text in edits.items() if message == index}
            message = write([messages[index]], mine)[0] if mine else messages[index]
            self.out.append(message)
            self.spent += self._costs.message(message)
        self.atoms += 1

    def _born(self, part: Part, role: str, *, may_change: bool) -> str | None:
        """The text in its smaller form, or None for as it came."""
        if not may_change or (part.kind != "result" and role != "user"):
            self._repeats.push(part.text)
            return None
        document = self._texts.document(part.text, compact=True)
        change: Change = "compact"
        text = document.text
        shorter = self._repeats.push(text)
        if shorter is not None:
            text, change = shorter, "repeat"
        before, after = self._costs.text(part.text), self._costs.text(text)
        if text is part.text or after > before * (1 - _GAIN):
            return None
        self.changes[part.message, part.path] = (part.text, text, change)
        return text

    def cut(
        self,
        out: list[Message],
        changes: Mapping[tuple[int, Path], tuple[str, str, Change]],
        dropped: Collection[int],
        parts: Iterable[Part],
    ) -> None:
        """Begin a new epoch with `out`, whose `parts` may be pointed to from now on."""
        self.out, self.changes, self.dropped = out, dict(changes), frozenset(dropped)
        self.spent = sum(map(self._costs.message, out))
        self.epochs += 1
        self._repeats = ContextRepeats(self._encoding)
        for part in parts:
            self._repeats.push(part.text)


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
