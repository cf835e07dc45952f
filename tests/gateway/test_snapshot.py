"""The cache outlives a restart in a snapshot; a snapshot that cannot be used costs the answers in it, never the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.site import QUESTION, Site, gateway_before, simulated_site
from simulated import INSTANT
from sparecall import config as configuration
from sparecall import simulate
from sparecall.errors import ConfigError
from sparecall.gateway import Gateway

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


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
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
        caplog.clear()
        async with gateway_before(upstream, cache={"snapshot": str(path)}) as site:
            assert [record.levelname for record in caplog.records if record.name == "sparecall.gateway"] == ["WARNING"]
            assert "starting with an empty cache" in caplog.text
            assert await hit(site) == "miss"


async def test_a_snapshot_that_cannot_be_saved_is_an_error_in_the_log_not_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with simulated_site(cache={"snapshot": str(folder / "cache.bin")}) as (site, _):
        await hit(site)
        folder.rmdir()
    assert "cannot be saved" in caplog.text


def test_a_path_that_can_hold_no_snapshot_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder does not exist"):
        Gateway(configuration.load({"cache": {"snapshot": str(tmp_path / "nowhere" / "cache.bin")}}))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Gateway(configuration.load({"cache": {"snapshot": str(tmp_path)}}))


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "sparecall.toml"
    path.write_text("[server]\nport = 80\n")
    with pytest.raises(ConfigError, match="would be overwritten"):
        Gateway(configuration.load({"cache": {"snapshot": str(path)}}))
    assert path.read_text() == "[server]\nport = 80\n"
