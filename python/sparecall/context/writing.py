"""Carries a choice out: edits and drops, with every message, field and block that is not edited shared with the input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.context.parts import THINKING, is_blank, kind_of
from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sparecall.context.parts import Message, Path


_CONTENT = ("content",)


def write(
    messages: Sequence[Message],
    edits: Mapping[tuple[int, Path], str] | None = None,
    dropped: Collection[int] = (),
) -> list[Message]:
    """The messages with the texts at `edits`, (index, path), replaced, and without those whose index is in `dropped`.

    What is not edited is the same object; what is edited is copied along its path, with every other field. A block of text
    that becomes empty or blank is left out, since no provider takes one. Raises `sparecall.errors.InvalidArgument` where
    edits leave a message without content that must have some, and for a path that leads to no text. The input is never
    changed. O(messages + edits).
    """
    rows = list(messages)
    gone = dropped if isinstance(dropped, set | frozenset) else set(dropped)
    by_message: dict[int, list[tuple[Path, str]]] = {}
    for (index, path), text in (edits or {}).items():
        if not 0 <= index < len(rows):
            raise InvalidArgument(f"an edit is of messages[{index}], and there are {len(rows)}")
        if index not in gone:
            by_message.setdefault(index, []).append((path, text))
    for index, changes in by_message.items():
        rows[index] = _edited(rows[index], index, changes)
    return [row for i, row in enumerate(rows) if i not in gone] if gone else rows


def _edited(message: Message, index: int, changes: list[tuple[Path, str]]) -> Message:
    if (
        len(changes) == 1
        and changes[0][0] == _CONTENT
        and type(message.get("content")) is str
        and not is_blank(changes[0][1])
    ):
        return {**message, "content": changes[0][1]}
    copy: Message = dict(message)
    owned = {id(copy): copy}  # what is copied already; kept alive, so that no id is given twice
    emptied: list[tuple[Any, str | int, dict[str, Any]]] = []
    for path, text in changes:
        try:
            above, at = _walk(copy, path, owned)
            if not isinstance(at[path[-1]], str):
                raise TypeError  # noqa: TRY301
        except (LookupError, TypeError):
            raise InvalidArgument(
                f"messages[{index}] has no text at {path}; take paths from Conversation.parts"
            ) from None
        at[path[-1]] = text
        if len(path) > 2 and path[-1] == "text" and is_blank(text):
            emptied.append((above, path[-3], at))
    for holder, name, block in emptied:
        beside = sorted(block.keys() - {"type", "text"})
        if beside:
            raise InvalidArgument(
                f"messages[{index}] has a block of text with {', '.join(beside)}, which would be lost with its text; leave a marker in it"
            )
        holder[name] = [one for one in holder[name] if one is not block] or ""
    _check_content(copy, index)
    return copy


def _walk(message: Message, path: Path, owned: dict[int, Any]) -> tuple[Any, Any]:
    """Copies what stands on the path; gives what holds its text, and what holds the list that is in, where there is one."""
    above: Any = None
    holders: list[Any] = [message]
    for step in path[:-1]:
        child = holders[-1][step]
        if not isinstance(child, dict | list):
            raise TypeError
        if id(child) not in owned:
            child = type(child)(child)
            owned[id(child)] = child
            holders[-1][step] = child
        holders.append(child)
    if len(holders) > 2:
        above = holders[-3]
    return above, holders[-1]


def _check_content(message: Message, index: int) -> None:
    """Holds an edited message against what every provider asks: the user says something, and the model says or calls."""
    content = message.get("content")
    if isinstance(content, list):
        has_some = bool(content) and kind_of(content[-1]) not in THINKING  # which no turn ends with
    else:
        has_some = isinstance(content, str) and not is_blank(content)
    if has_some or message.get("role") in {"tool", "function"}:
        return
    if not message.get("tool_calls") and not message.get("function_call"):
        raise InvalidArgument(
            f"the edits leave messages[{index}] without content; leave a marker in it, or drop its atom"
        )


def as_json(value: Any) -> str:
    """A message, or tools, as JSON; lone surrogates as the escapes they were."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        return json.dumps(value)
