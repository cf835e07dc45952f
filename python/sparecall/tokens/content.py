"""What one message costs, of any of the three wires: chat completions, Responses and Anthropic's Messages.

What OpenAI documents is counted exactly: roles, names, texts, images of known size. Everything else has a low and a high.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparecall.errors import InvalidArgument
from sparecall.tokens.bounds import NOTHING, Bounds, exactly, plus
from sparecall.tokens.images import size_of_base64, size_of_data_url
from sparecall.tokens.schema import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.tokens.bounds import Estimate
    from sparecall.tokens.families import Family

# A document that is named but not at hand: nothing, a page, or a hundred pages as text and image.
_DOCUMENT: Bounds = (0, 3_000, 300_000)
_SILENT = frozenset({"id", "type", "status", "object", "role", "content", "name", "cache_control", "index", "annotations", "logprobs", "phase"})  # fmt: skip


def between(low: float, total: float, high: float, of: Bounds) -> Bounds:
    """The bounds, each times its number."""
    return of[0] * low, of[1] * total, of[2] * high


def as_json(value: Any, where: str) -> str:
    """The value as compact JSON text."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_unfit)
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deeply; flatten it") from None
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where} is no JSON value: {error}") from None


def _unfit(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a {type(value).__name__}")


class Content:
    """Counts messages by one family's rules; `text` gives the bounds of a bare text. Holds no state."""

    __slots__ = ("_family", "_parts", "_text")

    def __init__(self, text: Estimate, family: Family) -> None:
        self._text = text
        self._family = family
        self._parts: dict[str, Callable[[Mapping[str, Any], str, int], Bounds]] = {
            **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "reasoning_text"), self._plain),
            **dict.fromkeys(("image_url", "input_image", "image"), self._image),
            **dict.fromkeys(("input_audio", "audio"), self._audio),
            **dict.fromkeys(("file", "input_file", "document"), self._file),
            "refusal": self._refusal,
            "thinking": self._thinking,
            "redacted_thinking": self._redacted,
            **dict.fromkeys(("tool_use", "server_tool_use", "function_call", "custom_tool_call"), self._call),
            **dict.fromkeys(("tool_result", "function_call_output", "custom_tool_call_output"), self._result),
            "reasoning": self._reasoning,
            "item_reference": lambda *_: _DOCUMENT,
        }

    def message(self, message: Mapping[str, Any], where: str) -> Bounds:
        """The bounds of one message, its share of the wire included. Raises `TypeError` for what is none."""
        rules = self._family.rules
        role, content = message.get("role"), message.get("content")
        if len(message) == 2 and isinstance(role, str) and isinstance(content, str):  # most are, and need no more
            (a, b, c), (d, e, f), (g, h, i) = rules.per_message, self._text(role), self._text(content)
            return a + d + g, b + e + h, c + f + i
        kind = message.get("type")
        if role is None and isinstance(kind, str):
            return plus(
                self._part(message, where, 0), between(0, 1, 2, rules.per_message)
            )  # an item of the Responses API
        if not isinstance(role, str):
            raise TypeError(f"{where} must have a role that is str, not {type(role).__name__}")
        bounds = [rules.per_message, self._text(role), self.content(content, f"{where}.content")]
        name = message.get("name")
        if isinstance(name, str) and name:
            bounds += (self._text(name), exactly(rules.per_name))
        if role == "function":
            bounds.append((-2, -2, 6))
        elif role == "tool":
            bounds.append((-2, 0, 12))  # newer models are told whose result it is
        for field, value in message.items():
            if field not in _SILENT and value:
                bounds.append(self._field(field, value, where))
        return plus(*bounds)

    def content(self, content: Any, where: str, depth: int = 0) -> Bounds:
        """The bounds of what a message holds: nothing, a text, or parts."""
        if content is None:
            return NOTHING
        if isinstance(content, str):
            return self._text(content)
        if not isinstance(content, list | tuple):
            raise TypeError(f"{where} must be str, a list of parts or None, not {type(content).__name__}")
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"{where} is nested more than {MAX_DEPTH} deep; flatten it")
        return plus(*[self._part(part, f"{where}[{i}]", depth) for i, part in enumerate(content)])

    def _field(self, field: str, value: Any, where: str) -> Bounds:
        if field in {"tool_calls", "function_call"}:
            calls = value if isinstance(value, list | tuple) else [value]
            bounds = [self._call(call, f"{where}.{field}[{i}]", 0) for i, call in enumerate(calls)]
            # Calls made at once are wrapped, in a form nobody has pinned down.
            return plus(*bounds, (0, 0, 12)) if len(calls) > 1 else plus(*bounds)
        if field == "refusal" and isinstance(value, str):
            return plus(self._text(value), (-1, 0, 4))
        if field == "tool_call_id":
            return NOTHING
        # Whether a field that is not known is read is not known either.
        return between(0, 0, 1, self._text(as_json(value, f"{where}.{field}")))

    def _part(self, part: Any, where: str, depth: int) -> Bounds:
        if not isinstance(part, Mapping):
            raise TypeError(f"{where} must be a dict, not {type(part).__name__}")
        kind = part.get("type")
        count = self._parts.get(kind) if isinstance(kind, str) else None
        if count is None:
            return between(0, 0.5, 1, self._text(as_json(part, where)))
        return count(part, where, depth)

    def _string(self, part: Mapping[str, Any], field: str, where: str) -> Bounds:
        value = part.get(field)
        if not isinstance(value, str):
            raise TypeError(f"{where}.{field} must be str, not {type(value).__name__}")
        return self._text(value)

    def _plain(self, part: Mapping[str, Any], where: str, _depth: int) -> Bounds:
        return self._string(part, "text", where)

    def _refusal(self, part: Mapping[str, Any], where: str, _depth: int) -> Bounds:
        return plus(self._string(part, "refusal", where), (-1, 0, 4))

    def _thinking(self, part: Mapping[str, Any], where: str, _depth: int) -> Bounds:
        # Of earlier turns it is left out, unless tools are still at work.
        return between(0, 1, 1, self._string(part, "thinking", where))

    def _redacted(self, part: Mapping[str, Any], _where: str, _depth: int) -> Bounds:
        length = len(str(part.get("data") or part.get("encrypted_content") or ""))
        return 0, length // 6, length  # encrypted: nobody but the provider knows

    def _reasoning(self, part: Mapping[str, Any], where: str, depth: int) -> Bounds:
        summary = between(0, 1, 1, self.content(part.get("summary"), f"{where}.summary", depth + 1))
        return plus(summary, self._redacted(part, where, depth))

    def _call(self, part: Any, where: str, _depth: int) -> Bounds:
        if not isinstance(part, Mapping):
            raise TypeError(f"{where} must be a dict, not {type(part).__name__}")
        call = part.get("function", part.get("custom", part))
        if not isinstance(call, Mapping):
            raise TypeError(f"{where} must hold a dict, not {type(call).__name__}")
        name = self._string(call, "name", where)
        arguments = call.get("arguments", call.get("input"))
        text = arguments if isinstance(arguments, str) else as_json(arguments, where)
        return plus(name, self._text(text), (0, 3, 14))

    def _result(self, part: Mapping[str, Any], where: str, depth: int) -> Bounds:
        field = "content" if "content" in part else "output"
        return plus(self.content(part.get(field), f"{where}.{field}", depth + 1), (0, 3, 24))

    def _image(self, part: Mapping[str, Any], where: str, _depth: int) -> Bounds:
        image = part.get("image_url")
        detail = part.get("detail")
        if isinstance(image, Mapping):
            detail = image.get("detail", detail)
            image = image.get("url")
        size = size_of_data_url(image) if isinstance(image, str) else None
        source = part.get("source")
        if isinstance(source, Mapping) and source.get("type") == "base64":
            data = source.get("data")
            if not isinstance(data, str):
                raise TypeError(f"{where}.source.data must be str, not {type(data).__name__}")
            size = size_of_base64(data)
        return self._family.images.bounds(size, detail if isinstance(detail, str) else "auto")

    def _audio(self, part: Mapping[str, Any], _where: str, _depth: int) -> Bounds:
        audio = part.get("input_audio")
        data = audio.get("data") if isinstance(audio, Mapping) else None
        if not isinstance(data, str):
            return 0, 100, 20_000
        # Ten tokens a second, or up to 32 of other providers; how many bytes a second has depends on the format.
        size = len(data) * 3 // 4
        return size // 20_000, size // 2_000 + 1, size // 64 + 10

    def _file(self, part: Mapping[str, Any], where: str, _depth: int) -> Bounds:
        source = part.get("source")
        if isinstance(source, Mapping):
            if source.get("type") == "text":
                return plus(self._string(source, "data", f"{where}.source"), (0, 8, 64))
            if source.get("type") == "content":
                return plus(self.content(source.get("content"), f"{where}.source.content", MAX_DEPTH), (0, 8, 64))
        return _DOCUMENT
