"""What came of a conversation, and the report of it: every removed thing with its handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sparecall.context.report import Change, Changes, Optimized, Prefix, Removed, Report
from sparecall.context.toolset import name_of
from sparecall.context.writing import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.handles import Handles
    from sparecall.context.parts import Message
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Summarise


class Request(NamedTuple):
    """What one call is about."""

    conversation: Conversation
    tools: list[Any] | None
    chosen: frozenset[str]
    """The tools that the request itself names."""
    system: Any
    pins: frozenset[int]
    """By the numbers of the conversation's messages."""
    scope: str
    beside: int
    """Tokens beside the messages, all tools among them."""
    summarise: Summarise | None


class Outcome(NamedTuple):
    """What came of it."""

    out: list[Message]
    after: int
    changes: Changes
    dropped: Mapping[int, int | None]
    """By the messages that went: None, or what of their summary's tokens is for them."""
    gone: frozenset[str]
    """The names of tools that are left out."""
    epochs: int = 0
    prefix: Prefix | None = None


def without(tools: list[Any] | None, gone: frozenset[str]) -> list[Any] | None:
    """The other tools; the same list where none is left out."""
    return [tool for tool in tools if name_of(tool) not in gone] if tools and gone else tools


def reported(
    request: Request, before: int, done: Outcome, *, budget: int, costs: Costs, handles: Handles
) -> Steps[Optimized]:
    """What is given back; what was removed is kept under its handles."""
    removed = []
    for one in _removed(request, done, costs, handles):
        removed.append(one)
        yield None
    report = Report(before, done.after, budget, tuple(removed), request.conversation.orphans, done.epochs, done.prefix)
    return Optimized(done.out, without(request.tools, done.gone), report)


def _removed(request: Request, done: Outcome, costs: Costs, handles: Handles) -> Iterator[Removed]:
    rows, scope = request.conversation.messages, request.scope
    origin: Sequence[int] = request.conversation.origin
    for index in sorted(done.dropped):
        instead = done.dropped[index]
        change: Change = "dropped" if instead is None else "summary"
        tokens = costs.message(rows[index]) - (instead or 0)
        yield Removed(handles.put(as_json(rows[index]), scope=scope), origin[index], change, tokens)
    for (index, _), (was, now, change) in done.changes.items():
        yield Removed(handles.put(was, scope=scope), origin[index], change, costs.text(was) - costs.text(now))
    for index, tool in enumerate(request.tools or ()):
        if name_of(tool) in done.gone:
            yield Removed(handles.put(as_json(tool), scope=scope), index, "tool", costs.tools([tool]))
