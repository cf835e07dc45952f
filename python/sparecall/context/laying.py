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


class Laying:
    """Atoms laid out one behind another: what is the same as the last time stays."""

    __slots__ = ("_ends", "_laid", "bare", "items", "rows", "written")

    def __init__(self) -> None:
        self._laid: list[Laid] = []
        # For each atom: how many rows there are up to its end, the tokens of what is pinned, and the largest scale.
        self._ends: list[tuple[int, int, float]] = [(0, 0, 1.0)]
        self.rows: list[Row] = []
        self.items: list[tuple[ContextDocument, int, bool, float]] = []
        self.bare: list[int] = []
        """What each atom costs without its rows."""
        self.written: list[tuple[str, int] | None] = []
        """By row: what the last choice left of it, where that was not all, and the tokens of that."""

    @property
    def fixed_tokens(self) -> int:
        """Of all that is pinned."""
        return self._ends[-1][1]

    @property
    def scale(self) -> float:
        """See `Laid`: the largest."""
        return self._ends[-1][2]

    def lay(self, laid: list[Laid]) -> Steps[None]:
        """Lay these out and nothing else, in steps."""
        pairs = enumerate(zip(laid, self._laid, strict=False))
        same = next((at for at, (one, other) in pairs if one is not other), min(len(laid), len(self._laid)))
        del self._laid[same:], self._ends[same + 1 :], self.bare[same:]
        end, fixed_tokens, scale = self._ends[-1]
        del self.rows[end:], self.items[end:], self.written[end:]
        for number in range(same, len(laid)):
            one = laid[number]
            self.rows += one.rows
            self.items += one.items
            self.bare.append(one.bare)
            fixed_tokens, scale = fixed_tokens + one.pinned, max(scale, one.scale)
            self._ends.append((len(self.rows), fixed_tokens, scale))
            self._laid.append(one)
            if number % ATOMS == 0:
                yield None
        self.written += [None] * (len(self.rows) - len(self.written))

    def cut(self, number: int, text: str, costs: Costs) -> tuple[str, int]:
        """What is left of a row, and its tokens. Where that is what it was the last time, it is that object, which is hashed already."""
        known = self.written[number]
        if known is None or known[0] != text:
            known = self.written[number] = text, costs.text(text)
        return known


class Known:
    """What earlier choices leave for the next ones of the same conversation. One choice at a time."""

    __slots__ = ("atoms", "board", "laying", "vectors")

    def __init__(self) -> None:
        self.atoms: list[dict[bool, Laid]] = []
        """Of each of the first atoms, by whether it was pinned: how it is laid out."""
        self.board = ContextBoard()
        self.laying = Laying()
        self.vectors = Vectors()

    @property
    def weight(self) -> int:
        """About what it takes in memory, in bytes. O(atoms)."""
        laid = sum([one.weight for atom in self.atoms for one in atom.values()])
        return self.board.size + self.vectors.weight + laid

    def until(self, atom: int) -> Known:
        """The same for a conversation that has the atoms before `atom`, and then its own."""
        while len(self.atoms) < atom:
            self.atoms.append({})
        part = Known()
        part.atoms, part.board = self.atoms[:atom], self.board
        return part
