"""The Responses and Messages wires with the official SDKs: what comes through the gateway, made or replayed, is what comes directly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from gateway.site import KEY, Site, gateway_before
from simulated import INSTANT
from sparecall import simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio

MODEL = "claude-of-the-tests"  # the SDK warns of real ones, each from some day on
TOOL = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
    "additionalProperties": False,
}
RESPONSES: dict[str, dict[str, Any]] = {
    "text": {"input": "Explain json.decoder.", "instructions": "Be brief."},
    "items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Explain json."}]}]},
    "tool": {
        "input": "Call read_file for json/decoder.py.",
        "tools": [{"type": "function", "name": "read_file", "parameters": TOOL, "strict": True}],
    },
    "metadata": {"input": "Explain json.decoder.", "metadata": {"run": "1"}, "user": "ada"},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"messages": [{"role": "user", "content": "Explain json.decoder."}], "system": "Be brief."},
    "tool": {
        "messages": [{"role": "user", "content": "Call read_file for json/decoder.py."}],
        "tools": [{"name": "read_file", "input_schema": TOOL}],
    },
    "stop": {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 5},
}


def openai_client(url: str, key: str = KEY) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=http)


def anthropic_client(url: str, key: str = KEY) -> anthropic.AsyncAnthropic:
    http = anthropic.DefaultAsyncHttpxClient(verify=False)
    return anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key=key, max_retries=0, http_client=http)


@asynccontextmanager
async def both_wires(**sections: Any) -> AsyncIterator[tuple[Site, simulate.Provider, str]]:
    provider = simulate.Provider(latency=INSTANT, wall_clock=lambda: 1_750_000_000.0)
    async with (
        simulate.serve(provider) as upstream,
        gateway_before(upstream, anthropic={"url": upstream}, **sections) as site,
    ):
        yield site, provider, upstream


async def response(client: openai.AsyncOpenAI, question: dict[str, Any]) -> dict[str, Any]:
    return (await client.responses.create(model="gpt-4o", **question)).model_dump()


async def streamed_response(client: openai.AsyncOpenAI, question: dict[str, Any]) -> dict[str, Any]:
    async with await client.responses.create(model="gpt-4o", stream=True, **question) as stream:
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    return events[-1].response.model_dump()


async def message(client: anthropic.AsyncAnthropic, question: dict[str, Any]) -> dict[str, Any]:
    created = await client.messages.create(**{"model": MODEL, "max_tokens": 400, **question})
    return created.model_dump()


async def streamed_message(client: anthropic.AsyncAnthropic, question: dict[str, Any]) -> dict[str, Any]:
    async with client.messages.stream(**{"model": MODEL, "max_tokens": 400, **question}) as stream:
        return (await stream.get_final_message()).model_dump(exclude={"parsed_output"})


async def check_same(ways: list[Callable[[], Awaitable[Any]]], expected: Any) -> None:
    for way in ways:
        assert await way() == expected


@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize("first", [response, streamed_response])
async def test_responses_through_the_gateway_are_those_of_the_provider(kind: str, first: Any) -> None:
    question = RESPONSES[kind]
    async with (
        both_wires() as (site, provider, upstream),
        openai_client(upstream) as direct,
        openai_client(site.url) as client,
    ):
        expected = await response(direct, question)
        assert await streamed_response(direct, question) == expected
        made = provider.calls.total()
        ways = [first, response, streamed_response, response]
        await check_same([lambda way=way: way(client, question) for way in ways], expected)  # type: ignore[misc]
        assert provider.calls.total() == made + 1


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("first", [message, streamed_message])
async def test_messages_through_the_gateway_are_those_of_the_provider(kind: str, first: Any) -> None:
    question = MESSAGES[kind]
    async with (
        both_wires() as (site, provider, upstream),
        anthropic_client(upstream) as direct,
        anthropic_client(site.url) as client,
    ):
        expected = await message(direct, question)
        assert expected["stop_reason"] == {"text": "end_turn", "tool": "tool_use", "stop": "max_tokens"}[kind]
        made = provider.calls.total()
        ways = [first, message, streamed_message, message]
        await check_same([lambda way=way: way(client, question) for way in ways], expected)  # type: ignore[misc]
        assert provider.calls.total() == made + 1


async def test_a_stored_response_repeats_the_labels_of_who_asks_now() -> None:
    question = RESPONSES["text"]
    async with both_wires() as (site, provider, _), openai_client(site.url) as client:
        ada = await response(client, {**question, "metadata": {"run": "1"}, "user": "ada"})
        bob = await response(client, {**question, "metadata": {"run": "2"}})
        assert provider.calls.total() == 1
        assert (ada["metadata"], ada["user"], bob["metadata"], bob["user"]) == ({"run": "1"}, "ada", {"run": "2"}, None)
        pair = await asyncio.gather(
            *[response(client, {"input": "Together", "metadata": {"run": run}}) for run in "34"]
        )
        assert [one["metadata"] for one in pair] == [{"run": "3"}, {"run": "4"}]


async def test_answers_that_depend_on_what_the_provider_remembers_are_asked_for_each_time() -> None:
    async with both_wires() as (site, provider, _), openai_client(site.url) as client:
        for _ in range(2):
            raw = await client.responses.with_raw_response.create(
                model="gpt-4o", input="Search.", tools=[{"type": "web_search"}]
            )
            assert (raw.headers["x-sparecall-cache"], raw.headers["x-sparecall-reason"]) == ("bypass", "hosted_tool")
        assert provider.calls.total() == 2


async def test_identical_streams_of_a_wire_in_flight_are_one_call() -> None:
    async with (
        both_wires() as (site, provider, _),
        anthropic_client(site.url) as client,
        openai_client(site.url) as other,
    ):
        question = MESSAGES["text"]
        messages = await asyncio.gather(*[way(client, question) for way in (message, streamed_message) * 10])
        assert all(one == messages[0] for one in messages)
        replies = await asyncio.gather(*[streamed_response(other, RESPONSES["text"]) for _ in range(20)])
        assert all(one == replies[0] for one in replies)
        assert provider.calls.total() == 2


async def test_keys_of_clients_are_scopes_and_other_versions_of_the_wire_are_other_requests() -> None:
    async with both_wires() as (site, provider, _):
        question = MESSAGES["text"]
        for key, version in (("sk-a", "2023-06-01"), ("sk-b", "2023-06-01"), ("sk-a", "2023-01-01")):
            async with anthropic_client(site.url, key) as client:
                for _ in range(2):
                    await message(client, {**question, "extra_headers": {"anthropic-version": version}})
        assert provider.calls.total() == 3


async def test_errors_have_the_form_of_their_wire() -> None:
    async with both_wires(server={"client_keys": ["sk-team"]}) as (site, provider, _):
        async with anthropic_client(site.url, "sk-other") as client:
            count = client.messages.count_tokens
            for asking in (
                message(client, MESSAGES["text"]),
                count(model=MODEL, messages=MESSAGES["text"]["messages"]),
            ):
                with pytest.raises(anthropic.AuthenticationError) as refused:
                    await asking
                assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
        async with anthropic_client(site.url, "sk-team") as client:
            fault = {"extra_headers": {"x-simulate-fault": "rate_limit"}}
            with pytest.raises(anthropic.RateLimitError):
                await message(client, {**MESSAGES["text"], **fault})
            with pytest.raises(anthropic.InternalServerError) as broken:
                await message(client, {**MESSAGES["text"], "extra_headers": {"x-simulate-fault": "disconnect"}})
            assert broken.value.status_code == 502
            with pytest.raises(anthropic.APIStatusError):
                await streamed_message(
                    client, {**MESSAGES["text"], "extra_headers": {"x-simulate-fault": "cut_stream"}}
                )
        async with openai_client(site.url, "sk-team") as other:
            with pytest.raises(openai.APIError):
                await streamed_response(
                    other, {**RESPONSES["text"], "extra_headers": {"x-simulate-fault": "cut_stream"}}
                )
            assert (await streamed_response(other, RESPONSES["text"]))["status"] == "completed"
        assert provider.calls.total() == 5


async def test_without_an_anthropic_provider_messages_are_refused_with_a_word_why() -> None:
    async with (
        simulate.serve(simulate.Provider(latency=INSTANT)) as upstream,
        gateway_before(upstream) as site,
        anthropic_client(site.url) as client,
    ):
        with pytest.raises(anthropic.NotFoundError, match=r"configure \[anthropic\]"):
            await message(client, MESSAGES["text"])


async def test_what_stands_below_anthropic_s_wire_goes_to_anthropic() -> None:
    other = simulate.Provider(latency=INSTANT)
    async with (
        simulate.serve(other) as elsewhere,
        both_wires(upstream={"url": elsewhere}) as (site, provider, _),
        anthropic_client(site.url) as client,
    ):
        counted = await client.messages.count_tokens(model=MODEL, messages=MESSAGES["text"]["messages"])
        assert counted.input_tokens > 0
        assert (provider.calls.total(), other.calls.total()) == (1, 0)
    async with (
        simulate.serve(other) as elsewhere,
        gateway_before(elsewhere) as site,
        anthropic_client(site.url) as client,
    ):
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.count_tokens(model=MODEL, messages=MESSAGES["text"]["messages"])


async def test_tokens_of_all_wires_are_counted_and_priced() -> None:
    async with (
        both_wires(prices={MODEL: {"input": 3, "output": 15}}) as (site, _, _),
        anthropic_client(site.url) as client,
        openai_client(site.url) as other,
    ):
        for _ in range(2):
            said = await message(client, MESSAGES["text"])
            await response(other, RESPONSES["text"])
        text = await site.metrics()
        assert 'sparecall_requests_total{cache="exact",status="2xx"} 2' in text
        spared = [line for line in text.splitlines() if line.startswith("sparecall_tokens_total") and "spared" in line]
        assert len(spared) == 4, "in and out, of each model"
        assert f'sparecall_cost_dollars_total{{kind="spared",model="{said["model"]}"}}' in text
