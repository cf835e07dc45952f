"""Frames made and read by the documented format alone, with other libraries, and an object to put in them."""

from __future__ import annotations

import struct
import zlib

import lz4.block
import pytest

from sparecall.errors import FrameError
from sparecall.frame import unpack

HEADER = struct.Struct("<2sBBIII")
LZ4, ARRAYS = 1, 2


def framed(payload: bytes, *, flags: int = 0, raw: int | None = None, version: int = 1) -> bytes:
    """A frame around any payload, made by the documented format alone."""
    head = HEADER.pack(b"\xc1S", version, flags, len(payload) if raw is None else raw, len(payload), 0)[:12]
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload


def payload_of(frame: bytes) -> bytes:
    """The MessagePack in a frame, by the documented format and other libraries alone."""
    magic, version, flags, raw, stored, checksum = HEADER.unpack_from(frame)
    payload = frame[16:]
    assert (magic, version, stored) == (b"\xc1S", 1, len(payload))
    assert checksum == zlib.crc32(frame[:12] + payload)
    if flags & LZ4:
        payload = lz4.block.decompress(payload, uncompressed_size=raw)
    assert len(payload) == raw
    return bytes(payload)


def refused(frame: bytes) -> str:
    """Why a frame is refused; fails where it is not."""
    with pytest.raises(FrameError) as caught:
        unpack(frame)
    return str(caught.value)


CONVERSATION = {
    "model": "gpt-4o",
    "messages": [
        {"role": "user", "content": f"Question {n}: what does json.loads({n}) return, and why?"} for n in range(40)
    ],
    "temperature": 0.2,
    "metadata": {"größe": "naïve 😀", "deep": [[[{"x": None}]], True, False, -1, 2**40]},
}
