"""Where a provider's cache is told to end (`cache_control`): no part of what is said, and moved on by clients turn after turn.

Some write a text that has one as a block, and as a plain text before and after: these are the same here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparecall.context.writing import as_json

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sparecall.context.parts import Message, Path

_FIELD = "cache_control"
_OF_TEXT = frozenset({"type", "text", _FIELD})
_PLAIN: Path = ("content",)
_BLOCK: Path = ("content", 0, "text")


def bare(message: Message) -> Message:
    """What a message says, whatever breakpoints it has: equal for those that differ in nothing else. O(blocks)."""
    content = message.get("content")
    if type(content) is not list:
        return message
    return {**message, "content": content[0]["text"] if _is_lone(content) else [_bare(block) for block in content]}


def breakpoints_of(message: Message) -> Hashable | None:
    """With what `bare` gives, the whole message, byte for byte; None where that is bare. O(blocks)."""
    content = message.get("content")
    if type(content) is not list:
        return None
    found = [
        (k, j, *block, as_json(block[_FIELD]))
        for k, outer in enumerate(content)
        for j, block in enumerate((outer, *_inside(outer)))
        if isinstance(block, dict) and _FIELD in block
    ]
    lone = tuple(content[0]) if _is_lone(content) else None
    return (lone, *found) if found or lone else None


def moved(path: Path, was: Hashable | None, now: Hashable | None) -> Path:
    """Where a text stands in a message with the breakpoints `now` that stood at `path` with those it had."""
    if path not in (_PLAIN, _BLOCK) or _has_lone(was) == _has_lone(now):
        return path
    return _BLOCK if _has_lone(now) else _PLAIN


def _has_lone(found: Any) -> bool:
    return found is not None and found[0] is not None


def _is_lone(content: list[Any]) -> bool:
    """Whether it is one text, written as a block."""
    if len(content) != 1 or type(content[0]) is not dict:
        return False
    block = content[0]
    return block.get("type") == "text" and type(block.get("text")) is str and _OF_TEXT.issuperset(block)


def _inside(block: Any) -> list[Any]:
    """The blocks of a tool's result."""
    inner = block.get("content") if isinstance(block, dict) else None
    return inner if type(inner) is list else []


def _bare(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    inner = _inside(block)
    if _FIELD not in block and not any(isinstance(one, dict) and _FIELD in one for one in inner):
        return block
    rest = {name: value for name, value in block.items() if name != _FIELD}
    if inner:
        rest["content"] = [_bare(one) for one in inner]
    return rest
