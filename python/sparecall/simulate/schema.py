"""A value that fits a JSON schema: what the simulated model passes to tools and answers in JSON mode."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from sparecall.simulate.prose import word

if TYPE_CHECKING:
    from random import Random

_MAX_DEPTH = 8
_MAX_VALUES = 500
_MAX_ITEMS = 50
_MAX_LENGTH = 1000
_QUOTED = r"\"([^\"\n]{1,200})\"|'([^'\n]{1,200})'(?!\w)|`([^`\n]{1,200})`"
# Neither begins inside a longer run of its own characters: that keeps the search linear.
_PATH = r"(https?://[^\s\"'`<>]*[\w/]|(?<![\w./~-])(?:~|\.{1,2})?/[\w./-]*\w|(?<![\w-])\w[\w-]*(?:[/.][\w-]+)+)"
_MENTION = re.compile(rf"{_QUOTED}|{_PATH}")
_NOT_A_PATH = re.compile(r"[\d.]+|\w\.\w")  # numbers, "e.g"
_PATH_NAMES = re.compile(r"path|file|folder|director|module", re.IGNORECASE)


def mentions(text: str) -> list[str]:
    """Return what the text quotes or names by path, in order of appearance: likely arguments of a tool."""
    found = dict.fromkeys(match[match.lastindex or 0] for match in _MENTION.finditer(text[:20_000]))
    return [mention for mention in found if not _NOT_A_PATH.fullmatch(mention)]


class Filler:
    """Fills schemas for one request. Depth, lengths and the number of values are bounded whatever the schema asks."""

    def __init__(self, draw: Random, root: dict[str, Any], said: list[str]) -> None:
        self._draw, self._root, self._said = draw, root, list(said)
        self._values = 0

    def object(self) -> dict[str, Any]:
        """Return an object that fits the root schema."""
        return self._object(self._resolve(self._root), 0)

    def _value(self, schema: Any, name: str, depth: int) -> Any:
        self._values += 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            return None
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return self._draw.choice(choices)
        match self._kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                size = min(_bound(schema, "minItems", 1), _bound(schema, "maxItems", _MAX_ITEMS), _MAX_ITEMS)
                return [self._value(schema.get("items", {"type": "string"}), name, depth + 1) for _ in range(size)]
            case "integer":
                return self._integer(schema)
            case "number":
                low = _number(schema, "minimum", 0)
                return round(self._draw.uniform(low, _number(schema, "maximum", low + 10)), 3)
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        required = schema.get("required")
        names = required if isinstance(required, list) else []
        return {name: self._value(properties.get(name, {}), name, depth + 1) for name in names if isinstance(name, str)}

    def _integer(self, schema: dict[str, Any]) -> int:
        low = math.ceil(_number(schema, "minimum", math.floor(_number(schema, "exclusiveMinimum", -1)) + 1))
        high = math.floor(_number(schema, "maximum", math.ceil(_number(schema, "exclusiveMaximum", low + 11)) - 1))
        return self._draw.randint(low, max(low, high))

    def _string(self, schema: dict[str, Any], name: str) -> str:
        text = self._said_for(name)
        if text is None:
            text = word(self._draw)
        least = min(_bound(schema, "minLength", 0), _MAX_LENGTH)
        while len(text) < least:
            text += " " + word(self._draw)
        return text[: _bound(schema, "maxLength", len(text))]

    def _said_for(self, name: str) -> str | None:
        """Take the next thing the user mentioned; a property named like a path takes a path first."""
        if not self._said:
            return None
        if _PATH_NAMES.search(name):
            chosen = next((said for said in self._said if re.fullmatch(_PATH, said)), self._said[0])
        else:
            chosen = self._said[0]
        if len(self._said) > 1:  # the last mention serves all further properties
            self._said.remove(chosen)
        return chosen

    def _kind(self, schema: dict[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind is None and "properties" in schema:
            kind = "object"
        return str(kind)

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow references and take the first alternative, a bounded number of times."""
        for _ in range(_MAX_DEPTH):
            following: Any = None
            if isinstance(reference := schema.get("$ref"), str):
                following = self._root
                for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
                    following = following.get(part) if isinstance(following, dict) else None
            for combination in ("anyOf", "oneOf", "allOf"):
                if isinstance(alternatives := schema.get(combination), list) and alternatives:
                    following = next((each for each in alternatives if each != {"type": "null"}), None)
            if not isinstance(following, dict):
                return schema
            schema = following
        return schema


def _number(schema: dict[str, Any], name: str, default: float) -> float:
    value = schema.get(name, default)
    return value if isinstance(value, int | float) and math.isfinite(value) else default


def _bound(schema: dict[str, Any], name: str, default: int) -> int:
    value = schema.get(name, default)
    return value if isinstance(value, int) and value >= 0 else default
