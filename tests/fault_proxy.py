"""A TCP proxy that fails as networks do: it delays, swallows, cuts after so many bytes, resets, and may lead elsewhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self


class FaultProxy:
    """Listens on `port`, leads to `target`. What it does to bytes may be changed at any time; `cut_after` counts bytes towards the client."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self.cut_after: int | None = None
        self.port = 0
        self.connections = 0
        self.sends = 0
        """Pieces that clients sent: one for each round trip, where none waits for another."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def black_hole(self) -> bool:
        """Whether everything sent is held back, in both directions."""
        return not self._open.is_set()

    @black_hole.setter
    def black_hole(self, swallows: bool) -> None:
        self._open.clear() if swallows else self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Reset all connections: the peers see an error, not an end."""
        for writer in list(self._writers):
            self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(back)
            try:
                await asyncio.gather(
                    self._pipe(reader, back, to_client=False), self._pipe(there, writer, to_client=True)
                )
            finally:
                self._writers.discard(back)
                back.transport.abort()
        except (
            OSError,
            asyncio.CancelledError,
        ):  # the end of it either way; streams complain of a cancelled server task
            pass
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            self._reset(writer)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool) -> None:
        while data := await reader.read(65_536):
            self.sends += not to_client
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._open.wait()
            if to_client and self.cut_after is not None:
                data = data[: self.cut_after]
                self.cut_after -= len(data)
                writer.write(data)
                if self.cut_after <= 0:
                    break
                continue
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one direction ended: so does the other
