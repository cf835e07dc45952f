"""Entries as bytes, checked on read, and the digests that stand for keys and names. No sockets, no clock."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import FrameError, InvalidArgument
from sparecall.frame import pack, unpack
from sparecall.store.protocol import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable


def digests(kind: str, place: str, names: Iterable[str]) -> list[str]:
    """What stands for `names` outside of a value: 128 bits as hex, whatever their length. One `kind` or `place` never meets another's."""
    start = hashlib.blake2b(f"{kind} {len(place)} ".encode() + _bytes(place), digest_size=16)
    found = []
    for name in names:
        state = start.copy()
        state.update(_bytes(name))
        found.append(state.hexdigest())
    return found


def digest(kind: str, name: str) -> str:
    """The digest of one name that belongs to no place."""
    return digests(kind, "", (name,))[0]


def entry_digests(scope: str, keys: Iterable[str]) -> list[str]:
    """The digests under which the entries of `keys` in `scope` are stored."""
    return digests("entry", scope, keys)


def dump(entry: Entry) -> bytes:
    """The bytes of an entry, with scope and key among them. Raises `FrameError` for a value that no frame can hold."""
    return pack(entry)


def load(data: bytes, *, scope: str, key: str) -> Entry | None:
    """The entry in `data`, or None where those are no entry, or that of another key or scope."""
    try:
        entry = msgspec.convert(unpack(data), Entry)
    except (FrameError, msgspec.ValidationError, RecursionError):
        return None
    return None if entry.key != key or entry.scope != scope or _is_odd(entry) else entry


def life(entry: Entry, *, now: float, longest: float) -> float:
    """For how many seconds a store keeps an entry; not above 0: it is dead. Raises `InvalidArgument` for times that are no numbers."""
    if _is_odd(entry):
        raise InvalidArgument(
            "one of the entry's times is nan; give Unix times, or inf for the longest life that the store gives"
        )
    return min(entry.dead - now, longest)


def _is_odd(entry: Entry) -> bool:
    return math.isnan(entry.created) or math.isnan(entry.expires) or math.isnan(entry.dead)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
