"""How a conversation is laid out for the choice: its texts one behind another, and what a turn leaves of that for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparecall._core import ContextBoard
from sparecall.context.texts import Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall._core import ContextDocument
    from sparecall.context.costs import Costs
    from sparecall.context.parts import Part
    from sparecall.context.steps import Steps

ATOMS = 128
"""So many that are known are laid out in one step: a tenth of a millisecond."""


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

    is_pinned: bool
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


class _End(NamedTuple):
    """How much there is up to the end of an atom."""

    rows: int
    tokens: int
    """Of what is pinned."""
    scale: float
    """The largest."""
    weight: int


class Known:
    """What a choice leaves for the next one of the same conversation: its atoms laid out one behind another. One choice at a time."""

    __slots__ = ("_ends", "_laid", "_written", "bare", "board", "chosen", "items", "pinned", "rows", "vectors")

    def __init__(self) -> None:
        self.board = ContextBoard()
        self.chosen = 0
        """So many of the first rows are those that the board's last choice was among."""
        self.vectors = Vectors()
        self._laid: list[Laid] = []
        self.pinned: set[int] = set()
        """The atoms that are pinned."""
        self._ends = [_End(0, 0, 1.0, 0)]
        self.rows: list[Row] = []
        self.items: list[tuple[ContextDocument, int, bool, float]] = []
        self.bare: list[int] = []
        """What each atom costs without its rows."""
        # By row: what the last choice left of it, where that was not all, and the tokens of that.
        self._written: list[tuple[str, int] | None] = []

    @property
    def weight(self) -> int:
        """About what it takes in memory, in bytes. O(1)."""
        return self.board.size + self.vectors.weight + self._ends[-1].weight

    @property
    def fixed_tokens(self) -> int:
        """Of all that is pinned."""
        return self._ends[-1].tokens

    @property
    def scale(self) -> float:
        """See `Laid`: the largest."""
        return self._ends[-1].scale

    def __len__(self) -> int:
        """How many atoms it has."""
        return len(self._laid)

    def forget(self, count: int) -> None:
        """Forget all atoms but the first so many."""
        if count < len(self._laid):
            del self._laid[count:], self._ends[count + 1 :], self.bare[count:]
            end = self._ends[-1].rows
            del self.rows[end:], self.items[end:], self._written[end:]
            self.chosen = min(self.chosen, end)
            self.pinned = {atom for atom in self.pinned if atom < count}

    def lay(self, new: Mapping[int, Laid], count: int) -> Steps[None]:
        """Lay out `count` atoms, in steps: these by their numbers, and the others as they are."""
        first = min(new, default=count)
        old = self._laid[first:]
        self.forget(first)
        for number in range(first, count):
            one, end = new.get(number) or old[number - first], self._ends[-1]
            self._laid.append(one)
            self.rows += one.rows
            self.items += one.items
            self.bare.append(one.bare)
            if one.is_pinned:
                self.pinned.add(number)
            self._ends.append(
                _End(len(self.rows), end.tokens + one.pinned, max(end.scale, one.scale), end.weight + one.weight)
            )
            if number % ATOMS == 0:
                yield None
        self._written += [None] * (len(self.rows) - len(self._written))

    def cut(self, row: int, text: str, costs: Costs) -> tuple[str, int]:
        """What is left of a row, and its tokens. Where that is what it was the last time, it is that object, which is hashed already."""
        known = self._written[row]
        if known is None or known[0] != text:
            known = self._written[row] = text, costs.text(text)
        return known
