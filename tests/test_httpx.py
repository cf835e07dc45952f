"""The asynchronous transport: the official SDK answered by a pipeline in its own process."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from aiohttp import web

import sparecall
from gateway.site import HELLO, QUESTION, Gate, completion, scripted_site, send_events, simulated_site, until
from simulated import INSTANT
from sparecall import simulate
from sparecall.httpx import AsyncTransport
from sparecall.httpx.answer import prefix_of
from sparecall.pipeline import Next, Pipeline, Reply, Request, Upstream
from transports import LIBRARIES, async_sdk, in_process

if TYPE_CHECKING:
    from gateway.site import Site

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    """The SDK's own HTTP library, and the one before it."""
    return request.param


def provider_of(site: Site) -> str:
    return str(site.gateway.pipeline.stage(Upstream).url)


async def test_a_repeat_is_answered_from_memory_whole_or_as_a_stream(library: Any) -> None:
    async with simulated_site() as (site, provider), in_process(provider_of(site), library=library) as client:
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert (raw.headers["x-sparecall-cache"], raw.headers["x-sparecall-reason"]) == ("miss", "absent")
        again = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert (again.headers["x-sparecall-cache"], again.headers["age"]) == ("exact", "0")
        assert again.headers["x-sparecall-micros"].startswith("scope=")
        assert again.parse() == raw.parse()
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == raw.parse().choices[0].message.content
        assert provider.calls.total() == 1


async def test_other_words_are_answered_by_meaning(library: Any) -> None:
    meaning = {"enabled": True, "max_error": 1.0, "audit_share": 0.0}
    async with (
        simulated_site() as (site, provider),
        in_process(provider_of(site), library=library, semantic=meaning) as client,
    ):
        create = client.chat.completions.with_raw_response.create
        first, second = [
            await create(model="gpt-4o", messages=[{"role": "user", "content": text}])
            for text in ("How do I reset my password?", "How can I reset my password?")
        ]
        assert (first.headers["x-sparecall-cache"], first.headers["x-sparecall-why"]) == ("miss", "nothing_near")
        assert (second.headers["x-sparecall-cache"], second.headers["x-sparecall-why"]) == ("semantic", "within bound")
        assert second.parse() == first.parse()
        assert provider.calls.total() == 1


async def test_a_live_stream_comes_as_it_is_made(library: Any) -> None:
    go_on = asyncio.Event()

    async def halves(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:2])
        await go_on.wait()
        for event in [*HELLO[2:], b"data: [DONE]\n\n"]:
            await response.write(event)
        return response

    async with scripted_site(halves) as (site, _), in_process(provider_of(site), library=library) as client:
        seen = ""
        async for chunk in await client.chat.completions.create(**QUESTION, stream=True):
            seen += chunk.choices[0].delta.content or ""
            if seen == "Hel":
                go_on.set()
        assert seen == "Hello."


@pytest.mark.parametrize("how", ["closed", "cancelled", "forgotten"])
async def test_a_client_that_leaves_a_stream_gives_up_the_call(how: str, library: Any) -> None:
    async def endless(http: web.Request) -> web.StreamResponse:
        response = await send_events(http, HELLO[:2])
        await asyncio.Event().wait()
        return response

    async with scripted_site(endless) as (site, script), in_process(provider_of(site), library=library) as client:
        stream: Any = await client.chat.completions.create(**QUESTION, stream=True)
        assert [await anext(stream), await anext(stream)]
        assert script.open == 1
        if how == "closed":
            await stream.close()
        elif how == "cancelled":
            reading = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        else:
            del stream
        await until(lambda: gc.collect() >= 0 and script.open == 0)


async def test_a_call_whose_only_caller_is_cancelled_is_given_up_and_others_are_served() -> None:
    gate = Gate()
    async with scripted_site(gate) as (site, script), in_process(provider_of(site)) as client:
        first = asyncio.ensure_future(client.chat.completions.create(**QUESTION))
        await until(lambda: script.open == 1)
        first.cancel()
        await until(lambda: script.open == 0)
        gate.opened.set()
        assert (await client.chat.completions.create(**QUESTION)).choices[0].message.content == "Hello."


async def test_two_hundred_identical_calls_make_one() -> None:
    gate = Gate()
    async with scripted_site(gate) as (site, script), async_sdk(site.gateway.pipeline) as client:
        calls = [asyncio.ensure_future(client.chat.completions.create(**QUESTION)) for _ in range(200)]
        await until(lambda: site.waiting() == 200)
        gate.opened.set()
        texts = {answer.choices[0].message.content for answer in await asyncio.gather(*calls)}
    assert (texts, script.calls) == ({"Hello."}, 1)


async def test_a_gateway_and_a_transport_share_the_memory_of_one_pipeline() -> None:
    async with simulated_site() as (site, provider), async_sdk(site.gateway.pipeline) as inside:
        outside = await site.sdk()
        assert await outside.chat.completions.create(**QUESTION) == await inside.chat.completions.create(**QUESTION)
        assert provider.calls.total() == 1


async def test_the_client_s_read_timeout_is_kept(library: Any) -> None:
    provider = simulate.Provider(latency=INSTANT)
    async with simulated_site(provider) as (site, _), in_process(provider_of(site), library=library) as client:
        hasty = client.with_options(timeout=0.05)
        silence = {"extra_headers": {"x-simulate-fault": "stall"}}
        with pytest.raises(openai.APITimeoutError):
            await hasty.chat.completions.create(**QUESTION, **silence)
        stream = await hasty.chat.completions.create(**QUESTION, stream=True, **silence)
        with pytest.raises(openai.APITimeoutError):
            _ = [chunk async for chunk in stream]
        await until(lambda: provider.in_flight == 0)
        assert await client.chat.completions.create(**QUESTION), "the client is as good as before"


async def test_a_reply_of_another_wire_that_breaks_off_is_a_connection_error(library: Any) -> None:
    async def half(http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(http)
        await response.write(b'{"data":')
        assert http.transport is not None
        http.transport.abort()
        return response

    async with scripted_site(half) as (site, _), in_process(provider_of(site), library=library) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            await client.models.list()
        assert isinstance(caught.value.__cause__, library.RemoteProtocolError)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/v1/chat/completions", "/v1"),
        ("/openai/v1/chat/completions", "/openai/v1"),
        ("/chat/completions", ""),
        ("/v1/files/v1/content", "/v1"),
        ("/v10/models", ""),
        ("/v1", "/v1"),
        ("/", ""),
    ],
)
def test_the_base_url_of_a_client_ends_with_the_first_v1(path: str, prefix: str) -> None:
    assert prefix_of(path) == prefix


@pytest.mark.parametrize("base", ["https://api.openai.com/v1", "http://any", "http://any/", "http://any/a/v1/"])
async def test_only_the_path_below_the_base_url_counts(base: str) -> None:
    async def echo(http: web.Request) -> web.Response:
        return web.json_response(completion(http.raw_path))

    async with scripted_site(echo) as (site, _), async_sdk(site.gateway.pipeline, base_url=base) as client:
        raw = await client.chat.completions.with_raw_response.create(**QUESTION)
        assert (raw.headers["x-sparecall-cache"], raw.parse().choices[0].message.content) == (
            "miss",
            "/v1/chat/completions",
        )
        other = await client.get("/files/a%2Fb?x=%2B&y=", cast_to=httpx2.Response)
        assert (other.headers["x-sparecall-reason"], other.json()["choices"][0]["message"]["content"]) == (
            "wire",
            "/v1/files/a%2Fb?x=%2B&y=",
        )


@pytest.mark.parametrize("path", ["/v1/%2e%2e/admin", "/a/%2E%2e%2fadmin", "/v1/", "/v1", "/"])
async def test_no_path_leads_out_of_the_base_url_of_the_provider(path: str, library: Any) -> None:
    async with (
        scripted_site(Gate()) as (site, script),
        library.AsyncClient(transport=AsyncTransport(site.gateway.pipeline)) as client,
    ):
        reply = await client.get(f"http://any{path}", headers={"authorization": "Bearer sk-a"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
        assert script.calls == 0


async def test_keys_scopes_and_cache_control_are_the_gateway_s() -> None:
    async with simulated_site() as (site, provider):
        pipeline = site.gateway.pipeline

        async def hit(key: str = "sk-a", **headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with async_sdk(pipeline, key) as client:
                raw = await client.chat.completions.with_raw_response.create(**QUESTION, extra_headers=named)
                return f"{raw.headers['x-sparecall-cache']} {raw.headers.get('x-sparecall-reason', '')}".strip()

        assert [await hit(), await hit(), await hit("sk-b")] == ["miss absent", "exact", "miss absent"]
        assert [await hit(x_sparecall_scope="team/one") for _ in range(2)] == ["miss absent", "exact"]
        assert await hit(cache_control="no-store") == "bypass no_store"
        assert await hit(cache_control="max-age=60, no-cache") == "bypass no_cache"
        calls = provider.calls.total()
        with pytest.raises(openai.InternalServerError) as caught:
            await hit("sk-c", cache_control="only-if-cached")
        assert (caught.value.status_code, caught.value.code) == (504, "only_if_cached")
        with pytest.raises(openai.BadRequestError) as refused:
            await hit(x_sparecall_scope="a//b")
        assert refused.value.code == "invalid_argument"
        assert provider.calls.total() == calls


async def test_a_body_in_an_encoding_is_refused() -> None:
    async with httpx2.AsyncClient(transport=AsyncTransport(Pipeline([]))) as client:
        reply = await client.post("http://any/v1/files", content=b"...", headers={"content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_body")


async def test_a_body_of_any_type_passes_both_ways_as_it_is(library: Any) -> None:
    async def mirror(http: web.Request) -> web.Response:
        return web.Response(body=await http.read(), content_type=http.content_type, status=206)

    async with scripted_site(mirror) as (site, _):
        content = bytes(range(256)) * 500
        transport = AsyncTransport(site.gateway.pipeline)
        async with library.AsyncClient(transport=transport, headers={"authorization": "Bearer sk-a"}) as client:
            reply = await client.put("http://any/v1/files/1", content=content, headers={"content-type": "audio/mpeg"})
        assert (reply.status_code, reply.headers["content-type"], reply.content) == (206, "audio/mpeg", content)


async def test_a_bug_in_a_stage_is_raised_to_whoever_called() -> None:
    async def broken(request: Request, next: Next) -> Reply:  # noqa: A002
        raise LookupError("a bug")

    async with Pipeline([broken]) as pipeline, async_sdk(pipeline) as client:
        with pytest.raises(LookupError, match="a bug"):
            await client.chat.completions.create(**QUESTION)
        with pytest.raises(openai.NotFoundError):
            await client.models.list()


async def test_a_timeout_of_a_stage_is_not_taken_for_the_client_s() -> None:
    async def late(request: Request, next: Next) -> Reply:  # noqa: A002
        raise TimeoutError("a stage's own")

    async with Pipeline([late]) as pipeline, async_sdk(pipeline) as client:
        with pytest.raises(TimeoutError, match="a stage's own"):
            await client.chat.completions.create(**QUESTION)


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_else_of_the_package_imports_httpx() -> None:
    script = """
import sys, sparecall, sparecall.gateway, sparecall.exchange, sparecall.pipeline, sparecall.simulate, sparecall.cli
print([name for name in sys.modules if name.partition(".")[0] in {"httpx", "httpx2"}])
"""
    assert run(script) == "[]\n"


def test_without_httpx_the_error_names_the_extra() -> None:
    script = """
import sys
sys.modules["httpx"] = sys.modules["httpx2"] = None
try:
    import sparecall.httpx
except ImportError as error:
    print(error)
"""
    assert "pip install 'sparecall[httpx]'" in run(script)


@pytest.mark.parametrize("only", ["httpx", "httpx2"])
def test_one_of_the_two_libraries_is_enough(only: str) -> None:
    other = {"httpx": "httpx2", "httpx2": "httpx"}[only]
    script = f"""
import sys
sys.modules["{other}"] = None
import {only} as library
from sparecall.httpx import AsyncTransport, Transport
print(issubclass(AsyncTransport, library.AsyncBaseTransport), issubclass(Transport, library.BaseTransport))
"""
    assert run(script) == "True True\n"


def test_one_name_may_stand_for_the_other_library() -> None:
    script = """
import httpx2
httpx2.alias_httpx()
import httpx
from sparecall.httpx import Transport
print(httpx.BaseTransport is httpx2.BaseTransport, issubclass(Transport, httpx.BaseTransport))
"""
    assert run(script) == "True True\n"


def test_a_repr_names_the_stages_and_no_secret() -> None:
    pipeline = sparecall.open({"upstream": {"api_key": "sk-secret"}})
    assert repr(AsyncTransport(pipeline)) == (
        "<AsyncTransport to <Pipeline scope -> digest -> exact -> coalesce -> embeddings -> upstream>>"
    )
