"""What stands on every reply, whoever made it: nobody between the gateway and its client may keep it."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp import web

import sparecall.gateway
from gateway.site import HELLO, QUESTION, completion, gateway_before, scripted_site, send_events, simulated_site
from gateway.test_http import exchange

pytestmark = pytest.mark.anyio


async def test_every_reply_says_that_it_is_private_and_not_to_be_stored() -> None:
    async def answer(http: web.Request) -> web.StreamResponse:
        kind = http.headers.get("openai-beta", "")
        headers = {"cache-control": "public, max-age=3600", "expires": "Thu, 01 Jan 2099 00:00:00 GMT"}
        if kind == "stream":
            return await send_events(http, HELLO)
        if kind == "fails":
            return web.json_response({}, status=500, headers=headers)
        return web.json_response(completion(), headers=headers)

    async with scripted_site(answer, server={"client_keys": ["sk-alice"], "max_body_bytes": 1000}) as (site, _):
        http = await site.http()
        for method, path, body, headers, status in (
            ("POST", "/v1/chat/completions", QUESTION, {}, 200),
            ("POST", "/v1/chat/completions", QUESTION, {}, 200),
            ("POST", "/v1/chat/completions", {**QUESTION, "stream": True}, {}, 200),
            ("POST", "/v1/chat/completions", {**QUESTION, "n": 2, "stream": True}, {"openai-beta": "stream"}, 200),
            ("POST", "/v1/chat/completions", {**QUESTION, "n": 2}, {"openai-beta": "fails"}, 500),
            ("POST", "/v1/chat/completions", QUESTION, {"cache-control": "only-if-cached, max-age=0"}, 504),
            ("POST", "/v1/chat/completions", "x" * 2000, {}, 413),
            ("POST", "/v1/chat/completions", QUESTION, {"authorization": "Bearer sk-eve"}, 401),
            ("POST", "/v1/chat/completions", QUESTION, {"x-sparecall-scope": "//"}, 400),
            ("GET", "/v1/models", None, {}, 200),
            ("GET", "/v1/files", None, {"openai-beta": "fails"}, 500),
            ("GET", "/v1/../x", None, {}, 404),
            ("GET", "/elsewhere", None, {}, 404),
            ("POST", "/metrics", None, {}, 405),
            ("GET", "/metrics", None, {}, 200),
            ("GET", "/healthz", None, {}, 200),
            ("GET", "/readyz", None, {}, 200),
        ):
            async with http.request(method, site.root + path, json=body, headers=headers) as response:
                assert (path, response.status) == (path, status)
                assert response.headers.getall("cache-control") == ["private, no-store"]
                assert "expires" not in response.headers
        _, head, _ = await exchange(site, b"no http\r\n\r\n")
        assert b"cache-control: private, no-store" in head
    async with gateway_before("http://127.0.0.1:1/v1") as site:
        http = await site.http()
        async with http.post(f"{site.url}/chat/completions", json=QUESTION) as response:
            assert (response.status, response.headers["cache-control"]) == (502, "private, no-store")


async def test_keys_are_compared_by_their_hashes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []
    usual = hashlib.sha256

    def sha256(data: bytes) -> object:
        hashed.append(data)
        return usual(data)

    monkeypatch.setattr(sparecall.gateway.hashlib, "sha256", sha256)
    async with simulated_site(server={"client_keys": ["sk-alice", "sk-bob"]}) as (site, _):
        assert site.gateway._key_hashes == {usual(key).digest() for key in (b"sk-alice", b"sk-bob")}
        http = await site.http("sk-alicf")
        async with http.get(f"{site.url}/models") as response:
            assert response.status == 401
        assert hashed[-1] == b"sk-alicf"


@pytest.mark.parametrize(
    "path", ["/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "/openai/v1/models"]
)
async def test_azure_paths_are_a_404_that_says_what_to_do(path: str) -> None:
    async with simulated_site() as (site, provider):
        http = await site.http()
        async with http.post(site.root + path, json=QUESTION) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (404, "not_found")
            assert "/openai/v1" in error["message"]
            assert "base_url" in error["message"]
        assert provider.calls.total() == 0


async def test_who_pays_goes_on_and_does_not_tell_answers_apart() -> None:
    paid: list[tuple[str, str]] = []

    async def answer(http: web.Request) -> web.StreamResponse:
        paid.append((http.headers["openai-organization"], http.headers["openai-project"]))
        return web.json_response(completion())

    async with scripted_site(answer) as (site, _):
        for number, hit in enumerate(("miss", "exact")):
            client = await site.sdk(organization=f"org-{number}", project=f"proj-{number}")
            raw = await client.chat.completions.with_raw_response.create(**QUESTION)
            assert raw.headers["x-sparecall-cache"] == hit
    assert paid == [("org-0", "proj-0")]
