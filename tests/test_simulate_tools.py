"""Tool calls of the simulated provider: streamed and whole give the same message."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from simulated import QUESTION, running, text_of
from sparecall.simulate.schema import mentions

pytestmark = pytest.mark.anyio


def tool(name: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


READ = tool("read_file", path={"type": "string"})
SEARCH = tool(
    "search", query={"type": "string"}, limit={"type": "integer", "minimum": 5, "maximum": 9}, exact={"type": "boolean"}
)


async def accumulated(client: openai.AsyncOpenAI, request: dict[str, Any]) -> dict[str, Any]:
    """The message of a streamed reply, put together as the SDK does it."""
    async with client.chat.completions.stream(**request) as stream:
        message = (await stream.get_final_completion()).choices[0].message
    return without_parsed(message.to_dict())


def without_parsed(message: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {**call, "function": {name: call["function"][name] for name in ("name", "arguments")}}
        for call in message.get("tool_calls") or ()
    ]
    return {
        "content": message.get("content"),
        "calls": [{"id": call["id"], "function": call["function"]} for call in calls],
    }


async def test_a_tool_named_by_the_user_is_called_with_what_the_user_mentioned() -> None:
    request = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Use read_file on src/app/main.py, then explain it."}],
        "tools": [SEARCH, READ],
    }
    async with running() as (_, client):
        choice = (await client.chat.completions.create(**request)).choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert call.id.startswith("call_")
        assert (call.function.name, json.loads(call.function.arguments)) == ("read_file", {"path": "src/app/main.py"})
        assert await accumulated(client, request) == without_parsed(choice.message.to_dict())


async def test_two_tools_named_are_called_in_parallel_unless_that_is_off() -> None:
    request = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": 'search for "event loop" and read_file asyncio/base_events.py'}],
        "tools": [READ, SEARCH],
    }
    async with running() as (_, client):
        whole = await client.chat.completions.create(**request)
        calls = without_parsed(whole.choices[0].message.to_dict())["calls"]
        assert [call["function"]["name"] for call in calls] == ["search", "read_file"]
        found, read = (json.loads(call["function"]["arguments"]) for call in calls)
        assert found["query"] == "event loop"
        assert 5 <= found["limit"] <= 9
        assert isinstance(found["exact"], bool)
        assert read == {"path": "asyncio/base_events.py"}
        assert (await accumulated(client, request))["calls"] == calls
        one = await client.chat.completions.create(**request, parallel_tool_calls=False)
        assert [call.type for call in one.choices[0].message.tool_calls or ()] == ["function"]


async def test_tool_choice_is_honoured() -> None:
    async with running() as (_, client):

        async def called(choice: Any, text: str) -> list[str]:
            request = {**QUESTION, "messages": [{"role": "user", "content": text}], "tools": [READ, SEARCH]}
            message = (await client.chat.completions.create(**request, tool_choice=choice)).choices[0].message
            return [call["function"]["name"] for call in without_parsed(message.to_dict())["calls"]]

        named = {"type": "function", "function": {"name": "search"}}
        for text in ("hello", "read_file a/b.py", "how are you?"):
            assert await called("none", text) == []
            assert len(await called("required", text)) == 1
            assert await called(named, text) == ["search"]
        asked = [await called("auto", f"question {number}") for number in range(40)]
        assert 0 < sum(bool(names) for names in asked) < 40
        with pytest.raises(openai.BadRequestError, match="tool_choice"):
            await called({"type": "function", "function": {"name": "unknown"}}, "hello")


async def test_after_a_tool_result_the_answer_is_text_about_it() -> None:
    async with running() as (_, client):
        first = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "read_file a/b.py"}], tools=[READ]
        )
        message = first.choices[0].message
        assert message.tool_calls
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "def answer(): return 42"}
        history: list[Any] = [{"role": "user", "content": "read_file a/b.py"}, message.to_dict(), result]
        text = await text_of(client, messages=history, tools=[READ])
        assert text.startswith("[simulated] ")
        assert "def answer(): return 42" in text


def test_what_the_user_quotes_or_names_by_path_is_found_in_linear_time() -> None:
    text = """See ~/a/b.py, ./c.txt, /etc/hosts, json.decoder. Don't take 3.14, e.g. "two words" and `code` from http://x.y/z?q=1!"""
    assert mentions(text) == [
        "~/a/b.py",
        "./c.txt",
        "/etc/hosts",
        "json.decoder",
        "two words",
        "code",
        "http://x.y/z?q=1",
    ]
    for unit in ("a", "/", "-", "a/", ".", "'", "~", "./", "a-", "http://."):
        assert len(mentions(unit * 20_000)) <= 2  # a quadratic search would take minutes over all of these
