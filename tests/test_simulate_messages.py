"""The simulated Messages API, driven by the official SDK: whole and streamed, tools, formats, refusals and limits."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import anyio.to_thread
import pydantic
import pytest
from anthropic.types import Message

from simulated import Timer, running
from sparecall import simulate, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anthropic.types import ToolUseBlock

pytestmark = pytest.mark.anyio

QUESTION: dict[str, Any] = {
    "model": "claude-any",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Explain the json.decoder module."}],
}
READ = {
    "name": "read_file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
SEARCH = {
    "name": "search",
    "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}


@asynccontextmanager
async def speaking(**options: Any) -> AsyncIterator[tuple[simulate.Provider, anthropic.AsyncAnthropic]]:
    async with (
        running(**options) as (provider, client),
        anthropic.AsyncAnthropic(
            base_url=str(client.base_url).removesuffix("/v1/"),
            api_key="any",
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        ) as speaker,
    ):
        yield provider, speaker


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


async def streamed(client: anthropic.AsyncAnthropic, **request: Any) -> list[Any]:
    return [event async for event in await client.messages.create(**{**QUESTION, **request}, stream=True)]


async def final(client: anthropic.AsyncAnthropic, **request: Any) -> dict[str, Any]:
    """The message that the SDK puts together of a stream."""
    async with client.messages.stream(**{**QUESTION, **request}) as stream:
        return (await stream.get_final_message()).to_dict()


async def test_a_message_is_whole_and_counts_its_tokens_exactly() -> None:
    async with speaking() as (provider, client):
        raw = await client.messages.with_raw_response.create(**QUESTION, system="Be brief.", tools=[READ])
        reply = await raw.parse()
        Message.model_validate(json.loads(await raw.text()))
        assert (reply.type, reply.role, reply.model) == ("message", "assistant", "claude-any")
        assert (reply.stop_reason, reply.stop_sequence) == ("end_turn", None)
        assert reply.id.startswith("msg_sim_")
        assert text_of(reply).startswith("[simulated] ")
        assert "json.decoder" in text_of(reply)
        assert reply.usage.output_tokens == tokens.count(text_of(reply))
        counted = ("Be brief.", QUESTION["messages"], [READ])
        written = [json.dumps(value, separators=(",", ":"), sort_keys=True) for value in counted]
        assert reply.usage.input_tokens == sum(map(tokens.count, written))
        assert raw.headers["request-id"].startswith("req_sim_")
        assert raw.headers["x-sparecall-simulated"] == "1"
        assert "openai-processing-ms" not in raw.headers
        assert provider.calls == {("messages", "claude-any"): 1}


async def test_a_stream_has_the_api_s_events_in_order() -> None:
    async with speaking() as (provider, client):
        whole = await client.messages.create(**QUESTION)
        raw = await client.messages.with_raw_response.create(**QUESTION, stream=True)
        body = (await raw.http_response.aread()).decode()
        events = []
        for frame in body.removesuffix("\n\n").split("\n\n"):
            name, data = frame.split("\n")
            events.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
        kinds = [event["type"] for event in events]
        deltas = kinds.count("content_block_delta")
        assert deltas > 5
        assert kinds == [
            "message_start",
            "content_block_start",
            "ping",
            *["content_block_delta"] * deltas,
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        begun = events[0]["message"]
        assert (begun["id"], begun["content"], begun["stop_reason"]) == (whole.id, [], None)
        assert (begun["usage"]["input_tokens"], begun["usage"]["output_tokens"]) == (whole.usage.input_tokens, 1)
        assert events[1]["content_block"] == {"type": "text", "text": ""}
        assert "".join(event["delta"]["text"] for event in events[3:-3]) == text_of(whole)
        assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
        assert events[-2]["usage"]["output_tokens"] == whole.usage.output_tokens
        assert provider.calls == {
            ("messages", "claude-any"): 1,
            ("messages_stream", "claude-any"): 1,
        }


async def test_a_stream_equals_the_whole_also_for_the_sync_client() -> None:
    async with speaking() as (_, client):
        whole = await client.messages.create(**QUESTION)
        assert await final(client) == whole.to_dict()

        def ask() -> tuple[Message, dict[str, Any]]:
            with (
                anthropic.Anthropic(base_url=client.base_url, api_key="any", max_retries=0) as sync_client,
                sync_client.messages.stream(**QUESTION) as stream,
            ):
                return sync_client.messages.create(**QUESTION), stream.get_final_message().to_dict()

        assert await anyio.to_thread.run_sync(ask) == (whole, whole.to_dict())


async def test_the_same_request_has_the_same_message_and_any_change_another() -> None:
    async with speaking() as (_, first), speaking() as (_, second):
        reply = await first.messages.create(**QUESTION)
        assert await second.messages.create(**QUESTION) == reply
        changes: list[dict[str, Any]] = [
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Explain the json.decoder module."}]}]},
            {"system": [{"type": "text", "text": "Be brief."}]},
            {"max_tokens": 999},
            {"model": "claude-other"},
        ]
        changed = [await first.messages.create(**{**QUESTION, **change}) for change in changes]
        assert len({text_of(each) for each in (reply, *changed)}) == 5
        assert len({each.id for each in (reply, *changed)}) == 5


@pytest.mark.parametrize("limit", [1, 10])
async def test_an_answer_is_cut_at_the_limit(limit: int) -> None:
    async with speaking() as (_, client):
        reply = await client.messages.create(**{**QUESTION, "max_tokens": limit})
        assert reply.stop_reason == "max_tokens"
        assert 0 < reply.usage.output_tokens <= limit
        assert await final(client, max_tokens=limit) == reply.to_dict()


async def test_a_stop_sequence_ends_the_text_before_itself_and_is_named() -> None:
    async with speaking() as (_, client):
        reply = await client.messages.create(**QUESTION, stop_sequences=["never there", "."])
        assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", ".")
        assert "." not in text_of(reply)
        nothing = await client.messages.create(**QUESTION, stop_sequences=["[simulated]"])
        assert (nothing.content, nothing.stop_sequence, nothing.usage.output_tokens) == ([], "[simulated]", 0)
        assert await final(client, stop_sequences=["[simulated]"]) == nothing.to_dict()


async def test_tools_make_a_round_trip() -> None:
    asked: list[Any] = [{"role": "user", "content": "search 'loop', then read_file a/b.py"}]
    request: dict[str, Any] = {**QUESTION, "messages": asked, "tools": [READ, {**SEARCH, "type": "custom"}]}
    async with speaking() as (_, client):
        first = await client.messages.create(**request)
        calls = calls_of(first)
        assert [(call.name, call.input) for call in calls] == [
            ("search", {"query": "loop"}),
            ("read_file", {"path": "a/b.py"}),
        ]
        assert first.stop_reason == "tool_use"
        assert all(call.id.startswith("toolu_") for call in calls)
        assert await final(client, **request) == first.to_dict()
        events = await streamed(client, **request)
        begun = [event.content_block for event in events if event.type == "content_block_start"]
        assert [(block.name, block.input) for block in begun] == [("search", {}), ("read_file", {})]
        results = [
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": "nothing"},
            {"type": "tool_result", "tool_use_id": calls[1].id, "content": [{"type": "text", "text": "def answer()"}]},
        ]
        history = [*asked, first.to_param(), {"role": "user", "content": results}]
        second = await client.messages.create(**{**request, "messages": history})
        assert "def answer()" in text_of(second)


async def test_tool_choice_is_honoured() -> None:
    async with speaking() as (_, client):

        async def called(choice: Any, text: str = "read_file a/b.py and search", **options: Any) -> list[str]:
            request = {
                **QUESTION,
                "messages": [{"role": "user", "content": text}],
                "tools": [SEARCH, READ],
                "tool_choice": choice,
            }
            return [call.name for call in calls_of(await client.messages.create(**{**request, **options}))]

        assert await called({"type": "none"}) == []
        assert await called({"type": "auto"}) == ["read_file", "search"]
        assert await called({"type": "auto", "disable_parallel_tool_use": True}) == ["read_file"]
        assert len(await called({"type": "any"}, "hello")) == 1
        assert await called({"type": "tool", "name": "search"}) == ["search"]
        server_tool = {"type": "web_search_20250305", "name": "web_search"}
        assert await called({"type": "any"}, tools=[server_tool]) == []
        with pytest.raises(anthropic.BadRequestError, match="tool_choice"):
            await called({"type": "tool", "name": "unknown"})


async def test_a_schema_of_the_output_is_followed() -> None:
    class Person(pydantic.BaseModel):
        name: str
        age: int

    async with speaking() as (_, client):
        parsed = (await client.messages.parse(**QUESTION, output_format=Person)).parsed_output
        assert isinstance(parsed, Person)
        schema = Person.model_json_schema()
        output = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        assert set(json.loads(text_of(await client.messages.create(**QUESTION, **output)))) == {"name", "age"}


async def test_tokens_of_a_prompt_are_counted_without_an_answer() -> None:
    timer = Timer()
    latency = simulate.Latency(first_token=2.0, per_token=0.5, jitter=0)
    async with speaking(latency=latency, clock=timer.clock, sleep=timer.sleep) as (provider, client):
        prompt = {"system": "Be brief.", "tools": [READ], "tool_choice": {"type": "none"}}
        asked = {name: value for name, value in QUESTION.items() if name != "max_tokens"}
        counted = await client.messages.count_tokens(**asked, **prompt)
        assert timer.slept == []
        assert provider.calls == {("count_tokens", "claude-any"): 1}
        assert provider.prompt_tokens == 0
        reply = await client.messages.create(**QUESTION, **prompt)
        assert counted.input_tokens == reply.usage.input_tokens
        assert timer.slept == pytest.approx([2.0 + 0.5 * reply.usage.output_tokens])
