"""The cache outlives a restart in a snapshot; a snapshot that cannot be used costs the answers in it, never the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.site import QUESTION, Site, gateway_before, simulated_site
from simulated import INSTANT
from sparecall import simulate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def hit(site: Site, **options: object) -> str:
    client = await site.sdk()
    raw = await client.chat.completions.with_raw_response.create(**QUESTION, **options)  # type: ignore[call-overload]
    return str(raw.headers["x-sparecall-cache"])


async def test_a_restarted_gateway_answers_from_its_snapshot(tmp_path: Path) -> None:
    cache = {"snapshot": str(tmp_path / "cache.bin")}
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream:
        async with gateway_before(upstream, cache=cache) as site:
            assert await hit(site) == "miss"
        async with gateway_before(upstream, cache=cache) as site:
            assert await hit(site) == "exact"
            client = await site.sdk()
            async with client.chat.completions.stream(**QUESTION) as stream:
                assert (await stream.get_final_completion()).choices[0].message.content
        async with gateway_before(upstream, cache=cache, version=1) as site:
            assert await hit(site) == "miss"
    assert provider.calls.total() == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "folder"])
async def test_a_snapshot_that_cannot_be_loaded_means_an_empty_cache_and_a_warning(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.bin"
    provider = simulate.Provider(latency=INSTANT)
    async with simulate.serve(provider) as upstream:
        async with gateway_before(upstream, cache={"snapshot": str(path)}) as site:
            await hit(site)
        whole = path.read_bytes()
        path.unlink()
        match damage:
            case "cut":
                path.write_bytes(whole[: len(whole) // 2])
            case "changed":
                path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
            case "empty":
                path.touch()
            case "foreign":
                path.write_text("[server]\nport = 80\n")
            case "folder":
                path.mkdir()
        caplog.clear()
        async with gateway_before(upstream, cache={"snapshot": str(path)}) as site:
            assert [record.levelname for record in caplog.records if record.name == "sparecall.gateway"] == ["WARNING"]
            assert "starting with an empty cache" in caplog.text
            assert await hit(site) == "miss"


async def test_a_snapshot_that_cannot_be_saved_is_an_error_in_the_log_not_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulated_site(cache={"snapshot": str(tmp_path / "nowhere" / "cache.bin")}) as (site, _):
        await hit(site)
    assert "cannot be saved" in caplog.text
