"""A client's Cache-Control is obeyed."""

from __future__ import annotations

from typing import Any

import openai
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


@pytest.mark.parametrize(
    ("control", "body", "cache", "reason"),
    [
        ("only-if-cached", {}, {}, "absent"),
        ("only-if-cached", {"stream": True}, {}, "absent"),
        ("only-if-cached, no-store", {}, {}, "absent"),
        ("only-if-cached, no-cache", {}, {}, "no_cache"),
        ("only-if-cached", {"temperature": 1.5}, {}, "temperature"),
        ("only-if-cached", {}, {"enabled": False}, "absent"),
    ],
)
async def test_only_if_cached_never_makes_a_call(
    control: str, body: dict[str, Any], cache: dict[str, Any], reason: str
) -> None:
    async with simulated_site(cache=cache) as (site, provider):
        assert await post(site, control, **body) == (504, "bypass", reason)
        assert provider.calls.total() == 0


async def test_only_if_cached_holds_on_wires_that_have_no_cache() -> None:
    async with simulated_site() as (site, provider):
        assert await post(site, "only-if-cached", path="/moderations", input="text") == (504, "bypass", "wire")
        assert provider.calls.total() == 0


async def test_the_sdk_does_not_retry_what_only_if_cached_refused() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk(max_retries=2)
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(**QUESTION, extra_headers={"cache-control": "only-if-cached"})
        assert caught.value.status_code == 504
        assert caught.value.code == "only_if_cached"
        assert caught.value.request.headers["x-stainless-retry-count"] == "0"


async def hit(client: openai.AsyncOpenAI, control: str | None, **options: Any) -> tuple[str, str]:
    headers = {} if control is None else {"cache-control": control}
    raw = await client.chat.completions.with_raw_response.create(**QUESTION, extra_headers=headers, **options)
    return raw.headers["x-sparecall-cache"], raw.headers.get("x-sparecall-reason", "")


async def test_no_store_is_neither_answered_from_memory_nor_kept() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        for _ in range(2):
            assert await hit(client, "no-store") == ("bypass", "no_store")
        assert await hit(client, None) == ("miss", "absent")
        assert await hit(client, "No-Store, max-age=5") == ("bypass", "no_store")
        assert provider.calls.total() == 4


async def test_no_cache_makes_a_call_and_keeps_its_answer() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        for _ in range(2):
            assert await hit(client, "no-cache") == ("bypass", "no_cache")
        assert (await hit(client, None))[0] == "exact"
        assert (await hit(client, "no-cache", stream=False)) == ("bypass", "no_cache")
        assert provider.calls.total() == 3


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("max-age=3600", ("exact", "")),
        ('max-age="3600"', ("exact", "")),
        ("min-fresh=5, max-stale, unknown=x", ("exact", "")),
        ("", ("exact", "")),
        ("max-age=0", ("miss", "max_age")),
        ("max-age=soon", ("miss", "max_age")),
        ("max-age=-1", ("miss", "max_age")),
        ("max-age", ("miss", "max_age")),
    ],
)
async def test_max_age_bounds_the_age_of_an_answer(control: str, expected: tuple[str, str]) -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        await hit(client, None)
        assert await hit(client, control) == expected


async def test_only_if_cached_is_answered_from_memory() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        await hit(client, None)
        assert await hit(client, "only-if-cached") == ("exact", "")
        assert provider.calls.total() == 1
