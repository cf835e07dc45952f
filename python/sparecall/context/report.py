"""What an optimizer gives: messages, and a report of all that is not as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from sparecall.context.parts import Message, Orphan, Path

Change: TypeAlias = Literal["dropped", "cut", "compact", "repeat", "data", "summary"]


Changes: TypeAlias = Mapping[tuple[int, Path], tuple[str, str, Change]]
"""By message and path: a text as it was, as it is, and what was done to it."""


class Removed(msgspec.Struct, frozen=True, gc=False):
    """One thing that is not in the messages as it was."""

    handle: str
    """For `ContextOptimizer.fetch`: of the text as it was, or of a dropped message as JSON."""
    index: int
    """The message's, among those that were given."""
    change: Change
    """``dropped``: the message is not there. ``cut``: lines of a text are not. ``compact``: JSON, all of it in fewer tokens.
    ``repeat``: lines that stand above in other messages. ``data``: encoded bytes, for which their length and digest stand.
    ``summary``: the message is not there, but a summary of it is."""
    tokens: int
    """So many fewer."""


class Report(msgspec.Struct, frozen=True):
    """What was done and what it saved. All counts are tokens of the whole request, tools included."""

    before: int
    after: int
    budget: int
    """What `after` does not exceed: that of the optimizer, without what is reserved for the answer."""
    removed: tuple[Removed, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    """Calls without results and results without calls that were found, and left out where the optimizer drops them."""
    epochs: int = 0
    """With a stable prefix: how often it was cut anew."""

    @property
    def saved(self) -> int:
        """Tokens fewer than before."""
        return self.before - self.after

    @property
    def lossless(self) -> bool:
        """Whether everything that was said is still said, if in other words."""
        return all(one.change in {"compact", "repeat"} for one in self.removed)


class Optimized(msgspec.Struct, frozen=True):
    """Messages and tools to send, and what became of the others."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None
    report: Report
