"""The grammar of Anthropic's messages: `scan` for atoms and parts, `less` to leave orphans out.

The provider joins consecutive messages of one role into one turn, and so do these rules. Its instructions stand beside the
messages; where they are kept as a first message of role system, they are read as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.parts import (
    THINKING,
    Message,
    Needs,
    Orphan,
    Part,
    Scan,
    blocks_of,
    is_blank,
    kind_of,
    text_in,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Calls:
    """The calls of the assistant's turn, until all have their results."""

    __slots__ = ("atom", "ids", "waiting")

    def __init__(self, atom: int) -> None:
        self.atom = atom
        self.waiting: dict[str, int] = {}
        self.ids: set[str] = set()

    def unanswered(self) -> list[Orphan]:
        return [
            Orphan(index, one, "its call has no result directly after it", ("content",))
            for one, index in self.waiting.items()
        ]


def scan(messages: Sequence[Message], found: Scan, stop: int) -> None:
    """Atoms, parts and orphans of the messages up to `stop`, from where the scan stands; at the end also what follows of it."""
    atoms, orphans = found.atoms, found.orphans
    calls: _Calls | None = found.calls  # of the assistant's turn that goes on, or whose results come
    before = found.before
    joins = found.joins
    for i in range(found.at, stop):
        message = messages[i]
        role = message["role"]
        blocks = blocks_of(message)
        if role == "assistant":
            uses = [block for block in blocks if block.get("type") == "tool_use"]
            binds = bool(uses) or any(kind_of(block) in THINKING for block in blocks)
            if before == "assistant" and (joins or binds):
                atoms[-1].append(i)
            else:
                if calls is not None:
                    orphans += calls.unanswered()
                    calls = None
                atoms.append([i])
            joins = binds or (joins and before == "assistant")
            if uses:
                calls = calls or _Calls(len(atoms) - 1)
                for one in (text_in(block, "id") for block in uses):
                    if one is not None:
                        calls.ids.add(one)
                        calls.waiting[one] = i
        else:
            results = [block for block in blocks if block.get("type") == "tool_result"] if role == "user" else []
            answers = _answer(i, results, calls, orphans)
            if answers and calls is not None:
                atoms[calls.atom].append(i)
            else:
                atoms.append([i])
            if calls is not None and (len(results) < len(blocks) or not blocks):
                orphans += calls.unanswered()  # once something else is said, no result may follow
                calls = None
            joins = False
            if role != "user":
                found.fixed.add(i)
        before = role
        if role in {"user", "assistant"}:
            _add_parts(found.parts, i, message)
    found.at, found.calls, found.before, found.joins = stop, calls, before, joins
    if stop == len(messages):
        _close(messages, found, calls)


def _answer(i: int, results: list[dict[str, Any]], calls: _Calls | None, orphans: list[Orphan]) -> bool:
    """Takes the results of a message in; whether one of them, at least, is of the calls before it."""
    answers = False
    for block in results:
        one = text_in(block, "tool_use_id")
        if calls is not None and (one is None or one in calls.waiting):
            answers = True
            if one is not None:
                del calls.waiting[one]
            else:
                calls.waiting.clear()  # which of them it answers is not said
        else:
            why = (
                "its call has a result already"
                if calls is not None and one in calls.ids
                else "no call directly before it has its id"
            )
            orphans.append(Orphan(i, one, why, ("content",)))
    return answers


def _close(messages: Sequence[Message], found: Scan, calls: _Calls | None) -> None:
    """What the end of the conversation says: which calls are open, and what must not go."""
    last = len(messages) - 1
    if calls is not None and calls.waiting:  # nothing but results came after them
        found.open_calls = tuple(calls.waiting)
        found.fixed.update(found.atoms[calls.atom])
    if messages and messages[-1]["role"] == "assistant" and not found.open_calls:
        found.fixed.update(found.atoms[-1])  # the beginning of an answer, which the model goes on with
        found.parts[:] = [part for part in found.parts if part.message != last]
    found.needs = _needs(messages, found)


def _add_parts(parts: list[Part], i: int, message: Message) -> None:
    content = message.get("content")
    if type(content) is str:
        if not is_blank(content):
            parts.append(Part(i, ("content",), content, "text", may_be_empty=False))
        return
    blocks = blocks_of(message)
    # The message goes on without its texts where another block remains, and after it no thinking, which must not be the last.
    last = [
        max((k for k, one in enumerate(blocks) if is_it(kind_of(one))), default=-1) for is_it in (_is_solid, _thinks)
    ]
    is_solid = last[0] > last[1]
    for k, block in enumerate(blocks):
        kind = block.get("type")
        if kind == "text":
            text = block.get("text")
            if type(text) is str and not is_blank(text) and not block.get("citations"):
                parts.append(Part(i, ("content", k, "text"), text, "text", is_solid and len(block) == 2))
        elif kind == "tool_result":
            inner = block.get("content")
            if type(inner) is str:
                if not is_blank(inner):
                    parts.append(Part(i, ("content", k, "content"), inner, "result", may_be_empty=True))
            elif type(inner) is list:
                for j, one in enumerate(inner):
                    text = one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None
                    if type(text) is str and not is_blank(text) and not one.get("citations"):
                        parts.append(Part(i, ("content", k, "content", j, "text"), text, "result", len(one) == 2))


def _is_solid(kind: str) -> bool:
    return kind != "text" and kind not in THINKING


def _thinks(kind: str) -> bool:
    return kind in THINKING


def _needs(messages: Sequence[Message], found: Scan) -> Needs:
    """What a choice of atoms lacks. Each rule asks for the atom nearest to what needs it."""
    atoms = found.atoms
    begins = [messages[atom[0]]["role"] for atom in atoms]
    spoken = [n for n, role in enumerate(begins) if role in {"user", "assistant"}]
    users = [n for n in spoken if begins[n] == "user"]
    starts_with_user = bool(spoken) and begins[spoken[0]] == "user"
    ends_with_user = bool(spoken) and messages[atoms[spoken[-1]][-1]]["role"] == "user"
    # The model's last turn, with all its calls: with thinking on, it is refused where it does not begin with its thinking. Behind what
    # the user says beside results another one begins, too.
    asked = users[-1] if users else -1
    answered = (n for n in range(len(atoms) - 1, asked, -1) if _is_answered(messages, atoms[n]))
    turns = [_Turn(n, begins, messages, atoms) for n in (asked, next(answered, None)) if n is not None]

    def needs(kept: set[int]) -> int | None:
        mine = [n for n in spoken if n in kept]
        if not mine:
            return spoken[-1] if spoken else None
        if starts_with_user and begins[mine[0]] != "user":
            return max(n for n in users if n < mine[0])
        if ends_with_user and mine[-1] != spoken[-1]:
            return spoken[-1]  # what is asked; another end could be a turn that did not begin with thinking
        return next((n for turn in turns if (n := turn.lacks(mine)) is not None), None)

    return needs


class _Turn:
    """What the model says behind atom `asked`, with all its calls; -1: from the beginning."""

    __slots__ = ("asked", "atoms", "begins", "heads")

    def __init__(
        self, asked: int, begins: Sequence[str], messages: Sequence[Message], atoms: Sequence[Sequence[int]]
    ) -> None:
        self.asked, self.begins = asked, begins
        self.atoms = range(asked + 1, len(atoms))
        self.heads = [n for n in self.atoms if begins[n] == "assistant" and thinks_first(messages[atoms[n][0]])]
        """Those of its atoms that begin by thinking."""

    def lacks(self, kept: Sequence[int]) -> int | None:
        """One more atom that it needs to begin with its thinking; None where it does, or thinks nothing."""
        at = next((at for at, n in enumerate(kept) if n in self.atoms), None)
        if at is None or not self.heads:
            return None
        first = kept[at]
        earlier = [n for n in self.heads if n <= first]
        if earlier and earlier[-1] != first:
            return earlier[-1]
        if first not in self.heads or self.asked in (-1, *kept[at - 1 : at]):
            return None
        # Else the turn would join the model's turn before.
        joins = at > 0 and self.begins[kept[at - 1]] == "assistant"
        return self.asked if joins or self.begins[self.asked] == "user" else None


def _is_answered(messages: Sequence[Message], atom: Sequence[int]) -> bool:
    """Whether the user says something in it beside the results of its calls."""
    said = (messages[index] for index in atom[1:])
    return any(kind_of(block) != "tool_result" for one in said if one["role"] == "user" for block in blocks_of(one))


def thinks_first(message: Message) -> bool:
    """Whether the model began this message by thinking."""
    blocks = blocks_of(message)
    return bool(blocks) and kind_of(blocks[0]) in THINKING


def less(message: Message, orphans: Sequence[Orphan]) -> Message | None:
    """The message without its orphans; None where nothing is left that could stand alone."""
    name, kind = ("id", "tool_use") if message["role"] == "assistant" else ("tool_use_id", "tool_result")
    kept = without(
        blocks_of(message), orphans, lambda block: (text_in(block, name),) if block.get("type") == kind else None
    )
    while kept and message["role"] == "assistant" and kind_of(kept[-1]) in THINKING:
        kept.pop()  # a turn cannot end with it
    return {**message, "content": kept} if kept else None
