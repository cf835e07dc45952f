"""The requests the simulated provider understands, checked as strictly as it needs; unknown fields pass."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from sparecall.simulate.problem import Problem

Positive = Annotated[int, Meta(ge=1)]
NonEmpty = Annotated[str, Meta(min_length=1)]


class Function(Struct, frozen=True):
    """A function the model may call; ``parameters`` is a JSON schema."""

    name: NonEmpty
    parameters: dict[str, Any] | None = None


class Tool(Struct, frozen=True):
    """One of ``tools``. Only those of type ``function`` are ever called."""

    type: str
    function: Function | None = None


class Message(Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    def text(self) -> str:
        """Return the text of the message, its parts joined."""
        if isinstance(self.content, list):
            texts = (part.get("text") for part in self.content)
            return "\n".join(text for text in texts if isinstance(text, str))
        return self.content or ""


class JsonSchema(Struct, frozen=True):
    """The schema a JSON answer must follow."""

    name: NonEmpty
    schema: dict[str, Any] = {}


class ResponseFormat(Struct, frozen=True):
    """What the answer's text must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Struct, frozen=True):
    """Options of a streamed reply."""

    include_usage: bool | None = None


class ChatRequest(Struct, frozen=True):
    """The body of ``POST /v1/chat/completions``."""

    model: NonEmpty
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    def __post_init__(self) -> None:
        for message in self.messages:
            if message.content is None and message.role in {"system", "developer", "user", "tool"}:
                raise ValueError(f"a message of role {message.role} needs content - at `$.messages`")
        if self.response_format and self.response_format.type == "json_schema" and not self.response_format.json_schema:
            raise ValueError(
                "a response format of type json_schema needs its schema - at `$.response_format.json_schema`"
            )
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed when stream is on - at `$.stream_options`")
        self.forced_tool()

    def functions(self) -> list[Function]:
        """Return the functions that may be called."""
        return [tool.function for tool in self.tools or () if tool.type == "function" and tool.function]

    def forced_tool(self) -> str | None:
        """Return the function that ``tool_choice`` names."""
        if not isinstance(self.tool_choice, dict) or self.tool_choice.get("type") != "function":
            return None
        function = self.tool_choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not any(name == known.name for known in self.functions()):
            raise ValueError("tool_choice names a function that is not in tools - at `$.tool_choice`")
        return str(name)

    def user_text(self) -> str:
        """Return what the user said last."""
        return next((message.text() for message in reversed(self.messages) if message.role == "user"), "")


class EmbeddingRequest(Struct, frozen=True):
    """The body of ``POST /v1/embeddings``; an input may also be a list of token numbers."""

    model: NonEmpty
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=8192)] | None = None

    def __post_init__(self) -> None:
        inputs = self.inputs()
        if not 1 <= len(inputs) <= 2048:
            raise ValueError(f"input has {len(inputs)} texts; there must be 1 to 2048 - at `$.input`")
        if not all(isinstance(text, str) or _is_tokens(text) for text in inputs) or not all(inputs):
            raise ValueError("each input must be a text or a list of token numbers, and not empty - at `$.input`")

    def inputs(self) -> list[Any]:
        """Return the inputs, each a text or a list of token numbers."""
        return [self.input] if isinstance(self.input, str) or _is_tokens(self.input) else self.input


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


Body = TypeVar("Body", bound=Struct)


def decode(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds, or raise the 400 that says it holds none."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Problem(400, "We could not parse the JSON body of your request: it must be a JSON object.")
    return value


def check(body: dict[str, Any], kind: type[Body]) -> Body:
    """Return the request that a JSON object means, or raise the 400 that names the field at fault."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise Problem(400, f"Invalid request: {error}", param=_param(str(error))) from None


def _param(message: str) -> str | None:
    path = re.search(r"at `\$\.?(\w*)", message)
    if path and path[1]:
        return path[1]
    missing = re.search(r"missing required field `(\w+)`", message)
    return missing[1] if missing else None
