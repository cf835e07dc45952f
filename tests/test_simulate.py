"""The simulated provider, driven by the official SDK over loopback sockets on both event loops."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import openai
import pytest

from simulated import QUESTION, posting, running, text_of
from sparecall import simulate, tokens

pytestmark = pytest.mark.anyio


async def test_a_chat_answer_says_that_it_is_simulated_and_counts_its_tokens_exactly() -> None:
    async with running() as (provider, client):
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        reply = raw.parse()
        text = reply.choices[0].message.content
        assert text is not None
        assert text.startswith("[simulated] ")
        assert "json.decoder" in text
        assert reply.choices[0].finish_reason == "stop"
        assert reply.id.startswith("chatcmpl-sim-")
        assert (reply.created, reply.system_fingerprint) == (1_750_000_000, "fp_simulated")
        assert reply.usage is not None
        assert reply.usage.completion_tokens == tokens.count(text)
        written = json.dumps(QUESTION["messages"], separators=(",", ":"), sort_keys=True)
        assert reply.usage.prompt_tokens == tokens.count(written)
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert raw.headers["x-sparecall-simulated"] == "1"
        assert raw.headers["x-request-id"].startswith("req_sim_")
        assert int(raw.headers["openai-processing-ms"]) >= 0
        assert provider.calls == {("chat", "gpt-4o"): 1}
        assert (provider.prompt_tokens, provider.completion_tokens) == (
            reply.usage.prompt_tokens,
            reply.usage.completion_tokens,
        )


async def test_the_sync_client_is_served_too() -> None:
    async with running() as (_, client):

        def ask() -> tuple[str | None, str]:
            with openai.OpenAI(base_url=client.base_url, api_key="any", max_retries=0) as sync_client:
                whole = sync_client.chat.completions.create(**QUESTION)
                stream = sync_client.chat.completions.create(**QUESTION, stream=True)
                return whole.choices[0].message.content, "".join(
                    chunk.choices[0].delta.content or "" for chunk in stream
                )

        whole, streamed = await anyio.to_thread.run_sync(ask)
        assert whole == streamed == await text_of(client)


async def test_the_same_request_has_the_same_answer_on_another_server_and_any_change_another() -> None:
    async with running() as (_, first), running() as (_, second), running(seed=1) as (_, other_seed):
        answer = await first.chat.completions.create(**QUESTION)
        assert await second.chat.completions.create(**QUESTION) == answer
        text = answer.choices[0].message.content
        changed: list[dict[str, Any]] = [
            {"messages": [{"role": "user", "content": "Explain the json.decoder module"}]},
            {"messages": [{"role": "system", "content": ""}, *QUESTION["messages"]]},
            {"model": "gpt-4o-mini"},
            {"temperature": 0.5},
            {"seed": 7},
        ]
        others = [await text_of(first, **change) for change in changed] + [await text_of(other_seed)]
        assert len({text, *others}) == 7


async def test_a_stream_gives_the_same_text_in_small_pieces_and_usage_only_when_asked() -> None:
    async with running() as (provider, client):
        whole = await client.chat.completions.create(**QUESTION)
        plain = [chunk async for chunk in await client.chat.completions.create(**QUESTION, stream=True)]
        stream = await client.chat.completions.create(**QUESTION, stream=True, stream_options={"include_usage": True})
        counted = [chunk async for chunk in stream]
        assert plain[0].choices[0].delta.role == "assistant"
        pieces = [chunk.choices[0].delta.content or "" for chunk in plain]
        assert "".join(pieces) == whole.choices[0].message.content
        assert max(map(len, pieces)) <= 10
        assert [chunk.choices[0].finish_reason for chunk in plain if chunk.choices[0].finish_reason] == ["stop"]
        assert all(chunk.usage is None for chunk in plain)
        assert all(chunk.usage is None and chunk.choices for chunk in counted[:-1])
        assert counted[-1].choices == []
        assert counted[-1].usage == whole.usage
        assert {chunk.id for chunk in plain + counted} == {whole.id}
        assert provider.calls == {("chat", "gpt-4o"): 1, ("chat_stream", "gpt-4o"): 2}
        assert provider.aborted_streams == 0


async def test_a_stream_ends_with_done_on_the_wire() -> None:
    async with (
        posting() as (session, url),
        session.post(url + "/chat/completions", json={**QUESTION, "stream": True}) as reply,
    ):
        assert reply.content_type == "text/event-stream"
        body = await reply.read()
        assert body.endswith(b"}\n\ndata: [DONE]\n\n")
        assert b'"usage"' not in body


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 25])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_is_cut_at_the_limit(limit: int, name: str) -> None:
    async with running() as (_, client):
        reply = await client.chat.completions.create(**QUESTION, **{name: limit})
        assert reply.choices[0].finish_reason == "length"
        assert reply.usage is not None
        assert 0 < reply.usage.completion_tokens <= limit


async def test_n_gives_different_choices_streamed_or_not() -> None:
    async with running() as (_, client):
        whole = await client.chat.completions.create(**QUESTION, n=3)
        texts = [choice.message.content for choice in whole.choices]
        assert len(set(texts)) == 3
        streamed = ["", "", ""]
        async for chunk in await client.chat.completions.create(**QUESTION, n=3, stream=True):
            streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert streamed == texts


async def test_stop_ends_the_text_before_itself() -> None:
    async with running() as (_, client):
        text = await text_of(client, stop=["never there", "."])
        assert "." not in text.replace("json.decoder", "")
        assert text.startswith("[simulated]")


async def test_json_mode_answers_with_json() -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "kind": {"enum": ["a", "b"]},
            "author": {"$ref": "#/$defs/author"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "note": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        },
        "required": ["title", "score", "kind", "author", "tags", "note"],
        "$defs": {
            "author": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}, "required": ["name"]}
        },
    }
    async with running() as (_, client):
        free = json.loads(await text_of(client, response_format={"type": "json_object"}))
        assert free["simulated"] is True
        wanted = {"type": "json_schema", "json_schema": {"name": "article", "schema": schema, "strict": True}}
        article = json.loads(await text_of(client, response_format=wanted))
        assert set(article) == set(schema["required"])
        assert isinstance(article["title"], str)
        assert 0 <= article["score"] <= 1
        assert article["kind"] in {"a", "b"}
        assert isinstance(article["author"]["name"], str)
        assert len(article["tags"]) == 2
        assert isinstance(article["note"], int)


async def test_a_schema_without_end_is_answered_in_bounded_work() -> None:
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"children": {"$ref": "#/$defs/list"}},
        "required": ["children"],
    }
    listing = {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 10**9}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node, "list": listing, "loop": {"$ref": "#/$defs/loop"}}}
    async with running() as (_, client):
        wanted = {"type": "json_schema", "json_schema": {"name": "tree", "schema": schema}}
        assert len(await text_of(client, response_format=wanted)) < 20_000


async def test_embeddings_are_deterministic_unit_vectors_and_near_for_texts_that_share_words() -> None:
    texts = ["how do I sort a list", "how can I sort a list", "the weather in Oslo today", "list a sort I do how"]
    async with running() as (provider, client), running() as (_, other):
        reply = await client.embeddings.create(model="text-embedding-3-small", input=texts)
        assert (await other.embeddings.create(model="text-embedding-3-small", input=texts)).data == reply.data
        vectors = [entry.embedding for entry in reply.data]
        assert all(len(vector) == 1536 for vector in vectors)
        assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 4, abs=1e-5)
        near, far, permuted = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
        assert far < 0.3 < near < 0.99
        assert permuted < 0.99
        assert reply.usage.prompt_tokens == sum(map(tokens.count, texts))
        as_floats = await client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
        rounded = [[float(np.float32(number)) for number in entry.embedding] for entry in as_floats.data]
        assert rounded == vectors
        assert provider.calls == {("embeddings", "text-embedding-3-small"): 2}


async def test_embeddings_take_tokens_and_dimensions() -> None:
    async with running() as (_, client):
        short = await client.embeddings.create(model="text-embedding-3-large", input=[[1, 2], [3]], dimensions=256)
        assert [len(entry.embedding) for entry in short.data] == [256, 256]
        assert short.usage.prompt_tokens == 3
        one = await client.embeddings.create(model="text-embedding-3-large", input=[1, 2], dimensions=1)
        assert [abs(entry.embedding[0]) for entry in one.data] == [1.0]
        assert (
            len((await client.embeddings.create(model="text-embedding-3-large", input="a")).data[0].embedding) == 3072
        )


async def test_models_are_listed_and_retrieved() -> None:
    async with running() as (_, client):
        listed = [model.id async for model in client.models.list()]
        assert listed == list(simulate.MODELS)
        assert (await client.models.retrieve("gpt-4o")).owned_by == "sparecall-simulate"
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("gpt-0")
        assert caught.value.code == "model_not_found"
