"""The last user turn of a request, apart from all that stands before and beside it; and the text of an answer.

Reads bodies of three wires as far as it must and leaves the rest as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.digest import inspect
from sparecall.errors import InvalidDocument

if TYPE_CHECKING:
    from sparecall.pipeline.request import WireName

_decode = msgspec.json.decode
_encode = msgspec.json.encode
_Fields = dict[str, msgspec.Raw]
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Stands where the text was. No other body is ever looked up by such a digest, so it may be any text.
_MARK = msgspec.Raw(b'"?"')
# Where each wire has its turns, and what it calls a text that a user says.
_TURNS: dict[WireName, tuple[str, str]] = {
    "chat": ("messages", "text"),
    "responses": ("input", "input_text"),
    "messages": ("messages", "text"),
}


class Turn(msgspec.Struct, frozen=True):
    """What the user said last, and a digest of all that must be equal beside it."""

    text: str
    context: bytes


def last_turn(body: bytes, wire: WireName, *, scope: str, version: int) -> Turn | None:
    """The last turn, where it is the user's and one text; None for any other: a tool's result, an image, an assistant's.

    The context is the digest of the body with that text taken out. Linear in the body.
    """
    if wire == "embeddings":
        return None
    place, kind = _TURNS[wire]
    try:
        fields = _decode(body, type=_Fields)
        text, fields[place] = _taken(fields[place], kind, wire)
        return Turn(text, inspect(_encode(fields), scope=scope, wire=wire, version=version).digest)
    except (*_UNREADABLE, LookupError, InvalidDocument):
        return None


def _taken(turns: msgspec.Raw, kind: str, wire: WireName) -> tuple[str, msgspec.Raw]:
    """The text of the last of the turns, and the turns without it. Raises `LookupError` where that is not one text of the user's."""
    if wire == "responses" and _begin(turns) == b'"':
        return _decode(turns, type=str), _MARK
    rows = _decode(turns, type=list[msgspec.Raw])
    turn = _decode(rows[-1], type=_Fields)
    if _decode(turn["role"]) != "user" or _decode(turn.get("type", b'"message"')) != "message":
        raise LookupError
    content = turn["content"]
    if _begin(content) == b'"':
        text, turn["content"] = _decode(content, type=str), _MARK
    else:
        (part,) = _decode(content, type=tuple[_Fields])
        if _decode(part["type"]) != kind:
            raise LookupError
        text, part["text"] = _decode(part["text"], type=str), _MARK
        turn["content"] = msgspec.Raw(_encode([part]))
    rows[-1] = msgspec.Raw(_encode(turn))
    return text, msgspec.Raw(_encode(rows))


def _begin(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])


class _ChatMessage(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None
    refusal: str | None = None
    audio: Any = None


class _Choice(msgspec.Struct):
    message: _ChatMessage


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _Item(msgspec.Struct):
    type: str
    content: list[_Block] | None = None


class _Response(msgspec.Struct):
    output: list[_Item]


class _Message(msgspec.Struct):
    content: list[_Block]


def text_of(body: bytes, wire: WireName) -> str | None:
    """What a whole answer says; None where it calls tools, refuses, or is anything but text. Linear in the body."""
    try:
        match wire:
            case "chat":
                return _joined([_said(choice.message) for choice in _decode(body, type=_Completion).choices])
            case "responses":
                items = _decode(body, type=_Response).output
                blocks = [item.content or [] if item.type == "message" else [item] for item in items]
                return _joined([_shown(block) for part in blocks for block in part])
            case "messages":
                return _joined([_shown(block) for block in _decode(body, type=_Message).content])
    except _UNREADABLE:
        return None
    return None


def _said(message: _ChatMessage) -> str | None:
    other = message.tool_calls or message.function_call or message.refusal or message.audio
    return None if other else message.content


def _shown(block: _Block | _Item) -> str | None:
    """The text of a block; nothing of how the model came to it; None for what is no text."""
    if isinstance(block, _Block) and block.type in {"text", "output_text"}:
        return block.text
    return "" if block.type in {"reasoning", "thinking", "redacted_thinking"} else None


def _joined(texts: list[str | None]) -> str | None:
    """The texts as one; None where one of them is none, or nothing is said."""
    said = [text for text in texts if text]
    return "\n".join(said) if said and None not in texts else None
