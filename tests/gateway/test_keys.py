"""Whom the gateway lets in, and that it never becomes an open relay."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.site import QUESTION, simulated_site
from sparecall import config
from sparecall.errors import ConfigError
from sparecall.gateway import Gateway

pytestmark = pytest.mark.anyio

LISTED = {"server": {"client_keys": ["sk-client-1", "sk-client-2"]}, "upstream": {"api_key": "sk-own"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_that_is_not_listed_is_the_sdk_s_authentication_error(stream: bool) -> None:
    async with simulated_site(**LISTED) as (site, provider):
        client = await site.sdk("sk-intruder-key")
        for call in (client.chat.completions.create(**QUESTION, stream=stream), client.models.list()):
            with pytest.raises(openai.AuthenticationError) as caught:
                await call
            assert caught.value.code == "invalid_api_key"
            for secret in ("sk-intruder-key", "sk-client", "sk-own"):
                assert secret not in str(caught.value) + caught.value.response.text
        assert provider.calls.total() == 0


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic sk-client-1", "sk-client-1", "Bearer sk-client-"]
)
async def test_only_a_bearer_token_that_is_listed_is_let_in(header: str | None) -> None:
    async with simulated_site(**LISTED) as (site, _):
        http = await site.http(None)
        headers = {} if header is None else {"authorization": header}
        async with http.post(f"{site.url}/chat/completions", json=QUESTION, headers=headers) as response:
            assert response.status == 401


async def test_listed_keys_are_let_in_each_with_a_memory_of_its_own() -> None:
    async with simulated_site(**LISTED) as (site, provider):
        for key in ("sk-client-1", "sk-client-2"):
            client = await site.sdk(key)
            for hit in ("miss", "exact"):
                raw = await client.chat.completions.with_raw_response.create(**QUESTION)
                assert raw.headers["x-sparecall-cache"] == hit
        assert provider.calls.total() == 2


async def test_health_and_readiness_need_no_key() -> None:
    async with simulated_site(**LISTED) as (site, _):
        http = await site.http(None)
        for path in ("/healthz", "/readyz", "/metrics"):
            async with http.get(site.root + path) as response:
                assert response.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])  # noqa: S104 - what is refused
def test_a_gateway_with_a_key_of_its_own_refuses_to_be_an_open_relay(host: str) -> None:
    own: dict[str, Any] = {"api_key": "sk-own-secret"}
    with pytest.raises(ConfigError, match="client_keys") as caught:
        Gateway(config.load({"server": {"host": host}, "upstream": own}))
    assert "sk-own-secret" not in str(caught.value)
    Gateway(config.load({"server": {"host": host}}))
    Gateway(config.load({"server": {"host": host, "client_keys": ["sk-client"]}, "upstream": own}))
    Gateway(config.load({"server": {"host": "127.0.0.1"}, "upstream": own}))


def test_a_provider_s_url_takes_no_password() -> None:
    with pytest.raises(ConfigError, match=r"upstream\.url") as caught:
        config.load({"upstream": {"url": "https://user:secret@api.example/v1"}})
    assert "secret" not in str(caught.value)
