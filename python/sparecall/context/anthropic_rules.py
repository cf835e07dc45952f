"""What Anthropic's messages API refuses, place by place: the rules that it publishes, and answers with a 400."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.parts import THINKING, Fault, Message, blocks_of, is_blank, kind_of, text_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_OPENAI_S = frozenset({"image_url", "input_audio", "file", "refusal"})
_ASSISTANT_S = THINKING | {"tool_use", "server_tool_use"}
_USER_S = frozenset({"tool_result", "image"})
_NEVER_IN_RESULTS = _ASSISTANT_S | _OPENAI_S | {"tool_result"}


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
        for block in blocks_of(message):
            one = block.get("id")
            if block.get("type") == "tool_use" and type(one) is str:
                if one in self._ids:
                    yield Fault(i, f"two calls have the id {one!r}", "give each its own")
                self._ids.add(one)
                self._waiting[one] = i

    def results(self, i: int, message: Message) -> Iterator[Fault]:
        self._goes_on = False
        for k, block in enumerate(blocks_of(message)):
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
        if self._other_came or not blocks_of(message):
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
        used = next((i for i, one in enumerate(messages) if any(kind_of(b) in kinds for b in blocks_of(one))), None)
        if used is not None:
            yield Fault(used, "it speaks of tools, and none is defined", "send the tools of the conversation with it")


def _content_of(i: int, message: Message, *, is_last: bool) -> Iterator[Fault]:
    role, content = message["role"], message.get("content")
    may_be_empty = is_last and role == "assistant"
    if type(content) is str:
        if is_blank(content) and not (may_be_empty and not content):
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
        if kind_of(last) in THINKING:
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
        if is_blank(text_in(block, "text") or ""):
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
        kind = kind_of(one)
        if kind in _NEVER_IN_RESULTS:
            yield Fault(
                i,
                f"its {where}.content[{j}] is {kind}, which a result cannot hold",
                "use text, image or document",
            )
        elif kind == "text" and (is_blank(text_in(one, "text") or "")):
            yield Fault(i, f"its {where}.content[{j}] is an empty text", "leave the block out")
