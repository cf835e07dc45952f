"""Reading and writing event streams, as a provider sends them and as the network cuts them."""

from __future__ import annotations

import json

from sparecall import sse

from .common import Benchmark

EVENTS = 1000


def chunk(number: int) -> bytes:
    delta = {"index": 0, "delta": {"content": f" token{number}"}, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_750_000_000, "model": "gpt-4o"}
    return json.dumps({**head, "choices": [delta]}, separators=(",", ":")).encode()


class Feed(Benchmark):
    """1,000 chunks of a chat stream, in pieces of the named kind."""

    params = ("event", "event_crlf", "kilobytes_16", "bytes_100")
    param_names = ("pieces",)

    def setup(self, pieces: str) -> None:
        super().setup()
        self.data = [chunk(number) for number in range(EVENTS)]
        events = [sse.encode(data) for data in self.data]
        stream = b"".join(events)
        self.pieces = {
            "event": events,
            "event_crlf": [event.replace(b"\n", b"\r\n") for event in events],
            "kilobytes_16": [stream[start : start + 16384] for start in range(0, len(stream), 16384)],
            "bytes_100": [stream[start : start + 100] for start in range(0, len(stream), 100)],
        }[pieces]

    def read(self) -> list[bytes]:
        feed = sse.Parser().feed
        return [event for piece in self.pieces for event in feed(piece)]

    def time_feed(self, _: str) -> None:
        self.read()

    def track_events_lost(self, _: str) -> int:
        return EVENTS - sum(read == sent for read, sent in zip(self.read(), self.data, strict=True))


class Encode(Benchmark):
    """1,000 chunks of a chat stream."""

    def setup(self) -> None:
        super().setup()
        self.data = [chunk(number) for number in range(EVENTS)]

    def time_encode(self) -> None:
        for data in self.data:
            sse.encode(data)
