"""Conversations as they were read, remembered so that their next turn reads only what is new. Neither counts nor decides.

What is remembered has copies of the messages, and counts as far as those that come are the same, letter by letter: whoever
remembers and whoever does not come to the same.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sparecall._core import context_same
from sparecall.context.breakpoints import bare, breakpoints_of
from sparecall.context.costs import message_key
from sparecall.context.grammar import read_in_steps
from sparecall.context.laying import Known
from sparecall.context.parts import size_of
from sparecall.context.steps import stepped

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sparecall.context.costs import Costs
    from sparecall.context.grammar import Conversation, Form, Orphans
    from sparecall.context.parts import Message, Path
    from sparecall.context.steps import Steps
    from sparecall.tokens.bounds import Bounds


# Messages that are compared, or copied, at once: a tenth of a millisecond.
_SLICE = 256
# By so many messages a conversation is found, and so many are remembered of those that begin so.
_HEAD, _ALIKE = 2, 8
_NO_LISTS = (str, bytes, Mapping)
# Of a message beside its texts, in bytes: its copy, its parts, its rows.
_BESIDE = 1_500


class Reading:
    """A conversation, and what was found out about its messages. One call at a time: whoever takes it gives it back."""

    __slots__ = (
        "_begin",
        "_seen",
        "_weights",
        "bounds",
        "breakpoints",
        "conversation",
        "handles",
        "keys",
        "known",
        "sizes",
    )

    def __init__(self) -> None:
        self.conversation: Conversation
        self._begin = 0
        self._seen: list[Message] = []
        self._weights: list[int] = []
        self.sizes: list[int] = []
        """The tokens of its messages, as far as they were asked for."""
        self.bounds: list[Bounds | None] = []
        """The same before they are rounded; see `Costs.bounds`."""
        self.keys: list[Hashable] = []
        """Their keys, as far as they were asked for: equal where messages say the same and cost the same."""
        self.breakpoints: list[Hashable | None] = []
        """Where in them a provider's cache is told to end, which is no part of their keys."""
        self.known = Known()
        """For cuts of it."""
        self.handles: dict[tuple[int, Path], tuple[str, str]] = {}
        """Of texts that were removed, by message and path, and of messages that were, by ``()``: the text or JSON, and its handle."""

    @property
    def weight(self) -> int:
        """About what it takes in memory, in bytes. O(messages)."""
        removed = sum([len(text) for (_, path), (text, _) in self.handles.items() if not path])
        return sum(self._weights) + self.known.weight + removed

    def measure(self, costs: Costs) -> Steps[list[int]]:
        """The tokens of each message, in steps; of a long one as a call to make elsewhere."""
        sizes = self.sizes
        for message in self.conversation.messages[len(sizes) :]:
            size = yield from stepped(functools.partial(costs.message, message), size_of(message))
            self.bounds.append(costs.bounds(message))
            sizes.append(size)
        return sizes

    def key(self, costs: Costs) -> Steps[list[Hashable]]:
        """The key of each message, in steps."""
        sizes = yield from self.measure(costs)
        keys = self.keys
        for message, size in zip(self.conversation.messages[len(keys) :], sizes[len(keys) :], strict=True):
            self.breakpoints.append(breakpoints_of(message))
            # One that is too long to have a key is like no other.
            keys.append((message_key(bare(message)) or object(), size))
            yield None
        return keys

    def same(self, messages: list[Any]) -> Steps[int]:
        """How many of these messages, from the first on, are the same as those that were read, in steps."""
        seen = self._seen
        for at in range(0, len(seen), _SLICE):
            count = context_same(seen[at : at + _SLICE], messages[at : at + _SLICE])
            if count < _SLICE:
                return at + count
            yield None
        return len(seen)

    def is_worth(self, same: int) -> bool:
        """Whether to go on from here, where so many messages are the same: another may need what comes after."""
        return 2 * same > len(self._seen)

    def read(self, messages: Any, same: int, form: Form | None, model: str | None, orphans: Orphans) -> Steps[None]:
        """Read these messages, of which the first so many are the same, and forget what no longer holds; in steps."""
        before = self.conversation if same else None
        for found in (self._seen, self._weights, self.sizes, self.bounds, self.keys, self.breakpoints):
            del found[same:]
        for place in [place for place in self.handles if place[0] >= same]:
            del self.handles[place]
        # Copies are made first: whoever changes a message from here on is found out by them.
        if type(messages) is list:
            yield from self._copy(messages)
        later, known = yield from read_in_steps(messages, form, model=model, orphans=orphans, before=before, same=same)
        self.conversation = later
        self.known.forget(known)
        self._begin = min(same, later.atoms[known][0]) if known < len(later.atoms) else same

    def _copy(self, messages: list[Any]) -> Steps[None]:
        """Copy what is new, to know it again. What cannot be copied is followed by nothing."""
        for at in range(len(self._seen), len(messages)):
            try:
                copy, weight = _copied(messages[at])
            except (TypeError, RecursionError):
                return
            self._seen.append(copy)
            self._weights.append(weight + _BESIDE)
            if at % _SLICE == 0:
                yield None

    def is_true(self) -> bool:
        """Whether what was found out is still of these messages: nobody has changed one in the meantime, and all could be copied."""
        rows, begin = self.conversation.messages, self._begin
        if self.conversation.orphans or len(self._seen) != len(rows):
            return False
        return context_same(self._seen[begin:], rows[begin:]) == len(rows) - begin


class Readings:
    """The latest readings, found again by how they begin, at most about `max_bytes` of them. Thread-safe."""

    __slots__ = ("_form", "_heads", "_lock", "_max", "_model", "_orphans", "_weight")

    def __init__(self, form: Form | None, model: str | None, orphans: Orphans, *, max_bytes: int) -> None:
        self._form, self._model, self._orphans = form, model, orphans
        self._heads: dict[Hashable, list[tuple[int, Reading]]] = {}
        self._weight = 0
        self._max = max_bytes
        self._lock = threading.Lock()

    def take(self, messages: Iterable[Mapping[str, Any]]) -> Steps[Reading]:
        """The messages as a reading, in steps. Give it back with `put`. Raises whatever `sparecall.context.read` raises."""
        rows: Any = messages
        if type(messages) is not list and isinstance(messages, Iterable) and not isinstance(messages, _NO_LISTS):
            rows = list(messages)
        best, most = None, 0
        head = _head(rows)
        for one in reversed(self._heads.get(head, ())):
            same = yield from one[1].same(rows)
            if same > most and one[1].is_worth(same):
                best, most = one, same
                if same == len(rows):
                    break
        found = Reading()
        if best is not None and self._pop(head, best):
            found = best[1]
        else:
            most = 0
        yield from found.read(rows, most, self._form, self._model, self._orphans)
        return found

    def put(self, reading: Reading) -> None:
        """Remember a reading for the next turn, where that can be."""
        head = _head(reading.conversation.messages)
        if head is None or not reading.is_true():
            return
        weight = reading.weight
        if weight > self._max:
            return
        with self._lock:
            alike = self._heads.pop(head, [])
            alike.append((weight, reading))
            self._weight += weight
            if len(alike) > _ALIKE:
                self._weight -= alike.pop(0)[0]
            self._heads[head] = alike
            while self._weight > self._max:
                first = next(iter(self._heads))
                self._weight -= self._heads[first].pop(0)[0]
                if not self._heads[first]:
                    del self._heads[first]

    def _pop(self, head: Hashable, one: tuple[int, Reading]) -> bool:
        """Take it out; whether it was still there."""
        with self._lock:
            alike = self._heads.get(head, [])
            for at, other in enumerate(alike):
                if other is one:
                    del alike[at]
                    self._weight -= one[0]
                    if not alike:
                        del self._heads[head]
                    return True
        return False


def _head(messages: Any) -> Hashable | None:
    """By what a conversation is found; None for one that is none, or too short to be worth it."""
    if type(messages) is not list or len(messages) <= _HEAD or not all(type(one) is dict for one in messages[:_HEAD]):
        return None
    try:
        return tuple(map(message_key, messages[:_HEAD]))
    except (TypeError, ValueError, RecursionError):
        return None


def _copied(value: Any) -> tuple[Any, int]:
    """A copy of plain JSON, its texts shared, and how many characters these have. Raises `TypeError` for anything else."""
    kind = type(value)
    if kind is str:
        return value, len(value)
    if kind is dict:
        weight = 0
        copy = {}
        for name, one in value.items():
            if type(one) is str:
                copy[name] = one
                weight += len(one)
            else:
                copy[name], more = _copied(one)
                weight += more
        return copy, weight
    if kind is list:
        pairs = [_copied(one) for one in value]
        return [copy for copy, _ in pairs], sum(weight for _, weight in pairs)
    if value is None or kind in {bool, int, float}:
        return value, 0
    raise TypeError
