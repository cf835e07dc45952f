"""`ContextOptimizer`: messages in, the same conversation in fewer tokens out. The order of things; each part is elsewhere.

A pure function of messages, tools, query and configuration: what is remembered makes it faster and never another.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

from sparecall.context.choosing import last_words
from sparecall.context.costs import Costs, message_key
from sparecall.context.cutting import cut
from sparecall.context.electing import Ledger
from sparecall.context.grammar import Conversation, Form, Orphans, read
from sparecall.context.handles import Handles
from sparecall.context.outcome import Outcome, Request, reported, without
from sparecall.context.parts import by_message, size_of
from sparecall.context.stable import Fold, Folds, links
from sparecall.context.steps import run, run_async, stepped
from sparecall.context.summaries import Shortened, Summaries, SummaryStore, spans, summarised
from sparecall.context.texts import Texts
from sparecall.context.till import Rates
from sparecall.context.toolset import chosen, name_of, unneeded
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit, InvalidArgument
from sparecall.tokens import encoding_for_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sparecall.context.parts import Message, Path
    from sparecall.context.report import Changes, Optimized
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Summarise
    from sparecall.semantic.embedding import Embedder

# Conversations whose folds are remembered.
_FOLDS = 256


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
    ``expected_turns``: None: an epoch comes only where it must. So many requests in all, or ``"as_before"``: as many to come as
    there were; then one comes sooner where it pays by `rates`, and the bill so far stays below that of the raw conversation.
    ``keep_tools``: True: all of them. False, or the names of those that stay in any case: where the budget is passed (with a
    stable prefix: at epochs) those definitions go that were never called, that neither the query nor else the user's last
    words speak of, and that the request does not choose.
    ``min_gain``: a summary that spares a smaller share of what it is of is not made. ``summary_share``: what summaries may
    take of the budget; ``summaries``: where they are kept beside this optimizer's memory, such as a `TieredCache`.
    ``form``: ``"openai"`` or ``"anthropic"``; None finds out. ``orphans``: what becomes of results without calls and calls
    without results: ``"drop"``, ``"keep"`` or ``"error"``.
    ``embedder``: for the relevance of texts to a query; `StaticEmbedder()` unless another is given, None for words alone.
    ``handles``: where removed texts are kept for `fetch`; None for one of its own. ``cache_bytes`` bounds what is remembered.

    Raises `InvalidArgument` for a value outside its range.
    """

    __slots__ = (
        "_budget",
        "_costs",
        "_elects",
        "_encoding",
        "_epoch_share",
        "_expected_turns",
        "_folds",
        "_form",
        "_keep_first_user",
        "_keep_last",
        "_keep_tools",
        "_min_gain",
        "_model",
        "_orphans",
        "_rates",
        "_summaries",
        "_summary_share",
        "_texts",
        "handles",
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
        expected_turns: float | Literal["as_before"] | None = None,
        rates: Rates = Rates(),  # noqa: B008 - it is immutable
        keep_tools: bool | Collection[str] = True,
        min_gain: float = 0.1,
        summary_share: float = 0.1,
        summaries: SummaryStore | None = None,
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
        for name, share in (("min_gain", min_gain), ("summary_share", summary_share)):
            if not 0 <= share < 1:
                raise InvalidArgument(f"{name} is {share}; allowed: 0 to below 1")
        if not (
            expected_turns in {None, "as_before"} or (isinstance(expected_turns, int | float) and expected_turns > 0)
        ):
            raise InvalidArgument(
                f"expected_turns is {expected_turns!r}; allowed: None, 'as_before', or a number above 0"
            )
        if isinstance(keep_tools, str):
            raise InvalidArgument(f"keep_tools is {keep_tools!r}; allowed: True, False, or a list of names")
        if prefix not in {"free", "stable"}:
            raise InvalidArgument(f"prefix is {prefix!r}; allowed: free, stable")
        if isinstance(embedder, str):
            if embedder != "static":
                raise InvalidArgument(f"embedder is {embedder!r}; give one of sparecall.embed, 'static' or None")
            embedder = StaticEmbedder()
        self._budget = budget - reserve_output
        self._keep_last, self._keep_first_user = keep_last, keep_first_user
        self._epoch_share, self._min_gain, self._summary_share = epoch_share, min_gain, summary_share
        self._elects, self._rates = expected_turns is not None, rates
        self._expected_turns = expected_turns if isinstance(expected_turns, int | float) else None
        self._keep_tools = None if keep_tools is True else frozenset(keep_tools or ())
        self._summaries = Summaries(cache_bytes // 16, summaries)
        self._form, self._model, self._orphans = form, model, orphans
        self._costs = Costs(encoding=encoding, model=model, memo_bytes=cache_bytes // 2)
        self._encoding = (None if model is None else encoding_for_model(model)) or encoding
        self._texts = Texts(self._encoding, embedder, max_bytes=cache_bytes // 2)
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
        tool_choice: Any = None,
    ) -> Optimized:
        """The conversation within the budget; messages that are as they came are the same objects.

        ``query``: what it will be asked for; None: whatever the next step may need. ``system``: what Anthropic keeps beside
        the messages. ``pins``: the numbers of messages that stay byte for byte. ``scope``: of what `fetch` may give back.
        ``tool_choice``: the request's own; a tool that it names stays.

        Raises `CannotFit` where what must stay is more than the budget, and whatever `sparecall.context.read` raises.
        O(new text + segments log segments).
        """
        return run(self._steps(messages, tools, query, system, pins, scope, tool_choice, None))

    async def optimize_async(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Iterable[Mapping[str, Any]] | None = None,
        query: str | None = None,
        *,
        system: str | Iterable[Mapping[str, Any]] | None = None,
        pins: Collection[int] = (),
        scope: str = "",
        tool_choice: Any = None,
        summarise: Summarise | None = None,
    ) -> Optimized:
        """The same as `optimize`, without holding the loop: long native work runs in a thread, the rest in small steps.

        ``summarise``: is given the messages that are left out, those that stand together at once, and says in fewer words what
        they say; with a stable prefix at epochs only. Use one for each optimizer: what it said is remembered by what it was
        said of. Where it raises or says nothing, the best lines stand in its place.
        """
        return await run_async(self._steps(messages, tools, query, system, pins, scope, tool_choice, summarise))

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
        tool_choice: Any,
        summarise: Summarise | None,
    ) -> Steps[Optimized]:
        conversation = read(messages, self._form, model=self._model, orphans=self._orphans)
        tools = None if tools is None else list(tools)
        costs = self._costs
        beside = costs.per_request + costs.tools(tools)
        if system is not None:
            beside += costs.request([], system=system) - costs.request([])
        places = {given: index for index, given in enumerate(conversation.origin)}
        still = frozenset(places[pin] for pin in pins if pin in places)
        request = Request(conversation, tools, chosen(tool_choice), system, still, scope, beside, summarise)
        if self._folds is None:
            return (yield from self._freely(request, query))
        return (yield from self._stably(request, self._folds))

    def _freely(self, request: Request, query: str | None) -> Steps[Optimized]:
        """Each call for itself."""
        conversation, costs = request.conversation, self._costs
        sizes = {}
        for row in conversation.messages:
            sizes[id(row)] = yield from stepped(functools.partial(costs.message, row), size_of(row))
        before = request.beside + sum(sizes[id(row)] for row in conversation.messages)

        def whole(out: list[Message]) -> int:
            return costs.request(out, tools, system=request.system)

        tools = request.tools
        if before > self._budget and not costs.is_sum:
            before = whole(conversation.messages)
        if before <= self._budget:
            return self._done(request, before, Outcome(conversation.messages, before, {}, {}, frozenset()))
        gone = self._unneeded(request, conversation, query) - request.chosen
        tools, spared = without(request.tools, gone), self._spared(request, gone)
        if before - spared <= self._budget:
            return self._done(request, before, Outcome(conversation.messages, before - spared, {}, {}, gone))
        done, changes = yield from self._cut(
            request,
            conversation,
            sizes,
            self._budget,
            request.beside - spared,
            query=query,
            whole=None if costs.is_sum else whole,
        )
        return self._done(request, before, Outcome(done.out, done.tokens, changes, done.dropped, gone))

    def _cut(
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
        within = functools.partial(
            cut,
            conversation,
            self._costs,
            self._texts,
            sizes=sizes,
            beside=beside,
            whole=whole,
            pinned=self._pinned(conversation, request.pins),
            query=query,
        )
        done = yield from within(budget=budget)
        summarise, room = request.summarise, int(budget * self._summary_share)
        if summarise is not None and done.choice.dropped:
            try:
                less = yield from within(budget=budget - room)
            except CannotFit:
                wanted = []
            else:
                wanted = spans(conversation, less, sizes, room, self._min_gain)
            if wanted:
                ask = functools.partial(self._summaries.of, summarise=summarise, scope=request.scope)
                shortened = yield from summarised(
                    conversation, less, wanted, costs=self._costs, texts=self._texts, encoding=self._encoding, ask=ask
                )
                return shortened, _changes(conversation, less.choice.edits, less.choice.compact)
        origin = [index for index in range(len(conversation.messages)) if index not in done.choice.dropped]
        shortened = Shortened(done.out, done.tokens, origin, dict.fromkeys(done.choice.dropped))
        return shortened, _changes(conversation, done.choice.edits, done.choice.compact)

    def _unneeded(self, request: Request, conversation: Conversation, query: str | None) -> frozenset[str]:
        """The names of tools that the conversation can do without."""
        if self._keep_tools is None or not request.tools:
            return frozenset()
        text = last_words(conversation) if query is None else query
        return unneeded(request.tools, conversation.messages, text, self._keep_tools)

    def _spared(self, request: Request, gone: frozenset[str]) -> int:
        """The tokens of the tools that are left out."""
        return self._costs.tools(request.tools) - self._costs.tools(without(request.tools, gone)) if gone else 0

    def _stably(self, request: Request, folds: Folds) -> Steps[Optimized]:
        """What was sent before, and what is new."""
        conversation, costs = request.conversation, self._costs
        messages, atoms = conversation.messages, conversation.atoms
        still = request.pins | conversation.fixed
        if self._keep_first_user:
            still |= {_first_user(conversation)}
        parts = by_message(conversation.parts)
        keys = []
        for atom in atoms:
            keys.append([message_key(messages[index]) for index in atom])
            yield None
        names = () if self._keep_tools is None else tuple(map(name_of, request.tools or ()))
        seed = (request.scope, request.beside, names, request.summarise is not None)
        chain = links((seed, still - conversation.fixed, conversation.form), keys)
        first = next((number for number, atom in enumerate(atoms) if messages[atom[0]]["role"] == "user"), 0)
        known, why = folds.sent(chain, first)
        fold = folds.take(chain)
        if fold is None:
            fold = Fold(costs, self._texts, self._encoding, Ledger(self._rates))
        else:
            known, why = fold.atoms, "extended"
        sent = fold.mark(why)
        is_settled = not conversation.open_calls
        while fold.atoms < len(atoms):
            atom = atoms[fold.atoms]
            yield from fold.add(conversation, parts, still=still)
            is_asked = messages[atom[-1]]["role"] != "assistant"
            if fold.spent + request.beside > self._budget:
                if is_asked or fold.atoms == len(atoms):
                    # Whoever comes here later with more would not cut at what nobody asks.
                    is_settled = is_settled and is_asked
                    yield from self._epoch(request, fold, atom[-1] + 1, still)
            elif is_asked and self._elects:
                yield from self._elect(request, fold, atom[-1] + 1, still)
            if fold.atoms == known:
                sent = fold.mark(why)
        gone = fold.tools - request.chosen
        beside = request.beside - self._spared(request, gone)
        done = self._done(
            request,
            request.beside + fold.raw,
            Outcome(
                list(fold.out),
                fold.spent + beside,
                dict(fold.changes),
                dict(fold.dropped),
                gone,
                fold.epochs,
                fold.prefix(sent, request.beside),
            ),
        )
        if is_settled and chain:
            folds.put(chain, first, fold)
        return done

    def _elect(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[None]:
        """Cut all up to message `end` anew if that pays."""
        ledger = fold.ledger
        if not ledger.is_due():
            ledger.turn(fold.spent, fold.raw)
            return
        prefix = _until(request.conversation, end)
        sizes = {id(row): self._costs.message(row) for row in prefix.messages}
        try:
            done, changes = yield from self._cut(
                request, prefix, sizes, request.beside + int(fold.spent * self._epoch_share), request.beside
            )
        except CannotFit:
            ledger.turn(fold.spent, fold.raw)
            return
        same = fold.tokens(done.out[: fold.shared(done.out, fold.out)])
        after = done.tokens - request.beside
        if not ledger.pays(fold.spent, fold.raw, same, after, turns=self._expected_turns, min_gain=self._min_gain):
            ledger.turn(fold.spent, fold.raw)
            return
        yield from self._anew(request, fold, prefix, done, changes, still)
        ledger.turn(fold.spent, fold.raw, same)

    def _epoch(self, request: Request, fold: Fold, end: int, still: Collection[int]) -> Steps[None]:
        """Cut all up to message `end` anew."""
        prefix = _until(request.conversation, end)
        sizes = {id(row): self._costs.message(row) for row in prefix.messages}
        budget = int(self._budget * self._epoch_share)
        while True:
            try:
                done, changes = yield from self._cut(request, prefix, sizes, budget, request.beside)
                break
            except CannotFit as error:
                if budget >= self._budget:
                    raise
                # As far down as what must stay allows, and half of the way back: else the next turn is the next epoch.
                half = (error.least + self._budget) // 2
                budget = half if budget < half < self._budget else self._budget
        before = list(fold.out)
        yield from self._anew(request, fold, prefix, done, changes, still)
        if self._elects:
            fold.ledger.turn(fold.spent, fold.raw, fold.tokens(fold.out[: fold.shared(before, fold.out)]))

    def _anew(
        self,
        request: Request,
        fold: Fold,
        prefix: Conversation,
        done: Shortened,
        changes: Changes,
        still: Collection[int],
    ) -> Steps[None]:
        """Begin an epoch with what a cut has left."""
        fold.tools = self._unneeded(request, prefix, None)
        yield from fold.cut(
            read(done.out, prefix.form, orphans="keep"),
            changes,
            done.dropped,
            still={at for at, index in enumerate(done.origin) if index in still or index < 0},
            origin=done.origin,
        )

    def _pinned(self, conversation: Conversation, pins: Collection[int]) -> set[int]:
        """The atoms that stay byte for byte."""
        rows = conversation.messages
        still = {*conversation.fixed, *pins, *range(max(0, len(rows) - self._keep_last), len(rows))}
        if self._keep_first_user:
            still.add(_first_user(conversation))
        return {number for number, atom in enumerate(conversation.atoms) if not still.isdisjoint(atom)}

    def _done(self, request: Request, before: int, done: Outcome) -> Optimized:
        return reported(request, before, done, budget=self._budget, costs=self._costs, handles=self.handles)


def _first_user(conversation: Conversation) -> int:
    """The first message that the user wrote; -1 where there is none."""
    return next((index for index, row in enumerate(conversation.messages) if row["role"] == "user"), -1)


def _until(whole: Conversation, end: int) -> Conversation:
    """The messages before `end`."""
    return whole if end == len(whole.messages) else read(whole.messages[:end], whole.form, orphans="keep")


def _changes(conversation: Conversation, edits: Mapping[tuple[int, Path], str], compact: Collection[Any]) -> Changes:
    """What became of the texts that were edited."""
    before = {(part.message, part.path): part.text for part in conversation.parts}
    return {place: (before[place], text, "compact" if place in compact else "cut") for place, text in edits.items()}
