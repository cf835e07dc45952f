"""Answers by meaning over real sockets: the official SDK sees what it was told, feedback stays in its scope, restarts lose nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import served
from gateway.site import KEY, gateway_before, simulated_site
from gateway.test_metrics import scrape, value
from gateway.test_snapshot_timer import Rings
from simulated import INSTANT
from sparecall import simulate
from sparecall.embed import StaticEmbedder
from sparecall.errors import ConfigError
from sparecall.gateway.exposition import merged
from sparecall.gateway.snapshot import SemanticSnapshot
from sparecall.metrics import Registry
from sparecall.pipeline import Semantic
from sparecall.semantic import SemanticCache

if TYPE_CHECKING:
    from pathlib import Path

    import openai

pytestmark = pytest.mark.anyio

ASKED = "How do I reset my password?"
REWORDED = "How can I reset my password?"
ALWAYS = {"enabled": True, "max_error": 1.0, "audit_share": 0.0, "seed": 1}


async def ask(client: openai.AsyncOpenAI, text: str, **fields: Any) -> tuple[dict[str, str], str]:
    """Our headers, without their prefix, and the answer's text."""
    messages: list[Any] = [{"role": "user", "content": text}]
    raw: Any = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages, **fields)
    reply = raw.parse()
    if fields.get("stream"):
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])
    else:
        said = reply.choices[0].message.content
    prefix = "x-sparecall-"
    return {
        name.removeprefix(prefix): text
        for name, text in raw.headers.items()
        if name.startswith(prefix) or name == "age"
    }, said


async def test_the_sdk_gets_the_answer_and_the_reasons() -> None:
    async with simulated_site(semantic=ALWAYS) as (site, provider):
        client = await site.sdk()
        first, said = await ask(client, ASKED)
        assert (first["cache"], first["reason"], first["why"]) == ("miss", "absent", "nothing_near")
        assert "similarity" not in first
        for stream in (False, True):
            headers, again = await ask(client, REWORDED, stream=stream)
            assert (headers["cache"], again) == ("semantic", said)
            assert (headers["why"], headers["max-error"], headers["age"]) == ("within bound", "1", "0")
            assert 0.9 < float(headers["similarity"]) <= 1
            assert 0 <= float(headers["probability"]) <= 1
            assert headers["semantic-id"].endswith("-1")
            assert "reason" not in headers
        other, _ = await ask(await site.sdk("sk-other"), REWORDED)
        assert other["cache"] == "miss"
        families = await scrape(site)
        assert value(families, "sparecall_requests_total", cache="semantic", status="2xx") == 2
        assert value(families, "sparecall_semantic_served") == 2
        assert value(families, "sparecall_semantic_lookups") == 4
        assert value(families, "sparecall_semantic_entries") == 2
        assert value(families, "sparecall_semantic_error_upper") == 1
        assert value(families, "sparecall_tokens_total", kind="spared", direction="output", model="gpt-4o") > 0
    assert provider.calls.total() == 2


async def test_what_the_bound_does_not_allow_is_held_back_and_says_so() -> None:
    async with simulated_site(semantic={"enabled": True, "seed": 1}) as (site, provider):
        client = await site.sdk()
        await ask(client, ASKED)
        headers, _ = await ask(client, "How do I not reset my password?")
        assert (headers["cache"], headers["max-error"]) == ("miss", "0.02")
        assert headers["why"].startswith("negation; ")
        families = await scrape(site)
        assert value(families, "sparecall_semantic_held_back") == 1
        assert value(families, "sparecall_semantic_closed") == 1
    assert provider.calls.total() == 2


async def test_feedback_is_taken_from_the_scope_of_the_answer_alone() -> None:
    async with simulated_site(semantic=ALWAYS) as (site, _):
        client = await site.sdk()
        await ask(client, ASKED)
        headers, _ = await ask(client, REWORDED)
        given = {"id": headers["semantic-id"], "correct": False}

        async def send(body: Any, key: str | None = KEY, **more: str) -> tuple[int, str]:
            async with (await site.http(key)).post(
                f"{site.root}/sparecall/feedback", json=body, headers=more
            ) as response:
                return response.status, await response.text()

        instance = headers["semantic-id"].partition("-")[0]
        unknown = await send({"id": f"{instance}-99", "correct": False})
        assert unknown[0] == 404
        assert "unknown_id" in unknown[1]
        assert await send(given, "sk-other") == unknown
        assert await send(given, None) == unknown
        assert await send(given, **{"x-sparecall-scope": "thread"}) == unknown
        for odd in ({}, [], {"id": 5, "correct": True}, {**given, "more": 1}, {**given, "correct": "no"}):
            status, text = await send(odd)
            assert (status, "invalid_body" in text) == (400, True)
        async with (await site.http()).get(f"{site.root}/sparecall/feedback") as response:
            assert response.status == 405
        assert (await ask(client, REWORDED))[0]["cache"] == "semantic"
        assert (await send(given))[0] == 204
        assert (await ask(client, REWORDED))[0]["cache"] == "miss"


async def test_feedback_has_no_place_where_nothing_is_answered_by_meaning() -> None:
    async with (
        simulated_site() as (site, _),
        (await site.http()).post(f"{site.root}/sparecall/feedback", json={"id": "a-1", "correct": True}) as response,
    ):
        assert response.status == 404


async def test_a_restart_keeps_what_was_stored(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"semantic": ALWAYS, "cache": {"snapshot": str(tmp_path / "cache.bin")}}
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream:
        async with gateway_before(upstream, **sections) as site:
            _, said = await ask(await site.sdk(), ASKED)
        assert (tmp_path / "cache.bin.semantic").stat().st_mode & 0o777 == 0o700
        async with gateway_before(upstream, **sections) as site:
            client = await site.sdk()
            headers, again = await ask(client, REWORDED)
            assert (headers["cache"], again) == ("semantic", said)
            assert (await ask(client, ASKED))[0]["cache"] == "exact"
    assert provider.calls.total() == 1


@pytest.mark.parametrize("spoil", ["manifest", "cut"])
def test_a_damaged_snapshot_means_an_empty_cache(tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = SemanticSnapshot(str(tmp_path / "cache.bin"))
    filled, empty = _cache(), _cache()
    cache.load(filled)  # nothing there yet
    cache.save(filled)
    folder = tmp_path / "cache.bin.semantic"
    for file in folder.iterdir():
        if (file.suffix == ".json") == (spoil == "manifest"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] or b"x")
    cache.load(empty)
    assert "starting with an empty semantic cache: " in caplog.text
    assert len(empty) == 0


def _cache() -> SemanticCache:
    return SemanticCache(StaticEmbedder(), seed=1)


async def test_on_time_what_has_changed_is_saved_and_nothing_else(tmp_path: Path) -> None:
    rings, stage = Rings(), Semantic(SemanticCache(StaticEmbedder(), seed=1, pool=str))
    folder = tmp_path / "cache.bin.semantic"
    async with SemanticSnapshot(str(tmp_path / "cache.bin")).kept(stage, every=300.0, sleep=rings.sleep):
        assert await rings.asked.get() == 300.0
        rings.ring.set()
        await rings.asked.get()
        assert not folder.is_dir()
        await stage.cache.store(ASKED, b"1", scope="a", lookup=await stage.cache.lookup(ASKED, scope="a"))
        rings.ring.set()
        await rings.asked.get()
        kept = SemanticCache(StaticEmbedder(), seed=1, pool=str)
        assert kept.load(folder) == 1


def test_a_file_where_the_folder_would_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache.bin.semantic").write_text("mine")
    with pytest.raises(ConfigError, match=r"cache\.bin\.semantic"):
        SemanticSnapshot(str(tmp_path / "cache.bin"))


def test_of_several_workers_the_worst_limit_counts() -> None:
    def text(upper: float, served: float) -> str:
        registry = Registry()
        registry.gauge("sparecall_semantic_error_upper", "Limit.").labels().set(upper)
        registry.gauge("sparecall_semantic_served", "Served.").labels().set(served)
        return registry.render()

    both = merged([text(0.25, 2), text(0.5, 3)])
    assert "sparecall_semantic_error_upper 0.5\n" in both
    assert "sparecall_semantic_served 5\n" in both


async def test_the_command_takes_the_options_and_hands_them_to_its_workers(tmp_path: Path) -> None:
    provider = simulate.Provider(latency=INSTANT)
    options = ("--semantic", "--max-error", "1.0", "--workers", "2", "--snapshot", str(tmp_path / "cache.bin"))
    async with simulate.serve(provider) as upstream, served.serve("--upstream", upstream, *options) as gateway:
        async with aiohttp.ClientSession(
            headers={"authorization": f"Bearer {KEY}"}
        ) as session:  # one connection, one worker

            async def hit(text: str) -> str:
                body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
                async with session.post(f"{gateway.url}/chat/completions", json=body) as response:
                    await response.read()
                    return response.headers["x-sparecall-cache"]

            assert [await hit(ASKED), await hit(REWORDED)] == ["miss", "semantic"]
        assert await gateway.end() == 0
    assert sorted(os.listdir(tmp_path)) == [
        "cache.bin.0",
        "cache.bin.0.semantic",
        "cache.bin.1",
        "cache.bin.1.semantic",
    ]
