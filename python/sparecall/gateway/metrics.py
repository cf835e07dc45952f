"""What the gateway counts. One call per request on the hot path; everything else is read when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparecall.gateway.calls import Calls
from sparecall.gateway.context import Contexts
from sparecall.metrics import Registry
from sparecall.pipeline import Coalesce, Embeddings, Exact, Semantic

if TYPE_CHECKING:
    from sparecall.batch import BatchEvent
    from sparecall.metrics import Counter, Histogram
    from sparecall.pipeline import Event, Pipeline
    from sparecall.semantic import Report

SECONDS = (
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
MODELS, LONGEST_NAME = 256, 64
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
TOKENS = (64, 256, 1024, 4096, 16_384, 65_536, 300_000)
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


_SEMANTIC = {
    "entries": "Answers that can be found by meaning.",
    "lookups": "Questions that were looked up by meaning.",
    "served": "Of those, answered from memory.",
    "held_back": "Of those, near a stored question but not served: within the limit it cannot be.",
    "audits": "Of those, good hits that went to the provider all the same, to be compared.",
    "audit_cost_dollars": "What the calls for them cost.",
    "audited": "Hits whose answer got a verdict.",
    "wrong": "Of those, wrong: divided by the audited the measured share of errors.",
    "error_upper": "The upper end of the 95 % interval of that share; of several workers the largest.",
    "alarms": "How often what was learnt had to prove itself anew.",
    "closed": "1 while nothing but respellings is served; of several workers the sum.",
}


class Metrics:
    """Prometheus families of one gateway. Labels come from closed sets; model names are bounded by the registry."""

    __slots__ = (
        "_alone",
        "_answered",
        "_batches",
        "_contexts",
        "_cost",
        "_counted",
        "_entries",
        "_errors",
        "_evictions",
        "_in_flight",
        "_isolated",
        "_registry",
        "_requests",
        "_seconds",
        "_semantic",
        "_sizes",
        "_store_bytes",
        "_tokens",
        "_unpriced",
        "calls",
        "loop_lag",
    )  # fmt: skip

    def __init__(self) -> None:
        registry = self._registry = Registry()
        self._requests = registry.counter(
            "sparecall_requests_total", "Requests answered, by kind of hit and status class.", ("cache", "status")
        )
        self._errors = registry.counter(
            "sparecall_errors_total", "Requests that the gateway itself answered with an error, by its code.", ("code",)
        )
        self._seconds = registry.histogram(
            "sparecall_request_seconds",
            "Seconds to the reply; for a stream, to its first event.",
            ("cache",),
            buckets=SECONDS,
        )
        # Series on the hot path are fetched once: hit and status class come from closed sets.
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._tokens = registry.counter(
            "sparecall_tokens_total",
            "Tokens of answers, as the provider counted them.",
            ("kind", "direction", "model"),
        )
        # So are those of tokens, in and out, by kind and model. Models are named by the provider: so many are told apart.
        self._counted: dict[tuple[str, str], tuple[Counter, Counter]] = {}
        self._cost = registry.counter(
            "sparecall_cost_dollars_total", "Dollars spent on calls, and spared by hits.", ("kind", "model")
        )
        self._unpriced = registry.counter(
            "sparecall_unpriced_total", "Complete answers of models without a known price.", ("model",)
        )
        self._entries = registry.gauge("sparecall_cache_entries", "Answers in memory.")
        self._store_bytes = registry.gauge("sparecall_cache_bytes", "Their weight.")
        self._evictions = registry.gauge(
            "sparecall_cache_evictions", "Answers that left memory, by reason.", ("reason",)
        )
        self._in_flight = registry.gauge("sparecall_calls_in_flight", "Calls that newcomers can join.")
        self._semantic = {name: registry.gauge(f"sparecall_semantic_{name}", text) for name, text in _SEMANTIC.items()}
        self.calls = Calls(registry)
        self._contexts = Contexts(registry)
        self._batches = registry.counter(
            "sparecall_batches_total", "Batches of embeddings that ended, by why they closed.", ("reason",)
        )
        self._sizes = (
            registry.histogram("sparecall_batch_requests", "Requests of one batch.", buckets=ITEMS).labels(),
            registry.histogram("sparecall_batch_tokens", "Tokens of one, at most.", buckets=TOKENS).labels(),
            registry.histogram(
                "sparecall_batch_wait_seconds", "How long the first of one waited.", buckets=SECONDS
            ).labels(),
        )
        self._isolated = registry.counter(
            "sparecall_batch_isolation_calls_total", "Further calls, to find the request for which one was refused."
        ).labels()
        self._alone = registry.gauge(
            "sparecall_batch_alone", "Requests that waited too long, or found too many waiting, and went by themselves."
        )
        self.loop_lag = registry.histogram(
            "sparecall_loop_lag_seconds", "How late a timer was that looks ten times a second.", buckets=LAG
        ).labels()

    def passed_on(self, status: int) -> None:
        """Counts one call of a wire that has no cache."""
        self._requests.labels("bypass", f"{status // 100}xx").add()

    def refused(self, code: str) -> None:
        """Counts one error reply of the gateway's own."""
        self._errors.labels(code).add()

    def batched(self, event: BatchEvent) -> None:
        """Counts one batch that has ended."""
        self._batches.labels(event.reason).add()
        for size, amount in zip(self._sizes, (event.items, event.tokens, event.waited), strict=True):
            size.observe(amount)
        if event.calls > 1:
            self._isolated.add(event.calls - 1)

    def observe(self, event: Event) -> None:
        """Counts one request that has been answered."""
        reply, summary = event.reply, event.summary
        of_kind = reply.hit, reply.status // 100
        series = self._answered.get(of_kind)
        if series is None:
            series = self._answered[of_kind] = (
                self._requests.labels(reply.hit, f"{reply.status // 100}xx"),
                self._seconds.labels(reply.hit),
            )
        requests, seconds = series
        requests.add()
        seconds.observe(event.seconds)
        if reply.origin is not None:
            self.calls.answered(reply)
        if reply.optimized is not None:
            self._contexts.observe(reply)
        if summary is None:
            return
        # A bypass reached the provider like a miss; every other hit spared a call.
        kind = "spent" if reply.hit in {"miss", "bypass"} else "spared"
        model = summary.model
        read, written = summary.prompt_tokens, summary.completion_tokens
        if read or written:  # both 0: nobody counted
            counted = self._counted.get((kind, model)) or self._tokens_of(kind, model)
            counted[0].add(read)
            counted[1].add(written)
        if event.cost is None:
            self._unpriced.labels(model).add()
        else:
            self._cost.labels(kind, model).add(event.cost)

    def _tokens_of(self, kind: str, model: str) -> tuple[Counter, Counter]:
        """Series of a model not met before. Past the bound it is one called `other`: the registry's own would lose the kind too."""
        if len(self._counted) >= MODELS or len(model) > LONGEST_NAME:
            return self._tokens.labels(kind, "input", "other"), self._tokens.labels(kind, "output", "other")
        counted = self._tokens.labels(kind, "input", model), self._tokens.labels(kind, "output", model)
        self._counted[kind, model] = counted
        return counted

    def render(self, pipeline: Pipeline) -> str:
        """The Prometheus text, with what the pipeline's stages hold right now."""
        exact, coalesce = pipeline.stage(Exact), pipeline.stage(Coalesce)
        if exact is not None:
            stats = exact.cache.stats()
            self._entries.labels().set(stats.entries)
            self._store_bytes.labels().set(stats.weight)
            for reason, count in stats.evictions.items():
                self._evictions.labels(reason).set(count)
        if coalesce is not None:
            self._in_flight.labels().set(len(coalesce))
        self.calls.look(pipeline)
        embeddings = pipeline.stage(Embeddings)
        if embeddings is not None and embeddings.batches is not None:
            self._alone.labels().set(embeddings.batches.alone)
        semantic = pipeline.stage(Semantic)
        if semantic is not None:
            for name, value in _semantic(semantic.cache.report()).items():
                self._semantic[name].labels().set(value)
        return self._registry.render()


def _semantic(report: Report) -> dict[str, float]:
    decisions = report.decisions.values()
    audited, wrong = (sum(getattr(each, name) for each in decisions) for name in ("audits", "wrong"))
    return {
        "entries": report.entries,
        "lookups": report.lookups,
        "served": report.hits,
        "held_back": report.misses.get("held_back", 0),
        "audits": report.audits,
        "audit_cost_dollars": report.audit_cost,
        "audited": audited,
        "wrong": wrong,
        "error_upper": report.error_interval[1],
        "alarms": sum(each.alarms for each in decisions),
        "closed": 0.0 if any(each.open for each in decisions) else 1.0,
    }
