"""An answer as OpenAI's chat completions API sends it: one object, or a stream of chunks."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.simulate.openai_wire import OpenAIWire
from sparecall.simulate.request import ChatRequest, check
from sparecall.simulate.wire import Event, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparecall.simulate.answer import Answer, Choice

FINGERPRINT = "fp_simulated"
_DONE = Event(1.0, b"[DONE]")


class Chat(OpenAIWire):
    """The chat completions API."""

    kind = "chat"
    prompt_fields = ("messages", "tools")

    def read(self, body: dict[str, Any]) -> ChatRequest:
        """Return the checked request."""
        return check(body, ChatRequest)

    def whole(self, answer: Answer, body: dict[str, Any], *, created: int) -> dict[str, Any]:
        """Return the completion."""
        return completion(answer, created=created)

    def events(self, answer: Answer, body: dict[str, Any], *, created: int) -> Iterator[Event]:
        """Yield the chunks, then ``[DONE]``."""
        options = body.get("stream_options") or {}
        for progress, chunk in chunks(answer, created=created, include_usage=bool(options.get("include_usage"))):
            yield Event(progress, msgspec.json.encode(chunk))
        yield _DONE


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the usage object; nothing is cached, reasoned, spoken or predicted here."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion(answer: Answer, *, created: int) -> dict[str, Any]:
    """Return the object of a reply that is not streamed."""
    return {
        **_head(answer, "chat.completion", created),
        "choices": [
            {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": choice.finish_reason}
            for index, choice in enumerate(answer.choices)
        ],
        "usage": usage(answer.prompt_tokens, answer.completion_tokens),
    }


def chunks(answer: Answer, *, created: int, include_usage: bool) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the chunks of a streamed reply, each with the share of the answer (0 to 1) that ends with it.

    Several choices take turns, as they do at the provider.
    """
    head = {**_head(answer, "chat.completion.chunk", created), **({"usage": None} if include_usage else {})}

    def chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}

    for index, choice in enumerate(answer.choices):
        yield 0.0, chunk(index, {"role": "assistant", "content": None if choice.calls else "", "refusal": None})
    by_choice = [[(index, delta) for delta in _deltas(choice)] for index, choice in enumerate(answer.choices)]
    turns = [turn for turn in chain.from_iterable(zip_longest(*by_choice)) if turn is not None]
    for done, (index, delta) in enumerate(turns, 1):
        yield done / len(turns), chunk(index, delta)
    for index, choice in enumerate(answer.choices):
        yield 1.0, chunk(index, {}, choice.finish_reason)
    if include_usage:
        yield 1.0, {**head, "choices": [], "usage": usage(answer.prompt_tokens, answer.completion_tokens)}


def _head(answer: Answer, kind: str, created: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim-{answer.digest}",
        "object": kind,
        "created": created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if choice.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.calls
        ]
    return message


def _deltas(choice: Choice) -> Iterator[dict[str, Any]]:
    for piece in pieces(choice.text or ""):
        yield {"content": piece}
    for index, call in enumerate(choice.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        for piece in pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
