"""The wires that requests come in: where each goes, how its answers are read and replayed, and how its errors look."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sparecall.pipeline import chat, messages, responses, vectors
from sparecall.pipeline.events import framed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparecall.pipeline.answer import Assembler, Summary
    from sparecall.pipeline.request import WireName


class Wire(NamedTuple):
    """One API of a provider. A call goes to the provider in the wire it came in; its answer is stored as the wire's own JSON."""

    name: WireName
    """As `Request.wire` has it."""
    path: str
    """Below the provider's base URL, and below ``/v1`` of the gateway."""
    prepared: Callable[[bytes], bytes]
    """The body of a streaming request as it goes to the provider where the client did not ask for usage."""
    summarise: Callable[[bytes], Summary | None]
    """What a whole answer says of itself; None where it is none."""
    assembler: Callable[[], Assembler]
    """Builds a whole answer from a stream."""
    render: Callable[..., list[bytes]]
    """``render(body, include_usage=...)``: a whole answer as the data of stream events."""
    personal: Callable[[bytes, bytes], bytes] | None
    """``personal(body, request)``: a stored answer with what it repeats of a request, and does not count for its digest,
    taken from this one. None where answers repeat nothing."""
    frame: Callable[[list[bytes]], bytes]
    """The data of events as server-sent events."""
    end: bytes
    """What follows the last event of a stream that ended in order."""
    error: Callable[..., bytes]
    """``error(message, status=, code=, kind=)``: the error object of a reply."""
    error_event: Callable[..., bytes]
    """``error_event(message, code=, kind=)``: the data of the event that ends a stream which broke."""


def _openai_error(message: str, *, status: int, code: str, kind: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _chat_error_event(message: str, *, code: str, kind: str) -> bytes:
    return _openai_error(message, status=200, code=code, kind=kind)


def _chat_frame(events: list[bytes]) -> bytes:
    return b"".join([b"data: %b\n\n" % event for event in events])


def _unchanged(body: bytes) -> bytes:
    return body


def _responses_error_event(message: str, *, code: str, kind: str) -> bytes:
    return responses.error_event(message, code)


def _messages_error(message: str, *, status: int, code: str, kind: str) -> bytes:
    return messages.error_body(message, status)


def _messages_error_event(message: str, *, code: str, kind: str) -> bytes:
    return messages.error_body(message, 502)


CHAT = Wire(
    name="chat",
    path="/chat/completions",
    prepared=chat.asking_for_usage,
    summarise=chat.summarise,
    assembler=chat.Assembler,
    render=chat.render,
    personal=None,
    frame=_chat_frame,
    end=b"data: [DONE]\n\n",
    error=_openai_error,
    error_event=_chat_error_event,
)
RESPONSES = Wire(
    name="responses",
    path="/responses",
    prepared=_unchanged,
    summarise=responses.summarise,
    assembler=responses.Assembler,
    render=responses.render,
    personal=responses.echoed,
    frame=framed,
    end=b"",
    error=_openai_error,
    error_event=_responses_error_event,
)
MESSAGES = Wire(
    name="messages",
    path="/messages",
    prepared=_unchanged,
    summarise=messages.summarise,
    assembler=messages.Assembler,
    render=messages.render,
    personal=None,
    frame=framed,
    end=b"",
    error=_messages_error,
    error_event=_messages_error_event,
)
# Never streamed, and stored input by input: the stage `embeddings` does it.
EMBEDDINGS = CHAT._replace(name="embeddings", path="/embeddings", prepared=_unchanged, summarise=vectors.summarise)
WIRES: dict[WireName, Wire] = {wire.name: wire for wire in (CHAT, RESPONSES, MESSAGES, EMBEDDINGS)}
