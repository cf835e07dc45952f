"""Real processes: `sparecall serve` before three simulated providers, of which one is killed, one is slow and one says 429."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from served import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONFIG = """
[upstream.killed]
url = "{killed}"
[upstream.slow]
url = "{slow}"
[upstream.full]
url = "{full}"
limit = {{ learn = true }}
"""
OPTIONS: dict[str, tuple[str, ...]] = {
    "killed": ("--first-token", "0.01"),
    "slow": ("--first-token", "0.3"),
    "full": ("--first-token", "0.01", "--requests-per-minute", "10"),
}


@pytest.fixture
def anyio_backend() -> str:
    """The gateway is a process of its own, whatever loop the clients have."""
    return "asyncio"


class Provider:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def listening(self) -> None:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        self.url = next(word for word in line.split() if word.startswith("http"))


@asynccontextmanager
async def provider(*options: str) -> AsyncIterator[Provider]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sparecall.cli", "simulate", "--port", "0", "--per-token", "0", *options,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Provider(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(session: aiohttp.ClientSession, url: str, number: int) -> tuple[str, bool]:
    """Who answered, and whether that was whole."""
    question = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": f"Question {number}"}],
        "stream": number % 4 == 0,
    }
    async with session.post(f"{url}/chat/completions", json=question) as response:
        body = await response.read()
        whole = response.status == 200 and (
            body.endswith(b"data: [DONE]\n\n") if question["stream"] else b'"choices"' in body
        )
        return response.headers.get("x-sparecall-served-by", str(response.status)), whole


@pytest.mark.anyio
async def test_every_client_gets_its_answer_while_one_is_killed_one_is_slow_and_one_says_429(tmp_path: Path) -> None:
    async with AsyncExitStack() as exits, asyncio.timeout(100):
        providers = {name: await exits.enter_async_context(provider(*options)) for name, options in OPTIONS.items()}
        await asyncio.gather(*[one.listening() for one in providers.values()])
        path = tmp_path / "sparecall.toml"
        path.write_text(CONFIG.format(**{name: one.url for name, one in providers.items()}))
        served = await exits.enter_async_context(serve("--config", str(path)))
        session = await exits.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": "Bearer sk-a"}, connector=aiohttp.TCPConnector(limit=0))
        )

        async def wave(first: int, count: int) -> list[tuple[str, bool]]:
            return list(await asyncio.gather(*[ask(session, served.url, first + number) for number in range(count)]))

        well = await wave(0, 30)
        providers["killed"].process.kill()
        await providers["killed"].process.wait()
        worse = await wave(100, 30) + await wave(200, 30)
        assert [one for one in well + worse if not one[1]] == []
        assert {name for name, _ in well} == set(OPTIONS)
        assert {name for name, _ in worse} <= {"slow", "full"}
        answered: dict[str, Any] = {name: sum(who == name for who, _ in well + worse) for name in OPTIONS}
        assert answered["full"] <= 10  # what it takes in a minute
        async with session.get(f"{served.url.removesuffix('/v1')}/metrics") as response:
            text = await response.text()
        # One failure is enough for calls to go elsewhere first: whether its breaker ever has reason to open is chance.
        assert 'sparecall_upstream_calls_total{upstream="killed",outcome="failure"}' in text
        assert f'sparecall_upstream_calls_total{{upstream="slow",outcome="success"}} {answered["slow"]}' in text
