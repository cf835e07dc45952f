"""The bodies of ``POST /v1/messages`` and ``/count_tokens``, checked and brought to the form of a chat request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from sparecall.simulate.request import (
    ChatRequest,
    Function,
    JsonSchema,
    Message,
    NonEmpty,
    Positive,
    ResponseFormat,
    Tool,
)

Share = Annotated[float, Meta(ge=0, le=1)]
# How the chat API says it.
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class Block(Struct, frozen=True):
    """One block of a turn. Kinds that are not simulated, such as images, are passed over."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: Any = None

    def check(self) -> None:
        """Refuse a block without what its kind needs."""
        if self.type == "text" and not self.text:
            raise ValueError("text content blocks must be non-empty - at `$.messages`")
        if self.type == "tool_use" and None in (self.id, self.name, self.input):
            raise ValueError("a tool_use block needs id, name and input - at `$.messages`")
        if self.type == "tool_result":
            if self.tool_use_id is None:
                raise ValueError("a tool_result block needs tool_use_id - at `$.messages`")
            parts = [] if self.content is None or isinstance(self.content, str) else self.content
            if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
                raise ValueError("the content of a tool_result block is text or blocks - at `$.messages`")


class Turn(Struct, frozen=True):
    """One message: what one side said."""

    role: Literal["user", "assistant"]
    content: str | list[Block]

    def blocks(self, kind: str) -> list[Block]:
        """Return the blocks of one kind."""
        return [] if isinstance(self.content, str) else [block for block in self.content if block.type == kind]

    def messages(self) -> list[Message]:
        """Return the chat messages that the turn stands for: one for each tool result, one for the rest."""
        if isinstance(self.content, str):
            return [Message(self.role, self.content)]
        results = [Message("tool", block.content or "") for block in self.blocks("tool_result")]
        if len(results) == len(self.content):
            return results
        return [*results, Message(self.role, "\n".join(block.text or "" for block in self.blocks("text")))]


class MessagesTool(Struct, frozen=True):
    """One of ``tools``. Only those of one's own, which have an ``input_schema``, are ever called."""

    name: NonEmpty
    type: str | None = None
    input_schema: dict[str, Any] | None = None

    def tool(self) -> Tool:
        """Return the tool as the chat API writes it."""
        if self.type not in {None, "custom"}:
            return Tool(str(self.type))
        if self.input_schema is None:
            raise ValueError("a tool needs an input_schema - at `$.tools`")
        return Tool("function", Function(self.name, self.input_schema))


class ToolChoice(Struct, frozen=True):
    """Which tools may or must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(Struct, frozen=True):
    """The schema a JSON answer must follow."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True):
    """Options of the answer."""

    format: OutputFormat | None = None


class CountRequest(Struct, frozen=True, kw_only=True):
    """The body of ``POST /v1/messages/count_tokens``: the part of a request that its prompt is made of."""

    model: NonEmpty
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None  # where the beta of structured outputs had it

    def __post_init__(self) -> None:
        if self.tool_choice and not self.tools:
            raise ValueError("tool_choice may only be specified while providing tools - at `$.tool_choice`")
        for turn in self.messages:
            if not turn.content and not (turn is self.messages[-1] and turn.role == "assistant"):
                raise ValueError("all messages but a final one of the assistant need content - at `$.messages`")
            for block in turn.content if isinstance(turn.content, list) else ():
                block.check()
        self._check_calls()
        self.chat()

    def chat(self) -> ChatRequest:
        """Return the chat request that asks for the same."""
        messages = [Message("system", self.system)] if self.system else []
        messages += [message for turn in self.messages for message in turn.messages()]
        wanted = self.output_format or (self.output_config and self.output_config.format)
        given = self.tool_choice or ToolChoice("auto")
        named = {"type": "function", "function": {"name": given.name}}
        return ChatRequest(
            self.model,
            messages,
            tools=[tool.tool() for tool in self.tools or ()],
            tool_choice=_CHOICES.get(given.type, named),
            parallel_tool_calls=not given.disable_parallel_tool_use,
            response_format=ResponseFormat("json_schema", JsonSchema("output", wanted.schema)) if wanted else None,
        )

    def _check_calls(self) -> None:
        """Refuse tool_use blocks without their results in the next message, and results without them, as the API does."""
        before: set[str | None] = set()
        for turn in self.messages:
            if {block.tool_use_id for block in turn.blocks("tool_result")} != before:
                raise ValueError(
                    "each tool_use block must have its tool_result block in the next message, and no other - at `$.messages`"
                )
            before = {block.id for block in turn.blocks("tool_use")}
        if before:
            raise ValueError("tool_use blocks of the last message have no tool_result blocks - at `$.messages`")


class MessagesRequest(CountRequest, frozen=True, kw_only=True):
    """The body of ``POST /v1/messages``."""

    max_tokens: Positive
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Share | None = None

    def chat(self) -> ChatRequest:
        """Return the chat request that asks for the same."""
        if any(not stop.strip() for stop in self.stop_sequences or ()):
            raise ValueError("each stop sequence must contain non-whitespace - at `$.stop_sequences`")
        prompt = super().chat()
        return ChatRequest(
            prompt.model,
            prompt.messages,
            stream=self.stream,
            max_tokens=self.max_tokens,
            stop=self.stop_sequences,
            tools=prompt.tools,
            tool_choice=prompt.tool_choice,
            parallel_tool_calls=prompt.parallel_tool_calls,
            response_format=prompt.response_format,
        )
