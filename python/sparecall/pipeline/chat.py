"""The chat wire: reads complete answers, assembles streamed ones, and renders a stored answer as a stream again."""

from __future__ import annotations

from typing import Any

import msgspec

from sparecall.pipeline.answer import NO_ENDING, Ending, Summary, TokenCount
from sparecall.pipeline.log import LogEvent

_decode = msgspec.json.decode
_encode = msgspec.json.encode
# A reply that ended for one of these reasons may be served again; "content_filter" may not.
_STORABLE_FINISHES = frozenset({"stop", "length", "tool_calls", "function_call"})


class _Details(msgspec.Struct):
    cached_tokens: TokenCount | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: TokenCount = 0
    completion_tokens: TokenCount = 0
    prompt_tokens_details: _Details | None = None


class _ToolCall(msgspec.Struct):
    pass


class _Message(msgspec.Struct):
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    """What `render` relies on."""

    message: _Message
    index: int = 0
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


_chunk_decoder = msgspec.json.Decoder(dict[str, Any])


def summarise(body: bytes) -> Summary | None:
    """What `body` says of itself, or None where it is not a chat completion."""
    try:
        completion = msgspec.convert(
            _decode(body), _Completion
        )  # all of it is read: what cannot be rendered is no answer
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    usage = completion.usage or _Usage()
    storable = bool(completion.choices) and all(c.finish_reason in _STORABLE_FINISHES for c in completion.choices)
    details = usage.prompt_tokens_details or _Details()
    cached_tokens = min(details.cached_tokens or 0, usage.prompt_tokens)
    return Summary(completion.model, usage.prompt_tokens, usage.completion_tokens, storable, cached_tokens)


def asking_for_usage(body: bytes) -> bytes:
    """The same streaming request with `stream_options.include_usage` on; every other value keeps its spelling.

    Options that the provider will refuse, and text that only some readers take, stay as they are.
    """
    try:
        fields = _decode(body, type=dict[str, msgspec.Raw])
        options = _decode(fields.get("stream_options", b"null"), type=dict[str, msgspec.Raw] | None) or {}
        _decode(options.get("include_usage", b"null"), type=bool | None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    options["include_usage"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(_encode(options))
    return _encode(fields)


def without_usage(events: list[LogEvent]) -> list[bytes]:
    """The events as they would have come had the client's wish, no usage, been passed on."""
    kept = []
    for event in events:
        if not event.usage:
            kept.append(event.data)
            continue
        chunk = _chunk_decoder.decode(event.data)
        usage = chunk.pop("usage")
        if chunk.get("choices") or not usage:  # a chunk that holds usage and nothing else goes as a whole
            kept.append(_encode(chunk))
    return kept


class Assembler:
    """Builds the complete answer from the chunks of a stream, one at a time, each once."""

    __slots__ = ("_choices", "_fields", "_fit", "_usage", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None
        self._fit = True

    def add(self, data: bytes) -> LogEvent | None:
        """Takes the data of one event in. A chunk that cannot be part of an answer makes the whole unfit, not the stream."""
        if data == b"[DONE]":
            self.complete = True
            return None
        speaks_of_usage = False
        try:
            chunk = _chunk_decoder.decode(data)
            speaks_of_usage = "usage" in chunk
            self._add_chunk(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError, RecursionError):
            self._fit = False
        return LogEvent(data, speaks_of_usage)

    def finish(self) -> Ending:
        """The answer, once the stream has come to its `[DONE]`, if its chunks amount to one."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not self._fit or not choices or any(choice["finish_reason"] is None for choice in choices):
            return NO_ENDING
        completion = {**self._fields, "object": "chat.completion", "choices": choices}
        if self._usage is not None:
            completion["usage"] = self._usage
        try:
            for choice in choices:
                _close_message(choice["message"])
            body = _encode(completion)
        except (TypeError, AttributeError, ValueError, RecursionError):
            return NO_ENDING  # pieces that fit together by themselves, but not as an answer
        return Ending(body, summarise(body))

    def _add_chunk(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self._fit = False
            return
        for name, value in chunk.items():
            if name == "usage":
                self._usage = value or self._usage
            elif name not in {"choices", "object", "obfuscation"} and value is not None:
                self._fields.setdefault(name, value)
        for part in chunk["choices"]:
            index = part["index"]
            if type(index) is not int:
                raise TypeError("a choice has a number")
            choice = self._choices.get(index)
            if choice is None:
                message = {"role": "assistant", "content": None}
                choice = self._choices[index] = {
                    "index": index, "message": message, "logprobs": None, "finish_reason": None,
                }  # fmt: skip
            for name, value in part.items():
                if name == "delta":
                    _merge(choice["message"], value or {})
                elif name == "logprobs":
                    _merge(choice, {"logprobs": value})
                elif name != "index" and value is not None:
                    choice[name] = value


def _merge(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    """Adds a delta to what came before it: text is appended, lists grow, parts with an `index` are merged by it."""
    for name, value in delta.items():
        known = whole.get(name)
        if known is None and isinstance(value, list | dict):
            known = whole[name] = type(value)()
        if value is None:
            whole.setdefault(name, None)
        elif known is None:
            whole[name] = value
        elif isinstance(value, str) and isinstance(known, str):
            # A role, an id or a type is stated, not spelled out piece by piece.
            whole[name] = value if name in {"role", "id", "type"} else known + value
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif isinstance(value, list) and isinstance(known, list):
            _merge_list(known, value)
        else:
            raise TypeError(f"a delta of {type(value).__name__} cannot be merged")


def _merge_list(whole: list[Any], parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("index"), int):
            known = next((item for item in whole if item.get("index") == part["index"]), None)
            if known is None:
                known = {"index": part["index"]}
                whole.append(known)
            _merge(known, {name: value for name, value in part.items() if name != "index"})
        else:
            whole.append(part)


def _close_message(message: dict[str, Any]) -> None:
    """Tool calls carry an index only while they stream."""
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = sorted(calls, key=lambda call: call.get("index", 0))
        for call in calls:
            call.pop("index", None)


def render(body: bytes, *, include_usage: bool) -> list[bytes]:
    """A complete answer as the data of stream events: each choice whole, then its finish, then usage where asked for."""
    completion = _decode(body)
    head = {name: value for name, value in completion.items() if name not in {"object", "choices", "usage"}}
    head["object"] = "chat.completion.chunk"
    usage: dict[str, Any] = {"usage": None} if include_usage else {}
    events = []
    for position, choice in enumerate(completion["choices"]):
        delta = dict(choice.pop("message"))
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(delta["tool_calls"])]
        index, logprobs = choice.get("index", position), choice.pop("logprobs", None)
        first = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        last = {"index": index, "delta": {}, "logprobs": None, "finish_reason": None, **choice}
        events += [_encode({**head, "choices": [part], **usage}) for part in (first, last)]
    if include_usage:
        events.append(_encode({**head, "choices": [], "usage": completion.get("usage")}))
    return events
