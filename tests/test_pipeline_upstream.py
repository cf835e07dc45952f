"""The call to the provider over real loopback sockets: what crosses in both directions."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import sparecall
from providers import DONE, EVENTS, Recorder, calling, framed, serving, sse
from sparecall.errors import InvalidArgument
from sparecall.pipeline import CacheControl, Request, Upstream
from sparecall.pipeline.answer import Summary
from stages import asking, completion, events_of, text_of

if TYPE_CHECKING:
    from aiohttp import web

pytestmark = pytest.mark.anyio


async def test_a_whole_answer_comes_back_to_the_byte() -> None:
    async with serving(recorder := Recorder(x_request_id="r-1")) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert (reply.status, reply.hit, reply.served_by, reply.complete) == (200, "miss", url, True)
        assert await reply.read() == completion()
        assert reply.headers == {"x-request-id": "r-1"}
        assert reply.summary == Summary("gpt-4o", 1000, 100, True, 0)
        request = recorder.seen[0]
        assert (request.method, request.path, request.headers["content-type"]) == (
            "POST",
            "/v1/chat/completions",
            "application/json",
        )
        assert recorder.bodies == [msgspec.json.decode(asking().body)]


@pytest.mark.parametrize(("key", "temperature", "reason"), [(None, 0, "no_scope"), ("sk-a", 1.5, "temperature")])
@pytest.mark.parametrize("cached", [True, False])
async def test_only_if_cached_makes_no_call_where_no_cache_could_answer(
    key: str | None, temperature: float, reason: str, *, cached: bool
) -> None:
    async with serving(recorder := Recorder()) as url:
        config = {"upstream": {"url": url}, "cache": {"enabled": cached}}
        async with sparecall.open(config) as pipeline:
            only = CacheControl(only_if_cached=True)
            reply = await pipeline(asking(key=key, temperature=temperature, cache_control=only))
        assert (reply.status, reply.hit, reply.reason, recorder.seen) == (504, "bypass", reason, [])


async def test_only_listed_headers_go_to_the_provider_and_each_once() -> None:
    sent = {
        "Content-Type": "application/json; charset=utf-8",
        "OpenAI-Organization": "org-1",
        "Idempotency-Key": "i-1",
        "traceparent": "00-1-1-01",
        "User-Agent": "mine/1",
        "Authorization": "Bearer sk-in-the-headers",
        "Cookie": "session=1",
        "Host": "evil.example",
        "X-Forwarded-For": "10.0.0.1",
        "x-api-key": "secret",
        "Connection": "close",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
        "x-sparecall-scope": "team",
    }
    async with serving(recorder := Recorder()) as url, calling(url) as pipeline:
        await pipeline(asking(headers=sent, key=None))
        got = recorder.seen[0].headers
        assert got.getall("content-type") == ["application/json; charset=utf-8"]
        assert (got["openai-organization"], got["idempotency-key"], got["traceparent"], got["user-agent"]) == (
            "org-1", "i-1", "00-1-1-01", "mine/1",
        )  # fmt: skip
        assert not {"authorization", "cookie", "x-forwarded-for", "x-api-key", "x-sparecall-scope"} & {
            name.lower() for name in got
        }
        assert got["host"].startswith("127.0.0.1")
        await pipeline(asking())
        assert recorder.seen[1].headers["user-agent"] == f"sparecall/{sparecall.__version__}"


@pytest.mark.parametrize(
    ("own", "client", "sent"),
    [
        (None, "sk-client", "Bearer sk-client"),
        ("sk-own", "sk-client", "Bearer sk-own"),
        ("sk-own", None, "Bearer sk-own"),
        (None, None, None),
    ],
)
async def test_the_client_s_key_is_passed_on_or_replaced_by_the_own_one(
    own: str | None, client: str | None, sent: str | None
) -> None:
    async with serving(recorder := Recorder()) as url, calling(url, **({"api_key": own} if own else {})) as pipeline:
        await pipeline(asking(key=client))
        assert recorder.seen[0].headers.get("authorization") == sent
        assert "sk-" not in repr(pipeline.stages)


@pytest.mark.parametrize(
    "bad", [{"key": "sk\r\nx-evil: 1"}, {"key": "sk\n"}, {"headers": {"traceparent": "a\r\nb: c"}}], ids=str
)
async def test_a_line_end_cannot_make_a_header(bad: dict[str, Any]) -> None:
    async with serving(recorder := Recorder()) as url, calling(url) as pipeline:
        with pytest.raises(InvalidArgument, match="line end") as caught:
            await pipeline(asking(**bad))
        assert "evil" not in str(caught.value)
        assert recorder.seen == []
        assert (await pipeline(asking())).status == 200


async def test_only_listed_headers_come_back() -> None:
    recorder = Recorder(
        set_cookie="a=1", x_request_id="r", retry_after="1", x_ratelimit_remaining_tokens="5", server="x", openai_model="m",
        access_control_allow_origin="*", x_sparecall_cache="exact",
    )  # fmt: skip
    async with serving(recorder) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert dict(reply.headers) == {
            "x-request-id": "r", "retry-after": "1", "x-ratelimit-remaining-tokens": "5", "openai-model": "m",
        }  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_the_provider_answers_with_is_a_reply(status: int, stream: bool) -> None:
    body = b'{"error": {"message": "no"}}'
    async with serving(Recorder(status, body, retry_after="2")) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=stream))
        assert (reply.status, reply.stream, reply.complete) == (status, None, False)
        assert await reply.read() == body
        assert reply.headers["retry-after"] == "2"


@pytest.mark.parametrize("stream", [False, True])
async def test_redirects_are_not_followed(stream: bool) -> None:
    async with serving(recorder := Recorder(307, b"", location="/elsewhere")) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=stream))
        assert (reply.status, len(recorder.seen)) == (307, 1)
        assert "location" not in reply.headers


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>busy</html>", "text/html"), (b"data: {}\n\n", "text/event-stream"), (b"ok", "text/plain")],
)
async def test_what_is_not_json_keeps_its_type_and_is_no_answer(body: bytes, kind: str) -> None:
    async with serving(Recorder(body=body, content_type=kind)) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert (await reply.read(), reply.headers["content-type"], reply.complete) == (body, kind, False)


async def test_a_stream_asked_for_and_not_given_is_a_whole_answer() -> None:
    async with serving(Recorder()) as url, calling(url) as pipeline:
        reply = await pipeline(asking(stream=True))
        assert (reply.stream, reply.complete) == (None, True)
        assert (await events_of(reply))[0]["choices"][0]["delta"]["content"] == "Hi there"


async def test_gzip_is_undone() -> None:
    recorder = Recorder(body=gzip.compress(completion()), content_encoding="gzip")
    async with serving(recorder) as url, calling(url) as pipeline:
        reply = await pipeline(asking())
        assert await reply.read() == completion()
        assert "content-encoding" not in reply.headers


async def test_a_stream_is_followed_whatever_pieces_it_comes_in() -> None:
    data = framed(*EVENTS) + DONE
    for size in (1, 7, 100, len(data)):
        asked: list[Any] = []

        async def handler(http: web.Request, size: int = size, asked: list[Any] = asked) -> web.StreamResponse:
            asked.append(msgspec.json.decode(await http.read()))
            return await sse(http, *[data[start : start + size] for start in range(0, len(data), size)])

        async with serving(handler) as url, calling(url) as pipeline:
            reply = await pipeline(asking(stream=True))
            assert (reply.status, reply.hit, dict(reply.headers)) == (200, "miss", {"x-request-id": "r-1"})
            assert await text_of(reply) == "Hi there"
            assert (await reply.json())["usage"]["completion_tokens"] == 100
            assert asked[0]["stream_options"] == {"include_usage": True}


async def test_the_connection_of_a_whole_stream_is_used_again() -> None:
    ports: list[Any] = []

    async def handler(http: web.Request) -> web.StreamResponse:
        assert http.transport is not None
        ports.append(http.transport.get_extra_info("peername"))
        await http.read()
        return await sse(http, framed(*EVENTS) + DONE)

    async with serving(handler) as url, calling(url) as pipeline:
        for _ in range(3):
            await text_of(await pipeline(asking(stream=True)))
            await asyncio.sleep(0.01)
    assert len(set(ports)) == 1


async def test_a_proxy_named_by_the_environment_is_used_and_no_proxy_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(proxy := Recorder()) as proxy_url, serving(direct := Recorder()) as url:
        monkeypatch.setenv("http_proxy", proxy_url.removesuffix("/v1"))
        async with calling("http://provider.invalid/v1") as pipeline:
            assert (await pipeline(asking())).status == 200
        assert [str(request.url) for request in proxy.seen] == ["http://provider.invalid/v1/chat/completions"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with calling(url) as pipeline:
            assert (await pipeline(asking())).status == 200
        assert (len(proxy.seen), len(direct.seen)) == (1, 1)


async def test_other_paths_are_sent_as_they_are() -> None:
    async with serving(recorder := Recorder(body=b"[]")) as url, calling(url) as pipeline:
        upstream: Upstream = pipeline.stage(Upstream)
        response = await upstream.send("GET", "/models?limit=1", Request(body=b"", key="sk-a"), None)
        assert await response.read() == b"[]"
        request = recorder.seen[0]
        assert (request.method, request.path_qs) == ("GET", "/v1/models?limit=1")
        assert "content-type" not in request.headers or not request.can_read_body
