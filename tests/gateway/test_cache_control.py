"""A client's Cache-Control is obeyed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.site import QUESTION, Site, simulated_site

pytestmark = pytest.mark.anyio


async def post(site: Site, *control: str, path: str = "/chat/completions", **body: Any) -> tuple[int, str, str]:
    """Status, kind of hit and reason of a call with these Cache-Control lines."""
    http = await site.http()
    lines = [("cache-control", line) for line in control]
    async with http.post(site.url + path, json={**QUESTION, **body}, headers=lines) as response:
        await response.read()
        return response.status, response.headers["x-sparecall-cache"], response.headers.get("x-sparecall-reason", "")


async def test_directives_may_come_in_several_lines() -> None:
    async with simulated_site() as (site, _):
        await post(site)
        assert await post(site, "max-age=60", "no-store") == (200, "bypass", "no_store")


async def test_of_several_ages_the_smallest_counts() -> None:
    async with simulated_site() as (site, _):
        await post(site)
        assert await post(site, "max-age=0, max-age=60") == (200, "miss", "max_age")


