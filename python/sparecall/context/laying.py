"""How a conversation is laid out for the choice: its texts one behind another, and what a turn leaves of that for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparecall._core import ContextBoard
from sparecall.context.texts import Vectors

if TYPE_CHECKING:
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
    pinned: int
    scale: float
    """The largest."""
    weight: int


class Known:
    """What a choice leaves for the next one of the same conversation: its atoms laid out one behind another. One choice at a time."""

    __slots__ = ("_ends", "_laid", "_written", "bare", "board", "items", "rows", "vectors")

    def __init__(self) -> None:
        self.board = ContextBoard()
        self.vectors = Vectors()
        self._laid: list[Laid] = []
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
    def pinned(self) -> int:
        """The tokens of all that is pinned."""
        return self._ends[-1].pinned

    @property
    def scale(self) -> float:
        """See `Laid`: the largest."""
        return self._ends[-1].scale

    def of(self, atom: int, *, is_pinned: bool) -> Laid | None:
        """How an atom is laid out, if it is."""
        if atom < len(self._laid) and self._laid[atom].is_pinned == is_pinned:
            return self._laid[atom]
        return None

    def forget(self, count: int) -> None:
        """Forget all atoms but the first so many."""
        if count < len(self._laid):
            del self._laid[count:], self._ends[count + 1 :], self.bare[count:]
            end = self._ends[-1].rows
            del self.rows[end:], self.items[end:], self._written[end:]

    def lay(self, laid: list[Laid]) -> Steps[None]:
        """Lay these atoms out and no others, in steps. What is the same as the last time stays."""
        pairs = enumerate(zip(laid, self._laid, strict=False))
        same = next((at for at, (one, other) in pairs if one is not other), min(len(laid), len(self._laid)))
        self.forget(same)
        for number in range(same, len(laid)):
            one, end = laid[number], self._ends[-1]
            self._laid.append(one)
            self.rows += one.rows
            self.items += one.items
            self.bare.append(one.bare)
            self._ends.append(
                _End(len(self.rows), end.pinned + one.pinned, max(end.scale, one.scale), end.weight + one.weight)
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
