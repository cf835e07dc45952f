"""Drives a day through the official `openai` SDK and records what came of every call."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparecall.demo.questions import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai
    from openai import AsyncStream
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from sparecall.demo.task import Day, Task


EMBEDDER = "text-embedding-3-small"


@dataclass(slots=True)
class Answer:
    """What the client received, whether streamed or whole."""

    id: str = ""
    model: str = ""
    content: str = ""
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    """Id, name and arguments of each."""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def message(self) -> dict[str, Any]:
        """The answer as it stands in the conversation from now on."""
        if not self.tool_calls:
            return {"role": "assistant", "content": self.content}
        calls = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in self.tool_calls
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call and what came of it. `step` counts the calls of the task; `micros` is the time in the pipeline."""

    task: Task
    step: int
    hit: str
    seconds: float
    micros: int
    answer: Answer


async def drive(day: Day, client: openai.AsyncOpenAI, on_call: Callable[[], object]) -> list[Outcome]:
    """Makes every call of the day and returns what came of each, sorted by task and step."""
    driver = _Driver(client, on_call)
    for hour in day.hours:
        async with asyncio.TaskGroup() as agents:
            for tasks in hour:
                agents.create_task(driver.work(tasks))
    return sorted(driver.outcomes, key=lambda outcome: (outcome.task.number, outcome.step))


async def index(day: Day, client: openai.AsyncOpenAI) -> list[list[float]]:
    """The vectors of every function that somebody asked about, a request each, all at once: what an agent does to search in its code."""
    texts = dict.fromkeys(task.messages[-1]["content"] for task in day.tasks if task.kind == "ask")

    async def vector(text: str) -> list[float]:
        reply = await client.embeddings.create(model=EMBEDDER, input=text, dimensions=64)
        return reply.data[0].embedding

    return await asyncio.gather(*map(vector, texts))


class _Driver:
    def __init__(self, client: openai.AsyncOpenAI, on_call: Callable[[], object]) -> None:
        self.outcomes: list[Outcome] = []
        self._client, self._on_call = client, on_call
        self._conversations: dict[int, list[dict[str, Any]]] = {}

    async def work(self, tasks: tuple[Task, ...]) -> None:
        """Does an agent's tasks of one hour, one after the other."""
        for task in tasks:
            messages = list(task.messages)
            if task.kind == "follow-up" and task.earlier is not None:
                messages = self._conversations[task.earlier] + messages
            answer = await self._call(task, 0, messages)
            messages.append(answer.message())
            if task.tools is not None:
                messages += [_tool_result(task, call) for call in answer.tool_calls]
                messages.append((await self._call(task, 1, messages)).message())
            self._conversations[task.number] = messages

    async def _call(self, task: Task, step: int, messages: list[dict[str, Any]]) -> Answer:
        request: dict[str, Any] = {"model": task.model, "messages": messages, "temperature": task.temperature}
        if task.tools is not None:
            request["tools"] = TOOLS
        if task.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        start = time.perf_counter()
        raw = await self._client.chat.completions.with_raw_response.create(**request)
        reply = raw.parse()
        answer = await _joined(reply) if task.stream else _whole(reply)
        seconds = time.perf_counter() - start
        micros = sum(int(part.partition("=")[2]) for part in raw.headers["x-sparecall-micros"].split(", "))
        self.outcomes.append(Outcome(task, step, raw.headers["x-sparecall-cache"], seconds, micros, answer))
        self._on_call()
        return answer


def _tool_result(task: Task, call: tuple[str, str, str]) -> dict[str, Any]:
    id_, name, arguments = call
    assert task.tools is not None  # noqa: S101 - for mypy; the caller has checked
    found = json.loads(arguments).get("path") == task.path
    return {"role": "tool", "tool_call_id": id_, "content": task.tools[name] if found else "There is no such file."}


def _whole(reply: ChatCompletion) -> Answer:
    choice = reply.choices[0]
    calls = tuple(
        (call.id, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or ()
        if call.type == "function"
    )
    answer = Answer(reply.id, reply.model, choice.message.content or "", calls, choice.finish_reason)
    if reply.usage is not None:
        answer.prompt_tokens, answer.completion_tokens = reply.usage.prompt_tokens, reply.usage.completion_tokens
    return answer


async def _joined(stream: AsyncStream[ChatCompletionChunk]) -> Answer:
    """The answer that a stream's pieces make up."""
    answer = Answer()
    calls: dict[int, list[str]] = {}
    async for chunk in stream:
        answer.id, answer.model = chunk.id, chunk.model
        if chunk.usage is not None:
            answer.prompt_tokens, answer.completion_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            answer.content += choice.delta.content or ""
            answer.finish_reason = choice.finish_reason or answer.finish_reason
            for part in choice.delta.tool_calls or ():
                call = calls.setdefault(part.index, ["", "", ""])
                call[0] = part.id or call[0]
                if part.function is not None:
                    call[1] += part.function.name or ""
                    call[2] += part.function.arguments or ""
    answer.tool_calls = tuple((id_, name, arguments) for id_, name, arguments in calls.values())
    return answer
