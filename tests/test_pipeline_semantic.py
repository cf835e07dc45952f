"""The stage `semantic`: what may match, what is stored and compared, and that nothing breaks or leaks by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

import sparecall
from loop_steps import no_complaints, settled, turns
from simulated import INSTANT
from sparecall import simulate
from sparecall.cache import BytesCache
from sparecall.embed import StaticEmbedder
from sparecall.errors import ConfigError, UnknownName
from sparecall.pipeline import (
    CacheControl,
    Coalesce,
    Digest,
    Exact,
    Pipeline,
    Reply,
    Request,
    Scope,
    Semantic,
    messages,
)
from sparecall.pipeline import semantic as stage_module
from sparecall.pipeline.scope import tenant_of
from sparecall.pipeline.turn import last_turn, text_of
from sparecall.semantic import Rule, SemanticCache
from stages import Clock, Provider, asking, completion, events_of
from stages import text_of as text_of_reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.anyio

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


@pytest.mark.parametrize("first", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("second", [False, True], ids=["whole", "stream"])
async def test_a_question_in_other_words_gets_the_stored_answer(first: bool, second: bool) -> None:
    pipeline = by_meaning(provider := Provider(echo), clock=(clock := Clock()))
    miss = await ask(pipeline, stream=first)
    assert (miss.hit, miss.reason) == ("miss", "absent")
    assert miss.semantic is not None
    assert (miss.semantic.why, miss.semantic.id, miss.semantic.similarity) == ("nothing_near", "", None)
    clock.now += 60
    hit = await pipeline(asking(content=REWORDED, stream=second))
    assert (hit.status, hit.hit, hit.reason, hit.age, hit.served_by) == (200, "semantic", "", 60.0, "provider")
    assert hit.semantic is not None
    assert hit.semantic.why == "within bound"
    assert hit.semantic.max_error == 1.0
    assert hit.semantic.similarity is not None
    assert hit.semantic.similarity > 0.9
    assert hit.semantic.id
    assert await text_of_reply(hit) == f"The answer to: {ASKED}"
    assert hit.inspection is not None
    assert hit.inspection.stream is second
    assert len(provider.calls) == 1


async def test_an_exact_answer_comes_first_and_a_semantic_one_is_not_made_exact() -> None:
    pipeline = by_meaning(Provider(echo))
    assert [(await ask(pipeline, text)).hit for text in (ASKED, ASKED, REWORDED, REWORDED)] == [
        "miss",
        "exact",
        "semantic",
        "semantic",
    ]


SYSTEM = {"role": "system", "content": "Answer briefly."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
OTHERS: dict[str, dict[str, Any]] = {
    "model": {"model": "gpt-4o-mini"},
    "temperature": {"temperature": 0.5},
    "tools": {"tools": [TOOL]},
    "response format": {"response_format": {"type": "json_object"}},
    "unknown parameter": {"x": 1},
    "system prompt": {"messages": [SYSTEM, {"role": "user", "content": REWORDED}]},
    "history": {
        "messages": [
            {"role": "user", "content": "I am Ada."},
            {"role": "assistant", "content": "Hello, Ada."},
            {"role": "user", "content": REWORDED},
        ]
    },
    "name": {"messages": [{"role": "user", "name": "ada", "content": REWORDED}]},
    "key": {"key": "sk-b"},
    "scope": {"scope": "thread-2"},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS.keys())
async def test_all_but_the_last_words_must_be_equal(change: dict[str, Any]) -> None:
    pipeline = by_meaning(
        provider := Provider(lambda request: completion(model=msgspec.json.decode(request.body)["model"]))
    )
    await ask(pipeline)
    assert (await ask(pipeline, REWORDED, **change)).hit == "miss"
    respelt = {**change}
    if "messages" in change:
        respelt["messages"] = [*change["messages"][:-1], {**change["messages"][-1], "content": RESPELT}]
    assert (await ask(pipeline, RESPELT, **respelt)).hit == "semantic"  # its own question is found
    assert len(provider.calls) == 2


async def test_what_does_not_count_for_the_digest_does_not_count_here() -> None:
    pipeline = by_meaning(Provider())
    await ask(pipeline)
    body = (
        b'{ "user": "u",\n "messages": [ {"content":"%b", "role" : "user"} ], "stream": false, "model":"gpt-4\\u006f"}'
    )
    assert (await ask(pipeline, request=Request.of(body % REWORDED.encode(), key="sk-a"))).hit == "semantic"


@pytest.mark.parametrize("given", [{"version": 1}, {"settings": ("https://other",)}], ids=str)
async def test_another_version_or_provider_shares_nothing(given: dict[str, Any]) -> None:
    cache = cached()
    await ask(by_meaning(Provider(), cache))
    assert (await ask(by_meaning(Provider(), cache), REWORDED)).hit == "semantic"
    assert (await ask(by_meaning(Provider(), cache, **given), REWORDED)).hit == "miss"


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}
NEVER: dict[str, list[Any]] = {
    "a tool's result at the end": [
        {"role": "user", "content": ASKED},
        CALL,
        {"role": "tool", "tool_call_id": "1", "content": ASKED},
    ],
    "an assistant's turn at the end": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ASKED}],
    "an image": [{"role": "user", "content": [{"type": "text", "text": ASKED}, IMAGE]}],
    "an image alone": [{"role": "user", "content": [IMAGE]}],
    "two texts": [{"role": "user", "content": [{"type": "text", "text": ASKED}] * 2}],
    "no text": [{"role": "user", "content": []}],
    "a number": [{"role": "user", "content": 5}],
    "no content": [{"role": "user"}],
    "no role": [{"content": ASKED}],
    "an object": [{"role": "user", "content": {"text": ASKED}}],
    "a system prompt alone": [{"role": "system", "content": ASKED}],
}


@pytest.mark.parametrize("messages", NEVER.values(), ids=NEVER.keys())
async def test_other_turns_are_not_looked_up_and_not_stored(messages: list[Any]) -> None:
    pipeline = by_meaning(Provider())
    reply = await ask(pipeline, messages=messages)
    assert (reply.hit, reply.semantic) == ("miss", None)
    report = pipeline.stage(Semantic).cache.report()
    assert (report.lookups, report.entries) == (0, 0)


async def test_a_text_in_one_part_is_a_text() -> None:
    pipeline = by_meaning(Provider())
    parts = [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in (ASKED, REWORDED)]
    assert [(await ask(pipeline, messages=messages)).hit for messages in parts] == ["miss", "semantic"]


@pytest.mark.parametrize("control", ["no-store", "no-cache"])
async def test_who_asks_for_no_cache_gets_none(control: str) -> None:
    pipeline = by_meaning(provider := Provider())
    await ask(pipeline)
    reply = await ask(pipeline, REWORDED, cache_control=CacheControl.parse(control))
    assert (reply.hit, reply.semantic, len(provider.calls)) == ("bypass", None, 2)
    assert (await ask(pipeline, REWORDED, temperature=1.5)).hit == "bypass"
    nobody = await ask(pipeline, REWORDED, key=None)
    assert (nobody.hit, nobody.reason) == ("bypass", "no_scope")


async def test_an_answer_that_is_too_old_for_the_client_is_not_served_not_even_shared() -> None:
    pipeline = by_meaning(provider := Provider(), clock=(clock := Clock()))
    await ask(pipeline)
    clock.now += 100
    young, old = CacheControl(max_age=60), CacheControl(max_age=200)
    requests = [asking(content=REWORDED, cache_control=control) for control in (old, young)]
    replies = await asyncio.gather(*map(pipeline, requests))
    assert [reply.hit for reply in replies] == ["semantic", "miss"]
    assert len(provider.calls) == 2


async def test_callers_at_once_share_one_lookup() -> None:
    pipeline = by_meaning(Provider())
    await ask(pipeline)
    replies = await asyncio.gather(*[pipeline(asking(content=REWORDED)) for _ in range(10)])
    assert {reply.hit for reply in replies} == {"semantic"}
    assert pipeline.stage(Semantic).cache.report().lookups == 2


NOT_STORED: dict[str, Any] = {
    "content_filter": completion(finish="content_filter"),
    "another model": completion(model="gpt-4o-mini"),
    "tool calls": completion(choices=[{"index": 0, "finish_reason": "tool_calls", "message": CALL}]),
    "a refusal": completion(choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None, "refusal": "no"}}]),
    "nothing said": completion(""),
    "no JSON": b"<html>",
    "too large": completion("x" * (300 * 1024)),
}  # fmt: skip


@pytest.mark.parametrize("answer", NOT_STORED.values(), ids=NOT_STORED.keys())
async def test_what_may_not_serve_other_words_is_not_stored(answer: bytes) -> None:
    pipeline = by_meaning(Provider(answer))
    await ask(pipeline)
    assert (await ask(pipeline, RESPELT)).hit == "miss"
    assert len(pipeline.stage(Semantic).cache) == 0


@pytest.mark.parametrize("served", ["gpt-4o-2024-08-06", "gpt-4o", "openai/gpt-4o", "gpt-4o-0613", ""])
async def test_a_build_of_the_model_is_that_model(served: str) -> None:
    pipeline = by_meaning(Provider(completion(model=served)))
    assert [(await ask(pipeline, text)).hit for text in (ASKED, RESPELT)] == ["miss", "semantic"]


async def test_answers_of_other_models_are_stored_where_that_is_wished() -> None:
    pipeline = by_meaning(Provider(completion(model="my-model")), other_models=True)
    assert [(await ask(pipeline, text)).hit for text in (ASKED, RESPELT)] == ["miss", "semantic"]


@pytest.mark.parametrize("spoil", ["cut", "error status", "left"])
async def test_a_call_that_comes_to_no_good_end_teaches_nothing(spoil: str) -> None:
    pipeline = by_meaning(provider := Provider(status=500 if spoil == "error status" else 200))
    provider.cut = spoil == "cut"
    provider.rest.clear() if spoil == "left" else None
    reply = await pipeline(asking(content=ASKED, stream=True))
    if reply.stream is not None:
        if spoil == "left":
            reply.stream.close()
            del reply
        else:
            with pytest.raises(ConnectionResetError):
                await events_of(reply)
    await settled()
    assert len(pipeline.stage(Semantic).cache) == 0


class Broken:
    """An embedder that does what it should not."""

    dim = 256

    def __init__(self, does: str) -> None:
        self.does = does

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.does == "raises":
            raise RuntimeError(texts)
        if self.does == "NaN":
            return np.full((1, 256), np.nan, np.float32)
        return np.ones((2, 3), np.float32)


@pytest.mark.parametrize("does", ["raises", "NaN", "wrong shape"])
async def test_an_embedder_that_fails_makes_a_miss(does: str) -> None:
    pipeline = by_meaning(provider := Provider(), cached(Broken(does)))
    for text in (ASKED, RESPELT):
        reply = await ask(pipeline, text)
        assert reply.hit == "miss"
        assert reply.semantic is not None
        assert reply.semantic.why in {"embedder_failed", "bad_vector"}
    assert (len(provider.calls), len(pipeline.stage(Semantic).cache)) == (2, 0)


async def test_an_embedder_that_hangs_makes_a_miss_and_who_leaves_meanwhile_harms_nobody() -> None:
    class Hanging:
        dim = 256

        async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            await asyncio.Event().wait()
            raise AssertionError

    pipeline = by_meaning(provider := Provider(), cached(Hanging(), timeout=0.05))
    leaving = asyncio.create_task(pipeline(asking(content=ASKED)))
    staying = asyncio.create_task(pipeline(asking(content=ASKED)))
    await settled()
    leaving.cancel()
    reply = await staying
    assert (reply.hit in {"miss", "coalesced"}, len(provider.calls)) == (True, 1)
    assert reply.semantic is not None
    assert reply.semantic.why == "embedder_timeout"


async def test_who_leaves_a_call_takes_the_answer_from_nobody() -> None:
    pipeline = by_meaning(provider := Provider(held=True))
    leaving = asyncio.create_task(pipeline(asking(content=ASKED)))
    staying = asyncio.create_task(pipeline(asking(content=ASKED)))
    await settled()
    leaving.cancel()
    await settled()
    provider.release()
    assert (await staying).status == 200
    await pipeline.stage(Semantic).settled()
    assert (await ask(pipeline, REWORDED)).hit == "semantic"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("steps", range(12))
async def test_a_call_may_be_cancelled_at_any_step(steps: int, stream: bool) -> None:
    """The embedder, the provider and the judge all suspend; whoever is left alone then is answered as if nobody had left."""

    class Slow:
        dim = 256

        async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            await turns(2)
            return StaticEmbedder().embed(texts)

    async def judge(stored: str, fresh: str) -> bool:
        await turns(3)
        return stored == fresh

    async with no_complaints():
        cache = cached(Slow(), max_error=0.9, audit_share=1.0, judge=judge)
        pipeline = by_meaning(Provider(completion("The answer.")), cache)
        await ask(pipeline)
        leaving = asyncio.create_task(pipeline(asking(content=REWORDED, stream=stream)))
        await turns(steps)
        leaving.cancel()
        await asyncio.wait([leaving])
        if not leaving.cancelled() and (left := leaving.result().stream) is not None:
            left.close()
        del leaving
        assert (await ask(pipeline, REWORDED, stream=stream)).hit in {"miss", "exact", "coalesced"}
        await settled()
        report = cache.report()
        assert report.entries == 2
        assert report.decision.wrong == 0
        assert len(pipeline.stage(Coalesce)) == 0
        assert not pipeline.stage(Semantic)._learning


# --- tenants -------------------------------------------------------------------------------------


async def test_two_tenants_never_see_each_other() -> None:
    pipeline = by_meaning(provider := Provider(echo))
    texts = (ASKED, REWORDED, RESPELT)
    for text in texts:
        await ask(pipeline, text, key="sk-a")
    before = len(provider.calls)
    first = await ask(pipeline, REWORDED, key="sk-b")
    assert (first.hit, len(provider.calls)) == ("miss", before + 1)
    assert await text_of_reply(first) == f"The answer to: {REWORDED}"
    narrowed = await ask(pipeline, RESPELT, key="sk-a", scope="thread")
    assert narrowed.hit == "miss"


async def test_who_writes_in_another_scope_changes_nothing() -> None:
    """The same questions with and without a poisoner who stores lies in scopes of its own: every answer is the same."""

    async def answers(poisoned: bool) -> list[tuple[str, str]]:
        pipeline = by_meaning(provider := Provider(echo), cached(max_error=0.5, pool=tenant_of))
        found = []
        for text in (ASKED, RESPELT, REWORDED, "How do I enable 2FA?", "how do I enable 2FA", "How do I disable 2FA?"):
            if poisoned:
                provider.answer = completion("LIES")
                for scope in ("a", "b/c", "key-x"):
                    for spelling in (text, text.upper(), f"{text} please"):
                        await ask(pipeline, spelling, key="sk-evil", scope=scope)
                stage = pipeline.stage(Semantic)
                for number in range(1, 60):
                    with pytest.raises(UnknownName):
                        stage.feedback(f"{stage.instance}-{number}", correct=False, scope="key/none")
                provider.answer = echo
            reply = await ask(pipeline, text)
            found.append((reply.hit, await text_of_reply(reply)))
        return found

    clean = await answers(poisoned=False)
    assert await answers(poisoned=True) == clean
    assert clean[1][0] == "semantic"


@pytest.mark.parametrize("apart", [True, False])
async def test_what_one_tenant_teaches_opens_nothing_for_another(apart: bool) -> None:
    """A tenant whose questions all have one answer teaches the cache that numbers do not matter: its own, and no other's."""
    pipeline = by_meaning(
        provider := Provider(completion("OK")), cached(max_error=0.1, pool=tenant_of if apart else None)
    )

    async def served(key: str, count: int) -> int:
        texts = [f"How do I reset the {i}th {chr(97 + i % 26)} thing of account {i * 7}?" for i in range(count)]
        return [(await ask(pipeline, text, key=key)).hit for text in texts].count("semantic")

    assert await served("sk-evil", 500) > 0
    provider.answer = echo
    wrong = await served("sk-b", 60)
    assert wrong == 0 if apart else wrong > 0


def test_a_tenant_is_a_key_or_the_first_part_of_a_scope() -> None:
    scopes = ("key/a", "key/a/b/c", "team", "team/a/b", "keys/a")
    assert [tenant_of(scope) for scope in scopes] == ["key/a", "key/a", "team", "team", "keys"]


async def test_several_must_agree_before_others_are_answered() -> None:
    pipeline = by_meaning(Provider(), cached(promote_after=2), scope="team")
    first = await ask(pipeline, ASKED, key="sk-a")
    assert first.hit == "miss"
    assert (await ask(pipeline, REWORDED, key="sk-a")).hit == "semantic"  # its own
    held = await ask(pipeline, RESPELT, key="sk-b")
    assert held.semantic is not None
    assert (held.hit, held.semantic.why) == ("miss", "unproven")
    assert (await ask(pipeline, REWORDED, key="sk-c")).hit == "semantic"


async def test_a_client_over_its_quota_stores_no_more() -> None:
    pipeline = by_meaning(Provider(), cached(write_quota=1), scope="team")
    for text in (ASKED, "What is the capital of France?"):
        await ask(pipeline, text)
    assert (await ask(pipeline, RESPELT)).hit == "semantic"
    assert (await ask(pipeline, "what is the capital of france")).hit == "miss"


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fresh", "wrong"), [("The answer.", 0), ("Nothing alike: 42 bananas", 1)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_audit_goes_upstream_and_its_answer_is_compared(fresh: str, wrong: int, stream: bool) -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = completion(fresh)
    audit = await ask(pipeline, RESPELT, stream=stream)
    assert audit.semantic is not None
    assert (audit.hit, audit.semantic.why, audit.semantic.id) == ("miss", "audit", "")
    report = pipeline.stage(Semantic).cache.report()
    assert (report.audits, report.decision.audits, report.decision.wrong) == (1, 1, wrong)
    assert report.audit_cost == pytest.approx(0.0035)  # 1,000 tokens in, 100 out


async def test_a_respelling_that_is_audited_is_compared_with_the_old_answer_not_with_its_own() -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = completion("Nothing alike: 42 bananas")
    await ask(pipeline, RESPELT)
    assert pipeline.stage(Semantic).cache.report().decision.wrong == 1
    assert len(pipeline.stage(Semantic).cache) == 1


async def test_an_answer_that_calls_a_tool_is_not_what_the_stored_text_says() -> None:
    pipeline = by_meaning(provider := Provider(completion("The answer.")), cached(max_error=0.9, audit_share=1.0))
    await ask(pipeline)
    provider.answer = NOT_STORED["tool calls"]
    await ask(pipeline, RESPELT)
    assert pipeline.stage(Semantic).cache.report().decision.wrong == 1


async def test_misses_are_compared_for_nothing_until_the_bound_is_met() -> None:
    pipeline = by_meaning(Provider(completion("The answer.")), cached(max_error=0.2))
    kinds = []
    for number in range(40):
        word = f"word{number}"
        await ask(pipeline, f"How do I reset my {word} password?")
        kinds.append((await ask(pipeline, f"How can I reset my {word} password?")).hit)
    assert kinds[0] == "miss"
    assert "semantic" in kinds
    report = pipeline.stage(Semantic).cache.report()
    assert (report.audits, report.audit_cost) == (0, 0.0)
    assert report.decision.verdicts > 0


async def test_a_judge_of_one_s_own_gets_texts_and_may_fail() -> None:
    seen, told = [], []

    async def judge(stored: str, fresh: str) -> bool:
        seen.append((stored, fresh))
        raise RuntimeError("the judge is ill")

    pipeline = by_meaning(provider := Provider(echo), cached(max_error=0.9, audit_share=1.0, judge=judge))
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await ask(pipeline)
    assert (await ask(pipeline, REWORDED)).hit == "miss"
    assert seen == [(f"The answer to: {ASKED}", f"The answer to: {REWORDED}")]
    assert len(provider.calls) == 2
    await settled()
    assert [str(context["exception"]) for context in told] == ["the judge is ill"]


async def test_long_answers_are_compared_in_a_thread() -> None:
    judged = stage_module.judge("a" * 5_000, "a" * 5_000)
    assert asyncio.iscoroutine(judged)
    assert await judged == (True, 1.0)
    assert stage_module.judge("a", "a") == (True, 1.0)


async def test_feedback_evicts_in_the_scope_of_the_answer_alone() -> None:
    pipeline = by_meaning(Provider(), scope="team")
    stage = pipeline.stage(Semantic)
    await ask(pipeline)
    hit = await ask(pipeline, REWORDED)
    assert hit.semantic is not None
    number = hit.semantic.id.partition("-")[2]
    for id_, scope in [(hit.semantic.id, "other"), (f"0-{number}", "team"), (number, "team"), ("", "team"), (f"{stage.instance}-99", "team"), (f"{stage.instance}-{'9' * 99}", "team")]:  # fmt: skip
        with pytest.raises(UnknownName):
            stage.feedback(id_, correct=False, scope=scope)
    stage.feedback(hit.semantic.id, correct=True, scope="team")
    assert (await ask(pipeline, REWORDED)).hit == "semantic"
    stage.feedback(hit.semantic.id, correct=False, scope="team")
    assert (await ask(pipeline, REWORDED)).hit == "miss"


# --- categories, configuration, restart ----------------------------------------------------------


async def test_a_category_has_a_limit_and_a_switch_of_its_own() -> None:
    categories = {
        "orders": sparecall.config.SemanticCategory(pattern=r"(?i)\border\b"),
        "small": sparecall.config.SemanticCategory(model="*-mini"),
    }
    cache = cached(rules={"orders": Rule(enabled=False), "small": Rule(max_error=0.01)})
    category = stage_module.Categories(categories, max_characters=100)
    pipeline = by_meaning(
        Provider(lambda r: completion(model=msgspec.json.decode(r.body)["model"])), cache, category=category
    )
    for text in ("Where is my order?", "where is my ORDER"):
        off = await ask(pipeline, text)
        assert off.semantic is not None
        assert (off.hit, off.semantic.why) == ("miss", "disabled")
    await ask(pipeline, model="gpt-4o-mini")
    small = await ask(pipeline, REWORDED, model="gpt-4o-mini")
    assert small.semantic is not None
    assert (small.hit, small.semantic.max_error) == ("miss", 0.01)
    await ask(pipeline)
    assert (await ask(pipeline, REWORDED)).hit == "semantic"


async def test_the_configured_pipeline_asks_a_real_provider_and_survives_a_restart(tmp_path: Path) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as url:
        config = {
            "scope": "team",
            "upstream": {"url": url, "api_key": "k"},
            "semantic": {"enabled": True, "max_error": 1.0, "audit_share": 0.0},
        }
        async with sparecall.open(config) as pipeline:
            stored = await ask(pipeline)
            assert (await ask(pipeline, REWORDED, stream=True)).hit == "semantic"
            names = list((await ask(pipeline, RESPELT)).micros)
            assert names == ["scope", "digest", "exact", "coalesce", "semantic"]
            pipeline.stage(Semantic).cache.save(tmp_path / "kept")
        async with sparecall.open(config) as pipeline:
            assert pipeline.stage(Semantic).cache.load(tmp_path / "kept") == 1
            again = await ask(pipeline, REWORDED)
            assert (again.hit, await again.read()) == ("semantic", await stored.read())
    assert provider.calls.total() == 1


def test_it_is_off_unless_enabled() -> None:
    assert sparecall.open().stage(Semantic) is None
    assert isinstance(sparecall.open({"semantic": {"enabled": True}}).stage(Semantic), Semantic)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"semantic\.folder is .*nowhere"):
        sparecall.open({"semantic": {"enabled": True, "embedder": "minilm", "folder": str(tmp_path / "nowhere")}})


# --- other wires ---------------------------------------------------------------------------------


def responses_body(text: str, *, listed: bool = True) -> dict[str, Any]:
    said: Any = [{"role": "user", "content": [{"type": "input_text", "text": text}]}] if listed else text
    return {"model": "gpt-4o", "input": said, "metadata": {"asked": text}}


DIALECT = {"anthropic-version": "2023-06-01"}


def messages_body(text: str) -> dict[str, Any]:
    return {"model": "claude-3-5-haiku-latest", "max_tokens": 50, "system": "Brief.", "messages": [{"role": "user", "content": text}]}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_responses_and_messages_are_answered_too(stream: bool) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as url:
        upstream = {"url": url, "api_key": "k"}
        config = {"scope": "t", "upstream": upstream, "anthropic": upstream, "semantic": {"enabled": True, "max_error": 1.0, "audit_share": 0.0}}  # fmt: skip
        async with sparecall.open(config) as pipeline:
            for wire, bodies in {
                "responses": [responses_body(ASKED), responses_body(REWORDED)],
                "messages": [messages_body(ASKED), messages_body(REWORDED)],
            }.items():
                first, second = [Request.of({**body, "stream": stream}, wire=wire, headers=DIALECT) for body in bodies]
                miss = await pipeline(first)
                stored = await miss.json()
                await settled()
                await pipeline.stage(Semantic).settled()
                hit = await pipeline(second)
                assert (miss.hit, hit.hit) == ("miss", "semantic")
                body = await hit.json()
                if wire == "responses":
                    assert body["metadata"] == {"asked": REWORDED}  # its own, not the other's
                    body["metadata"] = stored["metadata"]
                assert body == stored


async def test_another_dialect_of_anthropic_s_is_another_question() -> None:
    def asked(text: str, version: str) -> Request:
        return Request.of(messages_body(text), wire="messages", key="sk-a", headers={"anthropic-version": version})

    body = {"id": "m", "type": "message", "role": "assistant", "model": "claude-3-5-haiku-20241022", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "a"}], "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip

    async def provider(request: Request, next: Any) -> Reply:  # noqa: A002
        data = msgspec.json.encode(body)
        return Reply(status=200, hit="miss", wire="messages", body=data, summary=messages.summarise(data))

    pipeline = by_meaning(provider)
    requests = [asked(ASKED, "1"), asked(REWORDED, "1"), asked(REWORDED, "2")]
    assert [(await ask(pipeline, request=request)).hit for request in requests] == ["miss", "semantic", "miss"]


def test_turns_of_other_wires() -> None:
    def turn(body: dict[str, Any], wire: Any) -> str | None:
        found = last_turn(msgspec.json.encode(body), wire, scope="", version=0)
        return None if found is None else found.text

    assert turn(responses_body("a"), "responses") == turn(responses_body("a", listed=False), "responses") == "a"
    assert turn({"model": "m", "input": [{"type": "function_call_output", "output": "x"}]}, "responses") is None
    assert turn({"model": "m", "input": []}, "responses") is None
    assert turn(messages_body("a"), "messages") == "a"
    result = {"type": "tool_result", "tool_use_id": "1", "content": "x"}
    assert turn({"model": "m", "messages": [{"role": "user", "content": [result]}]}, "messages") is None
    assert turn({"model": "m", "input": "a"}, "embeddings") is None


ANSWERS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "reasoning is not said": ("responses", {"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": [{"type": "output_text", "text": "a"}]}]}, "a"),
    "a call": ("responses", {"output": [{"type": "function_call", "arguments": "{}"}]}, None),
    "a refusal": ("responses", {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, None),
    "two blocks": ("messages", {"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
    "text and a tool": ("messages", {"content": [{"type": "text", "text": "a"}, {"type": "tool_use"}]}, None),
    "embeddings": ("embeddings", {"data": []}, None),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "body", "text"), ANSWERS.values(), ids=ANSWERS.keys())
def test_the_text_of_an_answer(wire: Any, body: dict[str, Any], text: str | None) -> None:
    assert text_of(msgspec.json.encode(body), wire) == text
