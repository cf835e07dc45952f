"""What a conversation is made of: parts, orphans, faults, what a scan of either form finds; and how blocks are read."""

from __future__ import annotations

import bisect
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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


def parts_of(parts: Sequence[Part], index: int) -> Iterator[Part]:
    """Those of one message, of parts in order. O(log parts)."""
    for at in range(bisect.bisect_left(parts, index, key=_message), len(parts)):
        if parts[at].message != index:
            return
        yield parts[at]


_message = operator.attrgetter("message")


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


THINKING = frozenset({"thinking", "redacted_thinking"})


def blocks_of(message: Message) -> list[dict[str, Any]]:
    """The blocks of a message's content; none where it is a text."""
    content = message.get("content")
    return content if type(content) is list else []


def text_in(block: dict[str, Any], name: str) -> str | None:
    """The field, where it is a text."""
    one = block.get(name)
    return one if type(one) is str else None


def size_of(message: Message) -> int:
    """About how many characters a message has: what reading it takes. O(blocks)."""
    content = message.get("content")
    total = len(content) if type(content) is str else 0
    if type(content) is list:
        for block in content:
            inner = block.get("text", block.get("content"))
            if type(inner) is str:
                total += len(inner)
            elif type(inner) is list:
                total += sum(len(one.get("text") or "") for one in inner if isinstance(one, dict))
    for call in message.get("tool_calls") or ():
        inner = call.get("function") if isinstance(call, dict) else None
        arguments = inner.get("arguments") if isinstance(inner, dict) else None
        total += len(arguments) if type(arguments) is str else 0
    return total


def is_blank(text: str) -> bool:
    """Whether it says nothing."""
    return not text or text.isspace()


def kind_of(block: Any) -> str:
    """The type of a block; empty where it has none that is a text."""
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if type(kind) is str else ""


def without(
    items: Sequence[Any], orphans: Sequence[Orphan], key_of: Callable[[Any], tuple[str | None] | None]
) -> list[Any]:
    """The items less the orphans: of several with one id the last ones; `key_of` gives an id, or None for what is none of them."""
    missing = Counter(orphan.id for orphan in orphans)
    kept = []
    for item in reversed(items):
        key = key_of(item)
        if key is not None and missing[key[0]] > 0:
            missing[key[0]] -= 1
        else:
            kept.append(item)
    return kept[::-1]


class Scan:
    """What a form finds in messages, while it goes through them."""

    __slots__ = (
        "asks_function", "at", "atoms", "before", "calls", "fixed", "joins", "needs", "open_calls", "orphans", "parts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.atoms: list[Any] = []
        """Lists of the numbers of their messages."""
        self.parts: list[Part] = []
        self.fixed: set[int] = set()
        self.orphans: list[Orphan] = []
        self.open_calls: tuple[str, ...] = ()
        self.needs: Needs = _nothing
        self.at = 0
        """The message it stands before. All below is of the one behind it."""
        self.calls: Any = None
        """The calls that may still be answered, as the form has them."""
        self.asks_function = False
        self.before = ""
        """Its role."""
        self.joins = False
        """Whether it is the assistant's and holds more than text: what that says next belongs to it."""


def _nothing(_kept: set[int]) -> None:
    return None


class Grammar(Protocol):
    """What each form's module has."""

    def scan(self, messages: Sequence[Message], found: Scan, stop: int) -> None:
        """Atoms, parts and orphans of the messages up to `stop`, from where the scan stands; at the end also what follows of it."""

    def less(self, message: Message, orphans: Sequence[Orphan]) -> Message | None:
        """The message without its orphans; None where nothing is left that could stand alone."""
