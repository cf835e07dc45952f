"""Only whole, finished, servable answers are stored; whatever else comes is shown to the client as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from aiohttp import web

from gateway.site import (
    DONE,
    HELLO,
    QUESTION,
    USAGE_CHUNK,
    Site,
    chunk,
    completion,
    json_reply,
    scripted_site,
    send_events,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

pytestmark = pytest.mark.anyio


def stream_reply(*events: bytes) -> Handler:
    async def reply(http: web.Request) -> web.StreamResponse:
        return await send_events(http, events)

    return reply


async def text_of(site: Site, **options: Any) -> str:
    client = await site.sdk()
    if not options.get("stream"):
        return str((await client.chat.completions.create(**QUESTION, **options)).choices[0].message.content)
    parts = [part async for part in await client.chat.completions.create(**QUESTION, **options)]
    return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


async def test_an_answer_over_the_limit_is_passed_on_whole_and_not_stored_in_either_form() -> None:
    words = "word " * 200

    async def reply(http: web.Request) -> web.StreamResponse:
        if (await http.json()).get("stream"):
            events = [chunk({"role": "assistant", "content": words}), chunk({}, "stop"), USAGE_CHUNK, DONE]
            return await send_events(http, events)
        return web.json_response(completion(words))

    async with scripted_site(reply, cache={"max_reply_bytes": 500}) as (site, script):
        for calls, stream in enumerate([False, True, True, False], 1):
            assert await text_of(site, stream=stream) == words
            assert script.calls == calls


@pytest.mark.parametrize(
    "change",
    [
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "message": {"tool_calls": [1]}, "finish_reason": "stop"}]},
        {"usage": {"prompt_tokens": -5, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": "ten"}},
        {"model": None},
        {"choices": None},
    ],
)
async def test_an_answer_that_could_not_be_replayed_or_counted_is_passed_on_and_not_stored(
    change: dict[str, Any],
) -> None:
    async with scripted_site(json_reply(completion(**change))) as (site, script):
        http = await site.http()
        for calls in (1, 2):
            for_stream = {**QUESTION, "stream": calls == 2}
            async with http.post(f"{site.url}/chat/completions", json=for_stream) as response:
                assert (response.status, response.headers["x-sparecall-cache"]) == (200, "miss")
                assert await response.json() == completion(**change)
            assert script.calls == calls


STREAMS = {
    "no finish_reason": [*HELLO[:-1], DONE],
    "no [DONE]": HELLO,
    "cut": HELLO[:2],
    "content filter": [*HELLO[:-1], chunk({}, "content_filter"), DONE],
    "an error event": [*HELLO[:2], b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'],
    "an error, then the end": [*HELLO[:2], b'data: {"error": {"message": "overloaded"}}\n\n', HELLO[-1], DONE],
    "no JSON": [*HELLO[:2], b"data: {\xff\n\n", *HELLO[2:], DONE],
    "a choice without index": [*HELLO[:2], b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', HELLO[-1], DONE],
    "choices numbered oddly": [
        *HELLO,
        b'data: {"choices": [{"index": "1", "delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n',
        DONE,
    ],
    "tool calls that are none": [*HELLO[:2], chunk({"tool_calls": [1, 2]}), HELLO[-1], DONE],
    "nothing": [DONE],
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_is_not_a_whole_answer_is_shown_as_it_is_and_not_stored(name: str) -> None:
    events = STREAMS[name]
    async with scripted_site(stream_reply(*events)) as (site, script):
        http = await site.http()
        for calls in (1, 2):
            async with http.post(f"{site.url}/chat/completions", json={**QUESTION, "stream": True}) as response:
                assert response.status == 200
                body = await response.read()
            shown = b"".join(events)
            if DONE in events:
                assert body == shown
            else:
                assert body.startswith(shown + b'data: {"error":{"message":"Upstream: ')
                assert DONE not in body
            assert script.calls == calls


async def test_the_sdk_raises_on_a_stream_that_breaks_off() -> None:
    async with scripted_site(stream_reply(*HELLO[:2])) as (site, _):
        with pytest.raises(openai.APIError, match="ended a stream before its end mark"):
            await text_of(site, stream=True)


async def test_a_stream_that_breaks_before_its_first_event_is_a_502() -> None:
    async with scripted_site(stream_reply()) as (site, _):
        with pytest.raises(openai.InternalServerError) as caught:
            await text_of(site, stream=True)
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_broken")


BODIES: dict[str, tuple[Any, int]] = {
    "content filter": (completion(finish="content_filter"), 200),
    "no finish": (completion(finish=None), 200),
    "no choices": (completion(choices=[]), 200),
    "an error": ({"error": {"message": "overloaded"}}, 200),
    "created": (completion(), 201),
    "bad request": ({"error": {"message": "no such model"}}, 400),
    "server error": ({"error": {"message": "failed"}}, 500),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_reply_that_is_not_a_whole_answer_is_shown_as_it_is_and_not_stored(name: str) -> None:
    body, status = BODIES[name]
    async with scripted_site(json_reply(body, status)) as (site, script):
        http = await site.http()
        for calls in (1, 2):
            async with http.post(f"{site.url}/chat/completions", json=QUESTION) as response:
                assert (response.status, await response.json()) == (status, body)
            assert script.calls == calls


async def test_a_length_finish_is_stored() -> None:
    async with scripted_site(json_reply(completion(finish="length"))) as (site, script):
        assert [await text_of(site) for _ in range(2)] == ["Hello.", "Hello."]
        assert script.calls == 1
