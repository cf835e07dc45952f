"""What the tests of the pipeline share: requests, answers, and a stage that plays the provider without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall.cache import BytesCache
from sparecall.pipeline import Coalesce, Digest, Exact, Pipeline, Reply, Request, Scope, chat
from sparecall.pipeline.answer import NO_ENDING, Ending
from sparecall.pipeline.log import ReplyLog

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}


def asking(*, key: str | None = "sk-a", content: str = "Hello", stream: bool = False, **fields: Any) -> Request:
    """A request for a chat completion; what is no field of `Request` goes into the body."""
    own = {name: fields.pop(name) for name in list(fields) if name in Request.__struct_fields__}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], **fields}
    if stream:
        body["stream"] = True
    return Request.of(body, key=key, **own)


def completion(content: str = "Hi there", *, finish: str | None = "stop", **fields: Any) -> bytes:
    """A whole answer as a provider sends it."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return msgspec.json.encode(
        {
            "id": "c-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [choice],
            "usage": USAGE,
            **fields,
        }
    )


class Provider:
    """The last stage of a pipeline under test. Answers `answer`, or fails with `error`, when `gate` opens.

    A streaming request gets a stream: one event, then the others when `rest` opens.
    """

    __name__ = "upstream"

    def __init__(
        self, answer: Callable[[Request], bytes] | bytes | None = None, *, status: int = 200, held: bool = False
    ) -> None:
        self.answer = answer if answer is not None else completion()
        self.status = status
        self.error: Exception | None = None
        self.cut = False
        self.calls: list[Request] = []
        self.cancelled = 0
        self.logs: list[ReplyLog[Ending]] = []
        self.gate, self.rest = asyncio.Event(), asyncio.Event()
        self.limit = 1 << 20
        self._writers: set[asyncio.Task[None]] = set()
        if not held:
            self.release()

    def release(self) -> None:
        self.gate.set()
        self.rest.set()

    @property
    def writing(self) -> int:
        """How many streams are being written."""
        return sum(not task.done() for task in self._writers)

    async def __call__(self, request: Request, next: Any) -> Reply:  # noqa: A002
        self.calls.append(request)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        body = self.answer(request) if callable(self.answer) else self.answer
        hit: Any = "bypass" if request.bypass else "miss"
        if self.status == 200 and request.inspection is not None and request.inspection.stream:
            log = self._write(chat.render(body, include_usage=True))
            return Reply(status=200, hit=hit, reason=request.bypass, stream=log.reader(), served_by="provider")
        summary = chat.summarise(body) if self.status == 200 else None
        return Reply(
            status=self.status, hit=hit, reason=request.bypass, body=body, summary=summary, served_by="provider"
        )

    def _write(self, events: list[bytes]) -> ReplyLog[Ending]:
        log: ReplyLog[Ending] = ReplyLog(limit=self.limit, abandoned=lambda: writer.cancel())

        async def write() -> None:
            assembler = chat.Assembler()
            log.append(assembler.add(events[0]))
            await self.rest.wait()
            for event in events[1:]:
                log.append(assembler.add(event))
                await asyncio.sleep(0)
            if self.cut:
                log.fail(ConnectionResetError("cut"))
            else:
                log.end(NO_ENDING if log.overflowed else assembler.finish())

        writer = asyncio.get_running_loop().create_task(write())
        self._writers.add(writer)
        self.logs.append(log)
        return log


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def usual(
    provider: Any, *, clock: Clock | None = None, scope: str | None = None, on_event: Any = None, **options: Any
) -> Pipeline:
    """The stages of the default configuration around a provider without sockets."""
    clock = clock or Clock()
    cache = BytesCache(1 << 24, ttl=options.pop("ttl", None), clock=clock)
    stages = [
        Scope(scope=scope),
        Digest(**options),
        Exact(cache, max_reply_bytes=1 << 20, clock=clock),
        Coalesce(),
        provider,
    ]
    return Pipeline(stages, on_event=on_event)


async def events_of(reply: Reply, *, include_usage: bool = False) -> list[Any]:
    """Everything a stream says, decoded."""
    return [msgspec.json.decode(data) async for events in reply.events(include_usage=include_usage) for data in events]


async def text_of(reply: Reply) -> str:
    """The answer's text, from a stream's events or from a whole body."""
    if reply.stream is None:
        return str((await reply.json())["choices"][0]["message"]["content"])
    return "".join(part["delta"].get("content") or "" for event in await events_of(reply) for part in event["choices"])
