"""Whose memory a client sees: that of its own key, narrowed by a header, or none."""

from __future__ import annotations

import pytest

from gateway.site import QUESTION, Site, simulated_site

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
