"""Gateways that share answers through a store: by Redis or a SQLite file, across restarts, and with nobody there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from gateway.site import QUESTION, Site, gateway_before
from redis_servers import free_port
from served import serve
from simulated import INSTANT
from sparecall import config as configuration
from sparecall import simulate
from sparecall.cache import BytesCache
from sparecall.errors import ConfigError
from sparecall.gateway import Gateway
from sparecall.pipeline import Exact, Shared
from sparecall.store import SqliteStore
from stores import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the stores' and the gateway's own tests run on both."""
    return "asyncio"


@pytest.fixture(params=["redis", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'answers.db'}"
    return str(request.getfixturevalue("redis_server").url())


async def ask(site: Site, key: str = "sk-alice", **options: Any) -> tuple[str, str, str]:
    """How the answer came to be, why, and its text."""
    client = await site.sdk(key)
    raw = await client.chat.completions.with_raw_response.create(**QUESTION | options)
    headers = raw.headers
    return headers["x-sparecall-cache"], headers.get("x-sparecall-reason", ""), str(raw.parse().id)


async def stored(site: Site) -> None:
    """Waits until what was answered has been written."""
    shared = site.gateway.pipeline.stage(Exact)._shared
    assert shared is not None
    await until(lambda: not shared._writes)


async def test_two_gateways_share_answers_in_one_scope_and_in_no_other(url: str) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with (
        simulate.serve(provider) as upstream,
        gateway_before(upstream, store={"url": url}) as one,
        gateway_before(upstream, store={"url": url}) as other,
    ):
        hit, _, first = await ask(one)
        assert hit == "miss"
        await stored(one)
        assert await ask(other) == ("exact", "shared", first)
        while (answer := await ask(other)) != (
            "exact",
            "",
            first,
        ):  # from its own memory, once it has heard of the write
            assert answer == ("exact", "shared", first)
        client = await other.sdk()
        async with client.chat.completions.stream(**QUESTION) as stream:
            assert (await stream.get_final_completion()).id == first
        assert (await ask(other, key="sk-bob"))[0] == "miss"
        assert (await ask(other, model="gpt-4o-mini"))[0] == "miss"
    assert provider.calls.total() == 3


async def test_many_at_once_ask_the_store_once(url: str) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream, gateway_before(upstream, store={"url": url}) as one:
        await ask(one)
        await stored(one)
        async with gateway_before(upstream, store={"url": url}) as other:
            answers = await asyncio.gather(*[ask(other) for _ in range(20)])
            assert {hit for hit, _, _ in answers} == {"exact"}
            shared = other.gateway.pipeline.stage(Exact)._shared
            assert shared is not None
            assert shared._store.stats().hits <= 3
    assert provider.calls.total() == 1


async def test_an_answer_made_anew_replaces_the_old_one_everywhere(url: str) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream, gateway_before(upstream, store={"url": url}) as one:
        await ask(one)
        await stored(one)
        async with gateway_before(upstream, store={"url": url}) as other:  # hears of no earlier write
            shared = other.gateway.pipeline.stage(Exact)._shared
            assert shared is not None
            await until(lambda: shared._store.coherent)
            await ask(other)
            cache = other.gateway.pipeline.stage(Exact).cache
            assert len(cache) == 1
            assert (await ask(one, extra_headers={"cache-control": "no-cache"}))[0] == "bypass"
            await stored(one)
            await until(lambda: len(cache) == 0)
            assert (await ask(other))[:2] == ("exact", "shared")
    assert provider.calls.total() == 2


async def test_a_restarted_gateway_answers_from_the_store(url: str) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream:
        async with gateway_before(upstream, store={"url": url}) as site:
            assert (await ask(site))[0] == "miss"
        async with gateway_before(upstream, store={"url": url}) as site:
            assert (await ask(site))[:2] == ("exact", "shared")
        async with gateway_before(upstream, store={"url": url}, version=1) as site:
            assert (await ask(site))[0] == "miss"
    assert provider.calls.total() == 2


async def test_a_copy_lives_for_what_is_left_of_the_answer_s_life(tmp_path: Path) -> None:
    now = [time.time()]

    def made() -> tuple[BytesCache, Shared]:
        memory = BytesCache(1 << 20, ttl=100.0, clock=lambda: now[0])
        store = SqliteStore(tmp_path / "store", timeout=5.0, clock=lambda: now[0])
        return memory, Shared(store, memory, ttl=100.0, clock=lambda: now[0])

    digest = b"d" * 32
    _, one = made()
    one.keep("team", digest, b"answer", (0.5, 2.0))
    await one.close()
    now[0] += 60
    memory, other = made()
    assert await other.fetch("team", digest)
    assert memory.get(digest) == b"answer"
    assert not await other.fetch("another team", digest)
    now[0] += 41
    assert memory.get(digest) is None
    assert not await other.fetch("team", digest)
    await other.close()


async def test_the_command_shares_too(tmp_path: Path) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream:
        hits = []
        for _ in range(2):
            async with serve("--upstream", upstream, "--l2", f"sqlite:{tmp_path / 'answers.db'}") as served:
                async with openai.AsyncOpenAI(base_url=served.url, api_key="sk-alice", max_retries=0) as client:
                    raw = await client.chat.completions.with_raw_response.create(**QUESTION)
                hits.append(raw.headers["x-sparecall-cache"])
                assert await served.end() == 0
        assert hits == ["miss", "exact"]


async def test_without_its_store_a_gateway_answers_all_the_same() -> None:
    provider = simulate.Provider(latency=INSTANT)
    url = f"redis://:secret-word@127.0.0.1:{free_port()}/0"
    async with simulate.serve(provider) as upstream, gateway_before(upstream, store={"url": url}) as site:
        for n in range(10):
            assert (await ask(site, seed=n))[0] == "miss"
        assert (await ask(site, seed=0))[0] == "exact"
        shared = site.gateway.pipeline.stage(Exact)._shared
        assert shared is not None
        await stored(site)
        assert shared._store.state == "open"
        assert shared.dropped_writes == 10
    assert provider.calls.total() == 10


async def test_the_url_may_stand_in_the_environment_and_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_STORE", "redis://:secret-word@127.0.0.1/0")
    loaded = configuration.load({"store": {"url_env": "OUR_STORE"}})
    assert loaded.store.address() == "redis://:secret-word@127.0.0.1/0"
    assert "secret" not in repr(loaded)
    for section in (
        {"url": "http://:secret-word@host"},
        {"url": "redis://:secret-word@host:many"},
        {"url": "redis://:secret-word@host/0?odd=1"},
        {"url": "sqlite:"},
        {"url_env": "NOT_THERE"},
        {"url": "redis://host", "prefix": ""},
        {"url": "redis://host", "max_bytes": 5},
    ):
        with pytest.raises(ConfigError) as caught:
            Gateway(configuration.load({"store": section}))
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="only with cache"):
        configuration.load({"store": {"url": "sqlite:x"}, "cache": {"enabled": False}})
