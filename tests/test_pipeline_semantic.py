"""The stage `semantic`: what may match, what is stored and compared, and that nothing breaks or leaks by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

import sparecall
from loop_steps import no_complaints, settled, turns
from meaning import ASKED, CALL, RESPELT, REWORDED, ask, by_meaning, cached, echo
from simulated import INSTANT
from sparecall import simulate
from sparecall.embed import StaticEmbedder
from sparecall.errors import ConfigError
from sparecall.pipeline import (
    CacheControl,
    Coalesce,
    Reply,
    Request,
    Semantic,
    messages,
)
from sparecall.pipeline import semantic as stage_module
from sparecall.pipeline.turn import last_turn, text_of
from sparecall.semantic import Rule
from stages import Clock, Provider, asking, completion, events_of
from stages import text_of as text_of_reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.anyio


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
