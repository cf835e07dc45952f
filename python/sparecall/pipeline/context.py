"""Stage `context`: what of a conversation the model need not read does not go out. Below the caches, above all that calls.

Reads bodies of the chat and the Messages wire as far as it must; what is not rewritten goes out as it came, byte for byte.
"""

from __future__ import annotations

import asyncio
import fnmatch
import operator
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from sparecall.context import ContextOptimizer, Handles, Rates
from sparecall.context.code import CodeReducer
from sparecall.context.report import LOSSLESS
from sparecall.errors import CannotFit, InvalidArgument, InvalidConversation
from sparecall.pipeline.answer import Trimmed
from sparecall.prices import Prices
from sparecall.tokens import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparecall.config import Context as ContextConfig
    from sparecall.context import Report
    from sparecall.context.parts import Form
    from sparecall.context.summaries import Summarise
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request, WireName
    from sparecall.pipeline.stage import Next

_Fields = dict[str, msgspec.Raw]
_decode = msgspec.json.decode
_encode = msgspec.json.encode
_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_FORMS: dict[WireName, Form] = {"chat": "openai", "messages": "anthropic"}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, InvalidConversation, InvalidArgument)  # fmt: skip
# Models whose conversations are remembered at once; each may take an equal share of the memory, as may removed texts.
_MODELS = 4
# Of the loop's time, in seconds, before others get their turn.
_TURN = 0.0005
# So many handles stand in a header.
_HANDLES = 32


class Context:
    """Trims what is sent to a budget of tokens: `budget` of them, or the `share` of the model's window, or what `models` has for its name.

    ``models``: budgets by names of models, with ``*`` and ``?``: the first that fits counts, before the others. Of `budget` and
    `share` the smaller counts; the windows are those of `prices`. A model without any is left alone. ``cannot_fit``: what
    becomes of a conversation of which too much must stay: ``"pass"``, as it came, or ``"refuse"``, with `CannotFit`.
    ``max_bytes`` bounds what is remembered, removed texts included, which `handles` keeps by the request's scope. ``summarise``
    is `ContextOptimizer.optimize_async`'s, ``options`` are its own; unless they say otherwise the prefix is ``"stable"``, and
    orphans are kept. What cannot be read goes as it came: it is the provider's to judge.
    """

    __slots__ = (
        "_budget", "_cannot_fit", "_memory", "_models", "_optimizers", "_options", "_prices", "_share", "_summarise", "handles",
    )  # fmt: skip

    wires: frozenset[WireName] = frozenset(_FORMS)

    def __init__(
        self,
        *,
        budget: int | None = None,
        share: float | None = None,
        models: Mapping[str, int] | None = None,
        cannot_fit: Literal["pass", "refuse"] = "pass",
        max_bytes: int = 256 * 1024 * 1024,
        prices: Prices | None = None,
        summarise: Summarise | None = None,
        **options: Any,
    ) -> None:
        if cannot_fit not in {"pass", "refuse"}:
            raise InvalidArgument(f"cannot_fit is {cannot_fit!r}; allowed: pass, refuse")
        self._budget, self._share, self._models = budget, share, dict(models or {})
        self._cannot_fit, self._summarise = cannot_fit, summarise
        self._prices = Prices() if prices is None else prices
        self._memory = max_bytes // (_MODELS + 1)
        self.handles = Handles(self._memory)
        # Without a query no vectors are asked for; who sends a request through a gateway is told of no loss that need not be.
        self._options = {"prefix": "stable", "birth": "lossless", "orphans": "keep", "embedder": None, **options}
        self._optimizers: OrderedDict[tuple[str, Form, int], ContextOptimizer] = OrderedDict()
        for given in (budget, *self._models.values()):
            if given is not None:
                ContextOptimizer(budget=given, **self._options)  # what is wrong is said here
        count("The vocabulary is read now, and not while a request waits.")

    def budget(self, model: str) -> int | None:
        """The tokens that a request to this model may have; None where it is left alone."""
        own = next((budget for name, budget in self._models.items() if fnmatch.fnmatchcase(model, name)), None)
        if own is not None:
            return own
        price = self._prices.of(model)
        window = None if price is None or self._share is None else price.window
        found = [self._budget, None if window is None else max(1, int(window * (self._share or 1.0)))]
        return min((one for one in found if one is not None), default=None)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Passes the request on with a shorter conversation; the reply says so. Raises `CannotFit` where that is asked for."""
        if request.cache_control.only_if_cached:
            return await next(request)
        since = time.perf_counter()
        try:
            request, trimmed = await self._trimmed(request)
        except _UNREADABLE:
            trimmed = Trimmed(0, 0, why="unreadable")
        except CannotFit:
            if self._cannot_fit == "refuse":
                raise
            trimmed = Trimmed(0, 0, why="cannot_fit")
        if trimmed is None:
            return await next(request)
        trimmed = msgspec.structs.replace(trimmed, seconds=time.perf_counter() - since)
        return msgspec.structs.replace(await next(request), optimized=trimmed)

    async def _trimmed(self, request: Request) -> tuple[Request, Trimmed | None]:
        """The request to pass on, and what became of its context; None where it has no budget."""
        asked = await _read(request)
        budget = self.budget(asked.model)
        if budget is None:
            return request, None
        optimizer = self._optimizer(asked.model, _FORMS[request.wire], budget)
        done = await optimizer.optimize_async(
            asked.messages,
            asked.tools,
            system=asked.system,
            scope=request.scope or "",
            tool_choice=asked.tool_choice,
            summarise=self._summarise,
        )
        # Anthropic caches the prefix of who asks for it; OpenAI all.
        is_cached = request.wire != "messages" or b'"cache_control"' in request.body
        if not asked.is_same(done.messages, done.tools):
            request = msgspec.structs.replace(request, body=asked.written(done.messages, done.tools))
        return request, self._told(asked.model, done.report, is_cached=is_cached)

    def _optimizer(self, model: str, form: Form, budget: int) -> ContextOptimizer:
        # Names are the client's to choose: one that nothing is known of has no optimizer of its own.
        name = model if self._prices.of(model) is not None else ""
        key = (name, form, budget)
        found = self._optimizers.get(key)
        if found is None:
            found = self._optimizers[key] = ContextOptimizer(
                **{"cache_bytes": self._memory, "rates": self._rates(name), **self._options},
                budget=budget,
                model=name or "unknown",
                form=form,
                handles=self.handles,
            )
            while len(self._optimizers) > _MODELS:
                self._optimizers.popitem(last=False)
        self._optimizers.move_to_end(key)
        return found

    def _rates(self, name: str) -> Rates:
        return Rates.of(name, self._prices) if name else Rates()

    def _told(self, model: str, report: Report, *, is_cached: bool) -> Trimmed:
        saved: Counter[str] = Counter()
        for one in report.removed:
            saved[one.change] += one.tokens
        gone = sorted((one for one in report.removed if one.change not in LOSSLESS), key=lambda one: -one.tokens)
        return Trimmed(
            report.before,
            report.after,
            lossless=report.lossless,
            saved=dict(saved),
            prefix="" if report.prefix is None else report.prefix.why,
            dollars=self._dollars(model, report, is_cached=is_cached),
            handles=tuple(dict.fromkeys(one.handle for one in gone[:_HANDLES])),
        )

    def _dollars(self, model: str, report: Report, *, is_cached: bool) -> float | None:
        price, prefix = self._prices.of(model), report.prefix
        if price is None:
            return None
        if not is_cached or price.cached_input is None:
            spared: float = report.saved
        elif prefix is None:
            return None  # what of the whole conversation would have been read from the cache nobody knows
        else:
            rates = self._rates(model)
            spared = prefix.saved(rates.write, rates.read)
        return spared * price.input / 1e6


class _Asked(NamedTuple):
    """A request's conversation, and the rest of its body as it came."""

    fields: _Fields
    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    system: Any
    tool_choice: Any
    raw: dict[int, msgspec.Raw]
    """By the ``id`` of a message or tool: as it came."""

    def is_same(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> bool:
        """Whether these are the messages and tools as they came."""
        same = len(messages) == len(self.messages) and all(map(operator.is_, messages, self.messages))
        return same and len(tools or ()) == len(self.tools or ())

    def written(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> bytes:
        """The body with these messages and tools. What is not new is not spelled anew."""
        fields = {**self.fields, "messages": self._joined(messages)}
        if tools is not None:
            fields["tools"] = self._joined(tools)
        return _encode(fields)

    def _joined(self, rows: list[dict[str, Any]]) -> msgspec.Raw:
        return msgspec.Raw(_encode([self.raw.get(id(row)) or msgspec.Raw(_encode(row)) for row in rows]))


async def _read(request: Request) -> _Asked:
    """Reads the body in small steps. Raises one of `_UNREADABLE` for what is no conversation."""
    fields = _decode_fields(request.body)
    model = _decode(fields["model"], type=str)
    raw: dict[int, msgspec.Raw] = {}
    since = time.perf_counter()

    async def rows(name: str) -> list[dict[str, Any]]:
        nonlocal since
        found = []
        for row in _decode_rows(fields[name]):
            found.append(_decode(row, type=dict[str, Any]))
            raw[id(found[-1])] = row
            if time.perf_counter() - since > _TURN:
                await asyncio.sleep(0)
                since = time.perf_counter()
        return found

    tools = None if _decode(fields.get("tools", b"null")) is None else await rows("tools")
    system = _decode(fields["system"]) if request.wire == "messages" and "system" in fields else None
    tool_choice = _decode(fields.get("tool_choice", b"null"))
    return _Asked(fields, model, await rows("messages"), tools, system, tool_choice, raw)


def of_config(config: ContextConfig, *, prices: Prices) -> Context:
    """The stage of a configuration."""
    return Context(
        budget=config.budget,
        share=config.share,
        models=config.models,
        cannot_fit=config.cannot_fit,
        max_bytes=config.max_bytes,
        prices=prices,
        keep_last=config.keep_last,
        prefix=config.prefix,
        epoch_share=config.epoch_share,
        birth=config.birth,
        reducers={"code": CodeReducer()} if config.code else {},
        expected_turns=config.expected_turns,
        keep_tools=config.keep_tools,
    )
