"""The grammar of Anthropic's messages: `scan` for atoms and parts, `less` to leave orphans out, `faults` for what is refused.

The provider joins consecutive messages of one role into one turn, and so do these rules. Its instructions stand beside the
messages; where they are kept as a first message of role system, they are read as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.parts import Fault, Message, Needs, Orphan, Part, Scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_THINKING = frozenset({"thinking", "redacted_thinking"})
_OPENAI_S = frozenset({"image_url", "input_audio", "file", "refusal"})
_ASSISTANT_S = _THINKING | {"tool_use", "server_tool_use"}
_USER_S = frozenset({"tool_result", "image"})
# What a result may hold; other kinds that are known may not.
_IN_RESULTS = frozenset({"text", "image", "document", "search_result"})


def _blocks(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if type(content) is list else []


def _is_blank(text: Any) -> bool:
    return type(text) is str and (not text or text.isspace())


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


def scan(messages: Sequence[Message]) -> Scan:
    """Atoms, parts and orphans, in one pass."""
    found = Scan()
    atoms, orphans = found.atoms, found.orphans
    calls: _Calls | None = None  # of the assistant's turn that goes on, or whose results come
    before = ""
    joins = False  # the message before is the assistant's and holds more than text: what it says next belongs to it
    for i, message in enumerate(messages):
        role = message["role"]
        blocks = _blocks(message)
        if role == "assistant":
            uses = [block for block in blocks if block.get("type") == "tool_use"]
            binds = bool(uses) or any(block.get("type") in _THINKING for block in blocks)
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
                for block in uses:
                    calls.ids.add(str(block.get("id")))
                    calls.waiting[str(block.get("id"))] = i
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
    _close(messages, found, calls)
    return found


def _answer(i: int, results: list[dict[str, Any]], calls: _Calls | None, orphans: list[Orphan]) -> bool:
    """Takes the results of a message in; whether one of them, at least, is of the calls before it."""
    answers = False
    for block in results:
        one = block.get("tool_use_id")
        if calls is not None and (type(one) is not str or one in calls.waiting):
            answers = True
            if type(one) is str:
                del calls.waiting[one]
            else:
                calls.waiting.clear()  # which of them it answers is not said
        else:
            why = (
                "its call has a result already"
                if calls is not None and one in calls.ids
                else "no call directly before it has its id"
            )
            orphans.append(Orphan(i, one if type(one) is str else None, why, ("content",)))
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
        if content and not content.isspace():
            parts.append(Part(i, ("content",), content, "text", may_be_empty=False))
        return
    blocks = _blocks(message)
    # The message goes on without its texts where another block remains, and after it no thinking, which must not be the last.
    last = [
        max((k for k, one in enumerate(blocks) if is_it(one.get("type"))), default=-1) for is_it in (_is_solid, _thinks)
    ]
    is_solid = last[0] > last[1]
    for k, block in enumerate(blocks):
        kind = block.get("type")
        if kind == "text":
            text = block.get("text")
            if type(text) is str and text and not text.isspace() and not block.get("citations"):
                parts.append(Part(i, ("content", k, "text"), text, "text", is_solid and len(block) == 2))
        elif kind == "tool_result":
            inner = block.get("content")
            if type(inner) is str:
                if inner and not inner.isspace():
                    parts.append(Part(i, ("content", k, "content"), inner, "result", may_be_empty=True))
            elif type(inner) is list:
                for j, one in enumerate(inner):
                    text = one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None
                    if type(text) is str and text and not text.isspace() and not one.get("citations"):
                        parts.append(Part(i, ("content", k, "content", j, "text"), text, "result", len(one) == 2))


def _is_solid(kind: Any) -> bool:
    return kind != "text" and kind not in _THINKING


def _thinks(kind: Any) -> bool:
    return kind in _THINKING


def _needs(messages: Sequence[Message], found: Scan) -> Needs:
    """What a choice of atoms lacks. Each rule asks for the atom nearest to what needs it."""
    atoms = found.atoms
    begins = [messages[atom[0]]["role"] for atom in atoms]
    ends = [messages[atom[-1]]["role"] for atom in atoms]
    spoken = [n for n, role in enumerate(begins) if role in {"user", "assistant"}]
    users = [n for n in spoken if begins[n] == "user"]
    starts_with_user = bool(spoken) and begins[spoken[0]] == "user"
    ends_with_user = bool(spoken) and ends[spoken[-1]] == "user"
    # The model's last turn, with all its calls: with thinking on, it is refused where it does not begin with its thinking.
    turn = range(users[-1] + 1 if users else 0, len(atoms))
    heads = [n for n in turn if begins[n] == "assistant" and _thinks_first(messages[atoms[n][0]])]

    def needs(kept: set[int]) -> int | None:
        mine = [n for n in spoken if n in kept]
        if not mine:
            return users[-1] if users else spoken[-1] if spoken else None
        if starts_with_user and begins[mine[0]] != "user":
            return max(n for n in users if n < mine[0])
        if ends_with_user and ends[mine[-1]] != "user":
            return min(n for n in spoken if n > mine[-1] and ends[n] == "user")
        first = next((n for n in mine if n in turn), None)
        if first is None or not heads:
            return None
        earlier = [n for n in heads if n <= first]
        if earlier and earlier[-1] != first:
            return earlier[-1]
        if first in heads and users and users[-1] not in kept:
            return users[-1]  # else the turn would join the model's turn before
        return None

    return needs


def _thinks_first(message: Message) -> bool:
    blocks = _blocks(message)
    return bool(blocks) and blocks[0].get("type") in _THINKING


def less(message: Message, orphans: Sequence[Orphan]) -> Message | None:
    """The message without its orphans; None where nothing is left that could stand alone."""
    missing = {orphan.id for orphan in orphans}
    name, kind = ("id", "tool_use") if message["role"] == "assistant" else ("tool_use_id", "tool_result")
    kept = [block for block in _blocks(message) if block.get("type") != kind or block.get(name) not in missing]
    while kept and message["role"] == "assistant" and kept[-1].get("type") in _THINKING:
        kept.pop()  # a turn cannot end with it
    return {**message, "content": kept} if kept else None


def faults(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Fault]:
    """What the API refuses, in the order of the messages."""
    yield from _tools(messages, tools)
    first = next((i for i, message in enumerate(messages) if message["role"] != "system"), None)
    if first is None:
        yield Fault(None, "there is none of the user", "send one message at least")
        return
    if messages[first]["role"] == "assistant":
        yield Fault(first, "the first message is the assistant's", "begin with one of the user")
    turns = _Turns()
    for i in range(first, len(messages)):
        message, role = messages[i], messages[i]["role"]
        if role not in {"user", "assistant"}:
            what = f"its role is {role!r}"
            yield Fault(i, what, "use user or assistant, and give instructions as system beside the messages")
            continue
        if role == "assistant":
            yield from turns.calls(i, message)
        else:
            yield from turns.results(i, message)
        yield from _content_of(i, message, is_last=i == len(messages) - 1)


class _Turns:
    """Calls and results, turn by turn."""

    __slots__ = ("_answered", "_goes_on", "_ids", "_other_came", "_waiting")

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._answered: set[str] = set()
        self._goes_on = False  # the message before is the assistant's too
        self._other_came = False  # the user's turn has had something that is no result

    def calls(self, i: int, message: Message) -> Iterator[Fault]:
        if not self._goes_on:
            yield from self._unanswered()
            self._answered = set()
        self._goes_on, self._other_came = True, False
        for block in _blocks(message):
            one = block.get("id")
            if block.get("type") == "tool_use" and type(one) is str:
                if one in self._ids:
                    yield Fault(i, f"two calls have the id {one!r}", "give each its own")
                self._ids.add(one)
                self._waiting[one] = i

    def results(self, i: int, message: Message) -> Iterator[Fault]:
        self._goes_on = False
        for k, block in enumerate(_blocks(message)):
            if block.get("type") != "tool_result":
                self._other_came = True
                continue
            if self._other_came:
                what = f"its content[{k}] is a tool_result after other content"
                yield Fault(i, what, "put results first in the user's turn")
            one = block.get("tool_use_id")
            if type(one) is not str:
                what = f"its content[{k}] is a tool_result without tool_use_id"
                yield Fault(i, what, "name the call it is the result of")
            elif one in self._answered:
                yield Fault(i, f"the call {one!r} has a result already", "send one result for each call")
            elif self._waiting.pop(one, None) is None:
                what = f"no call directly before it has the id {one!r}"
                yield Fault(i, what, "put it after its call, or leave it out")
            else:
                self._answered.add(one)
        if self._other_came or not _blocks(message):
            self._other_came = True
            yield from self._unanswered()

    def _unanswered(self) -> Iterator[Fault]:
        waiting, self._waiting = self._waiting, {}
        for one, at in waiting.items():
            what = f"the call {one!r} has no result directly after it"
            yield Fault(at, what, "begin the next message with its tool_result, or leave it out")


def _tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Fault]:
    if tools is None:
        return
    names = [tool.get("name") for tool in tools]
    for name in sorted({name for name in names if isinstance(name, str) and names.count(name) > 1}):
        yield Fault(None, f"two tools have the name {name!r}", "give each its own")
    if not tools:
        kinds = {"tool_use", "tool_result"}
        used = next((i for i, one in enumerate(messages) if any(b.get("type") in kinds for b in _blocks(one))), None)
        if used is not None:
            yield Fault(used, "it speaks of tools, and none is defined", "send the tools of the conversation with it")


def _content_of(i: int, message: Message, *, is_last: bool) -> Iterator[Fault]:
    role, content = message["role"], message.get("content")
    may_be_empty = is_last and role == "assistant"
    if type(content) is str:
        if _is_blank(content) and not (may_be_empty and not content):
            yield Fault(i, "its text is empty", "leave the message out, or say something")
        elif may_be_empty and content != content.rstrip():
            yield Fault(i, "the answer it begins ends with whitespace", "strip it")
        return
    if type(content) is not list:
        yield Fault(i, f"its content is {type(content).__name__}", "make it a text or a list of blocks")
        return
    if not content and not may_be_empty:
        yield Fault(i, "its content is an empty list", "leave the message out, or say something")
    for k, block in enumerate(content):
        yield from _block(i, f"content[{k}]", role, block)
    if role == "assistant" and content:
        last = content[-1]
        if last.get("type") in _THINKING:
            yield Fault(i, "its last block is thinking", "leave the thinking out, or let an answer follow it")
        text = last.get("text")
        if is_last and last.get("type") == "text" and type(text) is str and text != text.rstrip():
            yield Fault(i, "the answer it begins ends with whitespace", "strip it")


def _block(i: int, where: str, role: str, block: dict[str, Any]) -> Iterator[Fault]:
    kind = block.get("type")
    if type(kind) is not str:
        yield Fault(i, f"its {where} has no type", "name one, such as text")
    elif kind in _OPENAI_S or kind in (_ASSISTANT_S if role == "user" else _USER_S):
        yield Fault(
            i, f"its {where} is {kind}, which a message of role {role} cannot hold", "see the form of such a message"
        )
    elif kind == "text":
        if type(block.get("text")) is not str or _is_blank(block["text"]):
            yield Fault(i, f"its {where} is an empty text", "leave the block out")
    elif kind == "tool_use":
        if type(block.get("id")) is not str or type(block.get("name")) is not str:
            yield Fault(i, f"its {where} is a tool_use without id or name", "give it both")
        elif type(block.get("input")) is not dict:
            yield Fault(i, f"the input of its {where} is no object", "send the arguments as an object")
    elif kind == "thinking":
        if (
            type(block.get("thinking")) is not str
            or not isinstance(block.get("signature"), str)
            or not block["signature"]
        ):
            yield Fault(i, f"its {where} is thinking without its signature", "pass it on as it came")
    elif kind == "redacted_thinking":
        if type(block.get("data")) is not str:
            yield Fault(i, f"its {where} is redacted thinking without its data", "pass it on as it came")
    elif kind == "tool_result":
        yield from _inside(i, where, block.get("content"))


def _inside(i: int, where: str, content: Any) -> Iterator[Fault]:
    """What a result holds."""
    if content is None or type(content) is str:
        return
    if type(content) is not list or not all(isinstance(one, dict) for one in content):
        yield Fault(i, f"the content of its {where} is {type(content).__name__}", "make it a text or a list of blocks")
        return
    for j, one in enumerate(content):
        kind = one.get("type")
        if kind in _ASSISTANT_S | _OPENAI_S | {"tool_result"}:
            yield Fault(
                i,
                f"its {where}.content[{j}] is {kind}, which a result cannot hold",
                f"use one of {', '.join(sorted(_IN_RESULTS))}",
            )
        elif kind == "text" and (type(one.get("text")) is not str or _is_blank(one["text"])):
            yield Fault(i, f"its {where}.content[{j}] is an empty text", "leave the block out")
