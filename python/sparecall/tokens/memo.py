"""Remembers bounds under what was counted itself, so that a conversation that grew by one message costs one message.

A key is content, never identity: a message that was changed in place is another key. Strings in a key are the caller's
own, not copies.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparecall.errors import InvalidArgument
from sparecall.tokens.schema import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sparecall.tokens.bounds import Bounds


LONGEST = 256 * 1024
"""Characters of a string in a key: hashing a text takes the interpreter up to half a millisecond for so many."""


class _TooLong(Exception):
    """A string that is no part of a key, for its length."""


def key_of(message: Mapping[str, Any], where: str) -> Hashable | None:
    """A key equal only to that of the same message; None for one that is not kept, being too long.

    That of a role and a text, as most are, is a pair, which `Counter.messages` looks up itself. Raises `TypeError` for
    what is no JSON value.
    """
    role, content = message.get("role"), message.get("content")
    if len(message) == 2 and type(role) is str and type(content) is str:
        return (role, content) if len(content) <= LONGEST else None
    try:
        return _frozen(message, where, 0)
    except _TooLong:
        return None


def _frozen(value: Any, where: str, depth: int) -> Hashable:
    """The value as nested tuples; 1, 1.0 and true differ in them."""
    kind = type(value)
    if isinstance(value, str):
        if len(value) > LONGEST:
            raise _TooLong
        return value if kind is str else str(value)
    if value is None:
        return None
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"{where} is nested more than {MAX_DEPTH} deep; flatten it")
    if isinstance(value, Mapping):
        items: list[Hashable] = [dict]
        for name, one in value.items():
            if type(name) is not str:
                raise TypeError(f"{where} has a key that is {type(name).__name__}; JSON's keys are str")
            items += (name, _frozen(one, where, depth + 1))
        return tuple(items)
    if isinstance(value, list | tuple):
        return list, *[_frozen(one, where, depth + 1) for one in value]
    if kind in {int, float, bool}:
        return kind, value
    raise TypeError(f"{where} holds a {kind.__name__}; a message is made of what JSON has")


def _weight(key: Hashable) -> int:
    return sys.getsizeof(key) + (sum(map(_weight, key)) if isinstance(key, tuple) else 0)


class Memo:
    """A mapping of at most `max_bytes`, by two generations: what was not asked for since the last turn leaves at the next.

    Reading takes no lock. A key heavier than a generation is not kept.
    """

    __slots__ = ("_lock", "_max", "_old", "_weight", "young")

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes // 2
        self._weight = 0
        self._lock = threading.Lock()
        self.young: dict[Hashable, Bounds] = {}
        """What was put or asked for of late: a reader in a hurry looks here itself."""
        self._old: dict[Hashable, Bounds] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: Hashable) -> Bounds | None:
        """What was put under an equal key, which is young again by that."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Hashable, bounds: Bounds) -> None:
        """Keeps `bounds`, and lets the old generation go when the young one is full."""
        weight = _weight(key) + 160  # its place in the dict and the bounds
        if weight > self._max:
            return
        with self._lock:
            if key in self.young:
                return
            if self._weight + weight > self._max:
                self._old, self.young, self._weight = self.young, {}, 0
            self.young[key] = bounds
            self._weight += weight
