"""The event stream grammar, read slowly from a whole buffer: what the incremental parser is held against."""

from __future__ import annotations

import re


def read_whole(stream: bytes) -> list[bytes]:
    """Follow the WHATWG algorithm to the letter: lines first, then fields, then dispatch at each empty line."""
    ended = re.findall(rb"([^\r\n]*)(?:\r\n|\r|\n)", stream.removeprefix(b"\xef\xbb\xbf"))
    events: list[bytes] = []
    buffer = b""
    for line in ended:  # what follows the last line end is an incomplete line, hence an incomplete event
        if line == b"":
            if buffer:
                events.append(buffer.removesuffix(b"\n"))
            buffer = b""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            if field == b"data":
                buffer += value.removeprefix(b" ") + b"\n"
    return events
