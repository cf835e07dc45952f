"""What the simulated Messages API refuses, its limits and its faults, in Anthropic's own error shape."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest

from simulated import Timer, forced, running
from sparecall import simulate
from test_simulate_messages import QUESTION, speaking, streamed

pytestmark = pytest.mark.anyio

USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "search", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "found"}]}
ASKED = QUESTION["messages"][0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
        ({"messages": [ASKED, USED]}, "tool_result"),
        ({"messages": [ASKED, USED, ASKED]}, "tool_result"),
        ({"messages": [ASKED, RESULT]}, "tool_use"),
        ({"messages": [ASKED, {"role": "assistant", "content": [{"type": "tool_use", "id": "x"}]}]}, "name"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
        ({"tools": [{"name": "search"}]}, "input_schema"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"stop_sequences": [" "]}, "stop_sequences"),
        ({"temperature": 1.5}, "temperature"),
        ({"model": ""}, "model"),
    ],
)
async def test_a_bad_request_names_what_is_wrong(change: dict[str, Any], named: str) -> None:
    async with speaking() as (provider, client):
        with pytest.raises(anthropic.BadRequestError, match=named) as caught:
            await client.post("/v1/messages", body={**QUESTION, **change}, cast_to=object)
        body: Any = caught.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
        assert body["request_id"] == caught.value.request_id == caught.value.response.headers["request-id"]
        assert provider.calls == {}


async def test_a_key_and_the_version_are_demanded() -> None:
    version = {"anthropic-version": "2023-06-01"}
    async with running() as (_, client), aiohttp.ClientSession() as session:
        for headers, status, kind in (
            ({}, 401, "authentication_error"),
            (version, 401, "authentication_error"),
            ({"x-api-key": " ", **version}, 401, "authentication_error"),
            ({"authorization": "Basic x", **version}, 401, "authentication_error"),
            ({"x-api-key": "any"}, 400, "invalid_request_error"),
        ):
            async with session.post(f"{client.base_url}messages", json=QUESTION, headers=headers) as reply:
                assert reply.status == status
                body = await reply.json()
                assert set(body) == {"type", "error", "request_id"}
                assert (body["type"], body["error"]["type"]) == ("error", kind)
        for key in ({"x-api-key": "any"}, {"authorization": "Bearer any"}):
            headers = {**key, **version}
            async with session.post(f"{client.base_url}messages", json=QUESTION, headers=headers) as reply:
                assert reply.status == 200


async def test_the_sdk_raises_its_own_types() -> None:
    async with speaking() as (_, client):
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**QUESTION, extra_headers={"authorization": "Basic x"})
        with pytest.raises(anthropic.NotFoundError) as missing:
            await client.post("/v1/messages/batches/none", body={}, cast_to=object)
        assert missing.value.body == {
            "type": "error",
            "error": {"type": "not_found_error", "message": "Invalid URL (POST /v1/messages/batches/none)"},
            "request_id": missing.value.request_id,
        }


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", anthropic.RateLimitError),
        ("server_error", anthropic.InternalServerError),
        ("overloaded", anthropic.InternalServerError),
        ("disconnect", anthropic.APIConnectionError),
        ("cut_stream", (anthropic.APIConnectionError, httpx2.ReadError)),
        ("bad_length", (anthropic.APIConnectionError, httpx2.RemoteProtocolError)),
        ("garbage", UnicodeDecodeError),
        ("truncated_json", json.JSONDecodeError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_fault_raises_what_the_sdk_raises_for_it(fault: str, error: Any, stream: bool) -> None:
    async with speaking() as (provider, client):

        async def ask() -> None:
            reply = await client.messages.create(**QUESTION, stream=stream, extra_headers=forced(fault))
            if isinstance(reply, anthropic.AsyncStream):
                async for _ in reply:
                    pass

        with pytest.raises(error):
            await ask()
        assert provider.faulted == {fault: 1}


async def test_faults_have_anthropic_s_statuses_and_types() -> None:
    async with speaking() as (_, client):
        for fault, status, kind in (
            ("rate_limit", 429, "rate_limit_error"),
            ("server_error", 500, "api_error"),
            ("overloaded", 529, "overloaded_error"),
        ):
            with pytest.raises(anthropic.APIStatusError) as caught:
                await client.messages.create(**QUESTION, extra_headers=forced(fault))
            body: Any = caught.value.body
            assert (caught.value.status_code, body["error"]["type"]) == (status, kind)
            headers = caught.value.response.headers
            assert ("retry-after" in headers) == ("anthropic-ratelimit-requests-reset" in headers) == (status == 429)
            assert not any(name.startswith("x-ratelimit-") or name == "retry-after-ms" for name in headers)


async def test_a_stream_fails_with_the_event_error() -> None:
    async with speaking() as (_, client):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await streamed(client, extra_headers=forced("error_in_200"))
        body: Any = caught.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "api_error")
        whole = await client.messages.create(**QUESTION, extra_headers=forced("error_in_200"))
        assert whole.to_dict()["type"] == "error"


async def test_no_done_lacks_only_the_last_event_and_a_stall_the_time_it_takes() -> None:
    timer = Timer()
    async with speaking(clock=timer.clock, sleep=timer.sleep) as (_, client):
        events = await streamed(client)
        assert events[-1].type == "message_stop"
        assert await streamed(client, extra_headers=forced("no_done")) == events[:-1]
        assert timer.slept == []
        assert await streamed(client, extra_headers=forced("stall")) == events
        assert timer.slept == [60.0]


async def test_drawn_faults_come_on_this_wire_too() -> None:
    async with speaking(faults=simulate.Faults(server_error=1.0)) as (_, client):
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.create(**QUESTION)
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.count_tokens(model="m", messages=QUESTION["messages"])


async def test_limits_are_told_in_anthropic_s_headers() -> None:
    timer = Timer()
    async with speaking(requests_per_minute=2, clock=timer.clock) as (_, client):
        raw = await client.messages.with_raw_response.create(**QUESTION)
        told = {name: value for name, value in raw.headers.items() if "ratelimit" in name}
        assert told == {
            "anthropic-ratelimit-requests-limit": "2",
            "anthropic-ratelimit-requests-remaining": "1",
            "anthropic-ratelimit-requests-reset": "2025-06-15T15:07:40Z",
        }
        timer.now += 17.5
        await client.messages.create(**QUESTION)
        await client.messages.count_tokens(model="m", messages=QUESTION["messages"])  # has limits of its own
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.messages.create(**QUESTION)
        headers = caught.value.response.headers
        assert (headers["retry-after"], headers["anthropic-ratelimit-requests-remaining"]) == ("43", "0")
        assert headers["anthropic-ratelimit-requests-reset"] == "2025-06-15T15:07:23Z"
        timer.now += 42.5
        await client.messages.create(**QUESTION)
