"""Whose memory a client sees: that of its own key, narrowed by a header, or none."""

from __future__ import annotations

import pytest

from gateway.site import QUESTION, Site, simulated_site
from sparecall.digest import scope_of_key

pytestmark = pytest.mark.anyio


async def ask(site: Site, key: str | None, scope: str | None = None, **headers: str) -> tuple[int, str, str]:
    """Status, kind of hit and reason of one call."""
    http = await site.http(key)
    sent = {**headers, **({} if scope is None else {"x-sparecall-scope": scope})}
    async with http.post(f"{site.url}/chat/completions", json=QUESTION, headers=sent) as response:
        await response.read()
        return (
            response.status,
            response.headers["x-sparecall-cache"],
            response.headers.get("x-sparecall-reason", ""),
        )


OWN_KEY = {"upstream": {"api_key": "sk-own"}}


async def test_without_a_key_and_without_a_configured_scope_nothing_is_cached_but_all_is_answered() -> None:
    async with simulated_site(**OWN_KEY) as (site, provider):
        assert [await ask(site, None) for _ in range(2)] == [(200, "bypass", "no_scope")] * 2
        assert provider.calls.total() == 2


async def test_a_client_without_a_key_cannot_name_a_memory() -> None:
    async with simulated_site(**OWN_KEY) as (site, _):
        assert [await ask(site, None, "team") for _ in range(2)] == [(200, "bypass", "no_scope")] * 2


async def test_two_keys_never_share() -> None:
    async with simulated_site() as (site, provider):
        for key in ("sk-alice", "sk-bob", "sk-alice ".strip() + "2"):
            assert (await ask(site, key))[1:] == ("miss", "absent")
            assert (await ask(site, key))[1] == "exact"
        assert provider.calls.total() == 3


async def test_a_scope_narrows_within_a_key() -> None:
    async with simulated_site() as (site, _):
        assert (await ask(site, "sk-alice", "team"))[1] == "miss"
        assert (await ask(site, "sk-alice", "team"))[1] == "exact"
        assert (await ask(site, "sk-alice"))[1] == "miss"
        assert (await ask(site, "sk-alice", "team/user"))[1] == "miss"
        assert (await ask(site, "sk-bob", "team"))[1] == "miss"


async def test_no_scope_leads_to_the_memory_of_another_key() -> None:
    async with simulated_site() as (site, _):
        await ask(site, "sk-alice")
        alice = "key/" + scope_of_key("sk-alice")
        for key, scope in (("sk-bob", alice), ("sk-bob", f"../../{alice}"), (None, alice)):
            assert (await ask(site, key, scope))[1] != "exact"
        for scope in (f"/{alice}", "a//b", "a|b", "a b", "\xe9", "x" * 257, ""):
            assert (await ask(site, "sk-bob", scope))[0] == 400


async def test_a_configured_scope_is_shared_by_all_keys_and_narrowed_by_the_header() -> None:
    async with simulated_site(scope="team", **OWN_KEY) as (site, _):
        assert (await ask(site, "sk-alice"))[1] == "miss"
        assert (await ask(site, "sk-bob"))[1] == "exact"
        assert (await ask(site, None))[1] == "exact"
        assert (await ask(site, None, "user"))[1] == "miss"
        assert (await ask(site, "sk-bob", "user"))[1] == "exact"


async def test_a_scope_cannot_bring_a_header_of_its_own() -> None:
    async with simulated_site() as (site, _):
        reader, writer = await site.raw()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk\r\n"
            b"X-Sparecall-Scope: a%0d%0ax-evil: 1\rx-evil: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        reply = (await reader.read()).lower()
        assert reply.split()[1] == b"400"
        assert b"\nx-evil" not in reply


async def test_keys_are_hashed_with_their_whole_length() -> None:
    async with simulated_site() as (site, provider):
        for last in "ab":
            assert (await ask(site, "sk-" + "k" * 5000 + last))[1] == "miss"
        assert provider.calls.total() == 2
