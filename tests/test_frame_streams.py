"""Frames over asyncio streams: batches, back-pressure, streams that end badly, and a cancellation at every await."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import numpy as np
import pytest

from frames import CONVERSATION, framed
from loop_steps import no_complaints, turns
from sparecall import frame as frame_module
from sparecall import queue
from sparecall.errors import FrameError
from sparecall.frame import pack, read_frame, unpack, write_frame

pytestmark = pytest.mark.anyio

OBJECTS: list[Any] = [{"n": 1}, None, CONVERSATION, [], "x" * 500, {"last": True}]


class Writer:
    """What `write_frame` needs of a stream, which takes more only when it is told to."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.open = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    async def drain(self) -> None:
        await self.open.wait()


async def test_a_batch_is_one_write_and_is_read_frame_by_frame() -> None:
    async with no_complaints():
        served: asyncio.Queue[object] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    served.put_nowait(await read_frame(reader))
            except EOFError as error:
                served.put_nowait(error)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            await write_frame(writer, *OBJECTS)
            await write_frame(writer, np.arange(100_000.0))
            await write_frame(writer)
            writer.close()
            await writer.wait_closed()
            found = [await served.get() for _ in range(len(OBJECTS) + 2)]
        assert found[: len(OBJECTS)] == OBJECTS
        np.testing.assert_array_equal(found[-2], np.arange(100_000.0))  # type: ignore[arg-type]
        assert isinstance(found[-1], EOFError)


async def test_one_write_for_all_and_back_pressure() -> None:
    writer = Writer()
    writing = asyncio.ensure_future(write_frame(writer, *OBJECTS))  # type: ignore[arg-type]
    await turns(5)
    assert writer.writes == [b"".join(map(pack, OBJECTS))]
    assert not writing.done()
    writer.open.set()
    await writing


async def test_a_long_object_is_read_before_the_first_await_and_compressed_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = {"text": [f"{n} and some text" for n in range(30_000)]}
    expected = pack("short") + pack(value)
    run = queue.run

    async def slowly(work: queue.Work[Any]) -> Any:
        await held.wait()
        return await run(work)

    monkeypatch.setattr(queue, "run", slowly)
    for cancelled in (False, True):
        held = asyncio.Event()
        writer = Writer()
        writer.open.set()
        writing = asyncio.ensure_future(write_frame(writer, "short", value))  # type: ignore[arg-type]
        await turns(3)
        assert writer.writes == []
        if cancelled:
            writing.cancel()
        else:
            value["text"].append("too late")
        held.set()
        await asyncio.wait({writing})
        assert (writing.cancelled(), writer.writes) == (cancelled, [] if cancelled else [expected])


async def test_an_object_that_cannot_be_packed_writes_nothing() -> None:
    writer = Writer()
    with pytest.raises(FrameError, match="type object"):
        await write_frame(writer, 1, 2, object())  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="above the limit of 10"):
        await write_frame(writer, 1, "x" * 20, max_bytes=10)  # type: ignore[arg-type]
    assert writer.writes == []


async def test_a_cancelled_write_has_handed_over_whole_frames_once() -> None:
    for after in range(4):
        writer = Writer()
        writing = asyncio.ensure_future(write_frame(writer, *OBJECTS))  # type: ignore[arg-type]
        await turns(after)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert writer.writes == ([] if after == 0 else [b"".join(map(pack, OBJECTS))])


@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 100, 100_000])
async def test_a_cancellation_at_every_await_loses_and_repeats_nothing(size: int) -> None:
    stream = b"".join(map(pack, OBJECTS))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    # Each run cancels after every `every`-th piece, at each turn of the loop that a read may be in.
    cancelled = 0
    for every, turn in [(1, 0), (1, 1), (1, 2), (1, 3), (2, 1), (3, 2), (5, 0), (7, 1)]:
        reader = asyncio.StreamReader()
        found: list[object] = []
        reading = asyncio.ensure_future(read_frame(reader))
        await turns(1)
        for count, piece in enumerate(pieces):
            reader.feed_data(piece)
            if count == len(pieces) - 1:
                reader.feed_eof()
            if count % every:
                await turns(3)
            else:
                await turns(turn)
                cancelled += reading.cancel()
            while True:
                try:
                    await turns(2)
                    if not reading.done():
                        break
                    found.append(reading.result())
                except asyncio.CancelledError:
                    pass
                except EOFError:
                    break
                reading = asyncio.ensure_future(read_frame(reader))
        assert found == OBJECTS
        with pytest.raises(EOFError):
            await read_frame(reader)
        del reader, reading
    assert cancelled
    gc.collect()
    assert len(frame_module._unfinished) == 0


async def test_streams_that_end_within_a_frame() -> None:
    whole = pack(CONVERSATION)
    for length, why in [(5, "5 bytes into a header"), (16, "0 bytes into a payload"), (40, "24 bytes into a payload")]:
        reader = asyncio.StreamReader()
        reader.feed_data(whole[:length])
        reader.feed_eof()
        for _ in range(2):
            with pytest.raises(FrameError, match=why):
                await read_frame(reader)


async def test_a_bad_frame_is_the_last_of_its_stream() -> None:
    for bad in (b"x" * 16, framed(b"\xc1"), pack([1])[:-1] + b"\x02", framed(b"\xc0", version=3)):
        reader = asyncio.StreamReader()
        reader.feed_data(pack("good") + bad + pack("lost"))
        assert await read_frame(reader) == "good"
        with pytest.raises(FrameError):
            await read_frame(reader)
        for _ in range(2):
            with pytest.raises(FrameError, match="cannot be read any further"):
                await read_frame(reader)


async def test_limits_are_checked_on_the_header() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(pack("x" * 200)[:16])
    with pytest.raises(FrameError, match="above the limit of 100"):
        await read_frame(reader, max_bytes=100)


async def test_arrays_of_a_stream() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(pack(np.arange(5)) * 2)
    for copy in (False, True):
        found = await read_frame(reader, copy=copy)
        assert isinstance(found, np.ndarray)
        assert found.flags.writeable is copy


async def test_a_frame_longer_than_the_stream_s_own_buffer() -> None:
    value = {"text": [str(n) for n in range(200_000)]}
    frame = pack(value)
    reader = asyncio.StreamReader(limit=1_000)
    reading = asyncio.ensure_future(read_frame(reader))
    for at in range(0, len(frame), 50_000):
        reader.feed_data(frame[at : at + 50_000])
        await turns(2)
    assert await reading == value == unpack(frame)
