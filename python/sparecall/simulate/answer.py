"""What the simulated model answers: a text, a JSON object or tool calls, drawn from the digest of the whole request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from sparecall.simulate.prose import prose
from sparecall.simulate.schema import Filler, mentions
from sparecall.simulate.seeded import canonical_text, generator

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sparecall.simulate.request import ChatRequest, Function

    Count = Callable[[str], int]

MARK = "[simulated] "
_UNASKED_TOOL_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a function; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the ``n`` answers: a text or tool calls."""

    text: str | None
    calls: tuple[ToolCall, ...]
    finish_reason: str
    tokens: int
    stop: str | None = None  # the stop sequence that ended it


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices of one request and what they cost."""

    digest: str
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(choice.tokens for choice in self.choices)


def prompt_tokens(body: dict[str, object], fields: tuple[str, ...], count: Count) -> int:
    """Return the tokens of those of these fields that are there and not empty, each as compact JSON with sorted keys."""
    return sum(count(canonical_text(body[field])) for field in fields if body.get(field))


def answer(request: ChatRequest, *, digest: str, prompt: int, seed: int, count: Count) -> Answer:
    """Return what the model answers; the same digest and seed always give the same."""
    choices = []
    for index in range(request.n or 1):
        draw = generator(seed, digest, f"choice {index}")
        tools = _tools_to_call(request, draw)
        if tools:
            choices.append(_calls(request, tools, draw, count))
        else:
            choices.append(_text(request, draw, count))
    return Answer(digest, request.model, tuple(choices), prompt)


def _tools_to_call(request: ChatRequest, draw: Random) -> list[Function]:
    functions = request.functions()
    if not functions or request.tool_choice == "none":
        return []
    if forced := request.forced_tool():
        return [function for function in functions if function.name == forced][:1]
    asked: list[Function] = []
    if request.messages[-1].role == "user":
        text = request.user_text()
        places = {function.name: _place(function.name, text) for function in functions}
        asked = sorted((each for each in functions if places[each.name] >= 0), key=lambda each: places[each.name])
        if not asked and draw.random() < _UNASKED_TOOL_SHARE:
            asked = [draw.choice(functions)]
    if not asked and request.tool_choice == "required":
        asked = [draw.choice(functions)]
    return asked[:1] if request.parallel_tool_calls is False else asked


def _place(name: str, text: str) -> int:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    return found.start() if found else -1


def _calls(request: ChatRequest, tools: list[Function], draw: Random, count: Count) -> Choice:
    names = {function.name for function in request.functions()}
    said = [mention for mention in mentions(request.user_text()) if mention not in names]
    calls = []
    for function in tools:
        arguments = Filler(draw, function.parameters or {}, said).object()
        calls.append(
            ToolCall(f"call_{draw.getrandbits(96):024x}", function.name, msgspec.json.encode(arguments).decode())
        )
    tokens = sum(count(call.name) + count(call.arguments) for call in calls)
    return Choice(None, tuple(calls), "tool_calls", tokens)


def _text(request: ChatRequest, draw: Random, count: Count) -> Choice:
    text = _content(request, draw)
    stopped_at = None
    for stop in [request.stop] if isinstance(request.stop, str) else request.stop or ():
        if stop and stop in text:
            text, stopped_at = text[: text.index(stop)], stop
    limits = [limit for limit in (request.max_tokens, request.max_completion_tokens) if limit is not None]
    tokens = count(text)
    if not limits or tokens <= min(limits):
        return Choice(text, (), "stop", tokens, stopped_at)
    text = _cut(text, min(limits), count)
    return Choice(text, (), "length", count(text))


def _content(request: ChatRequest, draw: Random) -> str:
    about = request.user_text()
    wanted = request.response_format
    if wanted and wanted.type == "json_schema" and wanted.json_schema:
        return msgspec.json.encode(Filler(draw, wanted.json_schema.schema, mentions(about)).object()).decode()
    if wanted and wanted.type == "json_object":
        return msgspec.json.encode({"simulated": True, "answer": prose(draw, about)}).decode()
    last = request.messages[-1]
    if last.role == "tool":
        result = last.text()
        shown = " ".join(result.split())[:80]
        return f'{MARK}The tool returned {len(result)} characters, beginning "{shown}". {prose(draw, result)}'
    return MARK + prose(draw, about)


def _cut(text: str, limit: int, count: Count) -> str:
    """Return the longest beginning of the text, by characters, that has at most ``limit`` tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    while count(text[:low]) > limit:  # tokens of a prefix may, rarely, be more than those of a longer one
        low -= 1
    return text[:low]
