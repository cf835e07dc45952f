"""OpenAI's Responses API: an answer as a Response object, or as the stream of events that builds one."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from sparecall.simulate.openai_wire import OpenAIWire
from sparecall.simulate.request import ChatRequest, check
from sparecall.simulate.responses_request import ResponsesRequest
from sparecall.simulate.wire import Event, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparecall.simulate.answer import Answer
    from sparecall.simulate.problem import Problem

# What the Response repeats of the request, and what it says where the request says nothing.
_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_FUNCTION_DEFAULTS = {"description": None, "parameters": None, "strict": True}


class Responses(OpenAIWire):
    """The Responses API."""

    kind = "responses"
    prompt_fields = ("instructions", "input", "tools")

    def read(self, body: dict[str, Any]) -> ChatRequest:
        """Return the chat request that asks for the same."""
        return check(body, ResponsesRequest).chat()

    def whole(self, answer: Answer, body: dict[str, Any], *, created: int) -> dict[str, Any]:
        """Return the finished Response."""
        output = _output(answer)
        status = output[-1]["status"]
        return {
            **_response(answer, body, created),
            "status": status,
            "completed_at": created if status == "completed" else None,
            "incomplete_details": None if status == "completed" else {"reason": "max_output_tokens"},
            "output": output,
            "usage": {
                "input_tokens": answer.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": answer.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            },
        }

    def events(self, answer: Answer, body: dict[str, Any], *, created: int) -> Iterator[Event]:
        """Yield the events in the API's order, numbered; the last holds the finished Response."""
        numbers = count()

        def event(progress: float, kind: str, **fields: Any) -> Event:
            return Event.of(progress, {"type": kind, **fields, "sequence_number": next(numbers)})

        opening = _response(answer, body, created)
        yield event(0.0, "response.created", response=opening)
        yield event(0.0, "response.in_progress", response=opening)
        final = self.whole(answer, body, created=created)
        steps = [(index, step) for index, item in enumerate(final["output"]) for step in _steps(item)]
        for done, (index, (kind, fields)) in enumerate(steps, 1):
            yield event(done / len(steps), kind, output_index=index, **fields)
        yield event(1.0, f"response.{final['status']}", response=final)

    def error_event(self, problem: Problem, request_id: str, number: int) -> Event:
        """Return the event ``error``, whose fields stand at its top."""
        error = {"code": problem.error["code"] or problem.error["type"], "message": str(problem), "param": None}
        return Event.of(1.0, {"type": "error", **error, "sequence_number": number})


def _response(answer: Answer, body: dict[str, Any], created: int) -> dict[str, Any]:
    """Return the Response before anything of it is made."""
    given = _not_null(body)
    return {
        "id": f"resp_sim_{answer.digest}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": answer.model,
        "output": [],
        "usage": None,
        "service_tier": "default",
        **{name: given.get(name, default) for name, default in _ECHOED.items()},
        "reasoning": {"effort": None, "summary": None, **_not_null(given.get("reasoning", {}))},
        "text": {"format": {"type": "text"}, "verbosity": "medium", **_not_null(given.get("text", {}))},
        "tools": [
            {**_FUNCTION_DEFAULTS, **tool} if tool["type"] == "function" else tool for tool in given.get("tools", ())
        ],
    }


def _not_null(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _output(answer: Answer) -> list[dict[str, Any]]:
    (choice,) = answer.choices
    calls = [
        {
            "id": f"fc_sim_{answer.digest}_{index}",
            "type": "function_call",
            "status": "completed",
            "arguments": call.arguments,
            "call_id": call.id,
            "name": call.name,
        }
        for index, call in enumerate(choice.calls)
    ]
    if choice.text is None:
        return calls
    message = {
        "id": f"msg_sim_{answer.digest}",
        "type": "message",
        "status": "incomplete" if choice.finish_reason == "length" else "completed",
        "role": "assistant",
        "content": [_part(choice.text)],
    }
    return [message, *calls]


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _steps(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kinds and fields of the events that build an output item."""
    place = {"item_id": item["id"]}
    if item["type"] == "message":
        yield "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}
        part = {**place, "content_index": 0}
        text = item["content"][0]["text"]
        yield "response.content_part.added", {**part, "part": _part("")}
        for piece in pieces(text):
            yield "response.output_text.delta", {**part, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**part, "text": text, "logprobs": []}
        yield "response.content_part.done", {**part, "part": _part(text)}
    else:
        yield "response.output_item.added", {"item": {**item, "status": "in_progress", "arguments": ""}}
        for piece in pieces(item["arguments"]):
            yield "response.function_call_arguments.delta", {**place, "delta": piece}
        yield "response.function_call_arguments.done", {**place, "arguments": item["arguments"]}
    yield "response.output_item.done", {"item": item}
