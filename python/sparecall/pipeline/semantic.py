"""Stage `semantic`: answers a question that was asked before in other words, within a limit on the share of wrong answers.

Stands below `coalesce`: what reaches it is about to cost a call.
"""

from __future__ import annotations

import asyncio
import fnmatch
import math
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sparecall.digest import INLINE_BYTES
from sparecall.embed import MiniLMEmbedder, StaticEmbedder
from sparecall.errors import ConfigError, ModelFileError, TokenizerFileError, UnknownName
from sparecall.pipeline.answer import Answer
from sparecall.pipeline.digest import dialect_of, suffix_of
from sparecall.pipeline.relay import Record, Relay
from sparecall.pipeline.reply import Judged, from_memory, when_whole
from sparecall.pipeline.request import WireName
from sparecall.pipeline.scope import scope_of_client, tenant_of
from sparecall.pipeline.turn import Turn, last_turn, text_of
from sparecall.prices import Prices
from sparecall.semantic import Lookup, Rule, SemanticCache, same_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from types import TracebackType

    from sparecall.config import Semantic as SemanticConfig
    from sparecall.config import SemanticCategory
    from sparecall.pipeline.answer import Summary, Trimmed
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next
    from sparecall.store import Store

_encode_answer = msgspec.msgpack.encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
# Larger answers are nobody's words, and would take long to compare.
_MAX_REPLY_BYTES = 256 * 1024
# Two answers of so many characters together take half a millisecond to compare.
_INLINE_CHARACTERS = 8192
# What a provider adds to the name of a model that was asked for by a shorter one: a date or a build.
_BUILD = re.compile(r"[-@:](latest|\d{4}-\d\d-\d\d|\d{4,8})$")


class Semantic:
    """The semantic cache. What may be answered: a last user turn of one text; all beside it must be equal.

    `settings` and `version` are those of `Digest`. `category` names the category of a question for `SemanticCache`'s rules.
    Answers are stored that `Exact` would store, that are text and that came from the model that was asked for
    (`other_models=True`: from any); one to a context that lost something with `store_optimized` only. What is learnt from an answer takes place beside the request: `settled` waits for it.
    `relay` passes what is stored on to other gateways, and theirs to this one.
    """

    __slots__ = ("_category", "_clock", "_hearing", "_learning", "_max_reply_bytes", "_other_models", "_prices", "_relay", "_store_optimized",
                 "_suffix", "_version", "cache", "instance")  # fmt: skip

    wires: frozenset[WireName] = frozenset({"chat", "responses", "messages"})

    def __init__(
        self,
        cache: SemanticCache,
        *,
        version: int = 0,
        settings: tuple[str, ...] = (),
        category: Callable[[str, Request], str] | None = None,
        other_models: bool = False,
        store_optimized: bool = False,
        max_reply_bytes: int = _MAX_REPLY_BYTES,
        prices: Prices | None = None,
        relay: Relay | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cache = cache
        self._relay = relay
        self._hearing: asyncio.Task[None] | None = None
        self.instance = secrets.token_hex(4)
        """Stands in the ids that clients get: the same numbers mean other answers in another process."""
        self._version = version
        self._suffix = suffix_of(settings)
        self._category = category
        self._other_models = other_models
        self._store_optimized = store_optimized
        self._max_reply_bytes = min(max_reply_bytes, _MAX_REPLY_BYTES)
        self._prices = Prices() if prices is None else prices
        self._clock = clock
        self._learning: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._relay is not None:
            hearing = self._relay.hear(self._told, sender=self.instance)
            self._hearing = asyncio.get_running_loop().create_task(hearing, name="sparecall relay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.settled()
        for task in self._learning:
            task.cancel()
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        self.cache.close()

    async def settled(self, *, timeout: float = 1.0) -> None:
        """Waits until what came in has been learnt and stored, or for `timeout` seconds."""
        if self._learning:
            await asyncio.wait(set(self._learning), timeout=timeout)

    def feedback(self, id: str, *, correct: bool, scope: str) -> None:  # noqa: A002 - the word of the wire
        """Takes a client's word on the answer with that `Judged.id`, from its own scope. Raises `UnknownName` for any other id."""
        instance, _, number = id.partition("-")
        if instance != self.instance or not (number.isdecimal() and number.isascii() and len(number) < 19):
            raise UnknownName("that id is of no answer of this process; give the one that came with the answer")
        self.cache.feedback(int(number), correct=correct, scope=scope)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Answers from the cache, or passes the request on and stores and learns from what comes back."""
        if request.bypass or request.inspection is None or request.scope is None:
            return await next(request)
        turn = await self._turn(request)
        if turn is None:
            return await next(request)
        question = _Question(
            turn=turn,
            wire=request.wire,
            scope=request.scope,
            category="" if self._category is None else self._category(turn.text, request),
            principal="" if request.key is None else scope_of_client(request.key),
            model=request.inspection.model,
        )
        lookup = await self.cache.lookup(
            turn.text,
            scope=question.scope,
            context=turn.context,
            category=question.category,
            principal=question.principal,
        )
        judged = self._judged(lookup)
        if lookup.match is not None:
            found = self._served(request, turn, lookup.match.value, judged)
            if found is not None:
                return found
        asked_at = self._clock()
        reply = await next(request)
        if reply.hit == "miss":
            self._keep(question, lookup, reply, asked_at)
        return msgspec.structs.replace(reply, semantic=judged)

    async def _turn(self, request: Request) -> Turn | None:
        scope = self._suffix + dialect_of(request)
        if len(request.body) <= INLINE_BYTES:
            return last_turn(request.body, request.wire, scope=scope, version=self._version)
        return await asyncio.to_thread(last_turn, request.body, request.wire, scope=scope, version=self._version)

    def _judged(self, lookup: Lookup) -> Judged:
        verdict, match = lookup.verdict, lookup.match
        return Judged(
            why=lookup.why if match is None else match.why,
            id="" if match is None else f"{self.instance}-{match.id}",
            similarity=None if lookup.candidate is None else lookup.similarity,
            probability=None if verdict is None else verdict.probability,
            max_error=None if verdict is None else lookup.max_error,
            guards=() if verdict is None else tuple(verdict.guards),
        )

    def _served(self, request: Request, turn: Turn, value: Any, judged: Judged) -> Reply | None:
        """The stored answer as a reply; None where it is not what it should be, or older than the client takes."""
        try:
            answer = _decode_answer(value)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            return None
        if answer.digest != turn.context or answer.scope != request.scope:
            return None
        return from_memory(answer, request, hit="semantic", now=self._clock(), semantic=judged)

    def _keep(self, question: _Question, lookup: Lookup, reply: Reply, asked_at: float) -> None:
        """Takes in a complete reply now, or a stream's answer when it ends."""
        if (reply.substitute and not self._other_models) or (reply.lossy and not self._store_optimized):
            return
        served_by, optimized = reply.served_by, reply.optimized if reply.lossy else None
        when_whole(
            reply, lambda body, summary: self._take(question, lookup, body, summary, served_by, optimized, asked_at)
        )

    def _take(
        self,
        question: _Question,
        lookup: Lookup,
        body: bytes | None,
        summary: Summary | None,
        served_by: str,
        optimized: Trimmed | None,
        asked_at: float,
    ) -> None:
        if body is None or summary is None or not summary.storable or len(body) > self._max_reply_bytes:
            return
        now = self._clock()
        answer = Answer(question.turn.context, question.scope, now, served_by, summary, body, optimized)
        # Beside the request: nobody waits for it, and nobody who leaves undoes it.
        task = asyncio.get_running_loop().create_task(self._learn(question, lookup, answer, max(0.0, now - asked_at)))
        self._learning.add(task)
        task.add_done_callback(self._learnt)

    async def _learn(self, question: _Question, lookup: Lookup, answer: Answer, seconds: float) -> None:
        """Compares the answer with the one that was held back, then stores it."""
        dollars = answer.summary.cost(self._prices)
        text = text_of(answer.body, question.wire)
        if lookup.compare:
            # One that is no text is not what the stored one says: it counts as empty.
            await self.cache.audit(lookup, text or "", cost=dollars, read=lambda value: _text(value, question.wire))
        served = answer.summary.model
        as_asked = self._other_models or not served or _named(served) == _named(question.model)
        if text is None or lookup.vector is None or not as_asked:
            return
        value, model = _encode_answer(answer), served or question.model
        stored = await self.cache.store(
            question.turn.text,
            value,
            scope=question.scope,
            context=question.turn.context,
            cost=(dollars or 0.0, seconds),
            lookup=lookup,
            category=question.category,
            principal=question.principal,
            model=model,
        )
        if self._relay is not None and stored is not None:
            record = Record(
                sender=self.instance, text=question.turn.text, value=value, scope=question.scope, context=question.turn.context,
                category=question.category, principal=question.principal, model=model, dollars=dollars or 0.0, seconds=seconds,
                expires=self._relay.expires(question.category),
            )  # fmt: skip
            await self._relay.tell(record)

    async def _told(self, record: Record, life: float | None) -> None:
        """Stores what another gateway was given."""
        await self.cache.store(
            record.text,
            record.value,
            scope=record.scope,
            context=record.context,
            ttl=life,
            cost=(record.dollars, record.seconds),
            category=record.category,
            principal=record.principal,
            model=record.model,
        )

    def _learnt(self, task: asyncio.Task[None]) -> None:
        self._learning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "the judge of answers raised; nothing was learnt", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a request until its answer has come."""

    turn: Turn
    wire: WireName
    scope: str
    category: str
    principal: str
    """Who writes, for quotas and promotion: a digest, so that no key is held."""
    model: str


def _text(value: Any, wire: WireName) -> str | None:
    try:
        return text_of(_decode_answer(value).body, wire)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return None


def _named(model: str) -> str:
    """A model's name without the provider before it and the build behind it."""
    return _BUILD.sub("", model.rpartition("/")[2])


def judge(stored: Any, fresh: Any) -> Any:
    """`same_answer`; in a thread where the texts are long."""
    texts = [text for text in (stored, fresh) if isinstance(text, str)]
    if sum(map(len, texts)) <= _INLINE_CHARACTERS:
        return same_answer(stored, fresh)
    judging: Coroutine[Any, Any, tuple[bool, float] | None] = asyncio.to_thread(same_answer, stored, fresh)
    return judging


class Categories:
    """Sorts questions into the configured categories: the first whose pattern is found in the text and whose model fits."""

    __slots__ = ("_characters", "_tests")

    def __init__(self, categories: Mapping[str, SemanticCategory], *, max_characters: int) -> None:
        self._characters = max_characters
        self._tests = [
            (name, None if one.pattern is None else re.compile(one.pattern), one.model)
            for name, one in categories.items()
        ]

    def __call__(self, text: str, request: Request) -> str:
        """The name of the category; empty for none."""
        model = "" if request.inspection is None else request.inspection.model
        text = text[: self._characters]  # what is longer is not answered anyway
        for name, pattern, models in self._tests:
            fits = models is None or fnmatch.fnmatchcase(model, models)
            if fits and (pattern is None or pattern.search(text)):
                return name
        return ""


def of_config(config: SemanticConfig, *, together: bool, version: int, settings: tuple[str, ...], max_reply_bytes: int, prices: Prices, store: Store | None = None, store_optimized: bool = False) -> Semantic:  # fmt: skip
    """The stage of a configuration; `together`: all scopes are one tenant's. Raises `ConfigError` for a model that cannot be loaded."""
    try:
        minilm = None if config.folder is None else MiniLMEmbedder(config.folder)
    except (ModelFileError, TokenizerFileError, OSError) as error:
        raise ConfigError(f"semantic.folder is {config.folder}, which cannot be loaded: {error}") from None
    cache = SemanticCache(
        StaticEmbedder() if minilm is None or config.embedder == "cascade" else minilm,
        refine=minilm if config.embedder == "cascade" else None,
        max_error=config.max_error,
        audit_share=config.audit_share,
        seed=config.seed,
        min_similarity=config.min_similarity,
        max_bytes=config.max_bytes,
        ttl=_life(config.ttl),
        max_characters=config.max_characters,
        promote_after=config.promote_after,
        write_quota=config.write_quota,
        rules={
            name: Rule(enabled=one.enabled, max_error=one.max_error, ttl=one.ttl)
            for name, one in config.categories.items()
        },
        judge=judge,
        # What one tenant teaches must not change what another is served. A configured scope is one tenant.
        pool=None if together else tenant_of,
    )
    lives = {name: one.ttl for name, one in config.categories.items() if one.ttl is not None}
    relay = None if store is None else Relay(store, lives=lambda category: _life(lives.get(category, config.ttl)))
    return Semantic(
        cache,
        relay=relay,
        version=version,
        settings=(*settings, config.embedder, config.folder or ""),  # vectors of another model mean nothing
        category=Categories(config.categories, max_characters=config.max_characters) if config.categories else None,
        other_models=config.other_models,
        store_optimized=store_optimized,
        max_reply_bytes=max_reply_bytes,
        prices=prices,
    )


def _life(ttl: float | None) -> float | None:
    return None if ttl is None or math.isinf(ttl) else ttl
