"""The grammar of conversations as code: what belongs together, what may be rewritten, what may go. Neither counts nor decides.

`read` turns messages, OpenAI's chat form or Anthropic's, into a `Conversation`: **atoms**, the groups of messages which stay
or go as one, and **parts**, the texts which may be rewritten. `Conversation.required` says what else must stay for a choice
of atoms to be legal, `write` carries a choice out, and `validate` holds the result against the provider's published rules.
Messages are shared, never copied but along the path of an edit, and never changed in place. Nothing here parses text.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from sparecall.context import anthropic, anthropic_rules, openai, openai_rules
from sparecall.context.parts import Fault, Form, Grammar, Message, Needs, Orphan, Part, Path, Scan, kind_of
from sparecall.context.writing import write
from sparecall.errors import InvalidArgument, InvalidConversation

__all__ = [
    "Conversation",
    "Fault",
    "Form",
    "Message",
    "Orphan",
    "Orphans",
    "Part",
    "Path",
    "faults",
    "form_of",
    "read",
    "read_in_steps",
    "validate",
    "write",
]

Orphans: TypeAlias = Literal["drop", "keep", "error"]
T = TypeVar("T")

# Messages that are read in one step: a fifth of a millisecond.
_SLICE = 64
# Who begins an atom whatever came before.
_TURNS = frozenset({"user", "assistant", "system", "developer"})


@dataclass(frozen=True, slots=True, repr=False)
class Conversation:
    """Messages and what of them belongs together. Immutable, as long as nobody changes the messages."""

    form: Form
    certain: bool
    """False where the messages could be of either form, and neither form nor model was given."""
    messages: list[Message]
    """The messages that indices here mean: those given, less what was dropped for being an orphan."""
    origin: Sequence[int]
    """The index each of them had in what was given to ``read``."""
    atoms: tuple[tuple[int, ...], ...]
    """The indices of the messages of each atom, in order; every message is in exactly one."""
    parts: tuple[Part, ...]
    """In the order of the messages; texts that are empty already are none."""
    fixed: frozenset[int]
    """Indices of messages that never go: instructions, calls still to be answered, the beginning of an answer."""
    orphans: tuple[Orphan, ...]
    open_calls: tuple[str, ...]
    """The ids of the calls at the end which the caller is about to answer."""
    _needs: Needs

    def __repr__(self) -> str:
        return (
            f"<Conversation of {len(self.messages)} messages in {len(self.atoms)} atoms, {self.form} form, "
            f"{len(self.parts)} parts, {len(self.orphans)} orphans>"
        )

    def atoms_of(self, messages: Iterable[int]) -> set[int]:
        """The numbers of the atoms that these messages are in; those that there are not are in none. O(messages log atoms)."""
        found = set()
        for index in messages:
            number = bisect.bisect_left(self.atoms, (index + 1,)) - 1
            while number >= 0 and index not in self.atoms[number]:
                number -= 1
            if number >= 0:
                found.add(number)
        return found

    def required(self, kept: Collection[int]) -> tuple[int, ...]:
        """The numbers of the atoms, beside those `kept`, that must stay too; empty where the choice is legal as it is.

        Keeping what it returns makes the choice legal: what is asked for is the nearest atom that does. O(atoms).
        """
        all_kept = self.atoms_of(self.fixed).union(kept)
        while (needed := self._needs(all_kept)) is not None:
            all_kept.add(needed)
        return tuple(sorted(all_kept.difference(kept)))


def form_of(messages: Iterable[Mapping[str, Any]]) -> Form | None:
    """The form that messages are in, by the first mark that only one has; None where they could be of either."""
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role in _OPENAI_ROLES or "tool_calls" in message or "function_call" in message:
            return "openai"
        if type(content) is list:
            for block in content:
                kind = kind_of(block)
                if kind in _OPENAI_TYPES:
                    return "openai"
                if kind in _ANTHROPIC_TYPES or (kind == "text" and "cache_control" in block):
                    return "anthropic"
    return None


_OPENAI_ROLES = frozenset({"tool", "function", "developer"})
_OPENAI_TYPES = frozenset({"image_url", "input_audio", "file", "refusal"})
_ANTHROPIC_TYPES = frozenset(
    {
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "image",
        "document",
        "search_result",
    }
)


def read(
    messages: Iterable[Mapping[str, Any]],
    form: Form | None = None,
    *,
    model: str | None = None,
    orphans: Orphans = "drop",
) -> Conversation:
    """The messages as atoms and parts. About 2 us a message; texts are neither copied nor looked at.

    `form` is found out where it is not given. Plain texts, which are of either, are Anthropic's where `model` is one of
    theirs, whatever it is reached through, and OpenAI's else (`certain` is False without a form, a mark or a model).
    A call without its result and a result without its call are left out (`"drop"`: the provider would refuse the
    request; `orphans` names each), left where they are (`"keep"`) or an error (`"error"`). Calls at the very end are no
    orphans. Objects with a `model_dump`, as the SDKs' replies are, are read as the dict they stand for.

    Raises `TypeError` for what is no list of messages, and `sparecall.errors.InvalidConversation` for a message without a
    role, and for orphans where they are an error.
    """
    return _at_once(read_in_steps(messages, form, model=model, orphans=orphans))[0]


def _at_once(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def read_in_steps(
    messages: Iterable[Mapping[str, Any]],
    form: Form | None = None,
    *,
    model: str | None = None,
    orphans: Orphans = "drop",
    before: Conversation | None = None,
    same: int = 0,
) -> Generator[None, None, tuple[Conversation, int]]:
    """`read` in steps of a few messages, and how many atoms are known from ``before``.

    That was read of messages with the same options, and the first ``same`` of them are the same here, as they would be as JSON.
    """
    if orphans not in {"drop", "keep", "error"}:
        raise InvalidArgument(f"orphans is {orphans!r}; it must be drop, keep or error")
    rows = yield from _listed(messages, same)
    # Where no mark was found, there is none among what is the same.
    unseen = same if before is not None and not before.certain else 0
    found = _checked(form) or form_of(rows[unseen:] if unseen else rows)
    if found is None and model is not None:
        found = "anthropic" if "claude" in model.lower() else "openai"
    chosen: Form = found or "openai"
    grammar: Grammar = openai if chosen == "openai" else anthropic
    scan = Scan()
    known = 0
    if before is not None and before.form == chosen and not before.orphans:
        known = _begin(scan, before, same)
    yield from _scanned(grammar, rows, scan)
    named = scan.orphans
    origin: Sequence[int] = range(len(rows))
    if named and orphans == "error":
        first = named[0]
        raise InvalidConversation(
            f"messages[{first.index}]: {first.why}; answer every call directly after it, or read with orphans='drop'",
            index=first.index,
        )
    if named and orphans == "drop":
        known = 0
        rest = named
        while rest:  # what is left out may leave others alone
            rows, origin = _without(rows, origin, rest, grammar.less)
            scan = Scan()
            yield from _scanned(grammar, rows, scan)
            rest = scan.orphans
            named = named + [msgspec.structs.replace(orphan, index=origin[orphan.index]) for orphan in rest]
    conversation = Conversation(
        chosen,
        found is not None,
        rows,
        origin,
        tuple(map(tuple, scan.atoms)),
        tuple(scan.parts),
        frozenset(scan.fixed),
        tuple(named),
        scan.open_calls,
        scan.needs,
    )
    return conversation, known


def _scanned(grammar: Grammar, rows: list[Message], scan: Scan) -> Generator[None, None, None]:
    while scan.at < len(rows) or not rows:
        grammar.scan(rows, scan, min(scan.at + _SLICE, len(rows)))
        yield None
        if not rows:
            return


def _begin(scan: Scan, before: Conversation, same: int) -> int:
    """Let a scan stand before the last atom that begins among the first `same` messages; the number of that atom.

    Where there are no orphans no call is open there, and what precedes it does not bear upon it, unless it is a result.
    """
    atoms, messages = before.atoms, before.messages
    number = bisect.bisect_left(atoms, (same,)) - 1
    while number > 0 and messages[atoms[number][0]]["role"] not in _TURNS:
        number -= 1
    if number <= 0:
        return 0
    start = atoms[number][0]
    scan.at = start
    scan.atoms = list(atoms[:number])
    scan.parts = list(before.parts[: bisect.bisect_left(before.parts, start, key=lambda part: part.message)])
    scan.fixed = {index for index in before.fixed if index < start}
    return number


def _without(
    rows: list[Message],
    origin: Sequence[int],
    orphans: list[Orphan],
    less: Callable[[Message, Sequence[Orphan]], Message | None],
) -> tuple[list[Message], list[int]]:
    """The messages less their orphans, and where those that are left came from."""
    by_message: dict[int, list[Orphan]] = {}
    for orphan in orphans:
        by_message.setdefault(orphan.index, []).append(orphan)
    left: list[Message] = []
    places: list[int] = []
    for i, row in enumerate(rows):
        rest = less(row, by_message[i]) if i in by_message else row
        if rest is not None:
            left.append(rest)
            places.append(origin[i])
    return left, places


def faults(
    messages: Sequence[Mapping[str, Any]],
    *,
    form: Form | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[Fault]:
    """Every place where the messages break their provider's published rules. See `validate`."""
    rows = _at_once(_listed(messages))
    if (_checked(form) or form_of(rows)) == "anthropic":
        return anthropic_rules.faults(rows, tools)
    return openai_rules.faults(rows, tools)


def validate(
    messages: Sequence[Mapping[str, Any]],
    *,
    form: Form | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Holds messages against the rules that their provider publishes and enforces with a 400.

    Calls at the very end may be without results: the caller is about to add them. Fields and types of blocks that are not
    known are passed over. O(blocks). Raises `sparecall.errors.InvalidConversation` for the first fault, with its `index`,
    and `TypeError` for what is no list of messages.
    """
    fault = next(faults(messages, form=form, tools=tools), None)
    if fault is not None:
        where = "messages" if fault.index is None else f"messages[{fault.index}]"
        raise InvalidConversation(f"{where}: {fault.what}; {fault.next_step}", index=fault.index)


def _checked(form: str | None) -> Any:
    if form not in {None, "openai", "anthropic"}:
        raise InvalidArgument(f"form is {form!r}; it must be openai, anthropic or None")
    return form


def _listed(messages: Any, same: int = 0) -> Generator[None, None, list[Message]]:
    """The messages as a list of dicts, in steps; what an SDK made is read as the dict it stands for. The first `same` are known to be."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be a list of dicts, not {type(messages).__name__}")
    rows = list(messages)
    for i in range(same, len(rows)):
        row = rows[i]
        if type(row) is not dict:
            rows[i] = row = _dumped(row, f"messages[{i}]")
        if type(row.get("role")) is not str:
            raise InvalidConversation(f"messages[{i}]: it has no role that is text; name who speaks", index=i)
        content = row.get("content")
        if type(content) is list and not all(type(block) is dict for block in content):
            rows[i] = {**row, "content": [_dumped(block, f"messages[{i}].content") for block in content]}
        if i % _SLICE == _SLICE - 1:
            yield None
    return rows


def _dumped(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{where} must be a dict, not {type(value).__name__}")
    return dict(dump(exclude_none=True))
