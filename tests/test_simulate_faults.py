"""Faults of the simulated provider, as a real client meets them."""

from __future__ import annotations

import json
import socket

import anyio
import anyio.to_thread
import openai
import pytest

from simulated import QUESTION, RAISED_BY_FAULT, Timer, forced, posting, running, text_of
from sparecall import simulate

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "error"),
    RAISED_BY_FAULT,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_fault_raises_what_the_sdk_raises_for_it(
    fault: str, error: type[Exception], stream: bool
) -> None:
    async with running() as (provider, client):

        async def ask() -> None:
            reply = await client.chat.completions.create(**QUESTION, stream=stream, extra_headers=forced(fault))
            if isinstance(reply, openai.AsyncStream):
                async for _ in reply:
                    pass

        with pytest.raises(error):
            await ask()
        assert provider.faulted == {fault: 1}
        assert (await text_of(client)).startswith("[simulated]")


async def test_an_error_in_200_is_an_error_object_either_way() -> None:
    async with posting() as (session, url):
        for stream in (False, True):
            async with session.post(
                url + "/chat/completions", json={**QUESTION, "stream": stream}, headers=forced("error_in_200")
            ) as reply:
                assert reply.status == 200
                body = await reply.read()
                last = body.removesuffix(b"\n\n").rpartition(b"data: ")[2] if stream else body
                assert json.loads(last)["error"]["type"] == "server_error"
                assert body.startswith(b"data: {") is stream


async def test_html_and_no_done_are_whole_replies_that_lie() -> None:
    async with posting() as (session, url):
        for stream in (False, True):
            request = {**QUESTION, "stream": stream}
            async with session.post(url + "/chat/completions", json=request, headers=forced("html")) as reply:
                assert (reply.status, reply.content_type) == (200, "text/html")
                assert (await reply.read()).startswith(b"<!DOCTYPE html>")
        async with session.post(url + "/chat/completions", json=request, headers=forced("no_done")) as reply:
            body = await reply.read()
            assert b'"finish_reason":"stop"' in body
            assert b"[DONE]" not in body


async def test_a_cut_stream_is_a_reset_after_some_chunks() -> None:
    async with running() as (provider, client):
        body = json.dumps({**QUESTION, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: {len(body)}\r\n"

        def read_until_reset() -> bytes:
            received = b""
            with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
                connection.sendall(f"{head}{simulate.FAULT_HEADER}: cut_stream\r\n\r\n".encode() + body)
                try:
                    while piece := connection.recv(65536):
                        received += piece
                except ConnectionResetError:
                    return received
            raise AssertionError("the stream ended in order")

        received = await anyio.to_thread.run_sync(read_until_reset)
        assert received.count(b"data: {") > 5
        assert b"[DONE]" not in received
        assert provider.aborted_streams == 0


async def test_a_stall_is_silence_for_the_stated_time_and_then_the_rest() -> None:
    timer = Timer()
    faults = simulate.Faults(stall=1.0, stall_for=600.0)
    async with running(faults=faults, clock=timer.clock, sleep=timer.sleep) as (provider, client):
        text = await text_of(client)
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text
        assert timer.slept == [600.0, 600.0]
        assert provider.faulted == {"stall": 2}


async def test_a_client_that_leaves_a_stream_is_counted_and_holds_nothing() -> None:
    async with running() as (provider, client):
        stream = await client.chat.completions.create(**QUESTION, stream=True, extra_headers=forced("stall"))
        assert provider.in_flight == 1
        await stream.close()
        with anyio.fail_after(10):
            while provider.in_flight:  # noqa: ASYNC110  - what the server does once its client has left sends no event
                await anyio.sleep(0.002)
        assert provider.aborted_streams == 1


async def test_serve_ends_soon_whatever_stalls() -> None:
    with anyio.fail_after(20):
        async with running() as (provider, client):
            stream = await client.chat.completions.create(**QUESTION, stream=True, extra_headers=forced("stall"))
        await stream.close()
    assert provider.in_flight == 0


async def test_drawn_faults_come_in_their_share_and_in_the_same_order_again() -> None:
    async def outcomes() -> list[str]:
        faults = simulate.Faults(server_error=0.3, rate_limit=0.2)
        seen = []
        async with running(faults=faults) as (_, client):
            for _ in range(60):
                try:
                    seen.append((await text_of(client))[:1])
                except openai.APIStatusError as error:
                    seen.append(str(error.status_code))
        return seen

    first = await outcomes()
    assert first == await outcomes()
    assert 8 <= first.count("500") <= 28
    assert 4 <= first.count("429") <= 22
    assert first.count("[") >= 15


async def test_an_unknown_fault_names_the_known_ones() -> None:
    async with running() as (_, client):
        with pytest.raises(openai.BadRequestError, match="known are rate_limit, "):
            await client.chat.completions.create(**QUESTION, extra_headers=forced("gremlins"))


async def test_embeddings_meet_faults_too() -> None:
    async with running(faults=simulate.Faults(server_error=1.0)) as (_, client):
        with pytest.raises(openai.InternalServerError):
            await client.embeddings.create(model="text-embedding-3-small", input="a")
