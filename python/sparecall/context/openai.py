"""The grammar of OpenAI's chat messages: `scan` for atoms and parts, `less` to leave orphans out, `faults` for what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.parts import Fault, Message, Needs, Orphan, Part, Scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_INSTRUCTIONS = frozenset({"system", "developer"})
_ROLES = _INSTRUCTIONS | {"user", "assistant", "tool", "function"}
_PROSE = frozenset({"user", "assistant"})
_RESULTS = frozenset({"tool", "function"})
_TEXT = frozenset({"text"})
_ALLOWED = {
    "system": _TEXT,
    "developer": _TEXT,
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": _TEXT,
    "function": _TEXT,
}
_KNOWN = frozenset().union(*_ALLOWED.values()) | {
    "tool_use", "tool_result", "thinking", "redacted_thinking", "image", "document",
}  # fmt: skip


def scan(messages: Sequence[Message]) -> Scan:
    """Atoms, parts and orphans, in one pass."""
    found = Scan()
    atoms, fixed = found.atoms, found.fixed
    calls: _Calls | None = None
    asks_function = False
    for i, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            why = "it is no result of a call directly before it" if calls is None else calls.answer(message)
            if why is not None:
                found.orphans.append(Orphan(i, _id(message.get("tool_call_id")), why, ()))
            if calls is None:
                atoms.append([i])
            else:
                atoms[-1].append(i)
        else:
            if calls is not None:
                found.orphans += calls.unanswered()
                calls = None
            if role == "function" and asks_function:
                atoms[-1].append(i)
            else:
                atoms.append([i])
            asks_function = False
            if role == "assistant":
                if message.get("tool_calls"):
                    calls = _Calls(i, message["tool_calls"])
                elif message.get("function_call"):
                    asks_function = True
        if role in _INSTRUCTIONS:
            fixed.add(i)
        else:
            _add_parts(found.parts, i, role, message)
    if calls is not None and calls.unanswered():
        found.open_calls = tuple(calls.waiting)
        fixed.update(atoms[-1])
    elif asks_function:
        fixed.update(atoms[-1])
    found.needs = _needs([n for n, atom in enumerate(atoms) if messages[atom[0]]["role"] not in _INSTRUCTIONS])
    return found


class _Calls:
    """The calls of one message, until all are answered."""

    __slots__ = ("_by_position", "_known", "index", "waiting")

    def __init__(self, index: int, calls: Any) -> None:
        ids = [_id(call.get("id")) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        self.index = index
        self.waiting = [one for one in ids if one is not None]
        self._known = set(self.waiting)
        self._by_position = len(self.waiting) < len(ids)

    def answer(self, message: Message) -> str | None:
        """Takes a tool's message in; why it is an orphan, or None."""
        one = message.get("tool_call_id")
        if type(one) is not str:
            self._by_position = True  # from another agent's log: it answers what it follows
            return None
        if one in self.waiting:
            self.waiting.remove(one)
            return None
        if self._by_position and one not in self._known:
            return None
        return "its call has a result already" if one in self._known else "no call directly before it has its id"

    def unanswered(self) -> list[Orphan]:
        """The calls that nothing answered. Where a result does not say which it answers, it may be any."""
        if self._by_position:
            return []
        return [
            Orphan(self.index, one, "its call has no result directly after it", ("tool_calls",)) for one in self.waiting
        ]


def _id(value: Any) -> str | None:
    return value if type(value) is str else None


def _add_parts(parts: list[Part], i: int, role: str, message: Message) -> None:
    content = message.get("content")
    is_result = role in _RESULTS
    if type(content) is str:
        if content and not content.isspace():
            may_be_empty = is_result or (
                role == "assistant" and bool(message.get("tool_calls") or message.get("function_call"))
            )
            parts.append(Part(i, ("content",), content, "result" if is_result else "text", may_be_empty))
    elif type(content) is list:
        may_be_empty = (
            is_result
            or bool(message.get("tool_calls") or message.get("function_call"))
            or any(block.get("type") != "text" for block in content)
        )
        for k, block in enumerate(content):
            text = block.get("text")
            if block.get("type") == "text" and type(text) is str and text and not text.isspace():
                is_bare = len(block) == 2
                parts.append(
                    Part(i, ("content", k, "text"), text, "result" if is_result else "text", may_be_empty and is_bare)
                )


def _needs(spoken: list[int]) -> Needs:
    """Any choice is legal that leaves more than instructions; the last atom is what is asked."""

    def needs(kept: set[int]) -> int | None:
        return spoken[-1] if spoken and kept.isdisjoint(spoken) else None

    return needs


def less(message: Message, orphans: Sequence[Orphan]) -> Message | None:
    """The message without its orphans; None where nothing of it is left."""
    if message["role"] == "tool":
        return None
    missing = {orphan.id for orphan in orphans}
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    calls = [call for call in message["tool_calls"] if not (isinstance(call, dict) and call.get("id") in missing)]
    if calls:
        return {**rest, "tool_calls": calls}
    return rest if rest.get("content") or rest.get("refusal") or rest.get("function_call") else None


def faults(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Fault]:
    """What the API refuses, in the order of the messages."""
    if not messages:
        yield Fault(None, "there is none", "send one message at least")
    waiting: dict[str, int] = {}
    answered: set[str] = set()
    is_open = False
    for i, message in enumerate(messages):
        role = message["role"]
        if role not in _ROLES:
            yield Fault(i, f"its role is {role!r}", f"use one of {', '.join(sorted(_ROLES))}")
            continue
        if role == "tool":
            one = message.get("tool_call_id")
            if type(one) is not str:
                yield Fault(i, "it has no tool_call_id", "name the call it is the result of")
            elif not is_open:
                yield Fault(i, "it is no result of a call directly before it", "put it after its call, or leave it out")
            elif one in answered:
                yield Fault(i, f"the call {one!r} has a result already", "send one result for each call")
            elif waiting.pop(one, None) is None:
                yield Fault(
                    i, f"no call directly before it has the id {one!r}", "put it after its call, or leave it out"
                )
            else:
                answered.add(one)
        else:
            yield from _unanswered(waiting)
            waiting, answered = {}, set()
            yield from _calls_of(i, message, waiting)
            is_open = bool(waiting)
        yield from _content_of(i, role, message)
    names = [name for tool in tools or () if (name := _name(tool)) is not None]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(None, f"two tools have the name {name!r}", "give each its own")


def _unanswered(waiting: dict[str, int]) -> Iterator[Fault]:
    for one, at in waiting.items():
        yield Fault(
            at,
            f"the call {one!r} has no result directly after it",
            "add a message of role tool for it, or leave it out",
        )


def _name(tool: Mapping[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _calls_of(i: int, message: Message, waiting: dict[str, int]) -> Iterator[Fault]:
    calls = message.get("tool_calls")
    if calls is None:
        return
    if message["role"] != "assistant":
        yield Fault(i, f"a message of role {message['role']} has tool_calls", "only the assistant calls tools")
        return
    if type(calls) is not list or not calls:
        yield Fault(i, "its tool_calls are no list of calls", "leave the field out where nothing is called")
        return
    for k, call in enumerate(calls):
        inner = call.get("custom", call.get("function")) if isinstance(call, dict) else None
        if not isinstance(inner, dict) or type(inner.get("name")) is not str:
            yield Fault(
                i, f"its tool_calls[{k}] names no function", "give it type, id and function with name and arguments"
            )
        elif type(inner.get("arguments", inner.get("input"))) is not str:
            yield Fault(i, f"the arguments of its tool_calls[{k}] are no text", "send them as a string, of JSON or not")
        elif type(call.get("id")) is not str or not call["id"]:
            yield Fault(i, f"its tool_calls[{k}] has no id", "give it the id its result names")
        elif call["id"] in waiting:
            yield Fault(i, f"two of its calls have the id {call['id']!r}", "give each its own")
        else:
            waiting[call["id"]] = i


def _content_of(i: int, role: str, message: Message) -> Iterator[Fault]:
    content = message.get("content")
    if content is None:
        says = any(message.get(field) for field in ("tool_calls", "function_call", "refusal", "audio"))
        if role != "function" and not (role == "assistant" and says):
            yield Fault(i, "it has no content", "give it a text")
    elif type(content) is list:
        if not content:
            yield Fault(i, "its content is an empty list", "give it a part, or leave the message out")
        for k, block in enumerate(content):
            kind = block.get("type")
            if type(kind) is not str:
                yield Fault(i, f"its content[{k}] has no type", "name one, such as text")
            elif kind in _KNOWN and kind not in _ALLOWED[role]:
                yield Fault(
                    i,
                    f"its content[{k}] is {kind}, which a message of role {role} cannot hold",
                    f"use one of {', '.join(sorted(_ALLOWED[role]))}",
                )
            elif kind == "text" and type(block.get("text")) is not str:
                yield Fault(i, f"its content[{k}] is of type text and has none", "give it a text")
    elif type(content) is not str:
        yield Fault(i, f"its content is {type(content).__name__}", "make it a text or a list of parts")
