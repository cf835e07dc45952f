"""What a conversation is made of: parts, orphans, faults, and what a scan of either form finds. Types alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Message: TypeAlias = dict[str, Any]
Form: TypeAlias = Literal["openai", "anthropic"]
Path: TypeAlias = tuple[str | int, ...]
"""Where in a message a text stands, such as ``("content",)`` or ``("content", 2, "text")``."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """A text which may be rewritten. Arguments of calls, thinking, images and unknown blocks never are: they go with their atom."""

    message: int
    path: Path
    text: str
    kind: Literal["text", "result"]
    """``text`` is prose of the user or the model, ``result`` is what a tool gave."""
    may_be_empty: bool
    """Whether ``write`` takes ``""`` for it, whatever becomes of the other parts of its message."""


class Orphan(msgspec.Struct, frozen=True, gc=False):
    """A call without its result, or a result without its call: a request that has one is refused by the provider."""

    index: int
    """The message's, in the messages given to ``read``."""
    id: str | None
    why: str
    path: Path
    """Where in the message it stands; ``()`` where the whole message is meant."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Where a conversation breaks its provider's rules, in what, and what would mend it."""

    index: int | None
    what: str
    next_step: str


Needs: TypeAlias = Callable[[set[int]], int | None]
"""Given the numbers of the atoms that are kept: one more that must be, or None."""


class Scan:
    """What a form finds in messages, while it goes through them."""

    __slots__ = ("atoms", "fixed", "needs", "open_calls", "orphans", "parts")

    def __init__(self) -> None:
        self.atoms: list[list[int]] = []
        self.parts: list[Part] = []
        self.fixed: set[int] = set()
        self.orphans: list[Orphan] = []
        self.open_calls: tuple[str, ...] = ()
        self.needs: Needs = _nothing


def _nothing(_kept: set[int]) -> None:
    return None


class Grammar(Protocol):
    """What each form's module has."""

    def scan(self, messages: Sequence[Message]) -> Scan:
        """Atoms, parts and orphans, in one pass."""

    def less(self, message: Message, orphans: Sequence[Orphan]) -> Message | None:
        """The message without its orphans; None where nothing is left that could stand alone."""

    def faults(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Fault]:
        """What the API refuses, in the order of the messages."""
