"""`ContextOptimizer`: messages in, the same conversation in fewer tokens out. The order of things; each part is elsewhere.

A pure function of messages, tools, query and configuration: what is remembered makes it faster and never another.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sparecall.context.costs import Costs, message_key
from sparecall.context.cutting import cut
from sparecall.context.grammar import Conversation, Form, Orphans, read
from sparecall.context.handles import Handles
from sparecall.context.parts import by_message
from sparecall.context.reducers import check_markers
from sparecall.context.report import Changes, Optimized, Removed, Report
from sparecall.context.stable import Fold, Folds, links
from sparecall.context.texts import Texts
from sparecall.context.writing import as_json
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit, InvalidArgument
from sparecall.tokens import encoding_for_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping

    from sparecall.context.parts import Message, Path
    from sparecall.context.reducers import Markers, Reducers
    from sparecall.semantic.embedding import Embedder

    Steps = Generator[Callable[[], object] | None, Any, Optimized]

# Of the loop's time, in seconds, before others get their turn.
_TURN = 0.0005
# Conversations whose folds are remembered.
_FOLDS = 256


class _Request(NamedTuple):
    """What one call is about."""

    conversation: Conversation
    tools: list[Any] | None
    system: Any
    pins: frozenset[int]
    """By the numbers of the conversation's messages."""
    scope: str
    beside: int
    """Tokens beside the messages."""


class ContextOptimizer:
    """Keeps a conversation within a budget of tokens. Thread-safe; keep one for as long as conversations go on.

    ``budget``: tokens of the whole request, tools included, less ``reserve_output`` for the answer.
    ``model``: counts as `sparecall.tokens.Counter` does for it, the high bound where its tokenizer is not public; None counts
    ``encoding`` and 4 a message. ``keep_last``: the last so many messages stay byte for byte, with what belongs to them;
    ``keep_first_user``: so does the first that the user wrote. Instructions always do.
    ``prefix``: ``"free"``: each call for itself, as it came where it fits. ``"stable"``: for a conversation that grows turn by
    turn under a provider's prefix cache: what is sent begins with what was sent before, results are made smaller when they
    first come and lose nothing by it, and only where the budget is passed all is cut anew, to ``epoch_share`` of it;
    ``keep_last`` holds for those cuts, which leave such messages as they were sent.
    ``form``: ``"openai"`` or ``"anthropic"``; None finds out. ``orphans``: what becomes of results without calls and calls
    without results: ``"drop"``, ``"keep"`` or ``"error"``.
    ``embedder``: for the relevance of texts to a query; `StaticEmbedder()` unless another is given, None for words alone.
    ``markers``: ``"handles"`` puts the handle of a text into its first gap, for an agent that has a tool to fetch it. ``birth``, of
    a stable prefix: ``"data"`` lets length and digest stand for encoded bytes in results, from 2,048 letters on; ``"lossless"``
    leaves them. ``reducers``: by kind of text, what says which lines matter.
    ``handles``: where removed texts are kept for `fetch`; None for one of its own. ``cache_bytes`` bounds what is remembered.

    Raises `InvalidArgument` for a value outside its range.
    """

    __slots__ = (
        "_birth", "_budget", "_costs", "_encoding", "_epoch_share", "_folds", "_form", "_keep_first_user", "_keep_last", "_markers",
        "_model", "_orphans", "_texts", "handles",
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
        prefix: Literal["free", "stable"] = "free",
        epoch_share: float = 0.6,
        birth: Literal["data", "lossless"] = "data",
        markers: Markers = "plain",
        reducers: Reducers | None = None,
        form: Form | None = None,
        orphans: Orphans = "drop",
        embedder: Embedder | Literal["static"] | None = "static",
        handles: Handles | None = None,
        cache_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        if budget - reserve_output < 1 or reserve_output < 0:
            raise InvalidArgument(f"budget is {budget} and reserve_output {reserve_output}; leave 1 token or more")
        if keep_last < 0:
            raise InvalidArgument(f"keep_last is {keep_last}; allowed: 0 messages or more")
        if not 0 < epoch_share <= 1:
            raise InvalidArgument(f"epoch_share is {epoch_share}; allowed: above 0 to 1")
        if prefix not in {"free", "stable"}:
            raise InvalidArgument(f"prefix is {prefix!r}; allowed: free, stable")
        if birth not in {"data", "lossless"}:
            raise InvalidArgument(f"birth is {birth!r}; allowed: data, lossless")
        check_markers(markers)
        if isinstance(embedder, str):
            if embedder != "static":
                raise InvalidArgument(f"embedder is {embedder!r}; give one of sparecall.embed, 'static' or None")
            embedder = StaticEmbedder()
        self._budget = budget - reserve_output
        self._keep_last, self._keep_first_user = keep_last, keep_first_user
        self._epoch_share, self._birth, self._markers = epoch_share, birth, markers
        self._form, self._model, self._orphans = form, model, orphans
        self._costs = Costs(encoding=encoding, model=model, memo_bytes=cache_bytes // 2)
        self._encoding = (None if model is None else encoding_for_model(model)) or encoding
        self._texts = Texts(self._encoding, embedder, max_bytes=cache_bytes // 2, reducers=reducers or {})
        self._folds = Folds(_FOLDS) if prefix == "stable" else None
        self.handles = Handles() if handles is None else handles

    def __repr__(self) -> str:
        return f"<ContextOptimizer to {self._budget} tokens, prefix {'free' if self._folds is None else 'stable'}>"

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
        """The conversation within the budget; messages that are as they came are the same objects.

        ``query``: what it will be asked for; None: whatever the next step may need. ``system``: what Anthropic keeps beside
        the messages. ``pins``: the numbers of messages that stay byte for byte. ``scope``: of what `fetch` may give back.

        Raises `CannotFit` where what must stay is more than the budget, and whatever `sparecall.context.read` raises.
        O(new text + segments log segments).
        """
        steps = self._steps(messages, tools, query, system, pins, scope)
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
        steps = self._steps(messages, tools, query, system, pins, scope)
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
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None,
        query: str | None,
        system: Any,
        pins: Collection[int],
        scope: str,
    ) -> Steps:
        conversation = read(messages, self._form, model=self._model, orphans=self._orphans)
        tools = None if tools is None else list(tools)
        costs = self._costs
        beside = costs.per_request + costs.tools(tools)
        if system is not None:
            beside += costs.request([], system=system) - costs.request([])
        places = {given: index for index, given in enumerate(conversation.origin)}
        still = frozenset(places[pin] for pin in pins if pin in places)
        request = _Request(conversation, tools, system, still, scope, beside)
        if self._folds is None:
            return (yield from self._freely(request, query))
        return (yield from self._stably(request, self._folds))

    def _freely(self, request: _Request, query: str | None) -> Steps:
        """Each call for itself."""
        conversation, costs = request.conversation, self._costs
        sizes = {}
        for row in conversation.messages:
            sizes[id(row)] = costs.message(row)
            yield None
        before = request.beside + sum(sizes[id(row)] for row in conversation.messages)

        def whole(out: list[Message]) -> int:
            return costs.request(out, request.tools, system=request.system)

        if before > self._budget and not costs.is_sum:
            before = whole(conversation.messages)
        if before <= self._budget:
            return self._done(request, conversation.messages, before, before, {}, ())
        done = yield from cut(
            conversation,
            costs,
            self._texts,
            sizes=sizes,
            budget=self._budget,
            beside=request.beside,
            whole=None if costs.is_sum else whole,
            pinned=self._pinned(conversation, request.pins),
            query=query,
            has_handles=self._markers == "handles",
        )
        changes = _changes(conversation, done.choice.edits, done.choice.compact)
        return self._done(request, done.out, before, done.tokens, changes, done.choice.dropped)

    def _stably(self, request: _Request, folds: Folds) -> Steps:
        """What was sent before, and what is new."""
        conversation, costs = request.conversation, self._costs
        messages, atoms = conversation.messages, conversation.atoms
        still = request.pins | conversation.fixed
        if self._keep_first_user:
            still |= {_first_user(conversation)}
        parts = by_message(conversation.parts)
        keys = [[message_key(messages[index]) for index in atom] for atom in atoms]
        yield None
        chain = links((request.beside, still - conversation.fixed, conversation.form), keys)
        fold = folds.take(chain) or Fold(costs, self._texts, self._encoding, has_data=self._birth == "lossless")
        is_settled = not conversation.open_calls
        while fold.atoms < len(atoms):
            atom = atoms[fold.atoms]
            fold.add(conversation, parts, still=still)
            yield None
            is_asked = messages[atom[-1]]["role"] != "assistant"
            is_last = fold.atoms == len(atoms)
            if fold.spent + request.beside <= self._budget or not (is_asked or is_last):
                continue
            # Whoever comes here later with more would not cut at what nobody asks.
            is_settled = is_settled and is_asked
            yield from self._epoch(request, fold, atom[-1] + 1, still)
        before = request.beside + sum(map(costs.message, messages))
        done = self._done(
            request, list(fold.out), before, fold.spent + request.beside, fold.changes, fold.dropped, fold.epochs
        )
        if is_settled and chain:
            folds.put(chain[-1], fold)
        return done

    def _epoch(
        self, request: _Request, fold: Fold, end: int, still: Collection[int]
    ) -> Generator[Callable[[], object] | None, Any, None]:
        """Cut all up to message `end` anew."""
        whole = request.conversation
        prefix = whole if end == len(whole.messages) else read(whole.messages[:end], whole.form, orphans="keep")
        pinned = self._pinned(prefix, request.pins)
        sizes = {id(row): self._costs.message(row) for row in prefix.messages}
        for budget in (int(self._budget * self._epoch_share), self._budget):
            try:
                done = yield from cut(
                    prefix,
                    self._costs,
                    self._texts,
                    sizes=sizes,
                    budget=budget,
                    beside=request.beside,
                    whole=None,
                    pinned=pinned,
                    query=None,
                    has_handles=self._markers == "handles",
                )
            except CannotFit:
                if budget == self._budget:
                    raise
            else:
                kept = [index for index in range(end) if index not in done.choice.dropped]
                fold.cut(
                    read(done.out, prefix.form, orphans="keep"),
                    _changes(prefix, done.choice.edits, done.choice.compact),
                    done.choice.dropped,
                    still={at for at, index in enumerate(kept) if index in still},
                    origin=kept,
                )
                return

    def _pinned(self, conversation: Conversation, pins: Collection[int]) -> set[int]:
        """The atoms that stay byte for byte."""
        rows = conversation.messages
        still = {*conversation.fixed, *pins, *range(max(0, len(rows) - self._keep_last), len(rows))}
        if self._keep_first_user:
            still.add(_first_user(conversation))
        return {number for number, atom in enumerate(conversation.atoms) if not still.isdisjoint(atom)}

    def _done(
        self,
        request: _Request,
        out: list[Message],
        before: int,
        after: int,
        changes: Changes,
        dropped: Collection[int],
        epochs: int = 0,
    ) -> Optimized:
        removed = tuple(self._removed(request, changes, dropped))
        report = Report(before, after, self._budget, removed, request.conversation.orphans, epochs)
        return Optimized(out, request.tools, report)

    def _removed(self, request: _Request, changes: Changes, dropped: Collection[int]) -> Iterator[Removed]:
        conversation, costs, scope = request.conversation, self._costs, request.scope
        rows, origin, put = conversation.messages, conversation.origin, self.handles.put
        for index in sorted(dropped):
            yield Removed(put(as_json(rows[index]), scope=scope), origin[index], "dropped", costs.message(rows[index]))
        for (index, _), (was, now, change) in changes.items():
            yield Removed(put(was, scope=scope), origin[index], change, costs.text(was) - costs.text(now))


def _first_user(conversation: Conversation) -> int:
    """The first message that the user wrote; -1 where there is none."""
    return next((index for index, row in enumerate(conversation.messages) if row["role"] == "user"), -1)


def _changes(conversation: Conversation, edits: Mapping[tuple[int, Path], str], compact: Collection[Any]) -> Changes:
    """What became of the texts that were edited."""
    before = {(part.message, part.path): part.text for part in conversation.parts}
    return {place: (before[place], text, "compact" if place in compact else "cut") for place, text in edits.items()}
