"""Named server-sent events: on the Responses and Messages wires each is named by the type that its own data states."""

from __future__ import annotations

import re

import msgspec

from sparecall import sse

# A type that cannot end a line and needs no escape, where the wires' own events have it: at their beginning.
_leading_type = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]+)"').match
_is_name = re.compile(r"[\w.]+", re.ASCII).fullmatch


class _Typed(msgspec.Struct):
    type: str


_decode = msgspec.json.Decoder(_Typed).decode


def framed(events: list[bytes]) -> bytes:
    """The data of events as they go over the wire. Data that states no plain type goes without a name."""
    pieces: list[bytes] = []
    for data in events:
        found = _leading_type(data)
        name = _stated(data) if found is None else found[1]
        if name:
            pieces += (b"event: ", name, b"\n")
        if b"\n" in data or b"\r" in data:
            pieces.append(sse.encode(data))
        else:
            pieces += (b"data: ", data, b"\n\n")
    return b"".join(pieces)


def _stated(data: bytes) -> bytes | None:
    try:
        name = _decode(data).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return name.encode() if _is_name(name) else None
