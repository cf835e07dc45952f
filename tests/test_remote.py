"""`RemoteEmbedder` against a server of its own on loopback: order, caching, merging, and whatever a server may answer."""

from __future__ import annotations

import asyncio
import base64
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from aiohttp import web

from sparecall import errors
from sparecall.remote import MAX_INPUTS, RemoteEmbedder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio
KEY, SECRET_TEXT = "sk-secret-key", "the secret text"
DIM = 8


def vector(text: str, dim: int = DIM) -> list[float]:
    """Not of length 1."""
    return [float(3 + number) for number in np.frombuffer(text.encode().ljust(dim)[:dim], np.uint8)]


def unit(*texts: str, dim: int = DIM) -> Any:
    rows = np.array([vector(text, dim) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def item(index: int, numbers: list[float], form: str) -> dict[str, Any]:
    packed = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode() if form == "base64" else numbers
    return {"object": "embedding", "index": index, "embedding": packed}


class Server:
    """Keeps what it was asked; answers as `answer` says, else as OpenAI would, the vectors last first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[dict[str, Any]], Awaitable[web.StreamResponse]] | None = None
        self.url = ""

    @property
    def inputs(self) -> list[list[str]]:
        return [asked["input"] for asked in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        self.asked.append(asked)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.answer is not None:
            return await self.answer(asked)
        dim = asked.get("dimensions", DIM)
        items = [item(i, vector(text, dim), asked["encoding_format"]) for i, text in enumerate(asked["input"])]
        return web.json_response({"object": "list", "data": items[::-1], "model": asked["model"]})

    def sends(self, body: Any, *, status: int = 200) -> None:
        async def answer(_asked: dict[str, Any]) -> web.StreamResponse:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            return web.Response(body=content, status=status, content_type="application/json")

        self.answer = answer


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Server, RemoteEmbedder]]:
    server = Server()
    application = web.Application(client_max_size=1 << 30)
    application.router.add_post("/v1/embeddings", server.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/v1"
        async with RemoteEmbedder("model", **{"url": server.url, "key": KEY, **options}) as embedder:
            yield server, embedder
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_the_vectors_come_in_the_order_of_the_texts_and_unit_length(encoding: Any) -> None:
    async with serving(encoding=encoding) as (server, embedder):
        texts = ["one", "two", "three", "one"]
        found = await embedder.aembed(texts)
        assert found.dtype == np.float32
        assert found.flags.writeable
        np.testing.assert_allclose(found, unit(*texts), atol=1e-6)
        assert server.asked == [{"model": "model", "input": ["one", "two", "three"], "encoding_format": encoding}]
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        assert embedder.dim == DIM


async def test_what_was_answered_is_not_asked_again() -> None:
    async with serving() as (server, embedder):
        first = await embedder.aembed(["one", "two"])
        again = await embedder.aembed(["two", "three", "one"])
        assert server.inputs == [["one", "two"], ["three"]]
        assert (again[[2, 0]] == first).all()
        assert (await embedder.aembed("one") == first[:1]).all()
        assert len(server.asked) == 2


async def test_without_a_cache_all_is_asked_again() -> None:
    async with serving(cache_bytes=0) as (server, embedder):
        await embedder.aembed(["one", "two"])
        await embedder.aembed(["one", "two"])
        assert server.inputs == [["one", "two"]] * 2


async def test_more_texts_than_a_call_takes_go_in_several_calls() -> None:
    async with serving() as (server, embedder):
        texts = [f"text {i}" for i in range(2 * MAX_INPUTS + 5)]
        found = await embedder.aembed(texts)
        inputs = sorted(server.inputs, key=lambda inputs: texts.index(inputs[0]))  # they run at once
        assert [len(some) for some in inputs] == [MAX_INPUTS, MAX_INPUTS, 5]
        assert list(itertools.chain(*inputs)) == texts
        np.testing.assert_allclose(found, unit(*texts), atol=1e-6)


async def test_what_came_beside_a_failing_call_is_kept() -> None:
    async with serving(max_inputs=2) as (server, embedder):
        assert server.answer is None

        async def refuse_the_second(asked: dict[str, Any]) -> web.StreamResponse:
            if asked["input"][0] == "c" and server.inputs.count(asked["input"]) == 1:
                return web.Response(status=503)
            items = [item(i, vector(text), "float") for i, text in enumerate(asked["input"])]
            return web.json_response({"data": items})

        server.answer = refuse_the_second
        with pytest.raises(errors.EmbedderError):
            await embedder.aembed(["a", "b", "c", "d"])
        await embedder.aembed(["a", "b", "c", "d"])
        assert sorted(server.inputs) == [["a", "b"], ["c", "d"], ["c", "d"]]


async def test_tasks_that_ask_at_once_share_calls_and_one_refused_text_is_its_task_s_own() -> None:
    async with serving(max_concurrent=1, max_tokens=1_000) as (server, embedder):

        async def refuse_the_empty(asked: dict[str, Any]) -> web.StreamResponse:
            if "" in asked["input"]:
                return web.Response(status=400)
            items = [item(i, vector(text), "float") for i, text in enumerate(asked["input"])]
            return web.json_response({"data": items})

        server.answer = refuse_the_empty
        texts = [*(f"text {number}" for number in range(62)), "", "last"]
        found = await asyncio.gather(*map(embedder.aembed, texts), return_exceptions=True)
        for text, row in zip(texts, found, strict=True):
            if text:
                np.testing.assert_allclose(row, unit(text), atol=1e-6)
            else:
                assert isinstance(row, errors.EmbedderError)
        assert len(server.asked) <= 1 + 2 * 6, "halved, not asked one by one"
        assert server.inputs[0] == texts


async def test_a_call_holds_no_more_tokens_than_allowed_and_a_longer_text_goes_alone() -> None:
    async with serving(max_concurrent=1, max_tokens=10) as (server, embedder):
        await embedder.aembed(["four", "fives", "\u00e9\u00e9\u00e9", "beyond the limit", "x"])
        assert server.inputs == [["four", "fives", "x"], ["\u00e9\u00e9\u00e9"], ["beyond the limit"]]


async def test_tasks_with_one_text_share_a_call_and_outlive_one_another() -> None:
    async with serving() as (server, embedder):
        arrived, go = asyncio.Event(), asyncio.Event()

        async def wait(asked: dict[str, Any]) -> web.StreamResponse:
            arrived.set()
            await go.wait()
            return web.json_response({"data": [item(0, vector(asked["input"][0]), "float")]})

        server.answer = wait
        tasks = [asyncio.create_task(embedder.aembed("same")) for _ in range(5)]
        await arrived.wait()
        tasks[0].cancel()
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        for other in found[1:]:
            np.testing.assert_allclose(other, unit("same"), atol=1e-6)
        assert server.inputs == [["same"]]


async def test_dimensions_are_asked_for_and_checked() -> None:
    async with serving(dimensions=4) as (server, embedder):
        assert embedder.dim == 4
        assert (await embedder.aembed([])).shape == (0, 4)
        assert (await embedder.aembed("one")).shape == (1, 4)
        assert server.asked[0]["dimensions"] == 4
        server.sends({"data": [item(0, [1.0] * 5, "float")]})
        with pytest.raises(errors.EmbedderError, match="vectors of 5 numbers instead of 4") as caught:
            await embedder.aembed("two")
        assert caught.value.code == "broken"


async def test_no_text_no_call() -> None:
    async with serving() as (server, embedder):
        assert (await embedder.aembed([])).shape == (0, 0)
        assert server.asked == []
        for wrong in (5, None, b"a", ["a", 5], [None]):
            with pytest.raises(TypeError):
                await embedder.aembed(wrong)  # type: ignore[arg-type]
        assert server.asked == []


async def test_lone_surrogates_are_sent_as_replacement_characters() -> None:
    async with serving() as (server, embedder):
        await embedder.aembed(["a\ud800b", "\ud83d\ude00", "plain"])
        assert server.inputs == [["a\ufffdb", "\N{GRINNING FACE}", "plain"]]


def good(index: int = 0) -> dict[str, Any]:
    return item(index, [1.0, 2.0], "float")


BROKEN: dict[str, Any] = {
    "no JSON": b"oops",
    "not UTF-8": b'{"data":[{"index":0,"embedding":"\xff"}]}',
    "cut short": b'{"data":[{"index":0,"embedding":[1.0,2',
    "another document": {"choices": []},
    "no list": {"data": "x"},
    "too few": {"data": [good()]},
    "too many": {"data": [good(), good(1), good(2)]},
    "one index twice": {"data": [good(), good()]},
    "an index beyond": {"data": [good(), good(2)]},
    "a negative index": {"data": [good(), good(-1)]},
    "no index": {"data": [good(), {"embedding": [1.0]}]},
    "two lengths": {"data": [good(), item(1, [1.0], "float")]},
    "no numbers": {"data": [item(0, [], "float"), item(1, [], "float")]},
    "zeros": {"data": [good(), item(1, [0.0, 0.0], "float")]},
    "words": {"data": [good(), {"index": 1, "embedding": ["a", "b"]}]},
    "null": b'{"data":[{"index":0,"embedding":[1.0,2.0]},{"index":1,"embedding":[null,1.0]}]}',
    "NaN": b'{"data":[{"index":0,"embedding":[1.0,2.0]},{"index":1,"embedding":[NaN,1.0]}]}',
    "NaN in base64": {"data": [good(), item(1, [float("nan"), 1.0], "base64")]},
    "infinity in base64": {"data": [good(), item(1, [float("inf"), 1.0], "base64")]},
    "beyond float32": {"data": [good(), item(1, [1e300, 1.0], "float")]},
    "no base64": {"data": [good(), {"index": 1, "embedding": "?!"}]},
    "base64 of 7 bytes": {"data": [good(), {"index": 1, "embedding": base64.b64encode(b"1234567").decode()}]},
    "too long": {"data": [item(i, [1.0] * 16_385, "base64") for i in range(2)]},
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_cannot_be_used_is_an_error_and_not_kept(name: str) -> None:
    async with serving() as (server, embedder):
        server.sends(BROKEN[name])
        with pytest.raises(errors.EmbedderError) as caught:
            await embedder.aembed([SECRET_TEXT, "other"])
        assert caught.value.code == "broken"
        assert caught.value.status is None
        check_secrets(embedder, caught.value)
        server.answer = None
        np.testing.assert_allclose(await embedder.aembed([SECRET_TEXT, "other"]), unit(SECRET_TEXT, "other"), atol=1e-6)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (401, {"error": {"message": f"wrong key {KEY} for {SECRET_TEXT}", "code": "invalid_api_key"}}, "invalid_api_key"),
        (400, {"error": {"message": SECRET_TEXT, "code": SECRET_TEXT, "type": "invalid_request_error"}}, "invalid_request_error"),
        (429, {"error": {"code": 5}}, ""),
        (500, b"oops", ""),
        (302, b"", ""),
        (204, b"", ""),
    ],
)  # fmt: skip
async def test_a_refusal_has_its_status_and_none_of_the_texts(status: int, body: Any, word: str) -> None:
    async with serving() as (server, embedder):
        server.sends(body, status=status)
        with pytest.raises(errors.EmbedderError, match=rf"answered {status}( \({word}\))? to") as caught:
            await embedder.aembed(SECRET_TEXT)
        assert (caught.value.code, caught.value.status) == ("refused", status)
        assert word in str(caught.value)
        check_secrets(embedder, caught.value)


def check_secrets(embedder: RemoteEmbedder, error: BaseException) -> None:
    told = repr(embedder) + str(error) + repr(error) + repr(error.__cause__) + repr(embedder.__class__)
    assert KEY not in told
    assert SECRET_TEXT not in told


async def test_a_server_that_hangs_is_a_timeout() -> None:
    async with serving(timeout=0.05) as (server, embedder):

        async def hang(_asked: dict[str, Any]) -> web.StreamResponse:
            await asyncio.sleep(60)
            return web.Response()

        server.answer = hang
        with pytest.raises(errors.EmbedderError, match=r"in 0\.05 s") as caught:
            await embedder.aembed(SECRET_TEXT)
        assert caught.value.code == "timeout"
        check_secrets(embedder, caught.value)


async def test_nobody_listens() -> None:
    async with serving() as (server, _):
        pass
    async with RemoteEmbedder("model", url=server.url, key=KEY) as alone:
        with pytest.raises(errors.EmbedderError) as caught:
            await alone.aembed(SECRET_TEXT)
        assert caught.value.code == "unreachable"
        check_secrets(alone, caught.value)


async def test_a_closed_embedder_says_so() -> None:
    async with serving() as (_, embedder):
        await embedder.aembed("one")
        await embedder.close()
        await embedder.close()
        with pytest.raises(RuntimeError, match="closed"):
            await embedder.aembed("two")


async def test_a_cancelled_call_leaves_the_embedder_usable() -> None:
    async with serving() as (server, embedder):
        arrived = asyncio.Event()

        async def hang(_asked: dict[str, Any]) -> web.StreamResponse:
            arrived.set()
            await asyncio.sleep(60)
            return web.Response()

        server.answer = hang
        for texts in ("one", ["one", "two"]):
            arrived.clear()
            task = asyncio.create_task(embedder.aembed(texts))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.answer = None
        np.testing.assert_allclose(await embedder.aembed(["one", "two"]), unit("one", "two"), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host"},
        {"url": "http://user:password@host/v1"},
        {"url": "http://:password@host/v1"},
        {"url": "http://host/v1?key=password"},
        {"url": "http://["},
        {"url": "http://"},
        {"key": "sk\npassword"},
        {"key": "sk-\N{EURO SIGN}"},
        {"dimensions": 0},
        {"dimensions": 16_385},
        {"encoding": "int8"},
        {"max_inputs": 0},
        {"max_inputs": 2049},
        {"max_tokens": 0},
        {"max_concurrent": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"cache_bytes": -1},
    ],
)
async def test_options_outside_their_range(options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        RemoteEmbedder("model", **options)
    assert "password" not in str(caught.value)
    assert next(iter(options)) in str(caught.value)


async def test_a_model_has_a_name() -> None:
    with pytest.raises(errors.InvalidArgument, match="model"):
        RemoteEmbedder("")
