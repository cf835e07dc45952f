"""What tool definitions cost, which no provider documents: models read them as text that is written from the JSON schemas.

OpenAI's are read as TypeScript. The form has been found out by comparing counts with `usage`: for gpt-3.5-turbo and gpt-4
by the authors of hmarr/openai-chat-tokens, for gpt-4o by those of OpenAI's cookbook in a formula of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH = 64
"""Of schemas and of messages inside one another: beyond it nothing is counted."""

_SCALARS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}


class Function(msgspec.Struct, frozen=True):
    """One function, from whichever wire."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def function_of(tool: Mapping[str, Any]) -> Function | None:
    """The function that a tool of any of the three wires defines; None for a tool of another kind, such as web search."""
    inner = tool.get("function", tool)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    if tool.get("type", "function") not in {"function", "custom"}:
        return None
    parameters = inner.get("parameters", inner.get("input_schema"))
    description = inner.get("description")
    return Function(
        inner["name"],
        description if isinstance(description, str) else "",
        parameters if isinstance(parameters, Mapping) else {},
    )


def typescript(functions: Iterable[Function]) -> str:
    """The definitions as OpenAI's models read them."""
    lines = ["namespace functions {", ""]
    for function in functions:
        if function.description:
            lines.append(f"// {function.description}")
        if _properties(function.parameters):
            lines += [f"type {function.name} = (_: {{", _members(function.parameters, 0, 0), "}) => any;", ""]
        else:
            lines += [f"type {function.name} = () => any;", ""]
    return "\n".join([*lines, "} // namespace functions"])


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _members(schema: Mapping[str, Any], indent: int, depth: int) -> str:
    required = schema.get("required")
    required = required if isinstance(required, list | tuple) else ()
    lines: list[str] = []
    for name, value in _properties(schema).items():
        one = value if isinstance(value, Mapping) else {}
        if isinstance(one.get("description"), str) and one["description"]:
            lines.append(f"// {one['description']}")
        lines.append(f"{name}{'' if name in required else '?'}: {_type(one, indent, depth + 1)},")
    return "\n".join([" " * indent + line for line in lines])


def _type(schema: Mapping[str, Any], indent: int, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"a tool's schema is nested more than {MAX_DEPTH} deep; flatten it")
    kind = schema.get("type")
    choices = schema.get("enum")
    if isinstance(choices, list | tuple):
        return " | ".join([f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices])
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list | tuple):
            return " | ".join([_type(one, indent, depth + 1) for one in schema[word] if isinstance(one, Mapping)])
    if isinstance(kind, list | tuple):
        return " | ".join([_type({**schema, "type": one}, indent, depth + 1) for one in kind])
    if kind == "object":
        return "\n".join(["{", _members(schema, indent + 2, depth), "}"]) if _properties(schema) else "object"
    if kind == "array":
        items = schema.get("items")
        return f"{_type(items, indent, depth + 1)}[]" if isinstance(items, Mapping) else "any[]"
    return _SCALARS.get(kind, "any") if isinstance(kind, str) else "any"


def cookbook(functions: Iterable[Function], count: Callable[[str], int]) -> int:
    """OpenAI's own formula for gpt-4o: constants for every function, property and choice. It does not look into objects."""
    total = 12
    for function in functions:
        total += 7 + count(f"{function.name}:{function.description.removesuffix('.')}")
        properties = _properties(function.parameters)
        total += 3 if properties else 0
        for name, value in properties.items():
            one = value if isinstance(value, Mapping) else {}
            choices = one.get("enum")
            if isinstance(choices, list | tuple):
                total += -3 + sum(3 + count(str(choice)) for choice in choices)
            description = one.get("description")
            text = description.removesuffix(".") if isinstance(description, str) else ""
            total += 3 + count(f"{name}:{one.get('type', '')}:{text}")
    return total


def is_flat(functions: Iterable[Function]) -> bool:
    """Whether no parameter has an object or an array inside."""
    return all(
        isinstance(one, Mapping) and one.get("type") in _SCALARS
        for function in functions
        for one in _properties(function.parameters).values()
    )
