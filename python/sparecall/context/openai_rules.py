"""What OpenAI's chat API refuses, place by place: the rules that it publishes, and answers with a 400."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.openai import INSTRUCTIONS
from sparecall.context.parts import THINKING, Fault, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ROLES = INSTRUCTIONS | {"user", "assistant", "tool", "function"}
_TEXT = frozenset({"text"})
_ALLOWED = {
    **dict.fromkeys(_ROLES, _TEXT),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
}
# Types that are not known are passed over: next year's model may read them.
_KNOWN = frozenset().union(*_ALLOWED.values()) | THINKING | {"tool_use", "tool_result", "image", "document"}


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
