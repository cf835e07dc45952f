"""`sparecall serve` as a real process, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = [sys.executable, "-m", "sparecall.cli", "serve", "--port", "0"]


class Served:
    """A running `sparecall serve`: its base URL, and what it has written to standard error so far."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stderr is not None
        self.process = process
        self.url = ""
        self.lines: list[str] = []
        self._stderr = BufferedByteReceiveStream(process.stderr)

    async def listening(self) -> None:
        while not self.url:
            line = (await self._stderr.receive_until(b"\n", 10_000)).decode()
            self.lines.append(line)
            if found := re.search(r" listening on (\S+), upstream ", line):
                self.url = found[1]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it by a signal; returns the exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Waits for its end; returns the exit status."""
        try:
            while True:
                self.lines.append((await self._stderr.receive_until(b"\n", 10_000)).decode())
        except (anyio.EndOfStream, anyio.IncompleteRead):
            return await self.process.wait()


@asynccontextmanager
async def serve(*options: str, **environment: str) -> AsyncIterator[Served]:
    async with await anyio.open_process(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}
    ) as process:
        try:
            served = Served(process)
            with anyio.fail_after(30):
                await served.listening()
                yield served
        finally:
            if process.returncode is None:
                process.kill()
