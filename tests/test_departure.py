"""Clients that leave in the middle of an answer are everyday life: no server of ours logs a traceback for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import pytest

from simulated import QUESTION, running
from sparecall import config, gateway
from sparecall.gateway import serving

if TYPE_CHECKING:
    from aiohttp import web

pytestmark = pytest.mark.anyio


async def leave(http: web.Request, *_: Any, **__: Any) -> NoReturn:
    """What a write raises once the other end has gone."""
    assert http.transport is not None
    http.transport.close()
    raise ConnectionResetError("Cannot write to closing transport")


@pytest.mark.parametrize("server", ["gateway", "provider"])
async def test_a_client_that_has_left_is_not_an_error(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as (_, client):
        settings = config.Config(
            server=config.Server(port=0), upstream=config.Upstream(url=str(client.base_url)), scope="test"
        )
        async with serving(settings) as (_, gateway_url), aiohttp.ClientSession() as session:
            if server == "gateway":
                monkeypatch.setattr(gateway, "respond", leave)
            else:
                monkeypatch.setattr("sparecall.simulate.provider.send_json", leave)
            url = gateway_url if server == "gateway" else str(client.base_url).rstrip("/")
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.post(f"{url}/chat/completions", json=QUESTION, headers={"authorization": "Bearer any"})
    assert [record.getMessage() for record in caplog.records] == []
