"""The body of ``POST /v1/responses``, checked and brought to the form of a chat request, which is what gets answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from sparecall.simulate.request import (
    ChatRequest,
    Function,
    JsonSchema,
    Message,
    NonEmpty,
    ResponseFormat,
    Tool,
)

_MIN_OUTPUT_TOKENS = 16  # the API's own


class InputItem(Struct, frozen=True):
    """One item of the input. Kinds that are not simulated, such as reasoning, are passed over."""

    type: str | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[dict[str, Any]] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[dict[str, Any]] | None = None

    def message(self) -> Message | None:
        """Return the chat message that the item stands for."""
        match self.type or "message":
            case "message":
                if self.role is None or self.content is None:
                    raise ValueError("a message needs role and content - at `$.input`")
                return Message(self.role, self.content)
            case "function_call":
                if None in (self.call_id, self.name, self.arguments):
                    raise ValueError("a function_call needs call_id, name and arguments - at `$.input`")
                return Message("assistant")
            case "function_call_output":
                if None in (self.call_id, self.output):
                    raise ValueError("a function_call_output needs call_id and output - at `$.input`")
                return Message("tool", self.output)
            case _:
                return None


class ResponsesTool(Struct, frozen=True):
    """One of ``tools``. Only those of type ``function`` are ever called."""

    type: str
    name: NonEmpty | None = None
    parameters: dict[str, Any] | None = None

    def tool(self) -> Tool:
        """Return the tool as the chat API writes it."""
        if self.type != "function":
            return Tool(self.type)
        if self.name is None:
            raise ValueError("a function needs a name - at `$.tools`")
        return Tool("function", Function(self.name, self.parameters))


class TextFormat(Struct, frozen=True):
    """What the answer's text must be; the schema stands beside its type here."""

    type: Literal["text", "json_object", "json_schema"]
    name: NonEmpty | None = None
    schema: dict[str, Any] | None = None

    def response_format(self) -> ResponseFormat:
        """Return the format as the chat API writes it."""
        if self.type != "json_schema":
            return ResponseFormat(self.type)
        if self.name is None or self.schema is None:
            raise ValueError("a format of type json_schema needs name and schema - at `$.text`")
        return ResponseFormat("json_schema", JsonSchema(self.name, self.schema))


class TextConfig(Struct, frozen=True):
    """Options of the answer's text."""

    format: TextFormat | None = None


class ResponsesRequest(Struct, frozen=True):
    """The body of ``POST /v1/responses``."""

    model: NonEmpty
    input: str | list[InputItem]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=_MIN_OUTPUT_TOKENS)] | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None

    def __post_init__(self) -> None:
        for name in ("previous_response_id", "conversation", "background"):
            if getattr(self, name):
                raise ValueError(f"nothing is stored here (simulated), so there is no {name} - at `$.{name}`")
        self._check_calls()
        self.chat()

    def chat(self) -> ChatRequest:
        """Return the chat request that asks for the same."""
        messages = [] if self.instructions is None else [Message("system", self.instructions)]
        if isinstance(self.input, str):
            messages.append(Message("user", self.input))
        else:
            messages += [message for item in self.input if (message := item.message())]
        if not messages:
            raise ValueError("there is nothing to answer - at `$.input`")
        choice = self.tool_choice
        if isinstance(choice, dict) and choice.get("type") == "function":
            choice = {"type": "function", "function": {"name": choice.get("name")}}
        return ChatRequest(
            self.model,
            messages,
            stream=self.stream,
            max_completion_tokens=self.max_output_tokens,
            tools=[tool.tool() for tool in self.tools or ()],
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls,
            response_format=self.text.format.response_format() if self.text and self.text.format else None,
        )

    def _check_calls(self) -> None:
        """Refuse an output without its call before it, and a call without its output after it, as the API does."""
        open_calls: set[str | None] = set()
        for item in self.input if isinstance(self.input, list) else ():
            if item.type == "function_call":
                open_calls.add(item.call_id)
            elif item.type == "function_call_output":
                if item.call_id not in open_calls:
                    raise ValueError("a function_call_output answers no function_call before it - at `$.input`")
                open_calls.discard(item.call_id)
        if open_calls:
            raise ValueError("a function_call has no function_call_output - at `$.input`")
