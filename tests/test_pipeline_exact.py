"""The exact cache: what is stored and for how long, what a client may ask of it, and that it never serves another's answer."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from loop_steps import settled
from sparecall.cache import BytesCache
from sparecall.pipeline import Answer, CacheControl, Exact, Pipeline, Reply, Request
from sparecall.prices import Prices
from stages import Clock, Provider, asking, completion, events_of, text_of, usual

pytestmark = pytest.mark.anyio


def cache_of(pipeline: Pipeline) -> BytesCache:
    exact = pipeline.stage(Exact)
    assert isinstance(exact, Exact)
    return exact.cache


async def hits(pipeline: Pipeline, *requests: Any) -> list[str]:
    """What each request in turn was answered with, every stream read to its end."""
    found = []
    for request in requests:
        reply = await pipeline(request)
        if reply.stream is not None:
            await events_of(reply)
        found.append(reply.hit)
    return found


@pytest.mark.parametrize("first", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("second", [False, True], ids=["whole", "stream"])
async def test_one_stored_answer_serves_streams_and_whole_replies(first: bool, second: bool) -> None:
    pipeline = usual(provider := Provider(), clock=(clock := Clock()))
    miss = await pipeline(asking(stream=first))
    assert (miss.hit, miss.reason, miss.age, miss.served_by) == ("miss", "absent", 0.0, "provider")
    assert await text_of(miss) == "Hi there"
    clock.now += 60
    hit = await pipeline(asking(stream=second))
    assert (hit.status, hit.hit, hit.reason, hit.age, hit.served_by) == (200, "exact", "", 60.0, "provider")
    assert await text_of(hit) == "Hi there"
    assert (await hit.json())["usage"]["prompt_tokens"] == 1000
    assert hit.complete
    assert hit.inspection is not None
    assert hit.inspection.stream is second
    assert len(provider.calls) == 1
    if not first:
        assert await hit.read() == completion()  # to the byte


async def test_an_exact_hit_as_a_stream_has_usage_where_asked_for() -> None:
    pipeline = usual(Provider())
    await pipeline(asking())
    silent = await events_of(await pipeline(asking(stream=True)))
    spoken = await events_of(await pipeline(asking(stream=True)), include_usage=True)
    assert len(spoken) == len(silent) + 1
    assert spoken[-1]["usage"]["completion_tokens"] == 100
    assert all("usage" not in event for event in silent)


@pytest.mark.parametrize(
    "change",
    [
        {"content": "other"},
        {"key": "sk-b"},
        {"scope": "thread-2"},
        {"model": "gpt-4o-mini"},
        {"temperature": 0.5},
        {"x": 1},
    ],
    ids=str,
)
async def test_another_question_scope_or_setting_is_another_answer(change: dict[str, Any]) -> None:
    pipeline = usual(Provider())
    assert await hits(pipeline, asking(), asking(**change), asking(), asking(**change)) == [
        "miss",
        "miss",
        "exact",
        "exact",
    ]


NOT_STORED: dict[str, Any] = {
    "content_filter": completion(finish="content_filter"),
    "no finish": completion(finish=None),
    "no choices": completion(choices=[]),
    "an error in a 200": b'{"error": {"message": "overloaded"}}',
    "no JSON": b"<html>busy</html>",
    "half a JSON": completion()[:50],
    "nothing": b"",
    "too large": completion("x" * (1 << 20)),
}


@pytest.mark.parametrize("answer", NOT_STORED.values(), ids=NOT_STORED.keys())
async def test_what_is_no_whole_answer_is_passed_on_and_not_stored(answer: bytes) -> None:
    pipeline = usual(provider := Provider(answer))
    for _ in range(2):
        reply = await pipeline(asking())
        assert (reply.status, reply.hit, await reply.read()) == (200, "miss", answer)
    assert (len(provider.calls), len(cache_of(pipeline))) == (2, 0)


@pytest.mark.parametrize("status", [201, 302, 400, 401, 429, 500, 503])
async def test_a_status_other_than_200_is_never_stored(status: int) -> None:
    pipeline = usual(provider := Provider(status=status))
    for _ in range(2):
        reply = await pipeline(asking())
        assert (reply.status, reply.hit, reply.complete) == (status, "miss", False)
    assert (len(provider.calls), len(cache_of(pipeline))) == (2, 0)


@pytest.mark.parametrize("spoil", ["cut", "too large", "content_filter", "left"])
async def test_a_stream_that_comes_to_no_good_end_is_not_stored(spoil: str) -> None:
    provider = Provider(
        completion(finish="content_filter") if spoil == "content_filter" else None, held=spoil == "left"
    )
    provider.cut, provider.limit = spoil == "cut", 100 if spoil == "too large" else 1 << 20
    provider.gate.set()
    pipeline = usual(provider)
    reply = await pipeline(asking(stream=True))
    assert reply.stream is not None
    if spoil == "cut":
        with pytest.raises(ConnectionResetError):
            await text_of(reply)
    elif spoil == "left":
        reply.stream.close()
    else:
        assert await text_of(reply) == "Hi there"
    await settled()
    assert len(cache_of(pipeline)) == 0
    provider.cut = False
    provider.release()
    assert await hits(pipeline, asking(stream=True)) == ["miss"]


async def test_an_answer_lives_as_long_as_the_cache_says() -> None:
    pipeline = usual(Provider(), clock=(clock := Clock()), ttl=100.0)
    assert await hits(pipeline, asking()) == ["miss"]
    clock.now += 99
    assert await hits(pipeline, asking()) == ["exact"]
    clock.now += 2
    assert await hits(pipeline, asking(), asking()) == ["miss", "exact"]


async def test_a_clock_that_was_set_back_gives_no_negative_age() -> None:
    pipeline = usual(Provider(), clock=(clock := Clock()))
    await pipeline(asking())
    clock.now -= 1000
    reply = await pipeline(asking(cache_control=CacheControl(max_age=0)))
    assert (reply.hit, reply.age) == ("exact", 0.0)


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        ("", CacheControl()),
        ("no-store", CacheControl(no_store=True)),
        ("No-Cache", CacheControl(no_cache=True)),
        ("only-if-cached, max-age=60", CacheControl(only_if_cached=True, max_age=60.0)),
        ('max-age="60"', CacheControl(max_age=60.0)),
        ("max-age=", CacheControl(max_age=0.0)),
        ("max-age=-1", CacheControl(max_age=0.0)),
        ("max-age=1.5", CacheControl(max_age=0.0)),
        ("max-age=٣", CacheControl(max_age=0.0)),
        ("max-age=1e3", CacheControl(max_age=0.0)),
        (" no-store ,, max-stale=5, private", CacheControl(no_store=True)),
        ("no-storex", CacheControl()),
        ("max-age=" + "9" * 400, CacheControl(max_age=float("inf"))),
    ],
)
def test_cache_control_is_read_as_the_rfc_says_and_on_the_safe_side(header: str, parsed: CacheControl) -> None:
    assert CacheControl.parse(header) == parsed


async def test_no_store_neither_reads_nor_writes() -> None:
    pipeline = usual(Provider())
    refusing = asking(cache_control=CacheControl(no_store=True))
    reply = await pipeline(refusing)
    assert (reply.hit, reply.reason, len(cache_of(pipeline))) == ("bypass", "no_store", 0)
    assert await hits(pipeline, asking(), refusing, asking()) == ["miss", "bypass", "exact"]


@pytest.mark.parametrize("stream", [False, True])
async def test_no_cache_reads_nothing_but_writes(stream: bool) -> None:
    pipeline = usual(provider := Provider(lambda _request: completion(f"answer {len(provider.calls)}")))
    fresh = asking(stream=stream, cache_control=CacheControl(no_cache=True))
    assert await text_of(await pipeline(asking())) == "answer 1"
    reply = await pipeline(fresh)
    assert (reply.hit, reply.reason) == ("bypass", "no_cache")
    assert await text_of(reply) == "answer 2"
    after = await pipeline(asking())
    assert (after.hit, await text_of(after)) == ("exact", "answer 2")


async def test_max_age_takes_a_young_answer_and_replaces_an_old_one() -> None:
    pipeline = usual(Provider(), clock=(clock := Clock()))
    await pipeline(asking())
    clock.now += 30
    assert await hits(pipeline, asking(cache_control=CacheControl(max_age=30))) == ["exact"]
    reply = await pipeline(asking(cache_control=CacheControl(max_age=29)))
    assert (reply.hit, reply.reason) == ("miss", "max_age")
    assert (await pipeline(asking())).age == 0.0


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        ({}, "absent"),
        ({"no_cache": True}, "no_cache"),
        ({"no_store": True}, "absent"),
    ],
    ids=str,
)
async def test_only_if_cached_makes_no_call_whatever_else_is_asked(control: dict[str, bool], reason: str) -> None:
    pipeline = usual(provider := Provider())
    reply = await pipeline(asking(cache_control=CacheControl(only_if_cached=True, **control)))
    assert (reply.status, reply.hit, reply.reason) == (504, "bypass", reason)
    assert (await reply.json())["error"]["code"] == "only_if_cached"
    assert provider.calls == []


async def test_only_if_cached_serves_what_is_there() -> None:
    pipeline = usual(Provider())
    await pipeline(asking())
    assert await hits(pipeline, asking(cache_control=CacheControl(only_if_cached=True))) == ["exact"]


async def stored(pipeline: Pipeline, **question: Any) -> tuple[bytes, bytes]:
    """Asks a question and gives the key and the bytes under which its answer lies."""
    reply = await pipeline(asking(**question))
    assert reply.inspection is not None
    value = cache_of(pipeline).get(reply.inspection.digest)
    assert value is not None
    return reply.inspection.digest, value


async def test_another_questions_bytes_under_a_digest_are_a_miss() -> None:
    pipeline = usual(provider := Provider(lambda request: completion(str(len(request.body)))))
    digest, value = await stored(pipeline)
    _, other = await stored(pipeline, content="a longer question")
    cache_of(pipeline).set(digest, other)
    reply = await pipeline(asking())
    assert (reply.hit, reply.reason) == ("miss", "mismatch")
    assert cache_of(pipeline).get(digest) == value
    assert len(provider.calls) == 3


async def test_another_scopes_bytes_under_a_digest_are_a_miss() -> None:
    pipeline = usual(Provider())
    digest, value = await stored(pipeline)
    answer = msgspec.msgpack.decode(value, type=Answer)
    assert answer.digest == digest
    assert answer.scope.startswith("key/")
    cache_of(pipeline).set(digest, msgspec.msgpack.encode(msgspec.structs.replace(answer, scope="key/someone-else")))
    reply = await pipeline(asking())
    assert (reply.hit, reply.reason) == ("miss", "mismatch")


@pytest.mark.parametrize("value", [b"", b"\xff\xff", b"\xa2\xff\xff", b"\x96", b"{}"], ids=repr)
async def test_bytes_that_cannot_be_read_are_deleted_and_a_miss(value: bytes) -> None:
    pipeline = usual(Provider(status=500))
    digest, _ = await stored(good := usual(Provider()))
    assert len(cache_of(good)) == 1
    cache_of(pipeline).set(digest, value)
    reply = await pipeline(asking())
    assert (reply.status, reply.hit, reply.reason) == (500, "miss", "unreadable")
    assert digest not in cache_of(pipeline)


async def test_any_damage_to_the_stored_bytes_ends_in_a_reply() -> None:
    pipeline = usual(Provider())
    digest, value = await stored(pipeline)
    draw = random.Random(0)
    for _ in range(500):
        damaged = bytearray(value)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(min(len(damaged), 120))] = draw.randrange(256)
        cache_of(pipeline).set(digest, bytes(damaged[: draw.choice([len(damaged), draw.randrange(len(damaged))])]))
        reply = await pipeline(asking())
        assert isinstance(reply, Reply)
        assert reply.hit in {"exact", "miss"}


async def test_without_digest_or_scope_the_stage_only_passes_on() -> None:
    provider = Provider()
    exact = Exact(BytesCache(1 << 20))
    reply = await Pipeline([exact, provider])(asking())
    assert (reply.hit, len(exact.cache), len(provider.calls)) == ("miss", 0, 1)


async def test_an_answer_is_stored_with_the_dollars_and_seconds_it_cost() -> None:
    clock = Clock()

    def answer(_request: Request) -> bytes:
        clock.now += 3
        return completion()

    pipeline = usual(Provider(answer), clock=clock)
    assert await hits(pipeline, asking(), asking(), asking(stream=True)) == ["miss", "exact", "exact"]
    stats = cache_of(pipeline).stats()
    price = Prices().cost("gpt-4o", 1000, 100)
    assert price is not None
    assert (stats.spent, stats.saved) == (price, 2 * price)
    assert (stats.spent_seconds, stats.saved_seconds) == (3.0, 6.0)
