"""What a socket may send that is not a well-formed request, and how HTTP is spoken otherwise."""

from __future__ import annotations

import asyncio
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
