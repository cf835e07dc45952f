"""The decisions of a semantic cache: one for each pool of scopes that learn together.

What one scope's verdicts teach changes what another is served. So those who do not trust each other must not share a decision:
whoever chooses the questions and sees to the answers can teach it that any two questions are the same.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall._core import SemanticDecision, SemanticReport

# About 20 kB each. The pool that was asked least lately is forgotten first, and proves itself anew.
_POOLS = 1024
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Decisions:
    """Makes them as they are asked for. `pool` names the pool of a scope; None: all scopes are one. Not for several threads at once."""

    __slots__ = ("_made", "_make", "_pool")

    def __init__(self, make: Callable[[], SemanticDecision], pool: Callable[[str], str] | None) -> None:
        self._make = make
        self._pool = pool
        self._made: collections.OrderedDict[str, SemanticDecision] = collections.OrderedDict()
        if pool is None:
            self._made[""] = make()

    def of(self, scope: str) -> SemanticDecision:
        """The decision for a scope."""
        name = "" if self._pool is None else self._pool(scope)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make()
            if len(self._made) > _POOLS:
                self._made.popitem(last=False)
        self._made.move_to_end(name)
        return made

    def reports(self) -> dict[str, SemanticReport]:
        """What each knows of its errors, by pool."""
        return {name: made.report() for name, made in self._made.items()}

    def to_bytes(self) -> bytes:
        """All that was learnt, for `read`."""
        return msgspec.msgpack.encode({name: made.to_bytes() for name, made in list(self._made.items())})

    def read(self, data: bytes) -> collections.OrderedDict[str, SemanticDecision]:
        """Return what `to_bytes` wrote, for `take`. Raises `InvalidDocument` for other bytes."""
        read: collections.OrderedDict[str, SemanticDecision] = collections.OrderedDict()
        try:
            states = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise InvalidDocument("the saved decisions are damaged") from None
        for name, state in states.items():
            read[name] = self._make()
            read[name].restore(state)
        if self._pool is None and set(read) != {""}:
            raise InvalidDocument("the saved decisions are those of several pools")
        return read

    def take(self, read: collections.OrderedDict[str, SemanticDecision]) -> None:
        """Go on with what others had learnt."""
        self._made = read
