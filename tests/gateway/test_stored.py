"""Only whole, finished, servable answers are stored; whatever else comes is shown to the client as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gateway.site import (
    DONE,
    QUESTION,
    USAGE_CHUNK,
    Site,
    chunk,
    completion,
    scripted_site,
    send_events,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

pytestmark = pytest.mark.anyio


def json_reply(body: Any, status: int = 200) -> Handler:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return reply


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
        {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]},
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
