"""No prompt and no key ever stands in a log, an error, a metric or a repr."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gateway.site import HELLO, QUESTION, Site, gateway_before, scripted_site, send_events, simulated_site
from sparecall import config
from sparecall.errors import SparecallError
from sparecall.pipeline import Request

pytestmark = pytest.mark.anyio

PROMPT = "PROMPT-7f3a-UNSPEAKABLE"
KEY = "sk-5d1c-UNSPEAKABLE"
OWN = "sk-own-UNSPEAKABLE"
ASKED = {**QUESTION, "messages": [{"role": "user", "content": PROMPT}]}
ORDINARY: list[Any] = [
    ASKED,
    {**ASKED, "stream": True},
    {**ASKED, "temperature": 2},
    {**ASKED, "stream": "yes"},
    {**ASKED, "n": "two"},
    [PROMPT],
]


async def post(site: Site, body: bytes, **headers: str) -> bytes:
    """What the gateway says: the body of an error, nothing of an answer."""
    http = await site.http(KEY)
    headers = {"content-type": "application/json", **headers}
    async with http.post(f"{site.url}/chat/completions", data=body, headers=headers) as response:
        content = await response.read()
        return b"" if response.status == 200 else content


async def say_everything(site: Site) -> str:
    """Everything that can be got out of the gateway around one prompt."""
    said = [await post(site, msgspec.json.encode(body)) for body in ORDINARY]
    said.append(await post(site, b'{"messages": "' + PROMPT.encode()))
    said.append(await post(site, b'{"%b": 1, "%b": 2}' % (PROMPT.encode(), PROMPT.encode())))
    said.append(await post(site, msgspec.json.encode(ASKED), **{"x-sparecall-scope": "not allowed"}))
    said.append(await post(site, msgspec.json.encode(ASKED), **{"content-encoding": "deflate"}))
    http = await site.http(KEY)
    async with http.get(f"{site.root}/{PROMPT}") as response:
        said.append(await response.read())
    said.append((await site.metrics()).encode())
    said.append(repr(site.gateway).encode() + repr(site.gateway.pipeline).encode())
    said += [repr(stage).encode() for stage in site.gateway.pipeline.stages]
    return b"\n".join(said).decode()


def unspoken(text: str) -> None:
    for secret in (PROMPT, KEY, OWN, "UNSPEAKABLE"):
        assert secret not in text


async def test_nothing_secret_is_said_when_all_goes_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulated_site(upstream={"api_key": OWN}) as (site, _):
        unspoken(await say_everything(site))
    unspoken(caplog.text)


@pytest.mark.parametrize("failure", ["down", "broken", "garbage", "fails"])
async def test_nothing_secret_is_said_when_the_provider_fails(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def misbehave(http: web.Request) -> web.StreamResponse:
        if failure == "fails":
            return web.json_response({"error": {"message": "failed"}}, status=500)
        if failure == "garbage":
            return web.Response(body=b"\xff{", content_type="application/json")
        response = await send_events(http, HELLO[:2])
        assert http.transport is not None
        http.transport.abort()
        return response

    if failure == "down":
        async with gateway_before("http://127.0.0.1:1/v1", upstream={"api_key": OWN}) as site:
            unspoken(await say_everything(site))
    else:
        async with scripted_site(misbehave, upstream={"api_key": OWN}) as (site, _):
            unspoken(await say_everything(site))
    unspoken(caplog.text)


async def test_a_bug_is_named_in_the_log_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: object, request: Request) -> None:
        raise KeyError(request.body, request.key)

    monkeypatch.setattr("sparecall.gateway.Pipeline.__call__", broken)
    async with simulated_site() as (site, _):
        said = await post(site, msgspec.json.encode(ASKED))
    assert msgspec.json.decode(said)["error"]["code"] == "internal_error"
    unspoken(said.decode() + caplog.text)
    assert "KeyError" in caplog.text


async def test_reprs_show_neither_prompt_nor_key() -> None:
    given = config.load({"upstream": {"api_key": OWN}, "server": {"client_keys": [KEY]}})
    unspoken(repr(given) + str(given))
    request = Request.of(ASKED, key=KEY, headers={"authorization": f"Bearer {KEY}"})
    unspoken(repr(request))
    async with simulated_site() as (site, _):
        reply = await site.gateway.pipeline(request)
        unspoken(repr(reply) + repr(reply.inspection) + repr(reply.summary))
        with pytest.raises(SparecallError) as caught:
            await site.gateway.pipeline(Request(body=b'{"' + PROMPT.encode(), key=KEY))
        unspoken(str(caught.value) + repr(caught.value))
