"""What one process tells the others of a store's changes, as bytes."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Says that names have the version that goes with it, or that entries were written or deleted."""

    sender: str
    scope: str | None
    """None: `names` are names with versions; else they are keys of this scope."""
    names: list[str]


_DECODER = msgspec.msgpack.Decoder(Message)
encode = msgspec.msgpack.Encoder().encode


def read_message(data: bytes) -> Message | None:
    """The message in `data`, None for anything else."""
    try:
        return _DECODER.decode(data)
    except ValueError:
        return None
