"""Which definitions of tools a conversation needs: those it called, those it speaks of, and those it is told to keep."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sparecall.context.parts import Message

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# A word of a name is worth this, one of a description 1; so much in all, and a tool is spoken of.
_OF_NAME, _ENOUGH = 2, 2
# Shorter words say nothing of what is meant.
_SHORTEST = 3
_LONGEST_TEXT = 8_192


def name_of(tool: Mapping[str, Any]) -> str | None:
    """The name that a tool is called by; None for one without."""
    inner = tool.get("function", tool.get("custom", tool))
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def unneeded(
    tools: Sequence[Mapping[str, Any]], messages: Iterable[Message], text: str, keep: Collection[str]
) -> frozenset[str]:
    """The names of the tools that were never called, that `text` does not speak of, and that are not in `keep`.

    What the provider runs itself stays, as does a tool that Anthropic's `cache_control` stands in. None of them where nothing is called or spoken of yet: any may be. O(messages + tools).
    """
    kept = {*keep, *_called(messages)}
    said = _words(text[:_LONGEST_TEXT])
    names = {name for tool in tools if _may_go(tool) and (name := name_of(tool)) is not None}
    kept |= {name for tool in tools if (name := name_of(tool)) is not None and _speaks_of(said, tool, name)}
    return frozenset(names - kept) if names & kept else frozenset()


def _may_go(tool: Mapping[str, Any]) -> bool:
    """Whether the client runs it, and no prefix to be cached ends with it."""
    return tool.get("type", "custom") in ("function", "custom") and "cache_control" not in tool


def chosen(tool_choice: Any) -> frozenset[str]:
    """The names in a request's `tool_choice`, in either wire's form."""
    if not isinstance(tool_choice, dict):
        return frozenset()
    allowed = tool_choice.get("allowed_tools")
    given = allowed.get("tools") if isinstance(allowed, dict) else None
    listed = given if isinstance(given, list) else [tool_choice]
    names = (name_of(one) for one in listed if isinstance(one, dict))
    return frozenset(name for name in names if name is not None)


def _called(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        blocks = [one for one in content if one.get("type") == "tool_use"] if type(content) is list else []
        for call in (*(message.get("tool_calls") or ()), message.get("function_call"), *blocks):
            name = name_of(call) if isinstance(call, dict) else None
            if name is not None:
                yield name


def _speaks_of(said: set[str], tool: Mapping[str, Any], name: str) -> bool:
    inner = tool.get("function", tool.get("custom", tool))
    description = inner.get("description")
    of_name = _words(name)
    of_description = _words(description) - of_name if isinstance(description, str) else set()
    return _OF_NAME * len(of_name & said) + len(of_description & said) >= _ENOUGH


def _words(text: str) -> set[str]:
    """The words and parts of identifiers, without a plural's end."""
    return {word.lower().removesuffix("s") for word in _WORD.findall(text) if len(word) >= _SHORTEST}
