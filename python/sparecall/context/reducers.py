"""One text by itself in fewer tokens, and where a reducer of another's making goes. What each kind keeps is the core's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from sparecall._core import ContextDocument, context_reduce
from sparecall.context.handles import Handles, handle_of
from sparecall.errors import InvalidArgument
from sparecall.tokens import count

Kind: TypeAlias = Literal["json", "diff", "test", "log", "code", "data", "prose"]
"""What a text is."""
Markers: TypeAlias = Literal["plain", "handles"]
"""What stands for a gap: how much is missing, or by which handle it can be asked for as well."""


class Lines(msgspec.Struct, frozen=True, gc=False):
    """What a `Reducer` says of the lines of a text: of each one item, in order."""

    worth: Sequence[float]
    """What speaks for a token of it, as `Reducer` says."""
    owners: Sequence[str] = ()
    """The path of what it belongs to, such as ``Reader.read``, or ``""``: where that is named later, all its lines are worth more. Or no paths at all."""


class Reducer(Protocol):
    """Says which lines of a text matter, such as those of a skeleton: how short it becomes is the budget's to decide."""

    def __call__(self, text: str, /) -> Sequence[float] | Lines | None:
        """What speaks for a token of each line: 0 or more, where an error in a log has 1.5; and what lines belong to, if anything.

        The larger of this and what the kind of the text says holds; None says nothing. Lines end with a line feed, or with the
        text. A pure function of the text; whatever it raises is raised.
        """


Reducers: TypeAlias = Mapping[Kind, Reducer]
"""By the kind of the texts they are for."""


class Reduced(msgspec.Struct, frozen=True):
    """What is left of a text. Counts are tokens of the encoding that was asked for."""

    text: str
    kind: Kind
    before: int
    after: int
    handle: str
    """Of the text as it was; `Handles.put` gives the same."""
    change: Literal["none", "compact", "cut"]
    """``compact``: JSON, all of it in fewer tokens; ``cut``: what is `removed` is not there."""
    removed: tuple[str, ...] = ()
    """What is not there, piece by piece, in order; of JSON as its compact form has it."""

    @property
    def lossless(self) -> bool:
        """Whether everything that was said is still said."""
        return self.change != "cut"


def reduce(
    text: str,
    *,
    budget: int,
    kind: Kind | None = None,
    query: str | None = None,
    encoding: str = "o200k_base",
    markers: Markers = "plain",
    reducer: Reducer | None = None,
    handles: Handles | None = None,
    scope: str = "",
) -> Reduced:
    """The text in at most `budget` tokens: as it is where it fits, compact where that is enough, else with gaps.

    ``kind``: what it is; None finds out. ``query``: whose words make a line worth more, such as what comes later. ``markers``:
    ``"handles"`` puts `Reduced.handle` into the first gap. ``reducer``: says which lines matter, beside what the kind does.
    ``handles``: where the text is kept under its handle and `scope`, if it was changed.

    Raises `InvalidArgument` for a budget below 1, another kind or markers, and a reducer's wrong number of lines; `TypeError` for
    what is no text. A pure function but for `handles`; thread-safe. O(text + segments log segments), without the interpreter's
    lock where it is long.
    """
    if budget < 1:
        raise InvalidArgument(f"budget is {budget}; leave 1 token or more")
    check_markers(markers)
    before = count(text, encoding=encoding)
    lines = None if reducer is None else lines_of(reducer(text))
    document = ContextDocument(
        text,
        encoding,
        compact=kind in {None, "json"},
        kind=kind,
        worth=None if lines is None else lines.worth,
        owners=None if lines is None else lines.owners or None,
    )
    found: Kind = document.kind  # type: ignore[assignment]  # one of those
    handle = handle_of(text)
    if before <= budget:
        return Reduced(text, found, before, before, handle, "none")
    shown = handle if markers == "handles" else ""
    short, removed = context_reduce(document, encoding, budget=budget, query=query, handle=shown)
    if handles is not None:
        handles.put(text, scope=scope)
    after = count(short, encoding=encoding)
    return Reduced(short, found, before, after, handle, "cut" if removed else "compact", tuple(removed))


def lines_of(said: Sequence[float] | Lines | None) -> Lines | None:
    """What a reducer said, in one form."""
    return said if said is None or isinstance(said, Lines) else Lines(said)


def check_markers(markers: str) -> None:
    """Raises `InvalidArgument` for markers that there are not."""
    if markers not in {"plain", "handles"}:
        raise InvalidArgument(f"markers is {markers!r}; allowed: plain, handles")
