"""What a socket may send that is not a well-formed request, and how HTTP is spoken otherwise."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from gateway.site import QUESTION, simulated_site

pytestmark = pytest.mark.anyio

BODY = msgspec.json.encode(QUESTION)
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
MARK = b"sk-UNSPEAKABLE"


async def exchange(site: Any, data: bytes) -> tuple[int, bytes, bytes]:
    """Sends bytes and reads one reply: status, head and body."""
    reader, writer = await site.raw()
    writer.write(data)
    return await read_reply(reader)


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split()[1]), head, await reader.readexactly(length)


def error_of(body: bytes) -> dict[str, Any]:
    error: dict[str, Any] = msgspec.json.decode(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    "data",
    [
        b"Authorization: Bearer " + MARK + b"\x00\r\n\r\n",
        b"Authorization: Bearer " + MARK + b"k" * 20_000 + b"\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + MARK + b"\r\n",
        MARK + b" no colon\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_http_are_refused_without_being_quoted(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with simulated_site() as (site, _):
        status, _, body = await exchange(site, POST + data)
    assert (status, error_of(body)["code"]) == (400, "bad_http")
    assert MARK not in body
    assert MARK.decode() not in caplog.text


async def test_a_key_that_is_not_utf_8_is_a_401_not_a_failure() -> None:
    async with simulated_site() as (site, _):
        data = POST + b"Authorization: Bearer \xff\xfe\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        status, _, body = await exchange(site, data)
    assert (status, error_of(body)["code"]) == (401, "invalid_api_key")


async def test_a_body_that_is_not_in_its_announced_encoding_is_a_400() -> None:
    async with simulated_site() as (site, _):
        data = POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        status, _, body = await exchange(site, data)
    assert (status, error_of(body)["code"]) == (400, "invalid_body")


@pytest.mark.parametrize("body", [b"", b"{", b"secret", b'{"a": NaN}', b'{"secret": 1, "secret": 2}', b"\xff", b"{}x"])
async def test_a_body_that_is_no_json_or_is_ambiguous_is_a_400_that_does_not_quote_it(body: bytes) -> None:
    async with simulated_site() as (site, provider):
        status, head, said = await exchange(site, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (status, error_of(said)["code"]) == (400, "invalid_body")
        assert b"secret" not in said
        assert b"x-sparecall-cache: bypass" in head
        assert provider.calls.total() == 0


async def test_a_body_that_is_json_but_no_chat_is_the_provider_s_to_refuse() -> None:
    async with simulated_site() as (site, _):
        http = await site.http()
        for body in (b"[]", b"1", b'{"model": "gpt-4o"}', b'{"messages": [], "model": "gpt-4o"}'):
            async with http.post(f"{site.url}/chat/completions", data=body) as response:
                assert (response.status, response.headers["x-sparecall-reason"]) == (400, "not_chat")
                assert response.headers["x-sparecall-cache"] == "bypass"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_a_413(chunked: bool) -> None:
    async with simulated_site(server={"max_body_bytes": 1000}) as (site, provider):
        body = b"x" * 5000
        framed = (
            b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + body + b"\r\n0\r\n\r\n"
            if chunked
            else b"Content-Length: 5000\r\n\r\n" + body
        )
        status, _, said = await exchange(site, POST + framed)
        assert (status, error_of(said)["code"]) == (413, "too_large")
        assert provider.calls.total() == 0


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/models", "/chat/completions", "/metrics/x"])
async def test_an_unknown_path_is_a_404_in_the_wire_s_own_form(path: str) -> None:
    async with simulated_site() as (site, _):
        for method in (b"GET", b"POST"):
            status, _, body = await exchange(
                site, method + b" " + path.encode() + b" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n"
            )
            assert (status, error_of(body)["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_the_gateway_s_own_paths_are_only_read(path: str) -> None:
    async with simulated_site() as (site, _):
        http = await site.http(None)
        async with http.post(site.root + path) as response:
            assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
            assert (await response.json())["error"]["code"] == "method_not_allowed"
        async with http.head(site.root + path) as response:
            assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_on_the_chat_path_are_the_provider_s_to_answer(method: str) -> None:
    async with simulated_site() as (site, provider):
        http = await site.http()
        async with http.request(method, f"{site.url}/chat/completions") as response:
            assert (response.status, response.headers["x-sparecall-reason"]) == (405, "wire")
        assert provider.calls.total() == 0


async def test_one_connection_serves_many_requests_also_when_they_come_ahead_of_their_replies() -> None:
    async with simulated_site() as (site, provider):
        reader, writer = await site.raw()
        one = POST + b"Authorization: Bearer sk\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        writer.write(one * 5 + b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
        hits = []
        for _ in range(5):
            status, head, _ = await read_reply(reader)
            hits.append((status, head.partition(b"x-sparecall-cache: ")[2].partition(b"\r\n")[0]))
        assert hits == [(200, b"miss")] + [(200, b"exact")] * 4
        assert (await read_reply(reader))[0] == 200
        assert provider.calls.total() == 1


async def test_a_body_may_come_in_chunks_and_byte_by_byte() -> None:
    async with simulated_site() as (site, provider):
        for size in (1, 7, len(BODY)):
            pieces = [BODY[start : start + size] for start in range(0, len(BODY), size)]
            framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            data = POST + b"Authorization: Bearer sk\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
            assert (await exchange(site, data))[0] == 200
        assert provider.calls.total() == 1


async def test_a_client_that_expects_100_continue_gets_it_before_its_answer() -> None:
    async with simulated_site() as (site, _):
        reader, writer = await site.raw()
        writer.write(
            POST + b"Authorization: Bearer sk\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await read_reply(reader))[0] == 200


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages", "embeddings", "files", "../metrics"])
async def test_another_expectation_is_refused_in_the_form_of_the_wire_without_being_quoted(path: str) -> None:
    async with simulated_site() as (site, provider):
        http = await site.http()
        headers = {"expect": MARK.decode()}
        async with http.request("GET" if "metrics" in path else "POST", f"{site.url}/{path}", headers=headers) as reply:
            body = await reply.read()
            assert (reply.status, reply.headers["cache-control"]) == (417, "private, no-store")
        assert MARK not in body
        if path == "messages":
            assert msgspec.json.decode(body)["type"] == "error"
        else:
            assert error_of(body)["code"] == "expectation_failed"
        assert provider.calls.total() == 0
        assert 'sparecall_errors_total{code="expectation_failed"} 1' in await site.metrics()


async def test_a_compressed_body_is_the_same_request() -> None:
    async with simulated_site() as (site, provider):
        http = await site.http()
        for data, encoding in ((BODY, "identity"), (gzip.compress(BODY), "gzip")):
            headers = {"content-encoding": encoding, "content-type": "application/json"}
            async with http.post(f"{site.url}/chat/completions", data=data, headers=headers) as response:
                assert response.status == 200
        assert provider.calls.total() == 1


async def test_a_model_name_reaches_neither_headers_nor_the_lines_of_metrics() -> None:
    name = 'x"}\r\nx-evil: 1\r\n\r\nevil_total 1\n'
    async with simulated_site() as (site, _):
        body = msgspec.json.encode({**QUESTION, "model": name})
        for _ in ("miss", "exact"):
            data = POST + b"Authorization: Bearer sk\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            status, head, _ = await exchange(site, data)
            assert status == 200
            assert b"evil" not in head
        assert not [line for line in (await site.metrics()).splitlines() if line.startswith(("x-evil", "evil_total"))]
