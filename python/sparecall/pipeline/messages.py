"""The messages wire (Anthropic's `/v1/messages`): reads whole Messages, assembles streamed ones, renders them as streams again.

What is stored is the wire's own Message. Values that need not be understood, numbers above all, keep their spelling.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sparecall.pipeline.answer import NO_ENDING, Ending, Summary, TokenCount
from sparecall.pipeline.log import LogEvent

_decode = msgspec.json.decode
_encode = msgspec.json.encode
# A Message that stopped for one of these reasons may be served again; "refusal" and "pause_turn" may not.
# The model's window is a limit as "max_tokens" is: the same request comes to the same one.
_STORABLE_STOPS = frozenset({"end_turn", "max_tokens", "model_context_window_exceeded", "stop_sequence", "tool_use"})
# Known only when the Message ends: null in `message_start`, stated by `message_delta`.
_STATED_LAST = ("stop_reason", "stop_sequence", "stop_details", "container")
# What `message_delta` may say of the Message beside its delta.
_STATED_BESIDE = ("context_management", "input_transformations")
# The counts `message_delta` repeats; what else a usage says is stated by `message_start` alone.
_COUNTED_LAST = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens",
                 "output_tokens_details", "server_tool_use", "iterations")  # fmt: skip
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_blocks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_citations = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_EMPTY, _NULL = msgspec.Raw(b'""'), msgspec.Raw(b"null")
_ERROR_TYPES = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
                404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error",
                504: "timeout_error", 529: "overloaded_error"}  # fmt: skip


class _Usage(msgspec.Struct):
    input_tokens: TokenCount
    output_tokens: TokenCount
    cache_creation_input_tokens: TokenCount | None = None
    cache_read_input_tokens: TokenCount | None = None


class _Typed(msgspec.Struct):
    type: str


class _Block(_Typed):
    """A content block of any kind, with the fields `render` relies on where it has them."""

    text: str | None = None
    citations: list[_Typed] | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None

    @property
    def storable(self) -> bool:
        """Whether it can be replayed piece by piece. Thinking without a signature was cut off, or is of no use to its reader."""
        match self.type:
            case "text":
                return self.text is not None
            case "tool_use":
                return None not in (self.id, self.name, self.input)
            case "thinking":
                return self.thinking is not None and bool(self.signature)
            case "redacted_thinking":
                return self.data is not None
        return False


class _Message(msgspec.Struct):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[_Block]
    usage: _Usage
    stop_reason: str | None = None


def summarise(body: bytes) -> Summary | None:
    """What `body` says of itself, or None where it is not a Message."""
    try:
        # Decoded as a whole first: no corner of what is stored may turn out unreadable when it is rendered.
        message = msgspec.convert(_decode(body), _Message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage, blocks = message.usage, message.content
    cached_tokens = usage.cache_read_input_tokens or 0
    prompt_tokens = usage.input_tokens + (usage.cache_creation_input_tokens or 0) + cached_tokens
    storable = message.stop_reason in _STORABLE_STOPS and bool(blocks) and all(block.storable for block in blocks)
    return Summary(message.model, prompt_tokens, usage.output_tokens, storable, cached_tokens)


class _TextDelta(msgspec.Struct, tag="text_delta"):
    text: str


class _ThinkingDelta(msgspec.Struct, tag="thinking_delta"):
    thinking: str


class _SignatureDelta(msgspec.Struct, tag="signature_delta"):
    signature: str


class _InputDelta(msgspec.Struct, tag="input_json_delta"):
    partial_json: str


class _CitationsDelta(msgspec.Struct, tag="citations_delta"):
    citation: dict[str, Any]


_Delta = _TextDelta | _ThinkingDelta | _SignatureDelta | _InputDelta | _CitationsDelta


class _MessageStart(msgspec.Struct, tag="message_start"):
    message: dict[str, Any]


class _BlockStart(msgspec.Struct, tag="content_block_start"):
    index: int
    content_block: dict[str, Any]


class _BlockDelta(msgspec.Struct, tag="content_block_delta"):
    index: int
    delta: _Delta


class _BlockStop(msgspec.Struct, tag="content_block_stop"):
    index: int


class _MessageDelta(msgspec.Struct, tag="message_delta"):
    delta: dict[str, Any]
    usage: dict[str, Any]
    context_management: Any = None
    input_transformations: Any = None


class _MessageStop(msgspec.Struct, tag="message_stop"):
    pass


class _Ping(msgspec.Struct, tag="ping"):
    pass


class _Error(msgspec.Struct, tag="error"):
    pass


_Event = _MessageStart | _BlockStart | _BlockDelta | _BlockStop | _MessageDelta | _MessageStop | _Ping | _Error
_event_decoder: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event)


class _BlockBuilder:
    """One content block while it streams: what its start said, and the pieces that came since."""

    __slots__ = ("_pieces", "fields", "open")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.open = True
        self._pieces: dict[str, list[str]] = {}

    def add(self, delta: _Delta) -> None:
        match delta:
            case _TextDelta(text):
                self._pieces.setdefault("text", []).append(text)
            case _ThinkingDelta(thinking):
                self._pieces.setdefault("thinking", []).append(thinking)
            case _InputDelta(partial_json):
                self._pieces.setdefault("input", []).append(partial_json)
            case _SignatureDelta(signature):
                self.fields["signature"] = signature  # stated as a whole, as the official clients read it
            case _CitationsDelta(citation):
                if self.fields.get("citations") is None:
                    self.fields["citations"] = []
                self.fields["citations"].append(citation)

    def close(self) -> None:
        """Joins the pieces. Raises for those that do not fit what the block's start said."""
        self.open = False
        for name, pieces in self._pieces.items():
            joined = "".join(pieces)
            if name != "input":
                self.fields[name] = self.fields[name] + joined
            elif type(self.fields["input"]) is not dict:
                raise TypeError("a tool's input is an object")
            elif joined.strip():  # else the tool takes no arguments
                self.fields["input"] = msgspec.Raw(msgspec.json.format(joined, indent=-1))


def _update(known: dict[str, Any], stated: dict[str, Any]) -> None:
    """Later words replace earlier ones; null is said of what is not known, and takes nothing back."""
    for name, value in stated.items():
        if value is None:
            known.setdefault(name, None)
        else:
            known[name] = value


class Assembler:
    """Builds the Message from the events of its stream, one at a time, each once."""

    __slots__ = ("_blocks", "_fields", "_fit", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._fields: dict[str, Any] = {}
        self._blocks: list[_BlockBuilder] = []
        self._fit = True

    def add(self, data: bytes) -> LogEvent | None:
        """Takes the data of one event in. One that cannot be part of a Message makes the whole unfit, not the stream.

        Every event is kept, the last one too. None is marked for its usage: on this wire usage is never left out.
        """
        try:
            self._add_event(_event_decoder.decode(data))
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
            self._fit = False
        return LogEvent(data, usage=False)

    def finish(self) -> Ending:
        """The Message, once the stream has come to its `message_stop`, if its events amount to one."""
        stopped = self.complete and self._fields.get("stop_reason") is not None
        if not self._fit or not stopped or any(block.open for block in self._blocks):
            return NO_ENDING
        try:
            body = _encode({**self._fields, "content": [block.fields for block in self._blocks]})
        except RecursionError:
            return NO_ENDING
        summary = summarise(body)
        return NO_ENDING if summary is None else Ending(body, summary)

    def _add_event(self, event: _Event) -> None:
        match event:
            case _BlockDelta(index, delta):
                self._open_block(index).add(delta)
            case _BlockStart(index, content_block):
                if not self._fields or index != len(self._blocks):
                    raise LookupError("blocks come in the order of their numbers, inside a Message")
                self._blocks.append(_BlockBuilder(content_block))
            case _BlockStop(index):
                self._open_block(index).close()
            case _MessageStart(message):
                if self._fields or message["content"] != []:
                    raise ValueError("a Message starts once, with nothing in it")
                self._fields = message
            case _MessageDelta(delta, usage):
                _update(self._fields["usage"], usage)
                _update(self._fields, delta)
                for name in _STATED_BESIDE:
                    if (value := getattr(event, name)) is not None:
                        self._fields[name] = value
            case _MessageStop():
                self.complete = True
            case _Error():
                self.complete = True
                self._fit = False

    def _open_block(self, index: int) -> _BlockBuilder:
        if index < 0 or not self._blocks[index].open:
            raise LookupError("no such block is open")
        return self._blocks[index]


def render(body: bytes, *, include_usage: bool = True) -> list[bytes]:
    """A Message as the data of its stream's events: every block in one piece, citations one by one.

    `message_start` counts 1 output token, as the API does before it has written any; `message_delta` has the true count.
    `include_usage` is there for the likeness of the wires: this one has no stream without usage.
    """
    message = _decode_fields(msgspec.json.format(body, indent=-1))
    usage = _decode_fields(message["usage"])
    last = {name: message[name] for name in _STATED_LAST if name in message}
    counts = {name: usage[name] for name in _COUNTED_LAST if name in usage}
    beside = {name: message[name] for name in _STATED_BESIDE if name in message}
    first: dict[str, Any] = {**message, **dict.fromkeys(last), "content": [], "usage": {**usage, "output_tokens": 1}}
    events = [_encode({"type": "message_start", "message": first})]
    for index, block in enumerate(_decode_blocks(message["content"])):
        start, deltas = _split(block)
        events.append(_encode({"type": "content_block_start", "index": index, "content_block": start}))
        events += [_encode({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
        events.append(_encode({"type": "content_block_stop", "index": index}))
    events.append(_encode({"type": "message_delta", "delta": last, "usage": counts, **beside}))
    events.append(b'{"type":"message_stop"}')
    return events


def _split(block: dict[str, msgspec.Raw]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the start of a block says, and the deltas that follow. A block of a kind that has no deltas starts whole."""
    start: dict[str, Any] = dict(block)
    deltas: list[dict[str, Any]] = []

    def take(name: str, kind: str) -> None:
        if block.get(name, _NULL) not in (_NULL, _EMPTY):
            start[name] = ""
            deltas.append({"type": kind, name: block[name]})

    match _decode(block["type"]):
        case "text":
            take("text", "text_delta")
            citations = _decode_citations(block.get("citations", _NULL))
            if citations:
                start["citations"] = []
                deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
        case "thinking":
            take("thinking", "thinking_delta")
            take("signature", "signature_delta")
        case "tool_use" if block.get("input", _NULL) != _NULL:
            start["input"] = {}
            deltas.append({"type": "input_json_delta", "partial_json": bytes(block["input"]).decode()})
    return start, deltas


def error_body(message: str, status: int) -> bytes:
    """The wire's error object, also the data of a stream's `error` event; its type is the one documented for `status`."""
    other = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return _encode({"type": "error", "error": {"type": _ERROR_TYPES.get(status, other), "message": message}})
