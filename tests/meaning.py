"""What the tests of the stage `semantic` share: a pipeline that answers by meaning, and questions in several words."""

from __future__ import annotations

from typing import Any

import msgspec

from loop_steps import settled
from sparecall.cache import BytesCache
from sparecall.embed import StaticEmbedder
from sparecall.pipeline import Coalesce, Digest, Exact, Pipeline, Reply, Request, Scope, Semantic
from sparecall.pipeline import semantic as stage_module
from sparecall.semantic import SemanticCache
from stages import Clock, asking, completion, events_of

CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}
ASKED = "How do I reset my password?"
REWORDED = "How can I reset my password?"
RESPELT = "how do I reset   my PASSWORD"


def cached(embedder: Any = None, *, max_error: float = 1.0, **options: Any) -> SemanticCache:
    given = {"audit_share": 0.0, "seed": 1, "judge": stage_module.judge, "pool": options.pop("pool", None), **options}
    return SemanticCache(embedder or StaticEmbedder(), max_error=max_error, **given)


def by_meaning(
    provider: Any,
    cache: SemanticCache | None = None,
    *,
    scope: str | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Pipeline:
    """The usual stages with this one; at `max_error=1.0` the nearest question is always served."""
    clock = clock or Clock()
    given = {"version": options.pop("version", 0), "settings": options.pop("settings", ())}
    stages = [
        Scope(scope=scope),
        Digest(**given),
        Exact(BytesCache(1 << 24, clock=clock), clock=clock),
        Coalesce(),
        Semantic(cached(clock=clock) if cache is None else cache, clock=clock, **given, **options),
        provider,
    ]
    return Pipeline(stages)


def echo(request: Request) -> bytes:
    """An answer that says which question it was made for."""
    content = msgspec.json.decode(request.body)["messages"][-1]["content"]
    return completion(f"The answer to: {content if isinstance(content, str) else content[0]['text']}")


async def ask(pipeline: Pipeline, content: str = ASKED, **fields: Any) -> Reply:
    """A reply, read to its end and learnt from."""
    reply = await pipeline(fields.pop("request", None) or asking(content=content, **fields))
    if reply.stream is not None:
        await events_of(reply)
        await settled()
    await pipeline.stage(Semantic).settled()
    return reply
