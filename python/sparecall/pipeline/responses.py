"""The wire of OpenAI's Responses API: reads complete answers, assembles streamed ones, and renders a stored one as a stream.

What is stored is the Response object itself. A stream ends with it, so it is never put together from pieces, only checked.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw

from sparecall.pipeline.answer import NO_ENDING, Ending, Summary, TokenCount
from sparecall.pipeline.log import LogEvent

# Where a text stands: the name of its events, the number of its item, and that of its part.
_Place: TypeAlias = tuple[str, int | None, int | None]
_decode = msgspec.json.decode
_encode = msgspec.json.encode

# Texts that a stream spells out: by the type of the item or part that holds them, what their events are called,
# and the field they fill. The type of an event is the name, then ".delta" or ".done".
_SPELLED = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
    "summary_text": ("response.reasoning_summary_text", "text"),
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}
_DELTAS = {f"{name}.delta": name for name, _ in _SPELLED.values()}
# Items made of parts: the lists that hold them, what the events about a part are called, and the name of its number.
_CONTENT = ("content", "response.content_part", "content_index")
_PARTS = {
    "message": (_CONTENT,),
    "reasoning": (("summary", "response.reasoning_summary_part", "summary_index"), _CONTENT),
}
# The events that end a stream with a whole Response: the rest of the type is the Response's status.
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

_NULL, _EMPTY_TEXT, _EMPTY_LIST, _IN_PROGRESS = Raw(b"null"), Raw(b'""'), Raw(b"[]"), Raw(b'"in_progress"')
# How what is not finished yet stands in the events that open it.
_OPEN_RESPONSE = {"status": _IN_PROGRESS, "output": _EMPTY_LIST, "usage": _NULL, "completed_at": _NULL, "error": _NULL,
                  "incomplete_details": _NULL}  # fmt: skip
_OPEN_ITEM = {"status": _IN_PROGRESS, "content": _EMPTY_LIST, "summary": _EMPTY_LIST, "arguments": _EMPTY_TEXT,
              "input": _EMPTY_TEXT, "encrypted_content": _NULL}  # fmt: skip
_OPEN_PART = {"text": _EMPTY_TEXT, "annotations": _EMPTY_LIST, "logprobs": _EMPTY_LIST}


class _Details(msgspec.Struct):
    cached_tokens: TokenCount | None = None


class _Usage(msgspec.Struct):
    input_tokens: TokenCount = 0
    output_tokens: TokenCount = 0
    input_tokens_details: _Details | None = None


class _Response(msgspec.Struct):
    id: str
    object: Literal["response"]
    output: list[Raw]
    status: str | None = None
    model: str = ""
    error: Any = None
    conversation: Any = None
    usage: _Usage | None = None


class _OutputText(msgspec.Struct):
    type: Literal["output_text"]
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] | None = None


class _SummaryText(msgspec.Struct):
    type: Literal["summary_text"]
    text: str


class _ReasoningText(msgspec.Struct):
    type: Literal["reasoning_text"]
    text: str


class _Item(msgspec.Struct, tag_field="type", kw_only=True):
    id: str
    status: Literal["completed"] | None = None


class _Message(_Item, tag="message"):
    content: list[_OutputText]


class _Reasoning(_Item, tag="reasoning"):
    summary: list[_SummaryText]
    content: list[_ReasoningText] | None = None


class _FunctionCall(_Item, tag="function_call"):
    arguments: str


class _CustomToolCall(_Item, tag="custom_tool_call"):
    input: str


class _Event(msgspec.Struct):
    """What the assembler wants to know of an event."""

    type: str
    response: Raw = _NULL
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None


class _Echo(msgspec.Struct):
    """What a Response only repeats of its request, and two requests with one answer may differ in."""

    metadata: Raw = Raw(b"{}")
    user: Raw = _NULL
    safety_identifier: Raw = _NULL
    prompt_cache_key: Raw = _NULL


_response_decoder = msgspec.json.Decoder(_Response)
# The items that `render` can replay, whole. Not among them: what the provider's own tools did, and refusals.
_item_decoder = msgspec.json.Decoder(_Message | _Reasoning | _FunctionCall | _CustomToolCall)
_event_decoder = msgspec.json.Decoder(_Event)
_echo_decoder = msgspec.json.Decoder(_Echo)
_fields_decoder = msgspec.json.Decoder(dict[str, Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# What looking for one's way through JSON of any shape may raise.
_ODD = (*_UNREADABLE, LookupError, TypeError, AttributeError)


def summarise(body: bytes) -> Summary | None:
    """What `body` says of itself, or None where it is not a Response."""
    try:
        response = _response_decoder.decode(body)
    except _UNREADABLE:
        return None
    usage = response.usage or _Usage()
    details = usage.input_tokens_details or _Details()
    cached_tokens = min(details.cached_tokens or 0, usage.input_tokens)
    return Summary(response.model, usage.input_tokens, usage.output_tokens, _storable(response, body), cached_tokens)


def _storable(response: _Response, body: bytes) -> bool:
    # A conversation grows with every call: an answer from memory would leave it as it is.
    if response.status != "completed" or response.error is not None or response.conversation is not None:
        return False
    try:
        for item in response.output:
            _item_decoder.decode(item)
        _decode(body)  # text that nobody can read may stand where no decoder has looked yet
    except _UNREADABLE:
        return False
    return bool(response.output)


class Assembler:
    """Takes the complete answer from the event that ends a stream, and holds the stream against it."""

    __slots__ = ("_fit", "_response", "_status", "_texts", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._texts: dict[_Place, list[str]] = {}
        self._response = b""
        self._status = ""
        self._fit = True

    def add(self, data: bytes) -> LogEvent | None:
        """Takes the data of one event in. An event that cannot be part of an answer makes the whole unfit, not the stream.

        The `[DONE]` of other wires, which some providers send on this one too, is nothing a client should see.
        """
        if data == b"[DONE]":
            return None
        try:
            self._add(_event_decoder.decode(data))
        except (*_UNREADABLE, TypeError):
            self._fit = False
        return LogEvent(data, usage=False)

    def finish(self) -> Ending:
        """The Response that the stream ended with, if it says what the stream said."""
        summary = summarise(self._response) if self._fit else None
        if summary is None:
            return NO_ENDING
        streamed = {place: text for place, pieces in self._texts.items() if (text := "".join(pieces))}
        try:
            response = _decode(self._response)
            agrees = response["status"] == self._status and _texts(response["output"]) == streamed
        except _ODD:
            return NO_ENDING
        return Ending(self._response, summary) if agrees else NO_ENDING

    def _add(self, event: _Event) -> None:
        if event.type in _DELTAS:
            if type(event.delta) is not str:
                raise TypeError("a delta is text")
            number = event.summary_index if event.content_index is None else event.content_index
            place = (_DELTAS[event.type], event.output_index, number)
            self._texts.setdefault(place, []).append(event.delta)
        elif event.type in _TERMINAL:
            self.complete = True
            self._response = bytes(event.response)
            self._status = event.type.removeprefix("response.")
        elif event.type == "error":
            self.complete = True
            self._fit = False


def _texts(output: list[Any]) -> dict[_Place, str]:
    """The texts of all items that a stream spells out, by the name of their events and their place; not the empty ones."""
    texts: dict[_Place, str] = {}
    for output_index, item in enumerate(output):
        lists = _PARTS.get(item["type"], ())
        parts = [(index, part) for field, _, _ in lists for index, part in enumerate(item.get(field) or ())]
        for index, part in [(None, item), *parts]:
            name, field = _SPELLED.get(part["type"], (None, ""))
            if name is not None and part[field]:
                texts[name, output_index, index] = part[field]
    return texts


def render(body: bytes, *, include_usage: bool = True) -> list[bytes]:
    """A Response as the data of stream events, every text whole in one delta. Values keep their spelling.

    One that is not storable, which a provider may send to who asked for a stream, ends as its status says.
    Every stream of this wire ends with the Response, and so with its usage: `include_usage` is for the likeness of the wires.
    """
    if b"\n" in body or b"\r" in body:  # never inside a JSON string: the provider has laid it out for reading
        body = msgspec.json.format(body, indent=-1)
    response = _fields_decoder.decode(body)
    opening = Raw(_encode(_opened(response, _OPEN_RESPONSE)))
    script = _Script()
    script.add("response.created", response=opening)
    script.add("response.in_progress", response=opening)
    for output_index, item in enumerate(_decode(response["output"], type=list[Raw])):
        begun = len(script.events)
        try:
            script.add_item(output_index, _fields_decoder.decode(item))
        except _ODD:  # of no kind that is known here: no storable Response has such an item
            del script.events[begun:]
            script.add("response.output_item.done", output_index=output_index, item=item)
    last = f"response.{_decode(response.get('status', _NULL))}"
    script.add(last if last in _TERMINAL else "response.completed", response=Raw(body))
    return script.events


def _opened(fields: dict[str, Raw], opening: dict[str, Raw]) -> dict[str, Raw]:
    return {name: opening.get(name, value) for name, value in fields.items()}


class _Script:
    """Numbers the events of a stream while it is written."""

    __slots__ = ("events",)

    def __init__(self) -> None:
        self.events: list[bytes] = []

    def add(self, event_type: str, **fields: object) -> None:
        self.events.append(_encode({"type": event_type, "sequence_number": len(self.events), **fields}))

    def add_item(self, output_index: int, item: dict[str, Raw]) -> None:
        place = {"item_id": item["id"], "output_index": output_index}
        self.add("response.output_item.added", output_index=output_index, item=_opened(item, _OPEN_ITEM))
        for field, name, number in _PARTS.get(_decode(item["type"], type=str), ()):
            for index, part in enumerate(_decode(item.get(field, b"null"), type=list[dict[str, Raw]] | None) or ()):
                part_place = {**place, number: index}
                self.add(f"{name}.added", **part_place, part=_opened(part, _OPEN_PART))
                self.add_text(part, part_place)
                self.add(f"{name}.done", **part_place, part=part)
        self.add_text(item, place)
        self.add("response.output_item.done", output_index=output_index, item=item)

    def add_text(self, holder: dict[str, Raw], place: dict[str, Any]) -> None:
        """The text of an item or a part, if it is of those that are spelled out."""
        kind = _decode(holder["type"], type=str)
        if kind not in _SPELLED:
            return
        name, field = _SPELLED[kind]
        extra, annotations = {}, []
        if kind == "output_text":
            extra["logprobs"] = _decode(holder.get("logprobs", b"null"), type=list[Raw] | None) or []
            annotations = _decode(holder.get("annotations", b"[]"), type=list[Raw])
        self.add(f"{name}.delta", **place, delta=holder[field], **extra)
        for index, annotation in enumerate(annotations):
            self.add(f"{name}.annotation.added", **place, annotation_index=index, annotation=annotation)
        self.add(f"{name}.done", **place, **{field: holder[field]}, **extra)


def echoed(body: bytes, request: bytes) -> bytes:
    """A stored Response with what it only repeats of its request taken from this one, so that nobody sees another client's.

    The same bytes where nothing differs: to find out reads both texts once, and builds nothing.
    """
    stored = _echo_decoder.decode(body)
    try:
        wanted = _echo_decoder.decode(request)
    except _UNREADABLE:  # text that only some readers take: repeat nothing of it
        wanted = _Echo()
    if wanted.metadata == _NULL:
        wanted.metadata = _Echo().metadata
    differing = {
        name: value for name in _Echo.__struct_fields__ if (value := getattr(wanted, name)) != getattr(stored, name)
    }
    if not differing:
        return body
    return _encode({**_fields_decoder.decode(body), **differing})


def error_event(message: str, code: str, *, sequence_number: int = 0) -> bytes:
    """The data of the event that ends a broken stream.

    The documentation has its fields side by side, the provider sends them within `error`, and each has its readers:
    the official client raises only for the second.
    """
    error = {"type": code, "code": code, "message": message, "param": None}
    return _encode({**error, "type": "error", "sequence_number": sequence_number, "error": error})
