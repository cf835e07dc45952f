"""A bug anywhere may cost an answer; it tells nobody the prompt, the answer or a key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gateway.site import HELLO, Site, chunk, completion, scripted_site, send_events, until
from gateway.test_secrets import ASKED, KEY, OWN, unspoken
from sparecall.gateway import Gateway
from sparecall.gateway.metrics import Metrics
from sparecall.pipeline import Coalesce, Upstream, chat
from sparecall.pipeline.log import LogEvent, ReplyLog

pytestmark = pytest.mark.anyio

ANSWER = "ANSWER-2b9e-UNSPEAKABLE"


async def answer(http: web.Request) -> web.StreamResponse:
    if (await http.json()).get("stream"):
        events = [HELLO[0], chunk({"content": ANSWER}), HELLO[-1], b"data: [DONE]\n\n"]
        return await send_events(http, events)
    return web.json_response(completion(ANSWER))


async def ask(site: Site, path: str, *, stream: bool) -> tuple[int, bytes]:
    """The status and the body, as far as it comes: 0 where there is no reply."""
    http, received = await site.http(KEY), b""
    try:
        async with http.post(f"{site.url}/{path}", json={**ASKED, "stream": stream}) as response:
            async for data in response.content.iter_any():
                received += data
            return response.status, received
    except aiohttp.ClientError:
        return 0, received


BUGS: dict[str, tuple[Any, str]] = {
    "the pipeline": (Gateway, "_request"),
    "the upstream": (Upstream, "send"),
    "the assembly": (chat.Assembler, "add"),
    "the end of a stream": (chat.Assembler, "finish"),
    "the log": (ReplyLog, "append"),
    "the merging": (Coalesce, "_share"),
    "the summary": (chat, "summarise"),
    "the rendering": (chat, "without_usage"),
    "the scrape": (Metrics, "render"),
}


@pytest.mark.parametrize("name", BUGS)
async def test_a_bug_tells_nobody_what_it_was_about(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    def bug(*_: object, **__: object) -> None:
        raise KeyError(ASKED, KEY, OWN, ANSWER)

    async with scripted_site(answer, upstream={"api_key": OWN}) as (site, _):
        monkeypatch.setattr(*BUGS[name], bug)
        for path, stream in (("chat/completions", False), ("chat/completions", True), ("responses", False)):
            status, said = await ask(site, path, stream=stream)
            if status != 200:
                unspoken(said.decode())
            assert said.count(b"HTTP/1.1") == 0, "an error reply never stands inside another reply"
        http = await site.http(None)
        for path in ("metrics", "healthz", "readyz", "v1/..", "x"):
            async with http.get(f"{site.root}/{path}") as response:
                unspoken(await response.text())
        await until(lambda: len(site.gateway.pipeline.stage(Coalesce)) == 0)
        for thing in (site.gateway, site.gateway.pipeline, *site.gateway.pipeline.stages):
            unspoken(repr(thing))
    unspoken(caplog.text + "".join(capfd.readouterr()))


async def test_a_bug_in_the_middle_of_a_stream_breaks_it_off_and_appends_no_second_reply(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()
    usual = chat.without_usage

    async def slow(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:1])
        await go_on.wait()
        await response.write(chunk({"content": ANSWER}))
        return response

    def second_time(events: list[LogEvent]) -> list[bytes]:
        if go_on.is_set():
            raise KeyError(ANSWER, KEY)
        return usual(events)

    monkeypatch.setattr(chat, "without_usage", second_time)
    async with scripted_site(slow) as (site, _):
        reader, writer = await site.raw()
        body = msgspec.json.encode({**ASKED, "stream": True})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        received = await reader.readuntil(HELLO[0])
        go_on.set()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                received += data
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n"), "no end that a client could take for one"
    unspoken(caplog.text)
    assert "KeyError" in caplog.text
