"""The digest stage: one key for one meaning, other keys for other settings, and reasons for what has none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sparecall import queue
from sparecall.digest import INLINE_BYTES
from sparecall.errors import InvalidDocument
from sparecall.pipeline import Digest, Pipeline, Reply, Request
from stages import Provider, asking, usual

pytestmark = pytest.mark.anyio


async def digested(request: Request, **options: Any) -> Reply:
    """The reply to a request, with the inspection that the stage made."""
    return await Pipeline([Digest(**options), Provider()])(request)


async def key_of(request: Request, **options: Any) -> bytes:
    reply = await digested(request, **options)
    assert reply.inspection is not None
    return reply.inspection.digest


async def test_the_same_meaning_in_the_same_scope_has_the_same_key() -> None:
    spaced = Request(body=b'{"messages": [{"content": "Hello", "role": "user"}],\n "model": "gpt-4o"}', scope="s")
    assert await key_of(asking(scope="s")) == await key_of(asking(scope="s", stream=True)) == await key_of(spaced)
    assert await key_of(asking(scope="s")) != await key_of(asking(scope="s", content="other"))


async def test_scope_version_and_every_setting_are_part_of_the_key() -> None:
    options: list[tuple[str | None, dict[str, Any]]] = [
        (None, {}),
        ("s", {}),
        ("s", {"version": 1}),
        ("s", {"settings": ("http://a",)}),
        ("s", {"settings": ("http://b",)}),
        ("s", {"settings": ("a", "b")}),
        ("s", {"settings": ("a\nb",)}),
        ("s", {"settings": ("ab",)}),
        ("s", {"settings": ("",)}),
    ]
    keys = [await key_of(asking(scope=scope), **each) for scope, each in options]
    assert len(set(keys)) == len(options)


async def test_limits_of_what_is_cacheable_are_no_part_of_the_key() -> None:
    assert await key_of(asking(scope="s"), max_temperature=0.0) == await key_of(asking(scope="s"), max_n=5)


@pytest.mark.parametrize(
    ("fields", "options", "reason"),
    [
        ({}, {}, ""),
        ({"temperature": 1}, {}, ""),
        ({"temperature": 1.01}, {}, "temperature"),
        ({"temperature": 1.01}, {"max_temperature": 2.0}, ""),
        ({}, {"max_temperature": 0.5}, "temperature"),
        ({"temperature": 0.5}, {"max_temperature": 0.5}, ""),
        ({"temperature": "hot"}, {}, "temperature_type"),
        ({"n": 1}, {}, ""),
        ({"n": 2}, {}, "n"),
        ({"n": 2}, {"max_n": 2}, ""),
        ({"n": "2"}, {}, "n_type"),
        ({"messages": []}, {}, "not_chat"),
        ({"model": ""}, {}, "not_chat"),
        ({"stream_options": 5}, {}, "stream_options_type"),
    ],
    ids=str,
)
async def test_what_asks_for_variety_or_is_odd_bypasses_the_cache_and_says_why(
    fields: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    reply = await usual(Provider(), **options)(asking(**fields))
    assert (reply.hit, reply.reason) == (("bypass", reason) if reason else ("miss", "absent"))


async def test_the_first_reason_found_stays() -> None:
    reply = await usual(Provider())(asking(key=None, temperature=2))
    assert reply.reason == "no_scope"


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 200], ids=repr)
async def test_a_body_that_is_not_json_or_is_ambiguous_goes_nowhere(body: bytes) -> None:
    provider = Provider()
    with pytest.raises(InvalidDocument):
        await usual(provider)(Request(body=body, key="sk-a"))
    assert provider.calls == []


async def test_a_merged_reply_carries_the_inspection_of_its_own_request() -> None:
    pipeline = usual(provider := Provider(held=True))
    calls = [asyncio.ensure_future(pipeline(asking(stream=stream))) for stream in (True, False)]
    await asyncio.sleep(0)
    provider.release()
    replies = await asyncio.gather(*calls)
    assert [reply.inspection.stream for reply in replies if reply.inspection] == [True, False]


async def test_a_big_body_is_read_off_the_event_loop_and_a_small_one_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[float] = []
    run = queue.run

    async def counted(work: queue.Work[Any], **options: Any) -> Any:
        handed.append(work.seconds)
        return await run(work, **options)

    monkeypatch.setattr(queue, "run", counted)
    small, big = asking(scope="s"), asking(scope="s", content="x" * INLINE_BYTES)
    await digested(small)
    assert handed == []
    found = await digested(big)
    assert len(handed) == 1
    assert found.inspection is not None
    assert found.inspection.cacheable
    assert await key_of(big) == found.inspection.digest
