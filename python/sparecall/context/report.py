"""What an optimizer gives: messages, and a report of all that is not as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from sparecall.context.parts import Message, Orphan, Path

Change: TypeAlias = Literal["dropped", "cut", "compact", "repeat", "data", "summary", "tool"]
LOSSLESS = frozenset({"compact", "repeat"})
"""The changes after which all is still said."""

Changes: TypeAlias = Mapping[tuple[int, Path], tuple[str, str, Change]]
"""By message and path: a text as it was, as it is, and what was done to it."""


class Removed(msgspec.Struct, frozen=True, gc=False):
    """One thing that is not in the messages as it was."""

    handle: str
    """For `ContextOptimizer.fetch`: of the text as it was, or of a dropped message as JSON."""
    index: int
    """The message's, or the tool's, among those that were given."""
    change: Change
    """``dropped``: the message is not there. ``cut``: lines of a text are not. ``compact``: JSON, all of it in fewer tokens.
    ``repeat``: lines that stand above in other messages. ``data``: encoded bytes, for which their length and digest stand.
    ``summary``: the message is not there, but a summary of it is. ``tool``: the definition of a tool is not there."""
    tokens: int
    """So many fewer."""


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """What of a request a provider's prefix cache can know, given what the optimizer remembers of the conversation.

    Tokens of the whole request, tools included; ``raw``: had all requests gone as they came.
    """

    why: Literal["first", "extended", "epoch", "changed", "shortened"]
    """``first``: nothing of it is remembered. ``extended``: all that was sent before, and more. ``epoch``: it was cut anew.
    ``changed``: whoever asks has another message where one was sent; two conversations that begin alike are that, too.
    ``shortened``: messages at its end are gone."""
    broken: int | None
    """The number, among the messages to send, of the first that is not where it was; None where none is."""
    read: int
    written: int
    raw_read: int
    raw_written: int

    def saved(self, write: float, read: float) -> float:
        """What the optimizer spares by this request, in tokens at the plain price; less than 0 where an epoch costs more at first."""
        return write * (self.raw_written - self.written) + read * (self.raw_read - self.read)


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
    prefix: Prefix | None = None
    """With a stable prefix: what became of what was sent before."""

    @property
    def saved(self) -> int:
        """Tokens fewer than before."""
        return self.before - self.after

    @property
    def lossless(self) -> bool:
        """Whether everything that was said is still said, if in other words."""
        return all(one.change in LOSSLESS for one in self.removed)


class Optimized(msgspec.Struct, frozen=True):
    """Messages and tools to send, and what became of the others."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None
    report: Report
