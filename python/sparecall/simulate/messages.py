"""Anthropic's Messages API: an answer as a message, or as the stream of events that builds one; its errors and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.simulate.messages_request import MessagesRequest
from sparecall.simulate.openai_wire import bearer
from sparecall.simulate.problem import Problem
from sparecall.simulate.quota import anthropic_headers
from sparecall.simulate.request import ChatRequest, check
from sparecall.simulate.wire import Event, Refusal, Wire, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sparecall.simulate.answer import Answer, Choice
    from sparecall.simulate.quota import Limit

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_OVERLOADED = 529  # where OpenAI says 503
_ERROR_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    _OVERLOADED: "overloaded_error",
}


class Messages(Wire):
    """The Messages API."""

    kind = "messages"
    prompt_fields = ("system", "messages", "tools")

    def read(self, body: dict[str, Any]) -> ChatRequest:
        """Return the chat request that asks for the same."""
        return check(body, MessagesRequest).chat()

    def whole(self, answer: Answer, body: dict[str, Any], *, created: int) -> dict[str, Any]:
        """Return the message."""
        (choice,) = answer.choices
        return {
            **_message(answer, answer.completion_tokens),
            "content": list(_blocks(choice)),
            **_ending(choice),
        }

    def events(self, answer: Answer, body: dict[str, Any], *, created: int) -> Iterator[Event]:
        """Yield the events in the API's order."""
        (choice,) = answer.choices
        begun = _message(answer, min(1, answer.completion_tokens))
        yield Event.of(0.0, {"type": "message_start", "message": begun})
        steps = [step for index, block in enumerate(_blocks(choice)) for step in _steps(index, block)]
        for done, step in enumerate(steps, 1):
            progress = done / len(steps)
            yield Event.of(progress, step)
            if done == 1:  # where the API sends one, too
                yield Event.of(progress, {"type": "ping"})
        usage = _usage(answer, answer.completion_tokens)
        yield Event.of(1.0, {"type": "message_delta", "delta": _ending(choice), "usage": usage})
        yield Event.of(1.0, {"type": "message_stop"})

    def demand(self, headers: Mapping[str, str], *, key: bool) -> None:
        """Demand a key, in ``x-api-key`` or as a bearer, and the version of the API."""
        if key and not (headers.get("x-api-key", "").strip() or bearer(headers)):
            raise Problem(401, "x-api-key header is required (simulated: any key will do)")
        if not headers.get("anthropic-version", "").strip():
            raise Problem(400, "anthropic-version: header is required")

    def refusal(self, problem: Problem, request_id: str) -> Refusal:
        """Return ``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
        status = _OVERLOADED if problem.status == 503 else problem.status
        headers = {name: value for name, value in problem.headers.items() if name != "retry-after-ms"}
        error = {"type": _ERROR_TYPES.get(status, "invalid_request_error"), "message": str(problem)}
        return Refusal(status, headers, {"type": "error", "error": error, "request_id": request_id})

    def error_event(self, problem: Problem, request_id: str, number: int) -> Event:
        """Return the error object as the event ``error``."""
        return Event.of(1.0, self.refusal(problem, request_id).error)

    def headers(self, *, request_id: str, seconds: float, limits: list[Limit], now: float) -> dict[str, str]:
        """Return ``request-id`` and ``anthropic-ratelimit-*``."""
        return {"request-id": request_id, **anthropic_headers(limits, now)}


def _message(answer: Answer, output_tokens: int) -> dict[str, Any]:
    """Return the message before anything of it is said."""
    usage = {
        **_usage(answer, output_tokens),
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }
    return {
        "id": f"msg_sim_{answer.digest}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }


def _usage(answer: Answer, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": answer.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _ending(choice: Choice) -> dict[str, Any]:
    reason = "stop_sequence" if choice.stop is not None else _STOP_REASONS[choice.finish_reason]
    return {"stop_reason": reason, "stop_sequence": choice.stop, "stop_details": None}


def _blocks(choice: Choice) -> Iterator[dict[str, Any]]:
    """Yield the blocks of the message; an empty text, as a stop sequence may leave, is none."""
    if choice.text:
        yield {"type": "text", "text": choice.text}
    for call in choice.calls:
        yield {
            "type": "tool_use",
            "id": "toolu_" + call.id.removeprefix("call_"),
            "name": call.name,
            "input": msgspec.json.decode(call.arguments),
        }


def _steps(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events that build a block."""
    if block["type"] == "text":
        begun = {**block, "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    else:
        begun = {**block, "input": {}}
        arguments = ["", *pieces(msgspec.json.encode(block["input"]).decode())]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in arguments]
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
