"""`Reply`: what one caller gets, and how it came to be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sparecall.digest import Inspection
from sparecall.errors import UpstreamError
from sparecall.flow import Passed
from sparecall.pipeline import chat
from sparecall.pipeline.answer import Ending, Summary, Trimmed
from sparecall.pipeline.log import Reader
from sparecall.pipeline.request import WireName
from sparecall.pipeline.wire import WIRES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sparecall.pipeline.answer import Answer
    from sparecall.pipeline.request import Request

Hit = Literal["exact", "semantic", "coalesced", "stale", "miss", "bypass"]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the semantic cache made of a question, whether it answered it or not."""

    why: str
    """Why the answer was served, or why none was: `sparecall.semantic.Lookup.why`."""
    id: str = ""
    """Of a served answer: `Semantic.feedback` takes it."""
    similarity: float | None = None
    """Of the nearest stored question; None without one, as below."""
    probability: float | None = None
    """That its answer serves."""
    max_error: float | None = None
    """The limit on the share of wrong answers that was kept to."""
    guards: tuple[str, ...] = ()
    """What in the two texts speaks for different questions."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who made an answer, where there are several who could have."""

    upstream: str
    """Its name in the configuration."""
    model: str
    """What it was asked for by; an upstream may call it otherwise."""
    substitute: bool = False
    """Whether that is another model than the client asked for."""
    passed: tuple[Passed, ...] = ()
    """Who was asked before, and why they did not serve."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One caller's reply: either complete (`body`) or still coming (`stream`).

    `hit` and `reason` say how it came to be; `age` is seconds since the answer was stored.
    """

    status: int
    hit: Hit
    wire: WireName = "chat"
    """The API whose answer this is: `Request.wire`."""
    reason: str = ""
    body: bytes | None = None
    stream: Reader[Ending] | None = None
    summary: Summary | None = None
    """Model, finish and usage of a complete answer; None for an error, an incomplete answer or a stream."""
    headers: Mapping[str, str] = {}
    """What the provider said beside its answer, from a closed list; `content-type` only where it is not JSON."""
    date: str = ""
    """The provider's ``date``, against which its other dates are read."""
    age: float = 0.0
    served_by: str = ""
    """The provider's address."""
    origin: Origin | None = None
    """Who made it, where calls are routed; None for one from memory."""
    inspection: Inspection | None = None
    """What the digest stage read in the request: the model, and whether it asked for a stream and for usage."""
    semantic: Judged | None = None
    """Only where the semantic cache was asked."""
    optimized: Trimmed | None = None
    """What became of the context, where there is a budget for it; of one from memory, only where it lost something."""
    trace: Mapping[str, int] = {}
    """When each stage was entered: `Request.trace`."""

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.hit}{' ' + self.reason if self.reason else ''} by {self.served_by!r}>"

    @property
    def complete(self) -> bool:
        """Whether this is a whole, finished chat completion, fit to be stored."""
        return self.summary is not None and self.summary.storable

    @property
    def substitute(self) -> bool:
        """Whether another model answered than the one that was asked for."""
        return self.origin is not None and self.origin.substitute

    @property
    def lossy(self) -> bool:
        """Whether the model read less than the client sent."""
        return self.optimized is not None and not self.optimized.lossless

    @property
    def micros(self) -> dict[str, int]:
        """Microseconds from entering each stage to entering the next; the last one's go on to the reply."""
        return {name: (until - since) // 1000 for (name, since), (_, until) in itertools.pairwise(self.trace.items())}

    async def read(self) -> bytes:
        """The whole body as JSON, waiting for the end of a stream. Raises `UpstreamError` when the stream breaks off."""
        if self.body is not None:
            return self.body
        if self.stream is None:
            return b""
        ending = await self.stream.ending()
        if ending.body is None:
            raise UpstreamError("the provider's stream ended without a complete answer; call again", code="incomplete")
        return ending.body

    async def aclose(self) -> None:
        """Leaves the stream of a reply that nobody will read."""
        if self.stream is not None:
            self.stream.close()

    async def json(self) -> Any:
        """The whole body, decoded."""
        return msgspec.json.decode(await self.read())

    async def events(self, *, include_usage: bool = False) -> AsyncIterator[list[bytes]]:
        """The data of the reply's server-sent events, `[DONE]` left out, in lists of those at hand.

        A complete answer is rendered as a stream. Raises `UpstreamError` when a live stream breaks off, and for a reply
        that is no chat completion, such as an error: `read` gives what the provider said.
        """
        if self.stream is not None:
            async for events in self.stream:
                yield [event.data for event in events] if include_usage else chat.without_usage(events)
        elif self.summary is None or self.body is None:
            raise UpstreamError(
                f"a reply of status {self.status} that is no answer has no events; read it", code="incomplete"
            )
        else:
            yield WIRES[self.wire].render(self.body, include_usage=include_usage)


def no_call(reason: str, wire: WireName = "chat") -> Reply:
    """What RFC 9111 answers to `only-if-cached` when there is nothing. SDKs are told that trying again is of no use."""
    message = "No stored answer, and Cache-Control: only-if-cached forbids a call."
    body = WIRES[wire].error(message, status=504, code="only_if_cached", kind="cache_error")
    return Reply(status=504, hit="bypass", wire=wire, reason=reason, body=body, headers={"x-should-retry": "false"})


def from_memory(
    answer: Answer, request: Request, *, hit: Hit, now: float, semantic: Judged | None = None
) -> Reply | None:
    """A stored answer as the reply to a request; None where it is older than the client takes."""
    age = max(0.0, now - answer.stored_at)
    oldest = request.cache_control.max_age
    if oldest is not None and age > oldest:
        return None
    personal = WIRES[request.wire].personal
    return Reply(
        status=200,
        hit=hit,
        wire=request.wire,
        body=answer.body if personal is None else personal(answer.body, request.body),
        summary=answer.summary,
        age=age,
        served_by=answer.served_by,
        inspection=request.inspection,
        semantic=semantic,
        optimized=answer.optimized,
        trace=request.trace,
    )


def when_whole(reply: Reply, take: Callable[[bytes | None, Summary | None], None]) -> None:
    """Calls `take` with body and summary of a complete reply now, or of a stream's answer when it ends.

    What `take` holds must not be the reply: its reader is the caller's to let go of.
    """
    if reply.stream is not None:
        reply.stream.log.when_ended(lambda ending: None if ending is None else take(ending.body, ending.summary))
    elif reply.status == 200:
        take(reply.body, reply.summary)
