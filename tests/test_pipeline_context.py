"""The stage `context`: what goes out, what it says of it, what is stored, and that nothing is lost by whoever leaves."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import sparecall
from loop_steps import no_complaints, settled
from meaning import ASKED, REWORDED, ask, by_meaning, echo
from sparecall.cache import BytesCache
from sparecall.config import load
from sparecall.config.context import Context as ContextConfig
from sparecall.context import steps as steps_module
from sparecall.context import validate
from sparecall.errors import CannotFit, InvalidArgument, UnknownHandle
from sparecall.pipeline import CacheControl, Coalesce, Context, Digest, Exact, Pipeline, Reply, Request, Scope
from sparecall.pipeline.context import of_config
from sparecall.prices import Price, Prices
from stages import Provider, asking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio
Messages = list[dict[str, Any]]
ROWS = [{"flight": f"HAT{n}", "from": "ATL", "to": "LGA", "status": "available"} for n in range(12)]


def talk(days: int, *, words: int = 60) -> Messages:
    """A long conversation of which no two turns say the same; Anthropic's and OpenAI's at once."""
    out: Messages = []
    for day in range(days):
        counted = " ".join(f"box{day}x{word}" for word in range(words))
        out.append({"role": "user", "content": f"Day {day}: {counted}"})
        out.append({"role": "assistant", "content": f"Noted {day}."})
    return [*out, {"role": "user", "content": "What was the last one?"}]


def booking() -> Messages:
    """A conversation whose only result can be said in fewer tokens."""
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"to": "LGA"}'}}
    return [
        {"role": "user", "content": "What goes to LGA?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps(ROWS)},
        {"role": "assistant", "content": "Twelve flights."},
        {"role": "user", "content": "Thanks. And to BOS?"},
    ]


def about(messages: Messages, **fields: Any) -> Request:
    return asking(messages=messages, **fields)


def sent(provider: Provider, at: int = -1) -> Messages:
    return list(msgspec.json.decode(provider.calls[at].body)["messages"])


def whole(provider: Any, stage: Context, **stored: Any) -> Pipeline:
    """The usual stages, and this one."""
    exact = Exact(BytesCache(1 << 24), max_reply_bytes=1 << 20, **stored)
    return Pipeline([Scope(scope=None), Digest(), exact, Coalesce(), stage, provider])


async def test_what_goes_out_is_valid_within_the_budget_and_said() -> None:
    pipeline = Pipeline([Context(budget=3_000), provider := Provider()])
    reply = await pipeline(about(talk(30)))
    validate(sent(provider), form="openai")
    told = reply.optimized
    assert told is not None
    assert told.after <= 3_000 < told.before
    assert (told.lossless, told.why, told.prefix) == (False, "", "first")
    assert sum(told.saved.values()) == told.before - told.after
    assert sent(provider)[0] == talk(1)[0]
    assert sent(provider)[-4:] == talk(30)[-4:]
    assert told.dollars is not None
    assert told.dollars == pytest.approx((told.before - told.after) * 2.5e-6)  # gpt-4o writes at its plain price
    assert 0 < len(told.handles) <= 32


async def test_messages_of_anthropic_are_cut_by_their_own_grammar() -> None:
    pipeline = Pipeline([Context(budget=3_000), provider := Provider()])
    turns = talk(30)
    turns[1] = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "find", "input": {"a": 1}}]}
    turns[2] = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": json.dumps(ROWS)}]}
    fields = {"model": "claude-sonnet-5", "system": "You are a clerk.", "max_tokens": 100}
    reply = await pipeline(Request.of({**fields, "messages": turns}, wire="messages"))
    body = msgspec.json.decode(provider.calls[0].body)
    validate(body["messages"], form="anthropic")
    assert {name: body[name] for name in fields} == fields
    assert reply.lossy
    assert reply.optimized is not None
    assert reply.optimized.after <= 3_000
    # Nobody asked that provider to cache anything: what is spared is spared at the plain price.
    assert reply.optimized.dollars == pytest.approx((reply.optimized.before - reply.optimized.after) * 2e-6)


async def test_breakpoints_that_move_on_go_out_where_they_are_and_change_nothing() -> None:
    pipeline = Pipeline([Context(budget=100_000), provider := Provider()])
    history, mark, whys = [], {"cache_control": {"type": "ephemeral"}}, []
    for turn in range(4):
        text = {"type": "text", "text": f"And {turn}?"}
        result = {"type": "tool_result", "tool_use_id": f"t{turn - 1}", "content": json.dumps(ROWS, indent=2)}
        history.append({"role": "user", "content": [result, text] if turn else text["text"]})
        sent = [*history[:-1], {"role": "user", "content": [*([result] if turn else []), {**text, **mark}]}]
        reply = await pipeline(
            Request.of({"model": "claude-sonnet-5", "max_tokens": 100, "messages": sent}, wire="messages")
        )
        assert reply.optimized is not None
        whys.append(reply.optimized.prefix)
        call = {"type": "tool_use", "id": f"t{turn}", "name": "find", "input": {"at": turn}}
        history.append({"role": "assistant", "content": [call]})
    assert whys == ["first", "extended", "extended", "extended"]
    assert [call.body.count(b"cache_control") for call in provider.calls] == [1] * 4
    last = msgspec.json.decode(provider.calls[-1].body)["messages"]
    assert last[-1]["content"][-1] == {**text, **mark}
    assert len(last[2]["content"][0]["content"]) < len(result["content"])  # as it was sent, in its compact form


@pytest.mark.parametrize("wire", ["responses", "embeddings"])
async def test_other_wires_go_as_they_came(wire: Any) -> None:
    pipeline = Pipeline([Context(budget=10), provider := Provider()])
    request = Request.of({"model": "gpt-4o", "input": "word " * 100}, wire=wire)
    assert (await pipeline(request)).optimized is None
    assert provider.calls[0].body == request.body


async def test_what_is_not_rewritten_goes_out_as_it_was_written() -> None:
    """Spaces, escapes and the spelling of numbers, in the first turn and in later ones."""
    pipeline = Pipeline([Context(budget=100_000), provider := Provider()])
    rows = [json.dumps(row, indent=1).replace("flights", "fl\\u0069ghts").encode() for row in booking()]
    bodies = [
        b'{ "model" : "gpt-4o", "temperature": 1.50, "messages": [' + b" , ".join(rows[:end]) + b"]}"
        for end in (1, 5, 5)
    ]
    replies = [await pipeline(Request.of(body)) for body in bodies]
    assert provider.calls[0].body == bodies[0]  # all of it
    for reply, call in zip(replies[1:], provider.calls[1:], strict=True):
        assert reply.optimized is not None
        assert reply.optimized.lossless
        assert reply.optimized.after < reply.optimized.before
        assert list(reply.optimized.saved) == ["compact"]
        assert reply.optimized.handles == ()
        assert b'"temperature":1.50' in call.body
        assert all((row in call.body) is (at != 2) for at, row in enumerate(rows))
    assert [reply.optimized.prefix for reply in replies if reply.optimized] == ["first", "extended", "extended"]


async def test_a_prefix_stays_and_an_epoch_is_said() -> None:
    pipeline = Pipeline([Context(budget=3_000), provider := Provider()])
    turns, whys, spent = talk(40), [], 0.0
    for end in range(1, len(turns) + 1, 2):
        reply = await pipeline(about(turns[:end]))
        assert reply.optimized is not None
        assert reply.optimized.after <= 3_000
        whys.append(reply.optimized.prefix)
        spent += reply.optimized.dollars or 0.0
        if whys[-1] == "extended":
            assert sent(provider)[:-2] == sent(provider, -2)
    assert whys[0] == "first"
    assert 1 <= whys.count("epoch") < 10
    assert set(whys) == {"first", "extended", "epoch"}
    assert spent > 0


async def test_marks_of_a_cache_stand_where_the_client_put_them_last() -> None:
    """A client of Anthropic's that marks the end of what it sends: the mark moves on, and is never in two places."""
    pipeline = Pipeline([Context(budget=3_000), provider := Provider()])
    turns: Messages = [{"role": "user", "content": "Go on until it is done."}]
    before: Messages = []
    for step in range(24):
        rows = [{**row, "flight": f"{step}-{row['flight']}"} for row in ROWS]
        result = {"type": "tool_result", "tool_use_id": f"t{step}", "content": json.dumps(rows)}
        use = {"type": "tool_use", "id": f"t{step}", "name": "find", "input": {"step": step}}
        turns += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        marked = {"role": "user", "content": [{**result, "cache_control": {"type": "ephemeral"}}]}
        request = Request.of(
            {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [*turns[:-1], marked]}, wire="messages"
        )
        reply = await pipeline(request)
        body = provider.calls[-1].body
        assert body.count(b'"cache_control"') == 1
        assert b'"cache_control"' in body[body.rindex(b'"tool_result"') :]
        validate(sent(provider), form="anthropic")
        plain = msgspec.json.decode(body.replace(b',"cache_control":{"type":"ephemeral"}', b""))["messages"]
        assert reply.optimized is not None
        if reply.optimized.prefix == "changed" and len(plain) > len(before):
            assert plain[: len(before)] == before
        before = plain
    assert reply.lossy


async def test_of_budget_share_and_models_the_right_one_counts() -> None:
    prices = Prices({"mine": Price(1.0, 1.0, window=1_000), "windowless": Price(1.0, 1.0)})
    stage = Context(budget=700, share=0.5, models={"gpt-4*": 90, "gpt-*": 80}, prices=prices)
    assert [stage.budget(model) for model in ("gpt-4o", "gpt-5", "mine", "windowless", "unheard-of")] == [
        90, 80, 500, 700, 700,
    ]  # fmt: skip
    alone = Context(share=0.5, prices=prices)
    assert [alone.budget(model) for model in ("mine", "windowless", "unheard-of")] == [500, None, None]
    reply = await Pipeline([alone, provider := Provider()])(about(talk(9), model="unheard-of"))
    assert reply.optimized is None
    assert sent(provider) == talk(9)


async def test_what_cannot_fit_goes_as_it_came_or_is_refused() -> None:
    request = about(talk(9))
    reply = await Pipeline([Context(budget=20), provider := Provider()])(request)
    assert provider.calls[0].body == request.body
    assert reply.optimized is not None
    assert (reply.optimized.why, reply.lossy) == ("cannot_fit", False)
    with pytest.raises(CannotFit):
        await Pipeline([Context(budget=20, cannot_fit="refuse"), provider := Provider()])(request)
    assert provider.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"model": "gpt-4o"}',
        b'{"model": 5, "messages": []}',
        b'{"model": "gpt-4o", "messages": {}}',
        b'{"model": "gpt-4o", "messages": [5]}',
        b'{"model": "gpt-4o", "messages": [{"content": "x"}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": 5}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800 x"}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "gpt-4o", "tools": 5, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "messages": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}',
    ],
    ids=lambda body: body[:70].decode("ascii", "replace"),
)
async def test_what_is_no_conversation_is_the_providers_to_judge(body: bytes) -> None:
    pipeline = Pipeline([Context(budget=5), provider := Provider()])
    reply = await pipeline(Request.of(body))
    assert provider.calls[0].body == body
    assert reply.optimized is not None
    assert reply.optimized.why in {"unreadable", "cannot_fit"}


@pytest.mark.parametrize("options", [{"budget": 100_000}, {"share": 0.5}])
async def test_what_fails_below_is_not_made_again(options: dict[str, Any]) -> None:
    provider = Provider()
    provider.error = InvalidArgument("from below")
    with pytest.raises(InvalidArgument, match="from below"):
        await Pipeline([Context(**options), provider])(about(booking(), model="unheard-of"))
    assert len(provider.calls) == 1


async def test_orphans_and_odd_arguments_are_the_clients_to_keep() -> None:
    """Only a refusal of the provider's could say what is wrong with it: it is not mended silently."""
    odd = booking()
    odd[1]["tool_calls"][0]["function"]["arguments"] = "{not json"
    odd.insert(1, {"role": "tool", "tool_call_id": "nobody", "content": "lost"})
    pipeline = Pipeline([Context(budget=100_000), provider := Provider()])
    await pipeline(about(odd))
    assert {"role": "tool", "tool_call_id": "nobody", "content": "lost"} in sent(provider)
    assert "{not json" in str(sent(provider))


@pytest.mark.parametrize("stored", [False, True])
async def test_an_answer_to_a_lossy_context_is_stored_only_where_told_and_says_so(stored: bool) -> None:
    pipeline = whole(provider := Provider(), Context(budget=3_000), store_optimized=stored)
    first, second = [await pipeline(about(talk(30))) for _ in range(2)]
    assert (first.hit, first.lossy) == ("miss", True)
    assert (second.hit, second.lossy) == ("exact" if stored else "miss", True)
    assert len(provider.calls) == (1 if stored else 2)
    stream = await pipeline(about(talk(30), stream=True))
    assert stream.lossy
    await stream.read() if stream.stream is None else [events async for events in stream.events()]
    await settled()
    assert (await pipeline(about(talk(30)))).hit == ("exact" if stored else "miss")


@pytest.mark.parametrize("stored", [False, True])
async def test_nor_is_it_found_by_meaning_otherwise(stored: bool) -> None:
    usual = by_meaning(provider := Provider(echo), store_optimized=stored)
    pipeline = Pipeline([*usual.stages[:-1], Context(budget=3_000), provider])
    before = talk(30)[:-1]
    texts = (ASKED, REWORDED)
    first, second = [await ask(pipeline, messages=[*before, {"role": "user", "content": text}]) for text in texts]
    assert (first.hit, second.hit) == ("miss", "semantic" if stored else "miss")
    assert first.lossy
    assert second.lossy


async def test_an_answer_to_all_that_was_said_is_stored_as_any() -> None:
    pipeline = whole(provider := Provider(), Context(budget=100_000))
    first, second = [await pipeline(about(booking())) for _ in range(2)]
    assert first.optimized is not None
    assert first.optimized.after < first.optimized.before
    assert (second.hit, second.optimized) == ("exact", None)
    assert len(provider.calls) == 1


async def test_who_joins_a_call_hears_what_became_of_its_context() -> None:
    pipeline = whole(provider := Provider(held=True), Context(budget=3_000))
    tasks = [asyncio.create_task(pipeline(about(talk(30)))) for _ in range(3)]
    while not provider.calls:  # noqa: ASYNC110 - threads are part of it
        await asyncio.sleep(0.001)
    await settled()
    provider.release()
    replies = [await task for task in tasks]
    assert sorted(reply.hit for reply in replies) == ["coalesced", "coalesced", "miss"]
    assert all(reply.lossy for reply in replies)
    assert len(provider.calls) == 1


def test_settings_are_part_of_the_key_where_they_shape_answers() -> None:
    def key(**context: Any) -> bytes:
        stages = sparecall.open({"scope": "a", "context": context}).stages
        digest = next(stage for stage in stages if isinstance(stage, Digest))
        return digest._suffix

    plain, cut = key(), key(budget=5_000)
    assert plain == key(keep_last=2)  # without a budget nothing is cut
    others = [{"keep_last": 2}, {"prefix": "free"}, {"keep_tools": ["a"]}, {"models": {"x": 5}}, {"share": 0.5}]
    keys = [plain, cut, key(budget=6_000), *(key(budget=5_000, **one) for one in others)]
    assert len(set(keys)) == len(keys)
    assert key(budget=5_000, store_optimized=True, max_bytes=1 << 22) == cut


def test_it_stands_below_the_caches_and_only_with_a_budget() -> None:
    def names(**sections: Any) -> list[str]:
        return [type(stage).__name__ for stage in sparecall.open({"scope": "a", **sections}).stages]

    assert "Context" not in names()
    assert names(context={"budget": 100})[-3:] == ["Embeddings", "Context", "Upstream"]
    controlled = names(context={"share": 0.5}, retry={})
    assert controlled.index("Context") < controlled.index("RetryStage")
    assert load({"context": {"budget": 100}}).with_changes("context", budget=200).context.budget == 200


async def test_handles_open_in_their_own_scope_alone() -> None:
    stage = Context(budget=3_000)
    reply = await Pipeline([stage, Provider()])(about(talk(30), scope="team/a"))
    assert reply.optimized is not None
    handle = reply.optimized.handles[0]
    assert "Day" in stage.handles.get(handle, scope="team/a")
    for scope in ("team", "team/b", ""):
        with pytest.raises(UnknownHandle):
            stage.handles.get(handle, scope=scope)


async def test_source_code_is_read_by_what_it_defines_unless_told_otherwise() -> None:
    def method(name: str) -> str:
        return f"def step_{name}(weight):\n" + "".join(f"    weight = weight * {n} + {name}\n" for n in range(60))

    shown = {"role": "assistant", "content": "\n\n".join(map(method, "abcdef"))}
    asked = {"role": "user", "content": "What does step_d return for 2?"}
    for code in (True, False):
        config = ContextConfig(budget=1_400, keep_last=1, prefix="free", code=code)
        pipeline = Pipeline([of_config(config, prices=Prices()), provider := Provider()])
        await pipeline(about([{"role": "user", "content": "Here is steps.py."}, shown, asked]))
        text = sent(provider)[1]["content"]
        assert (method("d").strip() in text and all(f"def step_{name}(" in text for name in "abcdef")) is code


async def test_tools_that_nobody_calls_are_left_out_only_where_told() -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {}}}
        for name in ("search", "weigh", "paint", "chosen")
    ]
    choice = {"type": "function", "function": {"name": "chosen"}}
    messages = [*booking()[:-1], *talk(30)]
    for keep, left in ((True, "search weigh paint chosen"), (["paint"], "search paint chosen")):
        pipeline = Pipeline([Context(budget=3_000, keep_tools=keep), provider := Provider()])
        reply = await pipeline(about(messages, tools=tools, tool_choice=choice))
        body = msgspec.json.decode(provider.calls[0].body)
        assert " ".join(tool["function"]["name"] for tool in body["tools"]) == left
        assert body["tool_choice"] == choice
        assert reply.optimized is not None
        assert ("tool" in reply.optimized.saved) is (keep is not True)


async def test_a_summary_stands_for_what_is_left_out() -> None:
    async def summarise(span: Messages) -> str:
        return f"{len(span)} days."

    pipeline = Pipeline([Context(budget=3_000, summarise=summarise), provider := Provider()])
    reply = await pipeline(about(talk(30)))
    assert any("Summary of" in str(one["content"]) and " days." in one["content"] for one in sent(provider))
    assert reply.optimized is not None
    assert reply.optimized.saved["summary"] > 0


async def test_only_if_cached_cuts_nothing() -> None:
    stage = Context(budget=3_000)
    request = about(talk(30), cache_control=CacheControl(only_if_cached=True))
    assert (await Pipeline([stage, Provider()])(request)).optimized is None
    assert len(stage.handles) == 0


async def test_a_prefix_that_is_not_kept_has_no_price_under_a_cache() -> None:
    for model, known in (("gpt-4o", False), ("gpt-4", True)):  # the second has no price of cached input
        pipeline = Pipeline([Context(budget=3_000, prefix="free"), Provider()])
        reply = await pipeline(about(talk(30), model=model))
        assert reply.optimized is not None
        assert (reply.optimized.dollars is not None, reply.optimized.prefix) == (known, "")


async def test_names_of_models_that_nobody_knows_share_their_memory() -> None:
    stage = Context(budget=3_000)
    pipeline = Pipeline([stage, Provider()])
    for number in range(20):
        await pipeline(about(talk(2), model=f"made-up-{number}"))
    for model in ("gpt-4o", "gpt-5", "gpt-4.1", "o3", "o1"):
        await pipeline(about(talk(2), model=model))
    assert len(stage._optimizers) == 4


@pytest.mark.parametrize(
    "options", [{"budget": 0}, {"models": {"a": -1}}, {"cannot_fit": "drop"}, {"budget": 9, "keep_last": -1}]
)
def test_what_it_cannot_work_with_is_said_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Context(**options)


async def test_whoever_leaves_at_any_moment_leaves_nothing_behind() -> None:
    """Cancelled after 1, 2, 3 ... turns of the loop; the next request is answered as by a new stage."""

    async def summarise(span: Messages) -> str:
        await asyncio.sleep(0)
        return f"{len(span)} days."

    request = about(talk(14), scope="a")
    fresh = Pipeline([Context(budget=1_500, summarise=summarise), clean := Provider()])
    await fresh(request)
    stage = Context(budget=1_500, summarise=summarise)
    pipeline = Pipeline([stage, provider := Provider()])
    async with no_complaints():
        for turns in itertools.count(1):
            task = asyncio.create_task(pipeline(request))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                await task
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await settled()
    assert turns > 2
    await pipeline(request)
    assert provider.calls[-1].body == clean.calls[0].body


async def test_a_long_conversation_lets_others_run_each_half_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of which each step takes 0.2 ms: never more than three in a turn of the loop."""
    ticks, most, here = itertools.count(), 0, 0
    monkeypatch.setattr(steps_module.time, "perf_counter", lambda: next(ticks) * 0.0002)
    monkeypatch.setattr(asyncio, "to_thread", _at_once)
    pipeline = Pipeline([Context(budget=3_000), Provider()])
    task = asyncio.create_task(pipeline(about(talk(40))))
    while not task.done():
        before = next(ticks)
        await asyncio.sleep(0)
        here = next(ticks) - before
        most = max(most, here)
    assert (await task).lossy
    assert next(ticks) > 200
    assert most <= 8  # and what else asks for the time


async def _at_once(call: Callable[[], Awaitable[Any]]) -> Any:
    await asyncio.sleep(0)
    return call()


def test_a_reply_says_what_became_of_its_context_only_where_something_did() -> None:
    assert not Reply(status=200, hit="miss", reason="", body=b"").lossy
