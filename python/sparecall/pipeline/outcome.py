"""What a reply says of who made it, in the words of flow control; and a failing reply as the exception that its patterns want."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from sparecall.errors import BreakerOpen, DeadlineExceeded, LimitExceeded, Overloaded, UnknownName, UpstreamError
from sparecall.flow import Outcome, outcome_of, outcome_of_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from sparecall.pipeline.answer import Summary
    from sparecall.pipeline.reply import Reply

REFUSED = (BreakerOpen, LimitExceeded, Overloaded)
"""Calls that were not sent: one of our own limits or breakers stood before them."""


ONCE = frozenset({"state", "hosted_tool"})
"""Why some requests are sent once (`Request.bypass`): they change what the provider keeps, or have it run tools."""
_NULL = msgspec.Raw(b"null")


class FailedReply(Exception):
    """A reply that is no answer: the provider failed, or wants less of us. Never leaves the pipeline."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        """What the provider said beside it."""
        return self.reply.headers


def outcome_of_reply(reply: Reply) -> Outcome:
    """The outcome of the call: by its status, and a 200 without a word of JSON, or with nothing but an error in it, is a ``failure``."""
    if reply.status != 200 or reply.summary is not None or reply.stream is not None:
        return outcome_of_status(reply.status)
    try:
        content = msgspec.json.decode(reply.body or b"", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "failure"
    said = bytes(content.get("error", _NULL)) != b"null"
    return "failure" if said and "choices" not in content else "success"


class Left(Protocol):
    """What is left at the end of a call."""

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> Awaitable[object]: ...


async def answered(call: Awaitable[Reply]) -> Reply:
    """The reply of a call that succeeded, or that no other call would mend; of a stream, once its first event is here.

    Raises `FailedReply` for any other, and what the call raised. Cancelled, it leaves the stream.
    """
    reply = await begun(call)
    if outcome_of_reply(reply) in ("failure", "limited"):
        raise FailedReply(reply)
    return reply


async def begun(call: Awaitable[Reply]) -> Reply:
    """The reply; of a stream, once its first event is here. What breaks before it is raised."""
    reply = await call
    if reply.stream is not None:
        try:
            await reply.stream.log.begun()
        except BaseException:
            reply.stream.close()
            raise
    return reply


async def by(deadline: float, call: Awaitable[Reply]) -> Reply:
    """The reply, of a stream with its first event, before that time of `time.monotonic`. Raises `DeadlineExceeded`."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())) as limit:
            return await begun(call)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded("the request's deadline has passed; no answer had begun by then") from None


def at_end(reply: Reply, told: Callable[[Summary | None, BaseException | None], None]) -> None:
    """Calls `told` once with the summary of the answer, if there is one, and with what a stream broke with: now, or at its end."""
    if reply.stream is None:
        told(reply.summary, None)
        return
    log = reply.stream.log
    log.when_ended(lambda ending: told(None if ending is None else ending.summary, log.error))


def leave(permit: Left, error: BaseException | None) -> None:
    """Leaves a context whose end awaits nothing, as a breaker's and a limit's does, where nobody could await it."""
    leaving = permit.__aexit__(None if error is None else type(error), error, None).__await__()
    try:
        next(leaving)
    except StopIteration:
        return
    raise RuntimeError(f"the end of {type(permit).__name__} awaits something; it has to be left by `async with`")


def passes(error: BaseException | None) -> Outcome:
    """Whether another upstream or model may be asked after `error`: it may after ``failure`` and ``limited``."""
    if isinstance(error, REFUSED):  # even one that never fits here may fit elsewhere
        return "limited"
    if isinstance(error, DeadlineExceeded):
        return "ignored"
    return "failure" if isinstance(error, UnknownName) else outcome_of(error)


def unsent(error: BaseException) -> bool:
    """Whether the call that ended with `error` did nothing at the provider: it was not sent, or not let in."""
    if isinstance(error, FailedReply):
        return error.status == 429
    return isinstance(error, REFUSED) or (isinstance(error, UpstreamError) and error.code == "unreachable")


def reason_of(error: BaseException) -> str:
    """Why a call was passed over, in a word: a status, a code, or the kind of the error. Never its text."""
    if isinstance(error, FailedReply):
        return str(error.status)
    if isinstance(error, BreakerOpen):
        return "breaker_open"
    if isinstance(error, LimitExceeded):
        return "limit"
    return error.code if isinstance(error, UpstreamError | Overloaded) else type(error).__name__
