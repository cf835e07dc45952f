"""L3: headers by which a CDN keeps public answers, and purges in batches that are tried again until they arrive."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from sparecall.errors import InvalidArgument, StoreUnavailable
from sparecall.store import HttpPurger, Route, cdn_headers
from tiers import SCOPE, tiered
from virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

CDN = Route(ttl=100, cdn=True)


def test_what_a_cdn_may_keep_says_so_and_names_what_it_depends_on() -> None:
    assert cdn_headers(CDN, scope="public/docs", tags=["doc:7"], age=40.5) == {
        "Cache-Control": "public, max-age=0, s-maxage=59",
        "Surrogate-Key": "tag:doc:7 scope:public scope:public/docs all",
    }
    stale = cdn_headers(Route(ttl=math.inf, stale=30, cdn=True), scope="public")
    assert (
        stale["Cache-Control"] == "public, max-age=0, s-maxage=31536000, stale-while-revalidate=30, stale-if-error=30"
    )
    odd = cdn_headers(CDN, scope="public", tags=["two words", "naïve", "50%", "a\r\nSet-Cookie: x"])
    assert (
        odd["Surrogate-Key"] == "tag:two%20words tag:na%C3%AFve tag:50%25 tag:a%0D%0ASet-Cookie:%20x scope:public all"
    )


@pytest.mark.parametrize(
    ("route", "options"),
    [
        (Route(ttl=100), {"scope": "public"}),
        (CDN, {"scope": "team/user"}),
        (CDN, {"scope": "publicity"}),
        (CDN, {"scope": "public", "age": 99.5}),
        (CDN, {"scope": "public", "tags": [str(number).rjust(250, "x") for number in range(70)]}),
    ],
)
def test_all_else_is_kept_by_nobody(route: Route, options: dict[str, Any]) -> None:
    assert cdn_headers(route, **options) == {"Cache-Control": "private, no-store"}


class Purger:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures = 0

    async def purge(self, names: Sequence[str]) -> None:
        await asyncio.sleep(0.1)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the CDN is down")
        self.batches.append(list(names))


def test_what_is_invalidated_here_is_purged_in_batches() -> None:
    async def scenario() -> None:
        purger = Purger()
        async with tiered(l3=purger) as cache:
            await cache.invalidate(tag="a", prefix="public/docs")
            await cache.invalidate(key="key", scope=SCOPE)
            await asyncio.sleep(1)
            assert purger.batches == [["tag:a", "scope:public/docs"]]
            purger.batches.clear()
            for number in range(600):
                await cache.invalidate(tag=str(number))
            await cache.clear()
            await asyncio.sleep(10)
            # The first left with what there was when it began.
            assert [len(batch) for batch in purger.batches] == [256, 256, 89]
            assert [name for batch in purger.batches for name in batch] == [*(f"tag:{n}" for n in range(600)), "all"]
            assert (cache.stats().purged, cache.stats().purge_faults) == (603, 0)

    run(scenario())


def test_a_purge_that_fails_is_tried_again_and_once_more_at_the_end() -> None:
    async def scenario() -> None:
        purger = Purger()
        async with tiered(l3=purger) as cache:
            purger.failures = 3
            await cache.invalidate(tag="a")
            await asyncio.sleep(2)
            await cache.invalidate(tag="b")
            await asyncio.sleep(20)
            assert sorted(name for batch in purger.batches for name in batch) == ["tag:a", "tag:b"]
            assert cache.stats().purge_faults == 3
            await cache.invalidate(tag="c")
        assert purger.batches[-1] == ["tag:c"]

    run(scenario())


def test_a_cdn_that_stays_away_holds_up_nothing() -> None:
    async def scenario() -> None:
        purger = Purger()
        purger.failures = 1_000_000
        async with tiered(l3=purger) as cache:
            for number in range(100_001):
                cache._subscribers._purging.add([str(number)])  # type: ignore[union-attr]
            assert list(cache._subscribers._purging._waiting) == ["all"]  # type: ignore[union-attr]

    run(scenario())


@asynccontextmanager
async def cdn(status: int = 200) -> AsyncIterator[tuple[str, list[Any]]]:
    seen: list[Any] = []

    async def purge(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, dict(request.headers)))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", purge)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/service/x/purge", seen
    finally:
        await runner.cleanup()


@pytest.mark.anyio
async def test_an_http_purger_posts_surrogate_keys() -> None:
    async with cdn() as (url, seen), aiohttp.ClientSession() as session:
        purger = HttpPurger(session, url, headers={"Fastly-Key": "secret"}, soft=True)
        assert repr(purger) == "<HttpPurger>"
        await purger.purge([f"tag:{number}" for number in range(300)] + ["tag:two words"])
        assert [(method, path) for method, path, _ in seen] == [("POST", "/service/x/purge")] * 2
        keys = [headers["Surrogate-Key"].split() for _, _, headers in seen]
        assert [len(each) for each in keys] == [256, 45]
        assert keys[1][-1] == "tag:two%20words"
        assert all((headers["Fastly-Key"], headers["Fastly-Soft-Purge"]) == ("secret", "1") for _, _, headers in seen)


@pytest.mark.anyio
async def test_an_http_purger_that_fails_says_so_without_its_secrets() -> None:
    async with cdn(403) as (url, _), aiohttp.ClientSession() as session:
        with pytest.raises(StoreUnavailable, match="HTTP 403"):
            await HttpPurger(session, url).purge(["tag:a"])
        with pytest.raises(StoreUnavailable, match="could not be told to purge: Client") as caught:
            await HttpPurger(session, "http://127.0.0.1:1/secret").purge(["tag:a"])
        assert "secret" not in str(caught.value)
        with pytest.raises(InvalidArgument, match="timeout"):
            HttpPurger(session, url, timeout=0)
