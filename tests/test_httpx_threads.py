"""The synchronous transport: a pipeline in a thread of its own, for callers without an event loop."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from gateway.site import HELLO, KEY, QUESTION, Gate, scripted_site, send_events, simulated_site, until
from sparecall import config
from sparecall.errors import ConfigError, InvalidArgument
from sparecall.httpx import Transport
from sparecall.pipeline import Coalesce, Event, Next, Pipeline, Reply, Request, Upstream, stages
from transports import LIBRARIES, in_thread, transport_of

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.site import Site

pytestmark = pytest.mark.anyio


def provider_of(site: Site) -> str:
    return str(site.gateway.pipeline.stage(Upstream).url)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sparecall"]


async def endless(http: web.Request) -> web.StreamResponse:
    response = await send_events(http, HELLO[:2])
    await asyncio.Event().wait()
    return response


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
async def test_the_synchronous_sdk_is_answered_from_memory_and_live(library: Any) -> None:
    def ask() -> list[str]:
        with in_thread(provider_of(site), library=library) as client:
            create = client.chat.completions.with_raw_response.create
            raw = [create(**QUESTION), create(**QUESTION)]
            text = raw[0].parse().choices[0].message.content
            for headers in ({}, {"cache-control": "no-store"}):
                chunks = client.chat.completions.create(**QUESTION, stream=True, extra_headers=headers)
                assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
            assert "gpt-4o" in [model.id for model in client.models.list()]
            return [reply.headers["x-sparecall-cache"] for reply in raw]

    async with simulated_site() as (site, provider):
        assert await asyncio.to_thread(ask) == ["miss", "exact"]
        assert provider.calls["chat", "gpt-4o"] == 1
        assert provider.calls["chat_stream", "gpt-4o"] == 1
    assert threads() == []


async def test_two_hundred_threads_make_one_call() -> None:
    gate = Gate()

    async with scripted_site(gate) as (site, script):
        with in_thread(provider_of(site)) as client, ThreadPoolExecutor(200) as pool:
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(pool, lambda: client.chat.completions.create(**QUESTION)) for _ in range(200)]

            def waiting() -> int:
                thread = transport_of(client)._thread
                if thread is None:
                    return 0
                flight = thread.pipeline.stage(Coalesce)._flight
                return sum(len(call.waiters) for call in list(flight._calls.values()))

            await until(lambda: waiting() == 200)
            assert len(threads()) == 1
            gate.opened.set()
            texts = {answer.choices[0].message.content for answer in await asyncio.gather(*calls)}
        assert (texts, script.calls) == ({"Hello."}, 1)


@pytest.mark.parametrize("how", ["closed", "forgotten"])
async def test_who_leaves_a_stream_gives_up_the_call(how: str) -> None:
    def leave(client: openai.OpenAI) -> None:
        stream: Any = client.chat.completions.create(**QUESTION, stream=True)
        assert [next(stream), next(stream)]
        if how == "closed":
            stream.close()

    async with scripted_site(endless) as (site, script):
        with in_thread(provider_of(site)) as client:
            await asyncio.to_thread(leave, client)
            await until(lambda: gc.collect() >= 0 and script.open == 0)
            assert script.calls == 1


async def test_the_client_s_read_timeout_is_kept() -> None:
    async with scripted_site(Gate()) as (site, script):
        with in_thread(provider_of(site)) as client:
            with pytest.raises(openai.APITimeoutError):
                await asyncio.to_thread(client.with_options(timeout=0.05).chat.completions.create, **QUESTION)
            await until(lambda: script.open == 0)


async def test_closing_fails_the_calls_that_still_wait_and_ends_the_thread() -> None:
    async with scripted_site(Gate()) as (site, script):
        with in_thread(provider_of(site)) as client:
            waiting = asyncio.ensure_future(asyncio.to_thread(client.chat.completions.create, **QUESTION))
            await until(lambda: script.open == 1)
            await asyncio.to_thread(transport_of(client).close)
            with pytest.raises(openai.APIConnectionError) as caught:
                await waiting
            assert isinstance(caught.value.__cause__, httpx2.ReadError)
            assert threads() == []
            await until(lambda: script.open == 0)
            with pytest.raises(openai.APIConnectionError):
                await asyncio.to_thread(client.chat.completions.create, **QUESTION)
            transport_of(client).close()
            assert repr(transport_of(client)) == "<Transport, closed>"


async def test_a_stream_that_outlives_its_transport_ends_with_an_error() -> None:
    async with scripted_site(endless) as (site, _):
        with in_thread(provider_of(site)) as client:
            stream: Any = await asyncio.to_thread(client.chat.completions.create, **QUESTION, stream=True)
            await asyncio.to_thread(transport_of(client).close)
            with pytest.raises(openai.APIConnectionError) as caught:
                await asyncio.to_thread(list, stream)
            assert isinstance(caught.value.__cause__, httpx2.ReadError)


async def test_a_transport_nobody_has_any_more_ends_its_thread() -> None:
    async with simulated_site() as (site, _):
        transport = Transport({"upstream": {"url": provider_of(site)}})
        client = openai.OpenAI(api_key=KEY, max_retries=0, http_client=httpx2.Client(transport=transport))
        await asyncio.to_thread(client.chat.completions.create, **QUESTION)
        assert len(threads()) == 1
        del transport, client

        def collected() -> bool:
            gc.collect()  # each time: at first another thread may still be letting go of its last reference
            return threads() == []

        await until(collected)


async def test_stages_of_one_s_own_run_in_the_context_of_the_caller() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    seen: list[str] = []

    async def note(request: Request, next: Next) -> Reply:  # noqa: A002
        seen.append(tenant.get())
        return await next(request)

    def ask(name: str) -> None:
        tenant.set(name)
        client.chat.completions.create(**QUESTION)

    async with simulated_site() as (site, _):
        settings = config.load({"upstream": {"url": provider_of(site)}})
        transport = Transport(lambda: Pipeline([note, *stages(settings)]))
        with openai.OpenAI(api_key=KEY, http_client=httpx2.Client(transport=transport)) as client:
            for name in ("a", "b"):
                await asyncio.to_thread(ask, name)
    assert seen == ["a", "b"]


async def test_a_stage_that_calls_through_its_own_transport_is_told_instead_of_hanging() -> None:
    async def nested(request: Request, next: Next) -> Reply:  # noqa: A002
        client.post("http://any/v1/chat/completions", json={})
        raise AssertionError("not reached")

    with (
        httpx2.Client(transport=Transport(lambda: Pipeline([nested]))) as client,
        pytest.raises(RuntimeError, match="AsyncTransport"),
    ):
        await asyncio.to_thread(client.post, "http://any/v1/chat/completions", json={})


async def test_events_are_told_to_the_owner() -> None:
    events: list[Event] = []
    async with simulated_site() as (site, _):
        transport = Transport({"upstream": {"url": provider_of(site)}}, on_event=events.append)
        with openai.OpenAI(api_key=KEY, http_client=httpx2.Client(transport=transport)) as client:
            for _ in range(2):
                await asyncio.to_thread(client.chat.completions.create, **QUESTION)
    assert [event.reply.hit for event in events] == ["miss", "exact"]


def test_what_cannot_be_a_transport_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="upstreem"):
        Transport({"upstreem": {}})
    with pytest.raises(InvalidArgument, match="AsyncTransport"):
        Transport(Pipeline([]))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="on_event"):
        Transport(lambda: Pipeline([]), on_event=print)


def test_a_pipeline_that_does_not_open_says_why_each_time() -> None:
    class Closed:
        async def __aenter__(self) -> None:
            raise OSError("no such store")

        async def __aexit__(self, *_: object) -> None: ...

        async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
            return await next(request)

    transport = Transport(lambda: Pipeline([Closed()]))
    for _ in range(2):
        with pytest.raises(OSError, match="no such store"):
            transport.__enter__()
    assert threads() == []
    assert repr(transport) == "<Transport, not opened yet>"


def test_a_caller_that_is_interrupted_leaves_its_call() -> None:
    entered, left = threading.Event(), threading.Event()

    async def stuck(request: Request, next: Next) -> Reply:  # noqa: A002
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError("not reached")

    def interrupt() -> None:
        entered.wait()
        main = threading.main_thread().ident
        assert main is not None
        while not left.wait(0.02):  # one that comes just before the main thread blocks does not wake it
            signal.pthread_kill(main, signal.SIGINT)

    raised = False

    def once(*_: object) -> None:
        nonlocal raised
        if not raised:
            raised = True
            raise KeyboardInterrupt

    interrupting = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, once)
    try:
        interrupting.start()
        with httpx2.Client(transport=Transport(lambda: Pipeline([stuck])), timeout=None) as client:
            with pytest.raises(KeyboardInterrupt):
                client.post("http://any/v1/chat/completions", json={})
            assert left.wait(10)
        interrupting.join()
    finally:
        signal.signal(signal.SIGINT, before)


SETTING = """
import asyncio, os, sys, threading
import httpx2, openai
from sparecall import simulate
from sparecall.httpx import Transport

serving, ready = asyncio.new_event_loop(), threading.Event()

async def serve():
    global url
    async with simulate.serve(simulate.Provider(latency=simulate.Latency(first_token=0, per_token=0))) as url:
        ready.set()
        await asyncio.Event().wait()

threading.Thread(target=lambda: serving.run_until_complete(serve()), daemon=True).start()
ready.wait()
client = openai.OpenAI(api_key="sk-a", max_retries=0, http_client=httpx2.Client(transport=Transport({"upstream": {"url": url}})))

def hit():
    question = [{"role": "user", "content": "Explain json.decoder."}]
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=question)
    return raw.headers["x-sparecall-cache"]
"""


def run(script: str) -> tuple[str, str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SETTING + script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_forked_child_has_a_pipeline_of_its_own_and_its_parent_keeps_its_own() -> None:
    script = """
print(hit(), hit(), flush=True)
child = os.fork()
if child == 0:
    print(hit(), hit(), flush=True)
    sys.exit(7)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), hit())
"""
    assert run(script) == ("miss exact\nmiss exact\n7 exact\n", "")


def test_a_transport_that_was_never_closed_lets_the_program_end_in_silence() -> None:
    assert run("print(hit())") == ("miss\n", "")
