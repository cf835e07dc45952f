"""The pipeline: a request passes through stages and comes back as a reply. Works with no HTTP server around it.

`sparecall.open(config)` gives the usual one; `Pipeline([...])` takes any stages in any order, yours among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sparecall import config as configuration
from sparecall.cache import BytesCache
from sparecall.errors import ConfigError, DeadlineExceeded, InvalidArgument
from sparecall.pipeline import control
from sparecall.pipeline.adaptive_limit import AdaptiveLimitStage
from sparecall.pipeline.answer import Answer, Summary, Trimmed
from sparecall.pipeline.breaker import BreakerStage
from sparecall.pipeline.coalesce import Coalesce
from sparecall.pipeline.context import Context
from sparecall.pipeline.context import of_config as context_of
from sparecall.pipeline.digest import Digest
from sparecall.pipeline.embeddings import Embeddings
from sparecall.pipeline.endpoint import Call, Endpoint
from sparecall.pipeline.exact import Exact
from sparecall.pipeline.fallback import FallbackStage, Target
from sparecall.pipeline.hedge import HedgeStage
from sparecall.pipeline.outcome import begun
from sparecall.pipeline.rate_limit import RateLimitStage
from sparecall.pipeline.reply import Hit, Judged, Origin, Reply
from sparecall.pipeline.request import CacheControl, Priority, Request, WireName
from sparecall.pipeline.retry import RetryStage
from sparecall.pipeline.route import RouteStage
from sparecall.pipeline.router import RouterStage
from sparecall.pipeline.scope import Scope
from sparecall.pipeline.semantic import Semantic, of_config
from sparecall.pipeline.shared import Shared
from sparecall.pipeline.shared import of_config as shared_store
from sparecall.pipeline.stage import Next, Stage, entered
from sparecall.pipeline.system import SystemStage
from sparecall.pipeline.timeout import TimeoutStage
from sparecall.pipeline.upstream import Upstream
from sparecall.prices import Prices

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from types import TracebackType

    from sparecall.batch import BatchEvent
    from sparecall.config import Config

__all__ = ["AdaptiveLimitStage", "Answer", "BreakerStage", "CacheControl", "Call", "Coalesce", "Context", "Digest", "Embeddings", "Endpoint", "Event", "Exact",
           "FallbackStage", "HedgeStage", "Hit", "Judged", "Next", "Origin", "Pipeline", "Priority", "RateLimitStage", "Reply", "Request", "RetryStage",
           "RouteStage", "RouterStage", "Scope", "Semantic", "Shared", "Stage", "SystemStage", "Target", "TimeoutStage", "Trimmed", "Upstream", "open", "stages"]  # fmt: skip

_clock = time.perf_counter_ns


class Event(msgspec.Struct, frozen=True):
    """One request answered, to its last byte: what `on_event` is called with."""

    reply: Reply
    """Without its stream, which is the caller's."""
    summary: Summary | None
    """Model and usage of a complete answer, also of one that was streamed; None for any other reply."""
    seconds: float
    """From entering the pipeline to leaving it: for a stream, to its first byte."""
    cost: float | None
    """Dollars that the provider charged for a miss, or would have charged for a hit; None where not known."""


class Pipeline:
    """Stages, composed. An async context manager; call it with a `Request`.

    Safe for any number of concurrent requests on one event loop.
    """

    __slots__ = ("_exits", "_on_event", "_prices", "_run", "stages")

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        prices: Prices | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.stages = tuple(stages)
        self._on_event = on_event
        self._prices = prices if prices is not None else Prices()
        self._exits = contextlib.AsyncExitStack()
        run: Next = _nobody
        for stage in reversed(self.stages):
            run = _timed(stage, run)
        self._run = run

    def __repr__(self) -> str:
        return f"<Pipeline {' -> '.join(_name(stage) for stage in self.stages)}>"

    async def __aenter__(self) -> Self:
        self._exits = await entered(self.stages)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def __call__(self, request: Request | Mapping[str, Any]) -> Reply:
        """Answers a request; a mapping is taken as the body of one.

        Raises `InvalidDocument` for a body that is not JSON, `InvalidArgument` for a bad scope, `UpstreamError` where the
        provider gave no answer, `DeadlineExceeded` where none had come by the request's deadline, and `BreakerOpen`, `LimitExceeded` or
        `Overloaded` where no call could be made. An error the provider answered with is a reply with its status.
        """
        if not isinstance(request, Request):
            request = Request.of(request)
        elif request.trace:  # passed once before
            request = msgspec.structs.replace(request, trace={})
        start = _clock()
        if request.deadline is None:
            reply = await self._run(request)
        else:
            reply = await _by(request.deadline, self._run(request))
        request.trace["reply"] = end = _clock()
        if reply.trace is not request.trace:
            reply = msgspec.structs.replace(reply, trace=request.trace)
        if self._on_event is not None:
            seconds = (end - start) / 1e9
            if reply.stream is None:
                self._report(reply, reply.summary, seconds)
            else:
                told = msgspec.structs.replace(reply, stream=None)  # the reader is the caller's to let go of
                reply.stream.log.when_ended(
                    lambda ending: self._report(told, None if ending is None else ending.summary, seconds)
                )
        return reply

    def _report(self, reply: Reply, summary: Summary | None, seconds: float) -> None:
        cost = None if summary is None else summary.cost(self._prices)
        assert self._on_event is not None  # noqa: S101 - for mypy; the caller has checked
        try:
            self._on_event(Event(reply, summary, seconds, cost))
        except Exception as error:  # noqa: BLE001 - who watches must not cost anybody an answer
            context = {"message": "on_event raised; the request goes on", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def stage(self, kind: type[Any]) -> Any:
        """The stage of that class, or None."""
        return next((stage for stage in self.stages if isinstance(stage, kind)), None)

    @property
    def upstreams(self) -> list[Upstream]:
        """The stages that make calls, those of a route's endpoints among them."""
        found: list[Any] = []
        for stage in self.stages:
            found += stage.stages if isinstance(stage, RouteStage) else [stage]
        return [stage for stage in found if isinstance(stage, Upstream)]


def stages(
    config: Config,
    *,
    prices: Prices | None = None,
    on_batch: Callable[[BatchEvent], None] | None = None,
    on_call: Callable[[Call], None] | None = None,
) -> list[Stage]:
    """The usual stages for a configuration, outermost first; add to the list or take from it as you like.

    `prices` are the configuration's own unless others are given. `on_batch` is called with each batch of embeddings, `on_call` with
    each call to an upstream where these are controlled.
    """
    prices = Prices(config.prices) if prices is None else prices
    limit = config.cache.max_reply_bytes
    try:
        scope = Scope(scope=config.scope)
    except InvalidArgument as error:
        raise ConfigError(str(error)) from None
    settings = control.settings(config)
    windows = {name: price.window for name, price in config.prices.items() if price.window is not None}
    shaping = (*settings, *config.context.settings(windows))
    store_optimized = config.context.store_optimized
    chain: list[Stage] = [
        scope,
        Digest(
            version=config.version,
            max_temperature=config.cache.max_temperature,
            max_n=config.cache.max_n,
            settings=shaping,
        ),
    ]
    memory = None
    if config.cache.enabled:
        memory = BytesCache(
            config.cache.max_bytes,
            policy=config.cache.policy,
            ttl=config.cache.ttl,
            jitter=config.cache.jitter,
            second_price=config.cache.second_price,
            compress_above=config.cache.compress_above,
        )
        store = shared_store(config.store)
        shared = None if store is None else Shared(store, memory, ttl=config.cache.ttl)
        chain += [
            Exact(
                memory,
                max_reply_bytes=limit,
                prices=prices,
                shared=shared,
                other_models=config.cache.other_models,
                store_optimized=store_optimized,
            ),
            Coalesce(),
        ]
        if config.semantic.enabled:
            chain += [
                of_config(
                    config.semantic,
                    together=config.scope is not None,
                    version=config.version,
                    settings=shaping,
                    max_reply_bytes=limit,
                    prices=prices,
                    store=store,
                    store_optimized=store_optimized,
                )
            ]
        batch = config.embeddings if config.embeddings.batch else None
        chain += [
            Embeddings(memory, version=config.version, settings=settings, prices=prices, batch=batch, on_batch=on_batch)
        ]
    if config.context.enabled:
        chain.append(context_of(config.context, prices=prices))
    if not config.controlled:
        return [*chain, *control.upstreams(config)]
    return [*chain, *control.stages(config, prices=prices, shrink=control.emptying(memory), on_call=on_call)]


def open(  # noqa: A001 - a public name of the design
    source: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_batch: Callable[[BatchEvent], None] | None = None,
    on_call: Callable[[Call], None] | None = None,
) -> Pipeline:
    """The pipeline of a configuration: the path of a `sparecall.toml`, a mapping of its shape, a `Config`, or the defaults.

    Use it as ``async with sparecall.open("sparecall.toml") as pipeline: reply = await pipeline(request)``.
    `on_event` is called with each request that was answered, `on_batch` with each batch of embeddings that went to the provider, `on_call`
    with each call to an upstream where these are controlled.
    Raises `ConfigError` for a configuration that cannot be used.
    """
    config = configuration.load(source)
    prices = Prices(config.prices)
    return Pipeline(stages(config, prices=prices, on_batch=on_batch, on_call=on_call), prices=prices, on_event=on_event)


async def _by(deadline: float, call: Awaitable[Reply]) -> Reply:
    """The reply, of a stream with its first event, before that time of `time.monotonic`."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())) as limit:
            return await begun(call)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded("the request's deadline has passed; no answer had begun by then") from None


async def _nobody(request: Request) -> Reply:
    if request.wire == "messages":
        raise ConfigError("there is no Anthropic provider here: configure [anthropic]")
    raise RuntimeError("the last stage passed the request on, but no stage is left: end the pipeline with Upstream")


def _name(stage: Stage) -> str:
    return getattr(stage, "__name__", type(stage).__name__).lower()


def _timed(stage: Stage, below: Next) -> Next:
    """The stage as the one above calls it: a plain function, since one more coroutine per stage would cost more than some do.

    A stage that has `wires` sees only requests of these.
    """
    name = _name(stage)
    wires: Collection[WireName] | None = getattr(stage, "wires", None)

    def run(request: Request) -> Awaitable[Reply]:
        request.trace.setdefault(name, _clock())
        return stage(request, below)

    return run if wires is None else lambda request: (run if request.wire in wires else below)(request)
