"""One stored answer serves streams and whole replies, and the SDK cannot tell it from the provider's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.site import QUESTION, simulated_site

pytestmark = pytest.mark.anyio

TOOLS = {
    "messages": [{"role": "user", "content": 'Call read_file for "json/decoder.py" and list_files for "json".'}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            },
        }
        for name in ("read_file", "list_files")
    ],
}


async def whole(client: Any, **options: Any) -> tuple[Any, Any]:
    raw = await client.chat.completions.with_raw_response.create(**{**QUESTION, **options})
    return raw.parse(), raw.headers


async def streamed(client: Any, **options: Any) -> tuple[list[Any], Any]:
    raw = await client.chat.completions.with_raw_response.create(**{**QUESTION, **options}, stream=True)
    return [part async for part in raw.parse()], raw.headers


def text(parts: list[Any], index: int = 0) -> str:
    return "".join(choice.delta.content or "" for part in parts for choice in part.choices if choice.index == index)


@pytest.mark.parametrize("stream_first", [False, True])
@pytest.mark.parametrize("options", [{}, TOOLS], ids=["text", "tools"])
async def test_one_stored_answer_serves_both_forms(stream_first: bool, options: dict[str, Any]) -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        direct = await site.sdk(base_url=site.gateway.pipeline.stages[-1].url)  # type: ignore[attr-defined]
        if stream_first:
            parts, headers = await streamed(client, **options)
            assert headers["x-sparecall-cache"] == "miss"
        answer, headers = await whole(client, **options)
        assert headers["x-sparecall-cache"] == ("exact" if stream_first else "miss")
        parts, headers = await streamed(client, **options)
        assert headers["x-sparecall-cache"] == "exact"
        assert headers["content-type"] == "text/event-stream"
        async with client.chat.completions.stream(**{**QUESTION, **options}) as stream:
            final = await stream.get_final_completion()
        assert provider.calls.total() == 1
        truth, _ = await whole(direct, **options)
        message, expected = answer.choices[0].message, truth.choices[0].message
        assert (message.content, message.role) == (expected.content, "assistant")
        assert message.tool_calls == expected.tool_calls
        assert (answer.id, answer.model, answer.created) == (truth.id, truth.model, truth.created)
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
            truth.usage.prompt_tokens,
            truth.usage.completion_tokens,
        )
        assert answer.choices[0].finish_reason == final.choices[0].finish_reason == truth.choices[0].finish_reason
        assert text(parts) == (expected.content or "")
        assert final.choices[0].message.content == expected.content
        calls = final.choices[0].message.tool_calls or []
        assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
            (call.id, call.function.name, call.function.arguments) for call in expected.tool_calls or []
        ]
        assert len(calls) == (2 if options else 0)


@pytest.mark.parametrize("asked", [True, False, None])
async def test_a_usage_chunk_comes_exactly_when_it_is_asked_for_live_and_replayed(asked: bool | None) -> None:
    options = {} if asked is None else {"stream_options": {"include_usage": asked}}
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        for hit in ("miss", "exact"):
            parts, headers = await streamed(client, **options)
            assert headers["x-sparecall-cache"] == hit
            usages = [part.usage for part in parts if part.usage is not None]
            assert len(usages) == (1 if asked else 0)
            assert all(("usage" in part.model_fields_set) == bool(asked) for part in parts)
            if asked:
                assert parts[-1].usage == usages[0]
                assert parts[-1].choices == []
                assert usages[0].completion_tokens == provider.completion_tokens
            else:
                assert all(part.choices for part in parts)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"n": 2}, "n"),
        ({"temperature": 1.5, "n": 2}, "temperature"),
    ],
)
async def test_a_request_for_variety_bypasses_the_cache_in_both_forms(options: dict[str, Any], reason: str) -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        for _ in range(2):
            answer, headers = await whole(client, **options)
            assert (headers["x-sparecall-cache"], headers["x-sparecall-reason"]) == ("bypass", reason)
            parts, headers = await streamed(client, **options)
            assert (headers["x-sparecall-cache"], headers["x-sparecall-reason"]) == ("bypass", reason)
            for index, choice in enumerate(answer.choices):
                assert text(parts, index) == choice.message.content
            assert all("usage" not in part.model_fields_set for part in parts)
        assert provider.calls.total() == 4


async def test_limits_of_variety_are_the_configuration_s() -> None:
    async with simulated_site(cache={"max_temperature": 2.0, "max_n": 2}) as (site, provider):
        client = await site.sdk()
        answer, _ = await whole(client, temperature=1.5, n=2)
        parts, headers = await streamed(client, temperature=1.5, n=2)
        assert headers["x-sparecall-cache"] == "exact"
        assert [text(parts, index) for index in range(2)] == [choice.message.content for choice in answer.choices]
        assert provider.calls.total() == 1


async def test_headers_say_how_a_reply_came_to_be() -> None:
    async with simulated_site() as (site, _):
        client = await site.sdk()
        _, miss = await whole(client)
        _, hit = await whole(client)
        assert (miss["x-sparecall-cache"], miss["x-sparecall-reason"]) == ("miss", "absent")
        assert "age" not in miss
        assert hit["x-sparecall-cache"] == "exact"
        assert "x-sparecall-reason" not in hit
        assert int(hit["age"]) >= 0
        for headers, names in ((miss, "scope digest exact coalesce upstream"), (hit, "scope digest exact")):
            stages = dict(part.split("=") for part in headers["x-sparecall-micros"].split(", "))
            assert list(stages) == names.split()
            assert all(int(micros) >= 0 for micros in stages.values())
            assert headers["cache-control"] == "private, no-store"


async def test_what_does_not_change_the_answer_does_not_change_the_key() -> None:
    async with simulated_site() as (site, provider):
        client = await site.sdk()
        await whole(client)
        _, headers = await whole(client, user="somebody", metadata={"a": "b"}, store=False)
        assert headers["x-sparecall-cache"] == "exact"
        _, headers = await whole(client, seed=7)
        assert headers["x-sparecall-cache"] == "miss"
        assert provider.calls.total() == 2


async def test_the_synchronous_sdk_is_served_alike() -> None:
    async with simulated_site() as (site, provider):
        client = site.sync_sdk()

        def work() -> tuple[list[str], str]:
            hits = []
            for _ in range(2):
                raw = client.chat.completions.with_raw_response.create(**QUESTION)
                hits.append(raw.headers["x-sparecall-cache"])
            with client.chat.completions.stream(**QUESTION) as stream:
                content = stream.get_final_completion().choices[0].message.content
            parts = list(client.chat.completions.create(**QUESTION, stream=True))
            assert text(parts) == content == raw.parse().choices[0].message.content
            return hits, content

        hits, content = await asyncio.to_thread(work)
        assert hits == ["miss", "exact"]
        assert content.startswith("[simulated]")
        assert provider.calls.total() == 1
