"""The pipeline as a whole: opened from a configuration, any stages in any order, one event for each request."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

import sparecall
from loop_steps import settled, turns
from sparecall.cache import BytesCache
from sparecall.errors import ConfigError, InvalidArgument, InvalidDocument, UpstreamError
from sparecall.pipeline import Coalesce, Digest, Embeddings, Event, Exact, Pipeline, Reply, Request, Scope, Upstream
from sparecall.pipeline.answer import Summary
from sparecall.prices import Price, Prices
from stages import QUESTION, Clock, Provider, asking, completion, events_of, text_of, usual

pytestmark = pytest.mark.anyio


def test_open_puts_the_usual_stages_in_their_order() -> None:
    assert repr(sparecall.open()) == "<Pipeline scope -> digest -> exact -> coalesce -> embeddings -> upstream>"
    assert repr(sparecall.open({"cache": {"enabled": False}})) == "<Pipeline scope -> digest -> upstream>"
    pipeline = sparecall.open({"upstream": {"url": "http://localhost:1/v1/"}, "scope": "team"})
    assert pipeline.stage(Scope).scope == "team"
    assert pipeline.stage(Upstream).url == "http://localhost:1/v1"
    assert [type(stage) for stage in pipeline.stages] == [Scope, Digest, Exact, Coalesce, Embeddings, Upstream]
    assert pipeline.stage(dict) is None
    with pytest.raises(ConfigError, match="unknown field `x`"):
        sparecall.open({"x": 1})


async def test_a_pipeline_that_is_not_open_says_so() -> None:
    pipeline = sparecall.open({"scope": "s"})
    with pytest.raises(RuntimeError, match="async with"):
        await pipeline(QUESTION)
    async with pipeline:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        await pipeline(QUESTION)


async def test_stages_open_in_order_and_close_in_reverse_also_when_one_cannot_open() -> None:
    seen: list[str] = []

    class Opening:
        def __init__(self, name: str, *, fails: bool = False) -> None:
            self.name, self.fails = name, fails

        async def __aenter__(self) -> None:
            if self.fails:
                raise OSError("no socket left")
            seen.append(f"open {self.name}")

        async def __aexit__(self, *_: object) -> None:
            seen.append(f"close {self.name}")

        async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
            return Reply(status=200, hit="miss")

    async with Pipeline([Opening("a"), Opening("b")]):
        seen.append("in use")
    assert seen == ["open a", "open b", "in use", "close b", "close a"]
    seen.clear()
    with pytest.raises(OSError, match="no socket left"):
        async with Pipeline([Opening("a"), Opening("b", fails=True)]):
            raise AssertionError("must not come here")
    assert seen == ["open a", "close a"]


async def test_a_mapping_text_or_bytes_is_a_body() -> None:
    pipeline = usual(provider := Provider(), scope="s")
    assert (await pipeline(QUESTION)).hit == "miss"
    assert (await pipeline(Request.of(msgspec.json.encode(QUESTION)))).hit == "exact"
    assert (await pipeline(Request.of(msgspec.json.encode(QUESTION).decode()))).hit == "exact"
    assert msgspec.json.decode(provider.calls[0].body) == QUESTION
    assert QUESTION["messages"][0]["content"] not in repr(provider.calls[0])


async def test_functions_are_stages_and_wrap_those_below() -> None:
    seen: list[str] = []

    async def outer(request: Request, next: Any) -> Reply:  # noqa: A002
        seen.append("outer in")
        reply = await next(msgspec.structs.replace(request, headers={"x": "1"}))
        seen.append("outer out")
        return msgspec.structs.replace(reply, reason="seen")

    async def Inner(request: Request, next: Any) -> Reply:  # noqa: A002, N802
        seen.append(f"inner {dict(request.headers)}")
        return await next(request)

    pipeline = Pipeline([outer, Inner, Provider()])
    assert repr(pipeline) == "<Pipeline outer -> inner -> upstream>"
    reply = await pipeline(asking())
    assert seen == ["outer in", "inner {'x': '1'}", "outer out"]
    assert reply.reason == "seen"
    assert list(reply.micros) == ["outer", "inner", "upstream"]
    assert all(micros >= 0 for micros in reply.micros.values())


async def test_a_stage_may_answer_by_itself_or_call_those_below_twice() -> None:
    async def retrying(request: Request, next: Any) -> Reply:  # noqa: A002
        reply = await next(request)
        return await next(request) if reply.status == 500 else reply

    async def short(request: Request, next: Any) -> Reply:  # noqa: A002
        return Reply(status=418, hit="bypass", body=b"{}")

    provider = Provider(status=500)
    reply = await Pipeline([retrying, provider])(asking())
    assert (reply.status, len(provider.calls)) == (500, 2)
    assert list(reply.micros) == ["retrying", "upstream"]
    assert (await Pipeline([short, provider])(asking())).status == 418
    assert len(provider.calls) == 2


@pytest.mark.parametrize("stages", [[], [Scope(scope="s")]], ids=["no stage", "no last stage"])
async def test_a_stage_that_passes_on_with_none_below_is_told(stages: list[Any]) -> None:
    with pytest.raises(RuntimeError, match="no stage is left: end the pipeline with Upstream"):
        await Pipeline(stages)(asking())


async def test_micros_say_how_far_a_request_came_and_belong_to_one_request() -> None:
    pipeline = usual(Provider())
    request = asking()
    miss, hit = await pipeline(request), await pipeline(request)
    assert list(miss.micros) == ["scope", "digest", "exact", "coalesce", "upstream"]
    assert list(hit.micros) == ["scope", "digest", "exact"]


async def test_a_stage_that_names_its_wires_sees_and_shows_in_no_other_request() -> None:
    class Elsewhere:
        wires = frozenset({"messages"})

        async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
            return Reply(status=418, hit="bypass", body=b"{}")

    pipeline = Pipeline([Elsewhere(), Embeddings(BytesCache(0)), Provider()])
    assert list((await pipeline(asking())).micros) == ["upstream"]
    assert (await pipeline(asking(wire="messages"))).status == 418


async def test_one_event_for_each_request_with_what_it_cost() -> None:
    events: list[Event] = []
    pipeline = usual(Provider(status=200, held=True), on_event=events.append)
    provider = pipeline.stages[-1]
    assert isinstance(provider, Provider)
    calls = [asyncio.ensure_future(pipeline(asking())) for _ in range(3)]
    await turns(5)
    assert events == []
    provider.release()
    replies = await asyncio.gather(*calls)
    await pipeline(asking())
    await pipeline(asking(key=None))
    assert [event.reply.hit for event in events] == ["miss", "coalesced", "coalesced", "exact", "bypass"]
    assert [event.reply for event in events[:3]] == replies
    expected = Prices().cost("gpt-4o", 1000, 100)
    assert expected == pytest.approx(0.0035)
    for event in events:
        assert event.summary is not None
        assert (event.summary.model, event.summary.prompt_tokens, event.summary.completion_tokens) == (
            "gpt-4o",
            1000,
            100,
        )
        assert event.cost == expected
        assert event.seconds >= 0


async def test_a_stream_s_event_comes_once_at_its_end() -> None:
    events: list[Event] = []
    pipeline = usual(provider := Provider(held=True), on_event=events.append)
    provider.gate.set()
    first, second = await pipeline(asking(stream=True)), await pipeline(asking(stream=True))
    await settled()
    assert events == []
    provider.release()
    assert await text_of(first) == await text_of(second) == "Hi there"
    await settled()
    assert [(event.reply.hit, event.cost) for event in events] == [("miss", 0.0035), ("coalesced", 0.0035)]
    assert all(event.reply.stream is None and event.summary is not None for event in events)


@pytest.mark.parametrize(("status", "answer"), [(429, b"{}"), (200, b"<html>")])
async def test_an_error_reply_has_an_event_without_cost(status: int, answer: bytes) -> None:
    events: list[Event] = []
    await usual(Provider(answer, status=status), on_event=events.append)(asking())
    assert [(event.reply.status, event.summary, event.cost) for event in events] == [(status, None, None)]


async def test_a_stream_that_breaks_has_an_event_without_cost() -> None:
    events: list[Event] = []
    pipeline = usual(provider := Provider(held=True), on_event=events.append)
    provider.cut = True
    provider.release()
    reply = await pipeline(asking(stream=True))
    with pytest.raises(ConnectionResetError):
        await text_of(reply)
    assert [(event.reply.hit, event.summary, event.cost) for event in events] == [("miss", None, None)]


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"model": "no-such-model"}, None),
        ({"usage": None}, None),
        ({"usage": {}}, None),
        ({"model": "mine"}, 1000 * 2e-6 + 100 * 4e-6),
        (
            {"usage": {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 500}}},
            0.001875,
        ),
    ],
    ids=["unknown model", "no usage", "empty usage", "own price", "the provider's own cache"],
)
async def test_what_is_not_known_has_no_cost_and_never_costs_nothing(
    fields: dict[str, Any], cost: float | None
) -> None:
    events: list[Event] = []
    stages = [Scope(scope="s"), Digest(), Provider(completion(**fields))]
    await Pipeline(stages, prices=Prices({"mine": Price(2.0, 4.0)}), on_event=events.append)(asking())
    assert [event.cost for event in events] == [pytest.approx(cost) if cost is not None else None]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_observer_that_raises_costs_nobody_an_answer_and_is_told_to_the_loop(stream: bool) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    def broken(event: Event) -> None:
        raise ValueError("from the observer")

    pipeline = usual(Provider(), on_event=broken)
    for _ in range(2):
        assert await text_of(await pipeline(asking(stream=stream))) == "Hi there"
        await settled()
    assert (await pipeline(asking())).hit == "exact"
    assert {str(context["exception"]) for context in told} == {"from the observer"}
    assert len(told) == 3


async def test_a_request_that_raises_makes_no_event() -> None:
    events: list[Event] = []
    pipeline = usual(provider := Provider(), on_event=events.append)
    provider.error = UpstreamError("down", code="unreachable")
    with pytest.raises(UpstreamError):
        await pipeline(asking())
    with pytest.raises(InvalidDocument):
        await pipeline(Request(body=b"{", key="k"))
    with pytest.raises(InvalidArgument):
        await pipeline(asking(scope="a b"))
    assert events == []


async def test_a_whole_reply_and_a_stream_are_read_in_the_same_ways() -> None:
    pipeline = usual(Provider(), clock=Clock())
    stream = await pipeline(asking(stream=True))
    assert "Hi there" not in repr(stream)
    assert (await stream.json())["choices"][0]["message"]["content"] == "Hi there"
    assert await stream.json() == await (await pipeline(asking())).json()
    first = await events_of(await pipeline(asking(stream=True)))
    assert first[0]["choices"][0]["delta"]["content"] == "Hi there"
    assert not stream.complete  # a stream in hand says nothing of its end


async def test_reading_what_is_no_answer() -> None:
    refused = await usual(Provider(b'{"error": 1}', status=429))(asking(stream=True))
    assert await refused.json() == {"error": 1}
    with pytest.raises(UpstreamError, match="status 429") as caught:
        await events_of(refused)
    assert caught.value.code == "incomplete"
    assert await Reply(status=204, hit="bypass").read() == b""
    provider = Provider()
    provider.limit = 10  # a stream too large to be put together
    reply = await usual(provider)(asking(stream=True))
    with pytest.raises(UpstreamError, match="without a complete answer") as caught:
        await reply.read()
    assert caught.value.code == "incomplete"


def test_what_is_stored_of_an_older_summary_can_be_read() -> None:
    older = msgspec.msgpack.encode(["gpt-4o", 1, 2, True])
    assert msgspec.msgpack.decode(older, type=Summary) == Summary("gpt-4o", 1, 2, True, 0)
