"""`sparecall simulate` and the ranges of its settings."""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
from typing import Any

import openai
import pytest

from simulated import QUESTION, running, text_of
from sparecall import cli, errors, simulate

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "make",
    [
        lambda: simulate.Latency(first_token=-1),
        lambda: simulate.Latency(per_token=math.nan),
        lambda: simulate.Latency(jitter=1.5),
        lambda: simulate.Faults(stall=2),
        lambda: simulate.Faults(server_error=0.6, garbage=0.6),
        lambda: simulate.Faults(stall_for=-1),
        lambda: simulate.Provider(requests_per_minute=0),
        lambda: simulate.Provider(tokens_per_minute=0),
    ],
)
def test_settings_outside_their_range_are_refused(make: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match=r" is -?\S+; it must| add up to 1\.2; they must"):
        make()


async def test_models_counted_are_bounded() -> None:
    async with running() as (provider, client):
        provider.calls.update({("chat", f"model {number}"): 1 for number in range(1000)})
        await text_of(client, model="one more")
        await text_of(client, model="and another")
        assert provider.calls["chat", "other"] == 2
        assert len(provider.calls) == 1001
        assert repr(provider).startswith("Provider(seed=0, calls=1002, in_flight=")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    arguments = ["--port", "0", "--first-token", "0", "--per-token", "0", "--fault", "server_error=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "sparecall.cli", "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("simulated provider at http://127.0.0.1:")
        with (
            openai.OpenAI(base_url=line.split()[3], api_key="any", max_retries=0) as client,
            pytest.raises(openai.InternalServerError),
        ):
            client.chat.completions.create(**QUESTION)
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == process.stderr.read() == ""


def test_the_command_refuses_what_it_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("gremlins=1", "stall", "stall=x"):
        with pytest.raises(SystemExit):
            cli.main(["simulate", "--fault", wrong])
    assert "known are rate_limit, server_error" in capsys.readouterr().err
    assert cli.main(["simulate", "--jitter", "7"]) == 2
    assert "jitter is 7.0; it must be between 0 and 1" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["simulate", "--port", str(taken.getsockname()[1])]) == 2
    assert "address already in use" in capsys.readouterr().err
