"""Identical calls in flight are one call: whole replies and streams, early and late, whoever leaves and whenever."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from loop_steps import no_complaints, settled, turns
from sparecall.pipeline import Coalesce, Digest, Pipeline, Reply, Request
from stages import Provider, asking, completion, events_of, text_of, usual

pytestmark = pytest.mark.anyio


def in_flight(pipeline: Pipeline) -> int:
    return len(pipeline.stage(Coalesce))


async def answered(pipeline: Pipeline, request: Request) -> tuple[str, str]:
    reply = await pipeline(request)
    return reply.hit, await text_of(reply)


async def gathered(*calls: Any) -> list[Any]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    "streams", [(False,) * 4, (True,) * 4, (True, False, True, False), (False, True, False, True)], ids=str
)
async def test_whole_and_streaming_calls_join_one_call_and_one_of_them_is_the_miss(streams: tuple[bool, ...]) -> None:
    pipeline = usual(provider := Provider(held=True))
    calls = [asyncio.ensure_future(answered(pipeline, asking(stream=stream))) for stream in streams]
    await turns(5)
    assert in_flight(pipeline) == 1
    provider.release()
    assert await gathered(*calls) == [("miss", "Hi there")] + [("coalesced", "Hi there")] * 3
    assert len(provider.calls) == 1
    await settled()
    assert in_flight(pipeline) == 0
    assert await answered(pipeline, asking()) == ("exact", "Hi there")


async def test_ten_thousand_identical_cold_calls_make_one_call() -> None:
    pipeline = usual(provider := Provider(held=True))
    calls = [asyncio.ensure_future(pipeline(asking(stream=index % 3 == 0))) for index in range(10_000)]
    await turns(3)
    provider.release()
    replies = await gathered(*calls)
    assert len(provider.calls) == 1
    assert sum(reply.hit == "miss" for reply in replies) == 1
    assert {reply.hit for reply in replies} == {"miss", "coalesced"}
    del replies, calls


async def test_different_questions_run_side_by_side() -> None:
    pipeline = usual(
        provider := Provider(lambda request: completion(str(request.inspection and request.scope)), held=True)
    )
    calls = [asyncio.ensure_future(pipeline(asking(content=content, scope=scope)))
             for content, scope in [("a", None), ("b", None), ("a", "x")]]  # fmt: skip
    await turns(5)
    assert (len(provider.calls), in_flight(pipeline)) == (3, 3)
    provider.release()
    assert [reply.hit for reply in await gathered(*calls)] == ["miss"] * 3


async def test_who_comes_late_gets_the_stream_from_its_start() -> None:
    pipeline = usual(provider := Provider(held=True))
    provider.gate.set()
    first = await pipeline(asking(stream=True))
    await settled()
    assert in_flight(pipeline) == 1
    late = await pipeline(asking(stream=True))
    whole = asyncio.ensure_future(pipeline(asking()))
    await settled()
    assert not whole.done()
    provider.release()
    assert (first.hit, late.hit) == ("miss", "coalesced")
    assert await events_of(first) == await events_of(late)
    assert await text_of(await whole) == "Hi there"
    assert len(provider.calls) == 1
    assert (await pipeline(asking())).hit == "exact"


async def test_each_of_a_stream_s_callers_has_usage_only_where_asked_for() -> None:
    pipeline = usual(provider := Provider(held=True))
    calls = [asyncio.ensure_future(pipeline(asking(stream=True, stream_options=options)))
             for options in ({"include_usage": True}, {"include_usage": False})]  # fmt: skip
    await turns(5)
    provider.release()
    replies = await gathered(*calls)
    assert [reply.inspection.include_usage for reply in replies] == [True, False]
    with_usage, without = [await events_of(reply, include_usage=reply.inspection.include_usage) for reply in replies]
    assert with_usage[-1]["usage"]["completion_tokens"] == 100
    assert all("usage" not in event for event in without)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_leader_leaves_and_the_others_go_on(stream: bool) -> None:
    pipeline = usual(provider := Provider(held=True))
    leader, *others = [asyncio.ensure_future(answered(pipeline, asking(stream=stream))) for _ in range(3)]
    await turns(5)
    leader.cancel()
    await turns(5)
    provider.release()
    assert await gathered(*others) == [("miss", "Hi there"), ("coalesced", "Hi there")]
    assert (len(provider.calls), provider.cancelled) == (1, 0)
    await settled()
    assert await answered(pipeline, asking()) == ("exact", "Hi there")


async def test_the_reader_of_the_first_stream_leaves_and_the_others_read_on() -> None:
    pipeline = usual(provider := Provider(held=True))
    provider.gate.set()
    first = await pipeline(asking(stream=True))
    second = await pipeline(asking(stream=True))
    assert first.stream is not None
    first.stream.close()
    await settled()
    assert provider.writing == 1
    provider.release()
    assert await text_of(second) == "Hi there"
    assert await answered(pipeline, asking()) == ("exact", "Hi there")


@pytest.mark.parametrize("leaving", ["close", "let go"])
@pytest.mark.parametrize("watched", [False, True])
async def test_when_every_reader_leaves_the_provider_s_stream_is_stopped(leaving: str, watched: bool) -> None:
    """Letting go of a reply is enough: nothing else keeps its reader."""
    events: list[Any] = []
    pipeline = usual(provider := Provider(held=True), on_event=events.append if watched else None)
    provider.gate.set()
    replies = [await pipeline(asking(stream=True)) for _ in range(2)]
    await settled()
    assert provider.writing == 1
    for reply in replies:
        if leaving == "close":
            assert reply.stream is not None
            reply.stream.close()
    del reply
    gc.disable()
    try:
        replies.clear()
        await settled()
        assert provider.writing == 0
    finally:
        gc.enable()
    assert in_flight(pipeline) == 0
    assert [event.summary for event in events] == [None, None] * watched
    provider.release()
    assert await answered(pipeline, asking(stream=True)) == ("miss", "Hi there")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_reaches_everybody_and_is_not_kept(stream: bool) -> None:
    async with no_complaints():
        pipeline = usual(provider := Provider(held=True))
        provider.error = ValueError("down")
        calls = [asyncio.ensure_future(pipeline(asking(stream=stream))) for _ in range(3)]
        await turns(5)
        provider.release()
        assert [str(error) for error in await gathered(*calls)] == ["down"] * 3
        assert (len(provider.calls), in_flight(pipeline)) == (1, 0)
        provider.error = None
        assert await answered(pipeline, asking(stream=stream)) == ("miss", "Hi there")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_provider_is_everybodys_reply(stream: bool) -> None:
    pipeline = usual(provider := Provider(b'{"error": {}}', status=429, held=True))
    calls = [asyncio.ensure_future(pipeline(asking(stream=stream))) for _ in range(3)]
    await turns(5)
    provider.release()
    replies = await gathered(*calls)
    assert [(reply.status, reply.hit) for reply in replies] == [(429, "miss"), (429, "coalesced"), (429, "coalesced")]
    assert len(provider.calls) == 1


async def test_who_asks_again_at_once_after_an_error_is_not_given_it_again() -> None:
    pipeline = usual(provider := Provider(status=500))

    async def twice() -> list[str]:
        return [(await pipeline(asking())).hit for _ in range(2)]

    hits = await gathered(*(twice() for _ in range(4)))
    assert len(provider.calls) == 2
    assert sorted(hits) == [["coalesced", "coalesced"]] * 3 + [["miss", "miss"]]


async def test_a_stream_that_breaks_breaks_for_everybody_and_the_next_call_is_new() -> None:
    async with no_complaints():
        pipeline = usual(provider := Provider(held=True))
        provider.cut = True
        calls = [asyncio.ensure_future(answered(pipeline, asking(stream=stream))) for stream in (True, True, False)]
        await turns(5)
        provider.release()
        assert [type(error) for error in await gathered(*calls)] == [ConnectionResetError] * 3
        await settled()
        assert in_flight(pipeline) == 0
        provider.cut = False
        assert await answered(pipeline, asking()) == ("miss", "Hi there")


async def test_a_live_stream_that_is_too_large_takes_no_newcomers() -> None:
    pipeline = usual(provider := Provider(held=True))
    provider.limit = 10
    provider.gate.set()
    first = await pipeline(asking(stream=True))
    await settled()
    provider.limit = 1 << 20
    second = await pipeline(asking(stream=True))
    assert (first.hit, second.hit, len(provider.calls)) == ("miss", "miss", 2)
    provider.release()
    assert [await text_of(first), await text_of(second)] == ["Hi there"] * 2


async def test_a_stream_that_overflows_before_its_callers_have_resumed_is_still_theirs() -> None:
    """The provider's first write may hold more than the limit; nobody pays for a second call."""
    pipeline = usual(provider := Provider(completion("x" * 500), held=True))
    provider.limit = 10
    calls = [asyncio.ensure_future(answered(pipeline, asking(stream=True))) for _ in range(3)]
    await turns(5)
    provider.release()
    assert await gathered(*calls) == [("miss", "x" * 500)] + [("coalesced", "x" * 500)] * 2
    assert len(provider.calls) == 1


async def test_whole_calls_that_joined_a_stream_without_a_whole_answer_ask_again_together() -> None:
    pipeline = usual(provider := Provider(held=True))
    provider.limit = 10
    calls = [asyncio.ensure_future(answered(pipeline, asking(stream=index == 0))) for index in range(50)]
    await turns(5)
    provider.release()
    found = await gathered(*calls)
    assert [text for _, text in found] == ["Hi there"] * 50
    assert [hit for hit, _ in found].count("miss") == 2
    assert len(provider.calls) == 2
    await settled()
    assert in_flight(pipeline) == 0


async def test_calls_that_bypass_are_never_merged() -> None:
    pipeline = usual(provider := Provider(held=True))
    calls = [asyncio.ensure_future(pipeline(request)) for request in
             [asking(key=None), asking(key=None), asking(temperature=2.0), asking(temperature=2.0)]]  # fmt: skip
    await turns(5)
    assert (len(provider.calls), in_flight(pipeline)) == (4, 0)
    provider.release()
    assert [(reply.hit, reply.reason) for reply in await gathered(*calls)] == [("bypass", "no_scope")] * 2 + [
        ("bypass", "temperature")
    ] * 2


async def test_without_a_scope_nothing_is_merged_though_the_scope_stage_was_left_out() -> None:
    provider = Provider(held=True)
    pipeline = Pipeline([Digest(), Coalesce(), provider])
    calls = [asyncio.ensure_future(pipeline(asking(key=key))) for key in ("sk-a", "sk-b")]
    await turns(5)
    provider.release()
    await gathered(*calls)
    assert len(provider.calls) == 2


async def test_a_stage_that_calls_its_own_pipeline_with_the_same_question_does_not_wait_for_itself() -> None:
    depth = 0

    async def recursive(request: Request, next: Any) -> Reply:  # noqa: A002
        nonlocal depth
        depth += 1
        if depth == 1:
            inner = await pipeline(asking())
            assert inner.hit == "miss"
        return await next(request)

    usual_stages = usual(provider := Provider()).stages
    pipeline = Pipeline([*usual_stages[:-1], recursive, provider])
    async with asyncio.timeout(10):
        assert (await pipeline(asking())).hit == "miss"


@pytest.mark.parametrize("victims", [{0}, {1}, {0, 1}, {0, 1, 2}], ids=str)
@pytest.mark.parametrize(
    "streams", [(False, False, False), (True, True, True), (True, False, True), (False, True, False)], ids=str
)
async def test_cancellation_at_every_step_of_the_whole_pipeline_loses_nothing(
    victims: set[int], streams: tuple[bool, ...]
) -> None:
    """Some of three callers are cancelled after k turns of the loop, for every k from before the first step to after the last."""

    async def slow(request: Request, next: Any) -> Reply:  # noqa: A002
        await turns(2)
        return await next(request)

    async with no_complaints():
        for k in range(20):
            provider = Provider()
            pipeline = Pipeline([*usual(provider).stages[:-1], slow, provider])
            calls = [asyncio.ensure_future(answered(pipeline, asking(stream=stream))) for stream in streams]
            await turns(k)
            for index in victims:
                calls[index].cancel()
            found = await gathered(*calls)
            survivors = [outcome for outcome in found if not isinstance(outcome, asyncio.CancelledError)]
            assert all(not isinstance(found[index], asyncio.CancelledError) for index in set(range(3)) - victims)
            assert [text for _, text in survivors] == ["Hi there"] * len(survivors)
            assert len(provider.calls) <= 1
            assert [hit for hit, _ in survivors].count("miss") <= 1
            if 0 not in victims:
                assert found[0][0] == "miss"
            await settled()
            assert in_flight(pipeline) == 0
            assert provider.writing == 0
            assert (await answered(pipeline, asking()))[1] == "Hi there"
