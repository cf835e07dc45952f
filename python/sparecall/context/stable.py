"""The same conversation turn after turn, its beginning left alone: what a provider's prefix cache holds is paid a tenth.

A result is made smaller once, when it first comes: JSON in its compact form, lines that stand above by a pointer. Nothing is
lost by either; of encoded bytes, which no model reads, length and digest stay. Only where the budget is passed the whole is cut anew, an epoch, down to a share of the budget, so that many
turns fit before the next. All of it is a fold over the atoms, in which no step looks ahead: whoever begins anew, in another
worker or without memory, comes to the same bytes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sparecall._core import ContextRepeats
from sparecall.context.breakpoints import moved
from sparecall.context.parts import parts_of, size_of
from sparecall.context.report import Prefix
from sparecall.context.steps import stepped
from sparecall.context.texts import Wanted
from sparecall.context.writing import write

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from sparecall.context.costs import Costs
    from sparecall.context.electing import Ledger
    from sparecall.context.grammar import Conversation
    from sparecall.context.parts import Message, Part, Path
    from sparecall.context.report import Change, Changes
    from sparecall.context.steps import Steps
    from sparecall.context.texts import Texts
    from sparecall.tokens import Encoding


# A new text is laid out, counted and compared with those above it.
_PASSES = 3


class Mark(NamedTuple):
    """Where a fold stood when it was last sent, in the words of `Fold`."""

    why: Literal["first", "extended", "changed", "shortened"]
    out: list[Message]
    spent: int
    raw: int
    epochs: int
    tools: frozenset[str]


class Fold:
    """A conversation up to some atom, as it is sent. ``has_data``: with encoded bytes as they are."""

    __slots__ = (
        "_breakpoints", "_costs", "_encoding", "_has_data", "_of", "_repeats", "_texts", "atoms", "changes", "dropped", "epochs",
        "ledger", "origin", "out", "raw", "spent", "tools",
    )  # fmt: skip

    def __init__(self, costs: Costs, texts: Texts, encoding: str | Encoding, ledger: Ledger, *, has_data: bool) -> None:
        self._has_data = has_data
        self._costs, self._texts, self._encoding = costs, texts, encoding
        self._repeats = ContextRepeats(encoding)
        self._breakpoints: Sequence[Hashable | None] = ()
        self._of: list[int] = []
        """By the messages of `out`: the number of the one that came and is said in it; -1 for a summary."""
        self.ledger = ledger
        self.atoms = 0
        """How many atoms are in it."""
        self.out: list[Message] = []
        self.origin: list[int] = []
        """By the messages of `out`: the number of the one that came and is sent as it is; -1 for what is written here."""
        self.spent = 0
        """Tokens of `out`."""
        self.raw = 0
        """Tokens of what came."""
        self.epochs = 0
        self.tools: frozenset[str] = frozenset()
        """The names of tools that the last epoch left out."""
        self.dropped: dict[int, int | None] = {}
        """By the messages that went: None, or what of their summary's tokens is for them."""
        self.changes: dict[tuple[int, Path], tuple[str, str, Change]] = {}
        """By message and path of what came: the text as it was, as it is, and what was done."""

    def read(self, conversation: Conversation, *, still: Collection[int]) -> Steps[None]:
        """Read the texts of the next atoms at once: as they are taken in, each is found read."""
        wanted = []
        for atom in conversation.atoms[self.atoms :]:
            for index in atom:
                role = conversation.messages[index]["role"]
                parts = () if index in still else parts_of(conversation.parts, index)
                wanted += [Wanted(part.text, compact=True) for part in parts if _may_shrink(part, role)]
            yield None
        yield from self._texts.documents(wanted)

    def place(self, conversation: Conversation, breakpoints: Sequence[Hashable | None]) -> None:
        """Put the breakpoints of a provider's cache where those of `conversation` are, which says what was said before. O(messages)."""
        was = self._breakpoints
        self._breakpoints = list(breakpoints)
        pairs = enumerate(zip(was, breakpoints, strict=False))
        new = {index: (before, now) for index, (before, now) in pairs if before != now}
        if not new:
            return
        if any(moved(path, *new[index]) != path for index, path in self.changes if index in new):
            self.changes = {
                (index, moved(path, *new[index]) if index in new else path): change
                for (index, path), change in self.changes.items()
            }
        for at, index in enumerate(self._of):
            if index in new:
                places = [(index, part.path) for part in parts_of(conversation.parts, index)]
                edits = {(0, place[1]): self.changes[place][1] for place in places if place in self.changes}
                self.out[at] = write([conversation.messages[index]], edits)[0]

    def add(self, conversation: Conversation, *, still: Collection[int]) -> Steps[None]:
        """Take in the next atom; ``still`` are the messages that are not rewritten."""
        rows = [conversation.messages[index] for index in conversation.atoms[self.atoms]]

        def take() -> None:
            self._send(conversation, self.atoms, still, range(len(conversation.messages)), {})
            self.raw += self.tokens(rows)
            self.atoms += 1

        yield from stepped(take, _PASSES * self._texts.effort * sum(map(size_of, rows)))

    def anew(
        self,
        conversation: Conversation,
        before: Changes,
        dropped: Mapping[int, int | None],
        *,
        still: Collection[int],
        origin: Sequence[int],
        tools: frozenset[str],
    ) -> Steps[Fold]:
        """A new epoch with what a cut has left, which comes to be sent as if it were new; this one stays as it is.

        ``before``: what the cut did to texts; ``origin``: the messages' numbers before it, by which changes are named; ``tools``:
        the names of those that it leaves out.
        """
        new = Fold(self._costs, self._texts, self._encoding, self.ledger, has_data=self._has_data)
        new.atoms, new.raw, new.epochs, new.tools = self.atoms, self.raw, self.epochs + 1, tools
        new.changes, new.dropped = dict(before), dict(dropped)
        new._breakpoints = self._breakpoints
        for number, atom in enumerate(conversation.atoms):
            send = functools.partial(new._send, conversation, number, still, origin, before)
            size = sum(size_of(conversation.messages[index]) for index in atom)
            yield from stepped(send, _PASSES * self._texts.effort * size)
        edited = {index for index, _ in before}
        new.origin = [-1 if index in edited else index for index in new.origin]
        return new

    def sent(self, messages: Sequence[Message]) -> list[Message]:
        """What to send, given what came: what is as it came is the same object."""
        return [made if at < 0 else messages[at] for made, at in zip(self.out, self.origin, strict=True)]

    def mark(self, why: Literal["first", "extended", "changed", "shortened"]) -> Mark:
        """Where it stands."""
        return Mark(why, list(self.out), self.spent, self.raw, self.epochs, self.tools)

    def tokens(self, messages: Iterable[Message]) -> int:
        """What messages cost."""
        return sum(map(self._costs.message, messages))

    def shared(self, sent: Sequence[Message]) -> int:
        """How many of the messages that were sent it begins with."""
        same = 0
        while same < min(len(sent), len(self.out)) and sent[same] == self.out[same]:
            same += 1
        return same

    def prefix(self, sent: Mark, beside: int) -> Prefix:
        """What became of what was sent; ``beside``: the tokens beside the messages."""
        whole, raw = self.spent + beside, self.raw + beside
        if sent.why == "first":
            return Prefix("first", None, 0, whole, 0, raw)
        raw_read = sent.raw + beside
        if self.epochs == sent.epochs:
            broken = None if sent.why == "extended" else len(sent.out)
            return Prefix(sent.why, broken, sent.spent + beside, self.spent - sent.spent, raw_read, raw - raw_read)
        same = self.shared(sent.out)
        read = 0 if self.tools != sent.tools else beside + self.tokens(self.out[:same])
        return Prefix("epoch", same, read, whole - read, raw_read, raw - raw_read)

    def _send(
        self,
        conversation: Conversation,
        number: int,
        still: Collection[int],
        origin: Sequence[int],
        before: Changes,
    ) -> None:
        for index in conversation.atoms[number]:
            message = conversation.messages[index]
            edits: dict[tuple[int, Path], str] = {}
            for part in parts_of(conversation.parts, index):
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
            self._of.append(origin[index])
            self.origin.append(-1 if edits else origin[index])
            self.spent += self._costs.message(message)

    def _born(self, part: Part, role: str, *, may_change: bool) -> tuple[str, Change] | None:
        """The text in its smaller form, or None for as it came."""
        if not may_change or not _may_shrink(part, role):
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


def _may_shrink(part: Part, role: str) -> bool:
    return part.kind == "result" or role == "user"


class Folds:
    """The folds of the latest conversations, found again by what they were made of. Thread-safe."""

    __slots__ = ("_chains", "_folds", "_most")

    def __init__(self, most: int) -> None:
        self._folds: dict[object, Fold] = {}
        self._chains: dict[object, list[object]] = {}
        self._most = most

    def take(self, chain: Sequence[object]) -> Fold | None:
        """The longest fold that the chain of a conversation begins with. Whoever takes it gives it back."""
        for link in reversed(chain):
            fold = self._folds.pop(link, None)
            if fold is not None:
                return fold
        return None

    def sent(self, chain: list[object], first: int) -> tuple[int, Literal["first", "extended", "changed", "shortened"]]:
        """How many atoms of a conversation were sent before, given the number of the one that tells it from others, and how it goes on from there."""
        before = self._chains.get(chain[first]) if chain else None
        if before is None:
            return 0, "first"
        shared = sum(1 for one, other in zip(before, chain, strict=False) if one == other)
        if shared == len(before):
            return shared, "extended"
        return shared, "shortened" if shared == len(chain) else "changed"

    def put(self, chain: list[object], first: int, fold: Fold) -> None:
        """Keep a fold; the one that was put first leaves for it."""
        self._folds[chain[-1]] = fold
        self._chains[chain[first]] = chain
        for table in (self._folds, self._chains):
            while len(table) > self._most:
                try:
                    table.pop(next(iter(table)), None)
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
