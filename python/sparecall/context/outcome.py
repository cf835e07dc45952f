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
    from sparecall.context.parts import Message, Path
    from sparecall.context.reading import Reading
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Summarise


# So many are reported in one step: a tenth of a millisecond.
_SLICE = 16


class Request(NamedTuple):
    """What one call is about."""

    reading: Reading
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

    @property
    def conversation(self) -> Conversation:
        """What was read."""
        return self.reading.conversation


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
        if len(removed) % _SLICE == 0:
            yield None
    report = Report(before, done.after, budget, tuple(removed), request.conversation.orphans, done.epochs, done.prefix)
    return Optimized(done.out, without(request.tools, done.gone), report)


def _removed(request: Request, done: Outcome, costs: Costs, handles: Handles) -> Iterator[Removed]:
    rows, scope = request.conversation.messages, request.scope
    known, sizes = request.reading.handles, request.reading.sizes
    origin: Sequence[int] = request.conversation.origin
    for index in sorted(done.dropped):
        instead = done.dropped[index]
        change: Change = "dropped" if instead is None else "summary"
        place: tuple[int, Path] = index, ()
        found = known.get(place)
        if found is None:
            text = as_json(rows[index])
            found = known[place] = text, handles.put(text, scope=scope)
        else:
            handles.put(found[0], scope=scope, handle=found[1])
        yield Removed(found[1], origin[index], change, sizes[index] - (instead or 0))
    for place, (was, now, change) in done.changes.items():
        found = known.get(place)
        if found is None:
            found = known[place] = was, handles.put(was, scope=scope)
        else:
            handles.put(was, scope=scope, handle=found[1])
        yield Removed(found[1], origin[place[0]], change, costs.text(was) - costs.text(now))
    gone = [(index, tool) for index, tool in enumerate(request.tools or ()) if name_of(tool) in done.gone]
    spared = costs.tools(request.tools) - costs.tools(without(request.tools, done.gone)) if gone else 0
    for index, tool in gone:  # tools are counted together: what that makes of a difference is the last one's
        tokens = spared if index == gone[-1][0] else min(spared, costs.tools([tool]))
        spared -= tokens
        yield Removed(handles.put(as_json(tool), scope=scope), index, "tool", tokens)
