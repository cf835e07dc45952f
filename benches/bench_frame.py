"""Objects to frames and back: a conversation, a long one, and a vector as an array and as a list."""

from __future__ import annotations

import json

import numpy as np

from sparecall.frame import FrameReader, pack, unpack

from .bench_digest import chat_body
from .common import Benchmark

NAMES = ("tiny", "conversation of 18 kB", "conversation of 600 kB", "1,536 floats, list", "1,536 floats, array")


class Frame(Benchmark):
    """One object, whole."""

    params = NAMES
    param_names = ("object",)

    def setup(self, name: str) -> None:
        super().setup(name)
        floats = [self.random.gauss(0, 0.02) for _ in range(1_536)]
        self.value: object = {
            "tiny": {"a": 1},
            "conversation of 18 kB": json.loads(chat_body(18_000)),
            "conversation of 600 kB": json.loads(chat_body(600_000)),
            "1,536 floats, list": floats,
            "1,536 floats, array": np.array(floats, np.float32),
        }[name]
        self.frame = pack(self.value)

    def time_pack(self, _name: str) -> None:
        pack(self.value)

    def time_unpack(self, _name: str) -> None:
        unpack(self.frame)

    def track_stored_bytes(self, _name: str) -> int:
        return len(self.frame)


class Reader(Benchmark):
    """A stream of a thousand small frames, in pieces as a socket gives them."""

    params = (1_400, 64_000)
    param_names = ("bytes a piece",)

    def setup(self, size: int) -> None:
        super().setup(size)
        stream = b"".join(pack({"id": n, "text": "some words"}) for n in range(1_000))
        self.pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    def time_feed(self, _size: int) -> None:
        reader = FrameReader()
        assert sum(len(reader.feed(piece)) for piece in self.pieces) == 1_000
