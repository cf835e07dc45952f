"""`ContextOptimizer`: messages in, the same conversation in fewer tokens out. The order of things; each part is elsewhere.

A pure function of messages, tools, query and configuration: what is remembered makes it faster and never another.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from sparecall.context.costs import Costs
from sparecall.context.engine import Engine
from sparecall.context.handles import Handles
from sparecall.context.outcome import Request
from sparecall.context.reading import Readings
from sparecall.context.reducers import check_markers
from sparecall.context.steps import run, run_async
from sparecall.context.summaries import Summaries, SummaryStore
from sparecall.context.texts import Texts
from sparecall.context.till import Rates
from sparecall.context.toolset import chosen
from sparecall.context.turns import Turns
from sparecall.embed import StaticEmbedder
from sparecall.errors import CannotFit, InvalidArgument
from sparecall.tokens import encoding_for_model

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sparecall.context.grammar import Form, Orphans
    from sparecall.context.reading import Reading
    from sparecall.context.reducers import Markers, Reducers
    from sparecall.context.report import Optimized
    from sparecall.context.steps import Steps
    from sparecall.context.summaries import Summarise
    from sparecall.semantic.embedding import Embedder


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
    ``birth``, of a stable prefix: ``"data"`` lets length and digest stand for encoded bytes in results, from 2,048 letters on;
    ``"lossless"`` leaves them. ``markers``: ``"handles"`` puts the handle of a text into its first gap, for an agent that has a
    tool to fetch it. ``reducers``: by kind of text, what says which lines matter, such as `CodeReducer` for ``code``.
    ``form``: ``"openai"`` or ``"anthropic"``; None finds out. ``orphans``: what becomes of results without calls and calls
    without results: ``"drop"``, ``"keep"`` or ``"error"``.
    ``embedder``: for the relevance of texts to a query; `StaticEmbedder()` unless another is given, None for words alone.
    ``handles``: where removed texts are kept for `fetch`; None for one of its own. ``cache_bytes`` bounds what is remembered.

    Raises `InvalidArgument` for a value outside its range.
    """

    __slots__ = ("_engine", "_readings", "_turns", "handles")

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
        birth: Literal["data", "lossless"] = "data",
        markers: Markers = "plain",
        reducers: Reducers = MappingProxyType({}),
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
        if birth not in {"data", "lossless"}:
            raise InvalidArgument(f"birth is {birth!r}; allowed: data, lossless")
        check_markers(markers)
        if isinstance(embedder, str):
            if embedder != "static":
                raise InvalidArgument(f"embedder is {embedder!r}; give one of sparecall.embed, 'static' or None")
            embedder = StaticEmbedder()
        self._readings = Readings(form, model, orphans, max_bytes=cache_bytes // 2)
        self.handles = Handles() if handles is None else handles
        encoding = (None if model is None else encoding_for_model(model)) or encoding
        self._engine = Engine(
            budget=budget - reserve_output,
            keep_last=keep_last,
            keep_first_user=keep_first_user,
            epoch_share=epoch_share,
            elects=expected_turns is not None,
            expected_turns=expected_turns if isinstance(expected_turns, int | float) else None,
            rates=rates,
            has_data=birth == "lossless",
            has_handles=markers == "handles",
            keep_tools=None if keep_tools is True else frozenset(keep_tools or ()),
            min_gain=min_gain,
            summary_share=summary_share,
            encoding=encoding,
            costs=Costs(encoding=encoding, model=model, memo_bytes=cache_bytes // 2),
            texts=Texts(
                encoding,
                embedder,
                max_bytes=cache_bytes // 2,
                reducers=reducers,
            ),
            summaries=Summaries(cache_bytes // 16, summaries),
            handles=self.handles,
        )
        self._turns = Turns(self._engine) if prefix == "stable" else None

    def __repr__(self) -> str:
        return (
            f"<ContextOptimizer to {self._engine.budget} tokens, prefix {'free' if self._turns is None else 'stable'}>"
        )

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
        reading = yield from self._readings.take(messages)
        try:
            done = yield from self._of(reading, tools, query, system, pins, scope, tool_choice, summarise)
        except CannotFit:
            self._readings.put(reading)
            raise
        # Who is cancelled gives nothing back: a thread may still be at it, and the collector, which may come in the middle of
        # anything, must find nothing to do here.
        self._readings.put(reading)
        return done

    def _of(
        self,
        reading: Reading,
        tools: Iterable[Mapping[str, Any]] | None,
        query: str | None,
        system: Any,
        pins: Collection[int],
        scope: str,
        tool_choice: Any,
        summarise: Summarise | None,
    ) -> Steps[Optimized]:
        tools = None if tools is None else list(tools)
        costs = self._engine.costs
        beside = costs.per_request + costs.tools(tools)
        if system is not None:
            beside += costs.request([], system=system) - costs.request([])
        still: frozenset[int] = frozenset()
        if pins:
            places = {given: index for index, given in enumerate(reading.conversation.origin)}
            still = frozenset(places[pin] for pin in pins if pin in places)
        request = Request(reading, tools, chosen(tool_choice), system, still, scope, beside, summarise)
        if self._turns is None:
            return (yield from self._engine.freely(request, query))
        return (yield from self._turns.next(request))
