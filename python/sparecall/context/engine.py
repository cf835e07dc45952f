"""Cuts conversations by an optimizer's options: one at a time, each for itself. What goes on turn by turn is `Turns`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparecall.context.choosing import last_words
from sparecall.context.cutting import cut
from sparecall.context.openai import INSTRUCTIONS
from sparecall.context.outcome import Outcome, reported, without
from sparecall.context.summaries import Shortened, spans, summarised
from sparecall.context.toolset import unneeded
from sparecall.errors import CannotFit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sparecall.context.choosing import Choice
    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation
    from sparecall.context.handles import Handles
    from sparecall.context.outcome import Request
    from sparecall.context.parts import Message
    from sparecall.context.report import Changes, Optimized
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Summaries
    from sparecall.context.texts import Texts
    from sparecall.context.till import Rates
    from sparecall.tokens.bounds import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The options of an optimizer, checked, and what it counts, reads and remembers with."""

    budget: int
    keep_last: int
    keep_first_user: bool
    epoch_share: float
    elects: bool
    """Whether an epoch may come before it must."""
    expected_turns: float | None
    rates: Rates
    has_data: bool
    """Whether encoded bytes stay in what first comes, where the prefix is stable."""
    has_handles: bool
    """Whether marks say the handles of what they stand in."""
    keep_tools: frozenset[str] | None
    """The names of those that stay in any case; None for all."""
    min_gain: float
    summary_share: float
    encoding: str
    costs: Costs
    texts: Texts
    summaries: Summaries
    handles: Handles

    def freely(self, request: Request, query: str | None) -> Steps[Optimized]:
        """Within the budget, whatever was sent before."""
        conversation, costs = request.conversation, self.costs
        measured = yield from request.reading.measure(costs)
        sizes = dict(zip(map(id, conversation.messages), measured, strict=True))
        before = request.beside + sum(measured)

        known: dict[int, Bounds] = {}
        if not costs.is_sum:
            bounds = zip(conversation.messages, request.reading.bounds, strict=True)
            known = {id(row): found for row, found in bounds if found is not None}

        def whole(out: list[Message]) -> int:
            return costs.request(out, tools, system=request.system, known=known)

        tools = request.tools
        if before > self.budget and not costs.is_sum:
            before = whole(conversation.messages)
        if before <= self.budget:
            return (yield from self.done(request, before, Outcome(conversation.messages, before, {}, {}, frozenset())))
        gone = self.unneeded(request, conversation, query) - request.chosen
        tools, spared = without(request.tools, gone), self.spared(request, gone)
        if before - spared <= self.budget:
            return (
                yield from self.done(request, before, Outcome(conversation.messages, before - spared, {}, {}, gone))
            )
        done, changes = yield from self.cut(
            request,
            conversation,
            sizes,
            self.budget,
            request.beside - spared,
            query=query,
            whole=None if costs.is_sum else whole,
        )
        return (yield from self.done(request, before, Outcome(done.out, done.tokens, changes, done.dropped, gone)))

    def cut(
        self,
        request: Request,
        conversation: Conversation,
        sizes: Mapping[int, int],
        budget: int,
        beside: int,
        *,
        query: str | None = None,
        whole: Callable[[list[Message]], int] | None = None,
    ) -> Steps[tuple[Shortened, Changes]]:
        """Cut to a budget; where messages are left out and somebody summarises, to what is left beside their summaries."""
        known = request.reading.known
        if conversation is not request.conversation:
            # An atom at the end may be another than it is where more follows.
            known.forget(len(conversation.atoms) - 1)
        within = functools.partial(
            cut,
            conversation,
            self.costs,
            self.texts,
            sizes=sizes,
            beside=beside,
            whole=whole,
            pinned=self.pinned(conversation, request.pins),
            query=query,
            instructions=_instructions(conversation, request.system),
            has_handles=self.has_handles,
            known=known,
        )
        done = yield from within(budget=budget)
        summarise, room = request.summarise, int(budget * self.summary_share)
        if summarise is not None and done.choice.dropped:
            try:
                less = yield from within(budget=budget - room)
            except CannotFit:
                wanted = []
            else:
                wanted = spans(conversation, less, sizes, room, self.min_gain)
            if wanted:
                ask = functools.partial(self.summaries.of, summarise=summarise, scope=request.scope)
                shortened = yield from summarised(
                    conversation, less, wanted, costs=self.costs, texts=self.texts, encoding=self.encoding, ask=ask
                )
                return shortened, _changes(less.choice)
        yield None
        origin = [index for index in range(len(conversation.messages)) if index not in done.choice.dropped]
        shortened = Shortened(done.out, done.tokens, origin, dict.fromkeys(done.choice.dropped))
        return shortened, _changes(done.choice)

    def unneeded(self, request: Request, conversation: Conversation, query: str | None) -> frozenset[str]:
        """The names of tools that the conversation can do without."""
        if self.keep_tools is None or not request.tools:
            return frozenset()
        text = last_words(conversation) if query is None else query
        return unneeded(request.tools, conversation.messages, text, self.keep_tools)

    def spared(self, request: Request, gone: frozenset[str]) -> int:
        """The tokens of the tools that are left out."""
        return self.costs.tools(request.tools) - self.costs.tools(without(request.tools, gone)) if gone else 0

    def pinned(self, conversation: Conversation, pins: Collection[int]) -> set[int]:
        """The atoms that stay byte for byte."""
        count = len(conversation.messages)
        still = {*conversation.fixed, *pins, *range(max(0, count - self.keep_last), count)}
        if self.keep_first_user:
            still.add(first_user(conversation))
        return conversation.atoms_of(still)

    def done(self, request: Request, before: int, done: Outcome) -> Steps[Optimized]:
        """What is given back."""
        return reported(request, before, done, budget=self.budget, costs=self.costs, handles=self.handles)


def first_user(conversation: Conversation) -> int:
    """The first message that the user wrote; -1 where there is none."""
    return next((index for index, row in enumerate(conversation.messages) if row["role"] == "user"), -1)


def _instructions(conversation: Conversation, system: Any) -> list[str]:
    """The texts of a conversation's instructions, and those of `system`, which Anthropic keeps beside the messages."""
    rows = conversation.messages
    contents = [rows[at].get("content") for at in sorted(conversation.fixed) if rows[at]["role"] in INSTRUCTIONS]
    blocks = [block for one in (*contents, system) for block in (one if isinstance(one, list | tuple) else [one])]
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return [text for text in texts if isinstance(text, str)]


def _changes(choice: Choice) -> Changes:
    """What became of the texts that were edited."""
    return {
        place: (choice.before[place], text, "compact" if place in choice.compact else "cut")
        for place, text in choice.edits.items()
    }
