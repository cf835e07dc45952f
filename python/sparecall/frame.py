"""frame: one object as bytes that say how long they are and whether they are whole.

``pack(obj)`` and ``unpack(data)`` do MessagePack, LZ4, a header and a checksum in one crossing; ``FrameReader`` cuts a stream
that comes in pieces; ``read_frame`` and ``write_frame`` do so over any asyncio stream.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from sparecall import queue
from sparecall._core import FrameReader, _frame_draft, _frame_lengths
from sparecall._core import frame_pack as pack
from sparecall._core import frame_unpack as unpack
from sparecall.errors import FrameError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

__all__ = ["FrameReader", "pack", "read_frame", "unpack", "write_frame"]

_HEADER: Final = 16

# What a cancelled read has already taken from its stream, or why that stream is refused; gone with the stream.
_unfinished: WeakKeyDictionary[StreamReader, bytes | str] = WeakKeyDictionary()


async def read_frame(reader: StreamReader, *, copy: bool = False, max_bytes: int = 64 << 20) -> object:
    """Read the next frame of a stream and return its object.

    Raises `EOFError` where the stream ended before the frame began, and `sparecall.errors.FrameError` where it ended
    within it, or where the frame is not one: then nothing more can be read from this stream. A cancelled read loses
    nothing: the next one goes on where it was. One task at a time may read from a stream. Beyond what the stream itself
    buffers, holds one frame.
    """
    kept = _unfinished.pop(reader, b"")
    if isinstance(kept, str):
        _unfinished[reader] = kept
        raise FrameError(f"this stream had a bad frame and cannot be read any further: {kept}")
    try:
        header = kept or await reader.readexactly(_HEADER)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise EOFError("the stream ended; no frame is unfinished") from None
        raise _refused(reader, f"the stream ended {len(error.partial)} bytes into a header") from None
    try:
        _, stored = _frame_lengths(header, max_bytes=max_bytes)
        # From here to the end of the read the header stands there for whoever comes after a cancellation.
        _unfinished[reader] = header
        payload = await reader.readexactly(stored)
        del _unfinished[reader]
        return unpack(header + payload, copy=copy, max_bytes=max_bytes)
    except asyncio.IncompleteReadError as error:
        raise _refused(reader, f"the stream ended {len(error.partial)} bytes into a payload of {stored}") from None
    except FrameError as error:
        _refused(reader, str(error))
        raise


def _refused(reader: StreamReader, why: str) -> FrameError:
    _unfinished[reader] = why
    return FrameError(why)


async def write_frame(writer: StreamWriter, *objects: object, max_bytes: int = 64 << 20) -> None:
    """Write each object as a frame, all in one write, and wait until the stream takes more.

    Raises `sparecall.errors.FrameError` where one cannot be packed; then nothing was written. Once anything is written,
    everything is: a call that is cancelled while it waits has handed over all its frames or none. The objects are read
    before the first await; long ones are compressed by a worker of `sparecall.queue`.
    """
    drafts = [_frame_draft(one, max_bytes=max_bytes) for one in objects]
    frames = [one if isinstance(one, bytes) else await queue.run(one.seal()) for one in drafts]
    writer.write(b"".join(frames))
    await writer.drain()
