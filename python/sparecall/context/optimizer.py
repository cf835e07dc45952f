"""`ContextOptimizer`: messages in, the same conversation in fewer tokens out. The order of things; each part is elsewhere.

A pure function of messages, tools, query and configuration: what is remembered makes it faster and never another.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.context.choosing import Board
from sparecall.context.costs import Costs
from sparecall.context.grammar import Conversation, Form, Orphans, read
from sparecall.context.handles import Handles
from sparecall.context.report import Optimized, Removed, Report
from sparecall.context.texts import Texts
from sparecall.context.writing import write
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit, InvalidArgument
from sparecall.tokens import encoding_for_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping

    from sparecall.context.choosing import Choice
    from sparecall.context.parts import Message
    from sparecall.semantic.embedding import Embedder

# Of the loop's time, in seconds, before others get their turn.
_TURN = 0.0005
# Choices until a request fits that counts otherwise than its parts; each is smaller by what was too much.
_TRIES = 8


class ContextOptimizer:
    """Keeps a conversation within a budget of tokens. Thread-safe; keep one for as long as conversations go on.

    ``budget``: tokens of the whole request, tools included, less ``reserve_output`` for the answer.
    ``model``: counts as `sparecall.tokens.Counter` does for it, the high bound where its tokenizer is not public; None counts
    ``encoding`` and 4 a message. ``keep_last``: the last so many messages stay byte for byte, and what belongs to them;
    ``keep_first_user``: so does the first that the user wrote. Instructions always do.
    ``form``: ``"openai"`` or ``"anthropic"``; None finds out. ``orphans``: what becomes of results without calls and calls
    without results: ``"drop"``, ``"keep"`` or ``"error"``.
    ``embedder``: for the relevance of texts to a query; `StaticEmbedder()` unless another is given, None for words alone.
    ``handles``: where removed texts are kept for `fetch`; None for one of its own. ``cache_bytes`` bounds what is remembered.

    Raises `InvalidArgument` for a number outside its range.
    """

    __slots__ = (
        "_budget", "_costs", "_form", "_keep_first_user", "_keep_last", "_orphans", "_texts", "handles", "reserve_output",
    )  # fmt: skip

    def __init__(
        self,
        *,
        budget: int,
        model: str | None = None,
        encoding: str = "o200k_base",
        reserve_output: int = 0,
        keep_last: int = 4,
        keep_first_user: bool = True,
        form: Form | None = None,
        orphans: Orphans = "drop",
        embedder: Embedder | None | str = "static",
        handles: Handles | None = None,
        cache_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        if budget - reserve_output < 1 or reserve_output < 0:
            raise InvalidArgument(f"budget is {budget} and reserve_output {reserve_output}; leave 1 token or more")
        if keep_last < 0:
            raise InvalidArgument(f"keep_last is {keep_last}; allowed: 0 messages or more")
        if isinstance(embedder, str):
            if embedder != "static":
                raise InvalidArgument(f"embedder is {embedder!r}; give one of sparecall.embed, 'static' or None")
            embedder = StaticEmbedder()
        self._budget = budget - reserve_output
        self.reserve_output = reserve_output
        self._keep_last, self._keep_first_user = keep_last, keep_first_user
        self._form, self._orphans = form, orphans
        self._costs = Costs(encoding=encoding, model=model, memo_bytes=cache_bytes // 2)
        known = None if model is None else encoding_for_model(model)
        self._texts = Texts(known or encoding, embedder, max_bytes=cache_bytes)
        self.handles = Handles() if handles is None else handles

    def __repr__(self) -> str:
        return f"<ContextOptimizer to {self._budget} tokens>"

    def optimize(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None = None,
        query: str | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
        pins: Collection[int] = (),
        scope: str = "",
    ) -> Optimized:
        """The conversation within the budget; as it came where it fits.

        ``query``: what it will be asked for; None: whatever the next step may need. ``system``: what Anthropic keeps beside
        the messages. ``pins``: the numbers of messages that stay byte for byte. ``scope``: of what `fetch` may give back.

        Raises `CannotFit` where what must stay is more than the budget, and whatever `sparecall.context.read` raises.
        O(new text + segments log segments).
        """
        steps = self._steps(list(messages), None if tools is None else list(tools), query, system, pins, scope)
        answer: object = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = None if step is None else step()

    async def optimize_async(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None = None,
        query: str | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
        pins: Collection[int] = (),
        scope: str = "",
    ) -> Optimized:
        """The same as `optimize`, without holding the loop: long native work runs in a thread, the rest in small steps."""
        steps = self._steps(list(messages), None if tools is None else list(tools), query, system, pins, scope)
        answer: object = None
        since = time.perf_counter()
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = None
            if step is not None:
                answer = await asyncio.to_thread(step)
            elif time.perf_counter() - since > _TURN:
                await asyncio.sleep(0)
            else:
                continue
            since = time.perf_counter()

    def fetch(self, handle: str, *, scope: str = "") -> str:
        """What was removed: a text, or a whole message as JSON. Raises `UnknownHandle` where it is not kept, or not any more."""
        return self.handles.get(handle, scope=scope)

    def _steps(
        self,
        messages: list[Any],
        tools: list[Any] | None,
        query: str | None,
        system: Any,
        pins: Collection[int],
        scope: str,
    ) -> Generator[Callable[[], object] | None, Any, Optimized]:
        conversation = read(messages, self._form, orphans=self._orphans)
        costs = self._costs
        rows = conversation.messages
        before = 0
        for row in rows:
            before += costs.message(row)
            yield None
        beside = costs.tools(tools) + (0 if system is None else costs.request([], system=system))
        before += beside + (costs.per_request if system is None else 0)
        if before > self._budget:
            before = costs.request(rows, tools, system=system)
        if before <= self._budget:
            report = Report(before, before, self._budget, orphans=conversation.orphans)
            return Optimized(rows, tools, report)
        pinned = self._pinned(conversation, pins)
        while True:
            board = Board(conversation, costs, pinned=pinned)
            yield from board.lay(self._texts)
            free = self._budget - board.fixed_tokens - beside - (costs.per_request if system is None else 0)
            if free < 0:
                raise self._cannot_fit(self._budget - free)
            similar = None
            if query is not None:
                texts = [row.document.text for row in board.rows]
                similar = yield lambda texts=texts: self._texts.similarities(texts, query)
            for _ in range(_TRIES):
                choice: Choice = yield lambda free=free: board.choose(free, query, similar)
                left = [n for n, atom in enumerate(conversation.atoms) if choice.dropped.isdisjoint(atom)]
                required = conversation.required(left)
                if required:
                    break
                out = write(rows, choice.edits, choice.dropped)
                after = costs.request(out, tools, system=system)
                if after <= self._budget:
                    removed = tuple(self._removed(conversation, choice, scope))
                    report = Report(before, after, self._budget, removed, conversation.orphans)
                    return Optimized(out, tools, report)
                free -= after - self._budget
                if free < 0:
                    raise self._cannot_fit(self._budget - free)
            else:
                raise self._cannot_fit(after)
            pinned |= set(required)

    def _pinned(self, conversation: Conversation, pins: Collection[int]) -> set[int]:
        """The atoms that stay byte for byte."""
        rows = conversation.messages
        places = {given: index for index, given in enumerate(conversation.origin)}
        still = set(conversation.fixed)
        still.update(range(max(0, len(rows) - self._keep_last), len(rows)))
        still.update(places[pin] for pin in pins if pin in places)
        if self._keep_first_user:
            still.update([next((index for index, row in enumerate(rows) if row["role"] == "user"), -1)])
        return {number for number, atom in enumerate(conversation.atoms) if not still.isdisjoint(atom)}

    def _removed(self, conversation: Conversation, choice: Choice, scope: str) -> Generator[Removed, None, None]:
        rows, origin, costs, put = conversation.messages, conversation.origin, self._costs, self.handles.put
        for index in sorted(choice.dropped):
            yield Removed(put(_as_json(rows[index]), scope=scope), origin[index], "dropped", costs.message(rows[index]))
        before = {(part.message, part.path): part.text for part in conversation.parts}
        for place, text in choice.edits.items():
            was = before[place]
            change = "compact" if place in choice.compact else "cut"
            yield Removed(put(was, scope=scope), origin[place[0]], change, costs.text(was) - costs.text(text))

    def _cannot_fit(self, least: int) -> CannotFit:
        return CannotFit(
            f"what must stay takes {least} tokens, the budget is {self._budget}; raise it, or lower keep_last and pins",
            least=least,
            budget=self._budget,
        )


def _as_json(message: Message) -> str:
    try:
        return msgspec.json.encode(message).decode()
    except (TypeError, ValueError):
        import json

        return json.dumps(message)
