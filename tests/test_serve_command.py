"""`sparecall serve` as a real process: what it prints, answers, refuses, keeps and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import anyio
import openai
import pytest

from served import COMMAND, serve
from simulated import QUESTION, running
from sparecall import __version__, simulate
from sparecall.cache import BytesCache

if TYPE_CHECKING:
    from pathlib import Path


async def ask(url: str, **request: object) -> tuple[str, str]:
    """The kind of hit and the answer."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, http_client=http) as client:
        raw = await client.chat.completions.with_raw_response.create(**{**QUESTION, **request})
        return raw.headers["x-sparecall-cache"], str(raw.parse().choices[0].message.content)


def refused(*options: str, **environment: str) -> str:
    """What a `serve` that must not start says."""
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("sparecall serve: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_answers_until_a_signal_ends_it_and_the_next_one_knows_its_answers(
    tmp_path: Path, number: signal.Signals
) -> None:
    snapshot = tmp_path / "cache.snapshot"
    async with running() as (provider, client):
        options = ("--upstream", str(client.base_url), "--snapshot", str(snapshot))
        async with serve(*options) as served:
            hit, answer = await ask(served.url)
            assert (hit, answer[:12]) == ("miss", "[simulated] ")
            assert await ask(served.url) == ("exact", answer)
            assert not snapshot.exists()
            assert await served.end(number) == 0
        assert snapshot.stat().st_size > 0
        (line,) = [line for line in served.lines if "listening on" in line]
        assert line == f"sparecall {__version__} listening on {served.url}, upstream {client.base_url}"
        async with serve(*options) as served:
            assert await ask(served.url) == ("exact", answer)
            assert await served.end() == 0
        assert any("1 answers loaded from" in line for line in served.lines)
        assert provider.calls.total() == 1


@pytest.mark.anyio
async def test_a_call_under_way_is_answered_before_it_ends() -> None:
    arrived, release = anyio.Event(), anyio.Event()

    async def hold(_: float) -> None:
        arrived.set()
        await release.wait()

    async with (
        running(latency=simulate.Latency(first_token=1), sleep=hold) as (_, client),
        serve("--upstream", str(client.base_url)) as served,
        anyio.create_task_group() as tasks,
    ):
        answers: list[tuple[str, str]] = []

        async def call() -> None:
            answers.append(await ask(served.url))

        tasks.start_soon(call)
        await arrived.wait()
        served.process.send_signal(signal.SIGTERM)
        await anyio.sleep(0.05)
        assert served.process.returncode is None
        release.set()
        assert await served.ended() == 0
        assert answers[0][1].startswith("[simulated] ")


@pytest.mark.anyio
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_anthropic_provider_is_given_by_an_option(workers: str) -> None:
    question = {"model": "claude-of-the-tests", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    async with running() as (provider, client):
        url = str(client.base_url)
        async with (
            serve("--upstream", url, "--anthropic", url, "--port", "0", "--workers", workers) as served,
            aiohttp.ClientSession(headers={"x-api-key": "sk", "anthropic-version": "2023-06-01"}) as http,
            http.post(f"{served.url}/messages", json=question) as response,
        ):
            assert (response.status, (await response.json())["type"]) == (200, "message")
        assert provider.calls.total() == 1


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_is_not_asked_for_a_provider_on_this_machine(host: str) -> None:
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9") | {"no_proxy": "", "NO_PROXY": ""}
    async with running() as (provider, client):
        upstream = str(client.base_url).replace("127.0.0.1", host)
        async with serve("--upstream", upstream, **proxy) as served:
            assert (await ask(served.url))[0] == "miss"
        assert provider.calls.total() == 1


@pytest.mark.anyio
async def test_a_damaged_snapshot_means_a_cold_start_and_says_so(tmp_path: Path) -> None:
    snapshot = tmp_path / "cache.snapshot"
    snapshot.write_bytes(BytesCache.SNAPSHOT_MAGIC + b", damaged")
    async with serve("--snapshot", str(snapshot)) as served:
        assert await served.end() == 0
    assert "starting with an empty cache" in served.lines[0]


def test_an_unknown_key_of_the_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sparecall.toml"
    path.write_text("[cache]\nmax_bites = 1\n")
    assert "`max_bites`" in refused("--config", str(path))


def test_a_configuration_that_is_not_there_or_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sparecall.toml"
    assert f"{path} cannot be read: No such file" in refused("--config", str(path))
    path.write_text("[cache\n")
    assert f"{path} is not TOML" in refused("--config", str(path))


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}: " in said
    assert "in use" in said.lower()


def test_what_would_stop_every_worker_is_said_once_by_their_supervisor(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere" / "cache.bin")
    assert "its folder does not exist" in refused("--workers", "2", "--snapshot", nowhere)
    assert "server.workers is 0" in refused("--workers", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}: " in refused("--workers", "2", "--port", str(port))


def test_a_temporary_folder_with_too_long_a_name_for_sockets_is_named(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    done = subprocess.run(
        [*COMMAND, "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert done.returncode == 2
    assert "set TMPDIR to a short path" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_relay_for_the_gateways_own_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparecall.toml"
    path.write_text('[upstream]\napi_key_env = "THE_KEY"\n')
    said = refused("--config", str(path), "--host", "0.0.0.0", THE_KEY="sk-very-secret")  # noqa: S104
    assert "server.client_keys is empty" in said
    assert "secret" not in said


def test_an_environment_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sparecall.toml"
    path.write_text('[upstream]\napi_key_env = "NO_SUCH_VARIABLE_HERE"\n')
    assert "NO_SUCH_VARIABLE_HERE, which is not set" in refused("--config", str(path))
