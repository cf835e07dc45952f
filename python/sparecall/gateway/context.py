"""What the gateway counts of contexts that were trimmed, and `GET /sparecall/context/HANDLE`: what was removed, for its own scope."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sparecall.errors import UnknownHandle
from sparecall.exchange import Refusal
from sparecall.pipeline import Context
from sparecall.pipeline.scope import scope_in

if TYPE_CHECKING:
    from sparecall.metrics import Registry
    from sparecall.pipeline import Pipeline, Reply, Request

PATH = "/sparecall/context/"
SECONDS = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Contexts:
    """The families of contexts. Labels are of closed lists."""

    __slots__ = ("_dollars", "_prefixes", "_requests", "_saved", "_seconds", "_tokens")

    def __init__(self, registry: Registry) -> None:
        self._requests = registry.counter(
            "sparecall_context_requests_total",
            "Requests whose context was looked at, by what became of it.",
            ("outcome",),
        )
        self._tokens = registry.counter(
            "sparecall_context_tokens_total", "Their tokens, as they came and as they went out.", ("direction",)
        )
        self._saved = registry.counter(
            "sparecall_context_saved_tokens_total", "Tokens that did not go out, by what was done.", ("change",)
        )
        self._dollars = registry.counter(
            "sparecall_context_dollars_total",
            "Dollars that this spared, and that epochs cost more at first, under the provider's prefix cache.",
            ("kind",),
        )
        self._prefixes = registry.counter(
            "sparecall_context_prefixes_total",
            "Requests with a stable prefix, by what became of what was sent before.",
            ("why",),
        )
        self._seconds = registry.histogram(
            "sparecall_context_seconds", "Seconds that it took.", buckets=SECONDS
        ).labels()

    def observe(self, reply: Reply) -> None:
        """Counts one context that went out. One of an answer from memory, or of somebody else's call, did not."""
        done = reply.optimized
        if done is None or reply.hit not in {"miss", "bypass"}:
            return
        whole = "whole" if done.before == done.after else "lossless" if done.lossless else "lossy"
        self._requests.labels(done.why or whole).add()
        self._seconds.observe(done.seconds)
        self._tokens.labels("in").add(done.before)
        self._tokens.labels("out").add(done.after)
        for change, tokens in done.saved.items():
            self._saved.labels(change).add(max(0, tokens))
        if done.prefix:
            self._prefixes.labels(done.prefix).add()
        if done.dollars:
            self._dollars.labels("spared" if done.dollars > 0 else "spent").add(abs(done.dollars))


def fetched(pipeline: Pipeline, request: Request, handle: str) -> bytes:
    """What was removed, as JSON. Raises a 404 for a handle that names nothing in the request's scope."""
    context: Context | None = pipeline.stage(Context)
    scope = scope_in(pipeline, request)
    # The same words for all: a handle of another scope looks like one that never was.
    unknown = Refusal(
        404, "There is no such text here: it is of another scope or process, or is gone.", code="unknown_handle"
    )
    if context is None or scope is None:
        raise unknown
    try:
        text = context.handles.get(handle, scope=scope)
    except UnknownHandle:
        raise unknown from None
    return json.dumps({"handle": handle, "text": text}).encode()  # with lone surrogates, which UTF-8 has no bytes for
