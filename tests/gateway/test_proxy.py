"""A proxy named by the environment, on a loopback socket: what it is told, what it refuses, and a TLS tunnel through it."""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest

from gateway.site import KEY, QUESTION, completion, gateway_before
from served import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

BODY = msgspec.json.encode(completion())
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
SECRET = "open sesame/1"
BASIC = base64.b64encode(f"ada:{SECRET}".encode())
PROVIDER = "https://provider.test/v1"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, in lower case but for its values; its body is dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0))
    return head


class Proxy:
    """Answers `CONNECT` with `reply`, any other request as the provider would; after a 200 it is a tunnel to `target`."""

    def __init__(
        self, reply: bytes = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", *, target: int = 0
    ) -> None:
        self.heads: list[bytes] = []
        self.reply = reply
        self.target = target

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await read_request(reader))
            if not self.heads[-1].startswith(b"CONNECT "):
                writer.write(ANSWER)
                return
            writer.write(self.reply)
            if self.target:
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
                await asyncio.gather(pipe(reader, to_writer), pipe(to_reader, writer))
        finally:
            writer.close()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[str]:
    """The proxy on a port; its URL, with a user and a password."""
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://ada:{SECRET.replace(' ', '%20').replace('/', '%2F')}@127.0.0.1:{port}"


def name_proxy(monkeypatch: pytest.MonkeyPatch, url: str, *, no_proxy: str = "") -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, no_proxy)


async def ask(url: str, *, wire: str = "chat/completions", stream: bool = False) -> tuple[int, str, bytes]:
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(f"{url}/{wire}", json={**QUESTION, "stream": stream}) as response,
    ):
        return response.status, str(response.headers), await response.read()


@pytest.mark.parametrize("wire", ["chat/completions", "messages", "embeddings", "files"])
@pytest.mark.parametrize("status", [b"403 Forbidden", b"407 Proxy Authentication Required", b"502 Bad Gateway"])
async def test_a_proxy_is_asked_for_the_provider_by_name_and_its_refusal_is_a_502_without_its_password(
    wire: str, status: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="sparecall")
    secrets = [SECRET, SECRET.replace(" ", "%20").replace("/", "%2F"), BASIC.decode(), KEY]
    reply = b"HTTP/1.1 %b\r\nx-why: %b\r\ncontent-length: 4\r\n\r\nnope" % (status, BASIC)
    async with listening(proxy := Proxy(reply)) as address:
        name_proxy(monkeypatch, address)
        async with gateway_before(PROVIDER, anthropic={"url": PROVIDER}) as site:
            code, headers, body = await ask(site.url, wire=wire)
            shown = (
                f"{headers} {body!r} {caplog.text} {await site.metrics()} {site.gateway!r} {site.gateway.pipeline!r}"
            )
    assert code == 502
    error = msgspec.json.decode(body)["error"]
    assert f"the proxy answered {int(status[:3])}" in error["message"]
    if wire != "messages":
        assert error["code"] == "upstream_unreachable"
    assert not [secret for secret in secrets if secret in shown]
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT provider.test:443 HTTP/1.1\r\n")
    assert head.lower().count(b"authorization:") == 1
    assert b"\r\nProxy-Authorization: Basic %b\r\n" % BASIC in head
    assert KEY.encode() not in head


async def test_a_plain_provider_is_asked_for_through_the_proxy_with_its_own_key_and_the_proxy_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening(proxy := Proxy()) as address:
        name_proxy(monkeypatch, address)
        async with gateway_before("http://provider.test:8080/v1") as site:
            assert (await ask(site.url))[::2] == (200, BODY)
    (head,) = proxy.heads
    assert head.startswith(b"POST http://provider.test:8080/v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nHost: provider.test:8080\r\n" in head
    assert b"\r\nProxy-Authorization: Basic %b\r\n" % BASIC in head
    assert b"\r\nauthorization: Bearer %b\r\n" % KEY.encode() in head


async def test_a_proxy_that_is_not_there_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    name_proxy(monkeypatch, "http://ada:sesame@127.0.0.1:1")
    async with gateway_before(PROVIDER) as site:
        status, _, body = await ask(site.url, stream=True)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (502, "upstream_unreachable")
    assert b"sesame" not in body


async def test_a_provider_that_no_proxy_names_is_gone_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(proxy := Proxy()) as address:
        name_proxy(monkeypatch, address, no_proxy="example.org,provider.test")
        async with gateway_before(PROVIDER, upstream={"connect_timeout": 1.0}) as site:
            assert (await ask(site.url))[0] in {502, 504}  # no such host
    assert proxy.heads == []


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for provider.test, and its key."""
    made, key = folder / "provider.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=provider.test", "-addext", "subjectAltName=DNS:provider.test", "-days", "2"]
    subprocess.run([*request, *names, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_call_goes_through_the_tunnel_to_a_provider_whose_certificate_is_trusted(
    tmp_path: Path, trusted: bool
) -> None:
    made, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made, key)
    seen: list[bytes] = []

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await read_request(reader))
            writer.write(ANSWER)
            await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_server(provider, "127.0.0.1", 0, ssl=context) as server:
        proxy = Proxy(b"HTTP/1.1 200 Connection established\r\n\r\n", target=server.sockets[0].getsockname()[1])
        async with listening(proxy) as address:
            environment = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), address) | {"NO_PROXY": "", "no_proxy": ""}
            if trusted:
                environment["SSL_CERT_FILE"] = str(made)
            async with serve("--upstream", PROVIDER, **environment) as served:
                status, _, body = await ask(served.url)
                assert await served.end() == 0
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [b"CONNECT provider.test:443 HTTP/1.1"]
    if not trusted:
        assert (status, seen) == (502, [])
        return
    assert (status, body) == (200, BODY)
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"proxy-authorization" not in seen[0].lower()
    assert BASIC not in seen[0]
    assert b"\r\nauthorization: Bearer %b\r\n" % KEY.encode() in seen[0]
    assert SECRET not in "".join(served.lines)
