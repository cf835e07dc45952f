"""Entries as bytes, checked on read, and the digests that stand for keys and names. No sockets, no clock."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec

from sparecall.errors import FrameError, InvalidArgument
from sparecall.frame import pack, unpack
from sparecall.store.protocol import Entry

_VERSION = 1
_FIELDS = Entry.__struct_fields__


def digest(kind: str, *parts: str) -> str:
    """What stands for `parts` outside of a value: 128 bits as hex, whatever their length; a `kind` never meets another's."""
    state = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.hexdigest()


def entry_digest(scope: str, key: str) -> str:
    """The digest under which the entry of `key` in `scope` is stored."""
    return digest("entry", scope, key)


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    version: int
    scope: str
    key: str
    value: Any
    created: float
    expires: float
    dead: float
    seconds: float
    dollars: float
    tags: tuple[str, ...]
    marks: tuple[int, ...]
    validator: str | None


def dump(entry: Entry) -> bytes:
    """The bytes of an entry, with scope and key among them. Raises `FrameError` for a value that no frame can hold."""
    return pack([_VERSION, *(getattr(entry, name) for name in _FIELDS)])


def load(data: bytes, *, scope: str, key: str) -> Entry | None:
    """The entry in `data`, or None where those are no entry, or that of another key or scope."""
    try:
        stored = msgspec.convert(unpack(data), _Stored)
    except (FrameError, msgspec.ValidationError, RecursionError):
        return None
    if stored.version != _VERSION or stored.scope != scope or stored.key != key or _odd(stored):
        return None
    return Entry(**{name: getattr(stored, name) for name in _FIELDS})


def life(entry: Entry, *, now: float, longest: float) -> float:
    """For how many seconds a store keeps an entry; not above 0: it is dead. Raises `InvalidArgument` for a life that is no number."""
    if math.isnan(entry.dead):
        raise InvalidArgument(
            "the entry's dead is nan; give a Unix time, or inf for the longest life that the store gives"
        )
    return min(entry.dead - now, longest)


def _odd(times: Entry | _Stored) -> bool:
    return math.isnan(times.created) or math.isnan(times.expires) or math.isnan(times.dead)
