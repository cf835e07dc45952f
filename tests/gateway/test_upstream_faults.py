"""A provider that speaks oddly, breaks off or says nothing: what is whole is told, what is not is never passed off as whole."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import msgspec
import openai
import pytest

from gateway.site import DONE, HELLO, QUESTION, USAGE_CHUNK, Site, chunk, completion, scripted_socket, until
from sparecall.pipeline import Exact

pytestmark = pytest.mark.anyio

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
STREAM = b"".join([*HELLO, USAGE_CHUNK, DONE])
WHOLE = msgspec.json.encode(completion())


def whole_reply(
    body: bytes = WHOLE, *, status: bytes = b"200 OK", headers: bytes = b"", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (status, headers, size)
    return head + body


class Upstream:
    """Sends each caller the same pieces, a turn of the loop between them, then hangs up in one way or another."""

    def __init__(self, *pieces: bytes, reset: bool = False, then_wait: bool = False) -> None:
        self.pieces = pieces
        self.reset = reset
        self.then_wait = then_wait
        self.calls = self.ended = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
        self.calls += 1
        try:
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if self.then_wait:
                await reader.read()
            if self.reset:
                await asyncio.sleep(0.02)
                writer.transport.abort()
        finally:
            self.ended += 1
            writer.close()


async def ask(site: Site, *, stream: bool) -> tuple[int, str, bytes]:
    http = await site.http()
    async with http.post(f"{site.url}/chat/completions", json={**QUESTION, "stream": stream}) as response:
        return response.status, response.headers["x-sparecall-cache"], await response.read()


def text_of(body: bytes) -> str:
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    assert events.pop() == b"[DONE]"
    choices = [choice for event in events for choice in msgspec.json.decode(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


ODD_FORMS = {
    "one byte at a time": [STREAM[start : start + 1] for start in range(len(STREAM))],
    "comments": [b": ping\n\n" + STREAM.replace(b"\n\n", b"\n\n: keep-alive\n\n")],
    "carriage returns": [STREAM.replace(b"\n", b"\r")],
    "both line ends": [STREAM.replace(b"\n", b"\r\n")],
    "data in many lines": [STREAM.replace(b',"', b',\ndata: "')],
    "other fields": [STREAM.replace(b"data: ", b"id: 1\nevent: message\nretry: 5\ndata:")],
    "a byte order mark": [b"\xef\xbb\xbf" + STREAM],
    "an empty start": [b"\n\n\n", STREAM],
}


@pytest.mark.parametrize("name", ODD_FORMS)
async def test_a_stream_in_any_form_of_the_standard_is_whole_and_stored(name: str) -> None:
    provider = Upstream(STREAM_HEAD, *ODD_FORMS[name])
    async with scripted_socket(provider) as site:
        for hit in ("miss", "exact"):
            status, cache, body = await ask(site, stream=True)
            assert (status, cache) == (200, hit)
            assert text_of(body) == "Hello."
        sdk = await (await site.sdk()).chat.completions.create(**QUESTION)
        assert sdk.choices[0].message.content == "Hello."
    assert provider.calls == 1


async def test_a_whole_answer_byte_by_byte_is_whole_and_stored() -> None:
    reply = whole_reply()
    provider = Upstream(*[reply[start : start + 1] for start in range(len(reply))])
    async with scripted_socket(provider) as site:
        assert [await ask(site, stream=False) for _ in range(2)] == [(200, "miss", WHOLE), (200, "exact", WHOLE)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_answer_is_undone_and_stored_plain(coding: str, stream: bool) -> None:
    packed = (gzip.compress if coding == "gzip" else zlib.compress)(STREAM if stream else WHOLE)
    headers = b"content-encoding: %b\r\n" % coding.encode()
    reply = whole_reply(packed, headers=headers)
    if stream:
        reply = reply.replace(b"application/json", b"text/event-stream")
    async with scripted_socket(Upstream(reply[:-20], reply[-20:])) as site:
        for hit in ("miss", "exact"):
            status, cache, body = await ask(site, stream=stream)
            assert (status, cache) == (200, hit)
            assert text_of(body) == "Hello." if stream else body == WHOLE
        http = await site.http()
        async with http.post(f"{site.url}/other", json={}) as response:
            assert "content-encoding" not in response.headers
            assert await response.read() == (STREAM if stream else WHOLE)
        snapshot = site.gateway.pipeline.stage(Exact).cache
        assert snapshot.stats().weight > len(WHOLE)


@pytest.mark.parametrize("coding", [b"zstd", b"br", b"gzip"])
async def test_an_answer_that_cannot_be_undone_is_a_502(coding: bytes) -> None:
    reply = whole_reply(b"(\xb5/\xfd no such thing", headers=b"content-encoding: %b\r\n" % coding)
    async with scripted_socket(Upstream(reply)) as site:
        status, _, body = await ask(site, stream=False)
        assert (status, msgspec.json.decode(body)["error"]["code"]) == (502, "upstream_broken")


LIMIT = 300_000
LONG = msgspec.json.encode(completion("x" * LIMIT))
TOO_LONG = {
    "announced": whole_reply(LONG),
    "announced and compressed": whole_reply(gzip.compress(LONG), headers=b"content-encoding: gzip\r\n"),
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(LONG), LONG),
    "until the end": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + LONG,
    "an error": whole_reply(LONG, status=b"500 Internal Server Error"),
}


@pytest.mark.parametrize("name", TOO_LONG)
async def test_a_whole_answer_over_the_limit_is_a_502_and_its_connection_is_closed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparecall.pipeline.upstream.MAX_WHOLE_BYTES", LIMIT)
    monkeypatch.setattr("sparecall.pipeline.upstream._INLINE_BYTES", 1000)
    provider = Upstream(TOO_LONG[name][:-20], then_wait=True)  # its end is not waited for
    async with scripted_socket(provider, cache={"max_reply_bytes": 1000}) as site:
        for calls in (1, 2):
            status, _, body = await ask(site, stream=False)
            error = msgspec.json.decode(body)["error"]
            assert (status, error["code"]) == (502, "upstream_broken")
            assert f"over {LIMIT} bytes" in error["message"]
            await until(lambda: provider.ended == calls)  # noqa: B023 - awaited here
        assert len(site.gateway.pipeline.stage(Exact).cache) == 0


async def test_a_small_answer_that_inflates_beyond_the_limit_is_given_up_there() -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
    provider = Upstream(whole_reply(bomb, headers=b"content-encoding: gzip\r\n"), then_wait=True)
    async with scripted_socket(provider) as site:
        status, _, body = await ask(site, stream=False)
        assert (status, msgspec.json.decode(body)["error"]["code"]) == (502, "upstream_broken")
        assert b"over 268435456 bytes" in body
        await until(lambda: provider.ended == 1)


async def test_an_answer_between_the_two_limits_is_passed_on_and_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparecall.pipeline.upstream._INLINE_BYTES", 1000)
    packed = gzip.compress(LONG)
    for reply in (whole_reply(LONG), whole_reply(packed, headers=b"content-encoding: gzip\r\n")):
        provider = Upstream(reply[:1000], reply[1000:])
        async with scripted_socket(provider, cache={"max_reply_bytes": 100_000}) as site:
            assert [await ask(site, stream=False) for _ in range(2)] == [(200, "miss", LONG)] * 2
        assert provider.calls == 2


BROKEN_WHOLE = {
    "a length too short": whole_reply(length=len(WHOLE) - 5),
    "a length too long": whole_reply(length=len(WHOLE) + 5),
    "no length and cut": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b" % (len(WHOLE), WHOLE[:50]),
    "a chunk that is none": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n",
    "nothing": b"",
    "two lengths": whole_reply(headers=b"content-length: 5\r\n"),
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", BROKEN_WHOLE)
async def test_a_whole_answer_that_is_none_is_a_502_and_not_stored(name: str, reset: bool) -> None:
    provider = Upstream(BROKEN_WHOLE[name], reset=reset)
    async with scripted_socket(provider) as site:
        for _ in range(2):
            status, cache, body = await ask(site, stream=False)
            assert (status, cache) == (502, "bypass")
            assert msgspec.json.decode(body)["error"]["code"] == "upstream_broken"
    assert provider.calls == 2


async def broken_off(site: Site, code: str) -> None:
    """The client gets the events that came, then an error event, and no end."""
    status, cache, body = await ask(site, stream=True)
    assert (status, cache) == (200, "miss")
    assert DONE not in body
    assert body.startswith(b"".join(HELLO[:2]))
    last = body.removesuffix(b"\n\n").rpartition(b"\n\ndata: ")[2]
    assert msgspec.json.decode(last)["error"]["code"] == code
    with pytest.raises(openai.APIError):
        async for _ in await (await site.sdk()).chat.completions.create(**QUESTION, stream=True):
            pass


@pytest.mark.parametrize("how", ["end", "reset", "an event cut", "a chunk cut"])
async def test_a_stream_broken_after_its_first_event_ends_with_an_error_event(how: str) -> None:
    head = STREAM_HEAD
    pieces = [*HELLO[:2]]
    if how == "an event cut":
        pieces.append(HELLO[2][:20])
    if how == "a chunk cut":
        head = head.replace(b"connection: close", b"transfer-encoding: chunked")
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"ff\r\ndata"]
    provider = Upstream(head, *pieces, reset=how == "reset")
    async with scripted_socket(provider) as site:
        await broken_off(site, "upstream_broken")
    assert provider.calls == 2


async def test_a_stream_that_falls_silent_is_given_up_with_an_error_event() -> None:
    provider = Upstream(STREAM_HEAD, *HELLO[:2], then_wait=True)
    async with scripted_socket(provider, upstream={"read_timeout": 0.1}) as site:
        await broken_off(site, "upstream_timeout")
        await until(lambda: provider.ended == provider.calls == 2)


@pytest.mark.parametrize(
    "forms", [b"data: " + b"x" * 50_000_000, b"x" * 50_000_000, (b"data: " + b"x" * 1000 + b"\n") * 50_000]
)
async def test_a_line_of_50_mb_ends_the_stream_with_an_error_and_without_being_held(forms: bytes) -> None:
    provider = Upstream(STREAM_HEAD, *HELLO[:2], forms, b"\n\n", DONE)
    async with scripted_socket(provider) as site:
        status, _, body = await ask(site, stream=True)
        assert status == 200
        assert len(body) < 2000
        assert DONE not in body
        assert b'"upstream_broken"' in body
        await until(lambda: provider.ended == 1)


async def test_an_event_as_large_as_an_answer_may_be_is_passed_on() -> None:
    provider = Upstream(STREAM_HEAD, HELLO[0], chunk({"content": "x" * 5_000_000}), HELLO[-1], DONE)
    async with scripted_socket(provider) as site:
        for hit in ("miss", "exact"):
            _, cache, body = await ask(site, stream=True)
            assert (cache, len(text_of(body))) == (hit, 5_000_000)


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"500 Internal Server Error", b"503 Service Unavailable"])
@pytest.mark.parametrize("kind", [b"application/json", b"text/html"])
async def test_an_error_passes_with_its_body_and_type_and_is_not_stored(status: bytes, kind: bytes) -> None:
    reply = whole_reply(b'{"error":{"message":"no"}}', status=status).replace(b"application/json", kind)
    provider = Upstream(reply)
    async with scripted_socket(provider) as site:
        http = await site.http()
        for stream in (False, True):
            async with http.post(f"{site.url}/chat/completions", json={**QUESTION, "stream": stream}) as response:
                assert (response.status, response.content_type) == (int(status[:3]), kind.decode())
                assert await response.read() == b'{"error":{"message":"no"}}'
                assert response.headers["cache-control"] == "private, no-store"
                assert "retry-after" not in response.headers
    assert provider.calls == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_passed_on_without_its_address_and_not_followed(status: int) -> None:
    trap = Upstream(whole_reply())
    async with scripted_socket(trap) as other:
        address = other.gateway.pipeline.stages[-1].url.encode()  # type: ignore[attr-defined]
        provider = Upstream(whole_reply(b"{}", status=b"%d Elsewhere" % status, headers=b"location: %b\r\n" % address))
        async with scripted_socket(provider) as site:
            http = await site.http()
            for path in ("chat/completions", "files"):
                async with http.post(f"{site.url}/{path}", json=QUESTION, allow_redirects=False) as response:
                    assert response.status == status
                    assert "location" not in response.headers
        assert provider.calls == 2
    assert trap.calls == 0


async def test_when_the_last_reader_leaves_the_provider_s_connection_is_closed_at_once() -> None:
    provider = Upstream(STREAM_HEAD, *HELLO[:2], then_wait=True)
    async with scripted_socket(provider) as site:
        streams: list[Any] = []
        for _ in range(3):
            stream = await (await site.sdk()).chat.completions.create(**QUESTION, stream=True)
            await anext(stream)
            streams.append(stream)
        for stream in streams:
            assert provider.ended == 0
            await asyncio.sleep(0.02)
            await stream.close()
        async with asyncio.timeout(5):  # not the 300 seconds of a silent provider
            await until(lambda: provider.ended == 1)
    assert provider.calls == 1
