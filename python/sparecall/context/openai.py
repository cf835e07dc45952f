"""The grammar of OpenAI's chat messages: `scan` for atoms and parts, `less` to leave orphans out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.parts import Message, Needs, Orphan, Part, Scan, is_blank, text_in, without

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTRUCTIONS = frozenset({"system", "developer"})
_RESULTS = frozenset({"tool", "function"})


def scan(messages: Sequence[Message], found: Scan, stop: int) -> None:
    """Atoms, parts and orphans of the messages up to `stop`, from where the scan stands; at the end also what follows of it."""
    atoms, fixed = found.atoms, found.fixed
    calls: _Calls | None = found.calls
    asks_function = found.asks_function
    for i in range(found.at, stop):
        message = messages[i]
        role = message["role"]
        if role == "tool":
            why = "it is no result of a call directly before it" if calls is None else calls.answer(message)
            if why is not None:
                found.orphans.append(Orphan(i, text_in(message, "tool_call_id"), why, ()))
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
        if role in INSTRUCTIONS:
            fixed.add(i)
        else:
            _add_parts(found.parts, i, role, message)
    found.at, found.calls, found.asks_function = stop, calls, asks_function
    if stop == len(messages):
        _close(messages, found)


def _close(messages: Sequence[Message], found: Scan) -> None:
    """What the end of the conversation says: which calls are open, and what must not go."""
    atoms = found.atoms
    if found.calls is not None and found.calls.unanswered():
        found.open_calls = tuple(found.calls.waiting)
        found.fixed.update(atoms[-1])
    elif found.asks_function:
        found.fixed.update(atoms[-1])
    found.needs = _needs([n for n, atom in enumerate(atoms) if messages[atom[0]]["role"] not in INSTRUCTIONS])


class _Calls:
    """The calls of one message, until all are answered."""

    __slots__ = ("_by_position", "_known", "index", "waiting")

    def __init__(self, index: int, calls: Any) -> None:
        ids = [text_in(call, "id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
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


def _add_parts(parts: list[Part], i: int, role: str, message: Message) -> None:
    content = message.get("content")
    is_result = role in _RESULTS
    if type(content) is str:
        if not is_blank(content):
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
            if block.get("type") == "text" and type(text) is str and not is_blank(text):
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
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    calls = without(
        message["tool_calls"], orphans, lambda call: (text_in(call, "id"),) if isinstance(call, dict) else None
    )
    if calls:
        return {**rest, "tool_calls": calls}
    return rest if rest.get("content") or rest.get("refusal") or rest.get("function_call") else None
