"""Checked by mypy, never run: the public names keep their types."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, assert_type

import sparecall
from sparecall import digest, pipeline, tokens
from sparecall.batch import Batcher, BatcherStats, BatchEvent, batched
from sparecall.cache import BytesCache, Cache, CacheStats
from sparecall.cached import cached
from sparecall.context import ContextOptimizer, Lines, Optimized, Prefix, Reduced, Reducer, reduce
from sparecall.context.costs import Costs
from sparecall.context.grammar import Conversation, Fault, Part, faults, read, validate, write
from sparecall.context.handles import Handles
from sparecall.flow import (
    AdaptiveLimit,
    AdaptivePermit,
    Breaker,
    Endpoint,
    Fallback,
    Features,
    Hedge,
    HedgeStats,
    Lease,
    Outcome,
    Permit,
    RateLimit,
    Retry,
    Route,
    Router,
    Rule,
    Served,
    SystemSignals,
    Timed,
    Timeout,
    calm,
    outcome_of,
    room,
)
from sparecall.frame import FrameReader, pack, unpack
from sparecall.index import Matches, VectorIndex, VectorQuery
from sparecall.metrics import Counter, Family, Gauge, Histogram, Registry
from sparecall.outline import (
    Derived,
    FoundSymbol,
    Merged,
    Outline,
    SearchUpdate,
    Skeleton,
    Subject,
    Symbol,
    SymbolDiff,
    SymbolIndex,
    SymbolSearch,
    languages,
    merge,
    merge_async,
    outline,
)
from sparecall.queue import Port, Queue, QueueTicket, Work, WorkTicket, port, run, submit, workers
from sparecall.store import DerivedCache, Entry, Making, RedisStore, SqliteStore, Store, TieredCache, TieredStats

assert_type(sparecall.__version__, str)
assert_type(digest.inspect(b"{}", scope="").digest, bytes)
assert_type(digest.inspect(b"{}", scope="").temperature, float | None)
assert_type(digest.compare(b"{}", bytearray()), digest.Difference | None)
assert_type(digest.scope_of_key("key"), str)
assert_type(pack({"a": 1}, max_bytes=100), bytes)
assert_type(unpack(memoryview(b""), copy=True), object)
assert_type(FrameReader(copy=True).feed(b""), list[object])
pack(1, 2)  # type: ignore[call-arg]
unpack("text")  # type: ignore[arg-type]

cache = BytesCache(1, policy="lru", ttl=1, clock=lambda: 0.0)
assert_type(cache.get("key"), bytes | None)
assert_type(cache.get(b"0123456789abcdef", 1), bytes | int)
assert_type(cache["key"], bytes)
assert_type(cache.resize(2, limit=10), bool)
assert_type(cache.set("key", b"", ttl=None), bool)
assert_type(cache.get_many(["key"]), list[bytes | None])
assert_type(cache.set_many({"key": b""}), int)
assert_type(cache.stats(), CacheStats)
objects = Cache[tuple[str, int], list[str]](
    1, policy="cost", weigher=lambda key, value: len(key[0]) + len(value), jitter=0.5
)
assert_type(objects.get(("a", 1)), list[str] | None)
assert_type(objects.get(("a", 1), 5), list[str] | int)
assert_type(objects["a", 1], list[str])
assert_type(objects.get_many([("a", 1)]), list[list[str] | None])
assert_type(objects.set(("a", 1), [], ttl=1.5, weight=2, cost=0.01, tags=("tag",)), bool)
assert_type(objects.set_many({("a", 1): [""]}), int)
objects.save("path", encode=lambda value: "".join(value).encode())
assert_type(objects.load("path", decode=lambda content: [content.decode()]), int)
objects["a"] = []  # type: ignore[index]
objects["a", 1] = {}  # type: ignore[assignment]
objects.get(5)  # type: ignore[call-overload]

index = VectorIndex(2, clock=lambda: 0.0)
assert_type(index.search([1.0, 2.0], k=3, min_similarity=0.5), Matches)
assert_type(index.search_many([[1.0, 2.0]]), list[Matches])
assert_type(index.prepare([1, 2]), VectorQuery)
assert_type(index.search(index.prepare([1, 2])).ids, tuple[int, ...])
assert_type(index.search([1, 2]).similarities, tuple[float, ...])
assert_type(index.search([1, 2]).low, tuple[float, ...])
assert_type(index.search([1, 2]).high, tuple[float, ...])
assert_type(VectorIndex(2, originals=False).originals, bool)
assert_type(index.remove(1), bool)

registry = Registry(max_series=1)
assert_type(registry.counter("c", "help"), Family[Counter])
assert_type(registry.counter("c", "help", ["a"]).labels("b"), Counter)
assert_type(registry.gauge("g", "help").labels(), Gauge)
assert_type(registry.histogram("h", "help", buckets=[1]).labels(), Histogram)

assert_type(tokens.count("a text", "cl100k_base"), int)
assert_type(tokens.count_many(iter(["a text"]), encoding="cl100k_base"), list[int])
assert_type(tokens.encodings(), tuple[str, ...])
assert_type(tokens.truncate("a text", 2, keep="both", marker="..."), str)
assert_type(tokens.Meter("cl100k_base").append("a text"), int)
assert_type(tokens.Prefix("a text").count(0, -1), int)
assert_type(tokens.encoding_for_model("gpt-4o"), str | None)
counted = tokens.Counter("gpt-4o", encoding=None).messages([{"role": "user", "content": "hi"}], tools=None, system="")
assert_type(counted, tokens.TokenCount)
assert_type((counted.total, counted.low, counted.high, counted.exact), tuple[int, int, int, bool])
assert_type(tokens.Counter("claude-3-haiku").calibration.strata, tuple[tokens.Stratum, ...])


async def counted_on_a_loop() -> None:
    assert_type(await tokens.count_async("a text", encoding="cl100k_base"), int)
    assert_type(await tokens.count_many_async(iter(["a text"])), list[int])
    assert_type(await tokens.Counter("gpt-4o").messages_async([]), tokens.TokenCount)


encoding = tokens.get_encoding("o200k_base")
assert_type(encoding, tokens.Encoding)
assert_type(tokens.load_encoding("file", pattern="gpt2", special_tokens={"<|end|>": 1}), tokens.Encoding)
assert_type(encoding.encode("a", allowed_special="all", disallowed_special={"b"}), list[int])
assert_type(encoding.decode((1, 2)), str)
assert_type(encoding.decode_with_offsets([1]), tuple[str, list[int]])

assert_type(sparecall.open({}), pipeline.Pipeline)
assert_type(sparecall.open({}, on_call=lambda call: print(call.waited)).upstreams, list[pipeline.Upstream])
route = pipeline.RouteStage([pipeline.Endpoint("a", [pipeline.BreakerStage(Breaker())], models=["m*"], weight=2.0)])
assert_type(route.endpoints[0].running, int)
assert_type(pipeline.RetryStage(Retry()).retries, int)
assert_type(pipeline.RateLimitStage(RateLimit(), max_wait=1.0).limit, RateLimit)
pipeline.FallbackStage({"a": [pipeline.Target("b", "upstream")]})
assert_type(pipeline.AdaptiveLimitStage(AdaptiveLimit(), max_wait=1.0).limit, AdaptiveLimit)
assert_type(pipeline.HedgeStage(Hedge()).hedge, Hedge)
assert_type(pipeline.TimeoutStage(Timeout()).timeout, Timeout)
assert_type(pipeline.SystemStage(SystemSignals(), max_wait=1.0).signals, SystemSignals)
assert_type(pipeline.RouterStage(Router({"m": ["m"]}), [Rule(name="r", models=("m",))]).router, Router)
pipeline.Request(body=b"", deadline=1.0, priority="low")
pipeline.Request(body=b"", priority="urgent")  # type: ignore[arg-type]


@cached(cache, key=lambda name, size=1: name, ttl=lambda value: len(value), when=bool)
def shout(name: str, size: int = 1) -> bytes:
    return name.encode() * size


@cached(cache, key=str, ttl=60)
async def shout_async(name: str) -> bytes:
    return name.encode()


class Client:
    @cached(cache, key=lambda self, name: name)
    def fetch(self, name: str) -> bytes:
        return name.encode()

    @cached(cache, key=lambda self, name: name, tags=("a",), cost=0.1)
    async def fetch_async(self, name: str) -> bytes:
        return name.encode()


async def cached_functions() -> None:
    assert_type(shout("a", size=2), bytes)
    shout(1)  # type: ignore[arg-type]
    shout("a", width=2)  # type: ignore[call-arg]
    assert_type(await shout_async("a"), bytes)
    assert_type(shout.cache, BytesCache)
    assert_type(shout.__wrapped__("a"), bytes)
    assert_type(shout.cache_key("a"), Hashable)
    assert_type(shout.cache_delete("a"), bool)
    shout.cache_delete(1)  # type: ignore[arg-type]
    assert_type(Client().fetch("a"), bytes)
    assert_type(await Client().fetch_async("a"), bytes)
    Client().fetch(1)  # type: ignore[arg-type]
    assert_type(Client.fetch.cache_delete(Client(), "a"), bool)
    cached({})  # type: ignore[type-var]


stores: list[Store] = [RedisStore("redis://host", coherence="tracking"), SqliteStore("path", max_bytes=1 << 20)]
RedisStore("redis://host", coherence="magic")  # type: ignore[arg-type]


async def answer() -> str:
    return ""


async def answer_of(making: Making) -> int:
    return int(making.dollars)


def plain() -> float:
    return 1.0


async def tiers(tiered: TieredCache, derived: DerivedCache) -> None:
    assert_type(await tiered.get_or_set("key", answer, scope="team"), str)
    assert_type(await tiered.get_or_set("key", answer_of, scope="team", ttl=lambda value: value * 2.0), int)
    assert_type(await tiered.get_or_set("key", plain, scope="team", tags=lambda value: [str(value)]), float)
    assert_type(await tiered.refresh("key", lambda: answer(), scope="team"), str)
    assert_type(tiered.entry("key", scope="team"), Entry | None)
    assert_type(tiered.stats(), TieredStats)
    assert_type(await derived.get_or_compute("operation", 1, answer), str)
    assert_type(await derived.fragment("name", 1, plain), float)
    await tiered.get_or_set("key", answer)  # type: ignore[call-overload]
    await tiered.get("key")  # type: ignore[call-arg]


async def lengths(items: list[str]) -> list[int]:
    return [len(item) for item in items]


@batched(max_items=8)
async def batched_lengths(items: list[str]) -> list[int]:
    return [len(item) for item in items]


def on_batch(event: BatchEvent) -> None:
    assert_type(event.waited, float)


assert_type(sparecall.open({}, on_batch=on_batch), pipeline.Pipeline)


async def batches() -> None:
    batcher = Batcher(lengths, max_items=8)
    assert_type(batcher.submit("a"), asyncio.Future[int])
    assert_type(batcher.submit_many(["a"], priority="low"), list[asyncio.Future[int]])
    assert_type(batcher.stats(), BatcherStats)
    assert_type(batcher.busy, bool)
    limit = RateLimit(requests=500, share=0.5)
    assert_type(limit.requests_per, float)
    SystemSignals(caches=[cache])
    limited = Batcher(lengths, permit=limit.acquire, on_event=on_batch)
    assert_type(limited.submit("a"), asyncio.Future[int])
    Batcher(lengths, permit=lambda tokens: asyncio.Semaphore(2))
    Batcher(lengths, permit=limit)  # type: ignore[arg-type]
    assert_type(await batched_lengths("a"), int)
    assert_type(await batched(lengths)("a", deadline=1.0), int)


adaptive = AdaptiveLimit(initial=20, signals=SystemSignals())
assert_type(adaptive.try_acquire("light"), AdaptivePermit | None)
assert_type(adaptive.load, float)


breaker = Breaker(failure_rate=0.5, slow_rate=0.5, slow_after=2.0)
assert_type(breaker.call(), Permit)
assert_type(breaker.leases, int)
assert_type(outcome_of(None), Outcome)


async def guarded() -> None:
    async with breaker.call() as permit:
        assert_type(permit, Permit)
        permit.report(503)

    @breaker
    async def ask(question: str) -> int:
        return len(question)

    assert_type(await ask("one"), int)
    await ask(1)  # type: ignore[arg-type]

    limit = RateLimit(requests=60, per=3600.0)
    assert_type(limit.try_acquire(), Lease | None)
    async with limit.acquire(tokens=5) as lease:
        assert_type(lease, Lease)
        lease.settle("5")  # type: ignore[arg-type]

    retry = Retry(attempts=2)
    assert_type(await retry.run(lambda: ask("one"), deadline=5.0), int)
    assert_type(await retry(ask)("one"), int)
    hedge = Hedge(budget=0.02, allowed=calm(breaker, limit))
    assert_type(await hedge.run(lambda: ask("one"), idempotent=True), int)
    assert_type(await hedge(ask)("one"), int)
    assert_type(hedge.stats, HedgeStats)
    await hedge.run(lambda: ask("one"))  # type: ignore[call-arg]
    timeout = Timeout(idle=5.0)
    assert_type(await timeout.run(lambda: ask("one"), tokens=5, used=lambda answer: answer), int)
    assert_type(await timeout(ask)("one"), int)
    async with timeout.call("route") as call:
        assert_type(call, Timed)
    rule = Rule(name="any", models=("m",))
    router = Router({"m": ["a", Endpoint(name="b", room=room(breaker, limit))]}, rules=[rule, lambda features: ()])
    async with router.route(Features(model="m")) as route:
        assert_type(route, Route)
        assert_type((route.model, route.endpoint, route.propensity), tuple[str, str, float])
    calm(5)  # type: ignore[arg-type]
    fallback = Fallback({"a": ask})
    assert_type(await fallback.run("one"), Served[int])
    await fallback.run(1)  # type: ignore[arg-type]


conversation = read([{"role": "user", "content": "hi"}], "openai", orphans="keep")
assert_type(conversation, Conversation)
assert_type(conversation.atoms, tuple[tuple[int, ...], ...])
assert_type(conversation.parts, tuple[Part, ...])
assert_type(conversation.fixed, frozenset[int])
assert_type(conversation.required({0}), tuple[int, ...])
assert_type(write(conversation.messages, {(0, ("content",)): "ho"}, {1}), list[dict[str, Any]])
assert_type(list(faults(conversation.messages, form="anthropic")), list[Fault])
validate(conversation.messages, tools=[])
read([], "responses")  # type: ignore[arg-type]


def every_line(text: str) -> list[float]:
    return [1.0] * text.count("\n")


reducer: Reducer = every_line
owning: Reducer = lambda text: Lines([0.0] * text.count("\n"), ["f"] * text.count("\n"))  # noqa: E731
assert_type(reduce("text", budget=4, kind="log", reducer=reducer), Reduced)
assert_type(reduce("text", budget=4).removed, tuple[str, ...])
reduce("text", budget=4, kind="poem")  # type: ignore[arg-type]
assert_type(Costs(model="gpt-4o").request(conversation.messages, None, system="s"), int)
assert_type(Handles(max_bytes=1).put("text", scope="team"), str)
assert_type(Handles().get("handle"), str)


async def summarise(messages: list[dict[str, Any]]) -> str:
    return f"{len(messages)} messages"


async def optimized(store: TieredCache) -> None:
    optimizer = ContextOptimizer(budget=1, keep_tools=["a"], expected_turns="as_before", summaries=store)
    done = await optimizer.optimize_async([], scope="team", summarise=summarise)
    assert_type(done, Optimized)
    assert_type(done.report.prefix, Prefix | None)
    assert_type(optimizer.optimize([], tool_choice="auto").messages, list[dict[str, Any]])
    ContextOptimizer(budget=1, prefix="kept")  # type: ignore[arg-type]


context = pipeline.Context(budget=1, share=0.5, models={"m*": 5}, summarise=summarise, keep_last=2)
assert_type(context.budget("m"), int | None)
assert_type(context.handles, Handles)


async def queued(work: Work[int], future: asyncio.Future[int]) -> None:
    queue: Queue[str] = Queue(5, overflow="drop")
    assert_type(queue.put("a", priority="low", tokens=5, deadline=1.0, timeout=None), QueueTicket[str])
    assert_type(queue.put("a").dropped, list[str])
    assert_type(queue.take(), tuple[str] | None)
    assert_type(queue.expired(), list[str])
    assert_type(await queue.get(), str)
    await queue.ready()
    queue.put(5)  # type: ignore[arg-type]
    queue.put("a", priority="urgent")  # type: ignore[arg-type]
    assert_type(await run(work, priority="high"), int)
    assert_type(submit(work, future), WorkTicket)
    assert_type(port(), Port)
    assert_type(workers(), tuple[int, int, int])
    assert_type(await digest.inspect_async(b"{}", scope=""), digest.Inspection)


assert_type(outline(b"", "python", max_seconds=1), Outline)
assert_type(outline("", path="a.py").symbols, tuple[Symbol, ...])
assert_type(outline("", path="a.py").skeleton(keep=["f"]), Skeleton)
assert_type(languages(), dict[str, tuple[str, ...]])
symbols = SymbolIndex(code_only=True)
assert_type(symbols.update("a.py", "x = 1"), SymbolDiff)


def measured(subject: Subject) -> int:
    return len(subject.text)


assert_type(symbols.derived("size", measured, of="whole"), Derived[int])
assert_type(symbols.derived("size", measured).get(symbols.symbols("a.py")[0]), int)
outline(5, "python")  # type: ignore[arg-type]
symbols.derived("size", measured, of="all")  # type: ignore[arg-type]


async def merged_and_found() -> None:
    """The merges and the search of outline."""
    merged = merge("a", "b", "c", path="a.py", max_seconds=1.0)
    assert_type(merged, Merged)
    assert_type(merged.text, str | None)
    assert_type([conflict.our_lines for conflict in merged.conflicts], list[tuple[int, int] | None])
    assert_type(await merge_async("a", "b", "c", "python"), Merged)
    search = SymbolSearch(max_symbols=10)
    assert_type(search.update("a.py", b"x"), SearchUpdate)
    assert_type(search.search("x", k=1), list[FoundSymbol])
    assert_type(await search.search_async("x"), list[FoundSymbol])
