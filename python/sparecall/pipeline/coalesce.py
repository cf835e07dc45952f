"""Stage `coalesce`: identical requests in flight make one call. A stream in flight can be joined at any moment of its life."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from sparecall.errors import DeadlineExceeded
from sparecall.flight import Flight
from sparecall.pipeline.wire import WIRES

if TYPE_CHECKING:
    from sparecall.pipeline.answer import Ending
    from sparecall.pipeline.log import ReplyLog
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next


class Coalesce:
    """Merges identical calls. Who asks for a stream gets one, who asks for a whole answer gets that, from the same call.

    Exactly one of the merged replies is a `miss`; the others are `coalesced`.
    """

    __slots__ = ("_flight", "_live")

    def __init__(self) -> None:
        self._flight: Flight[bytes, Reply] = Flight()
        self._live: dict[bytes, Reply] = {}

    def __len__(self) -> int:
        """How many calls are in flight."""
        return len(self._flight) + len(self._live)

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Joins the same call in flight, or makes it."""
        if (
            request.bypass
            or request.inspection is None
            or request.scope is None
            or request.cache_control.only_if_cached
        ):
            return await next(request)
        key = request.inspection.digest
        if WIRES[request.wire].personal is not None:
            # Callers of one call get the same bytes, which repeat the request: only requests of the same bytes are merged.
            key += hashlib.sha256(request.body).digest()
        live = self._live.get(key)
        if live is not None:
            if live.stream is None or not (live.stream.log.failed or live.stream.log.overflowed):
                return await self._share(request, next, key, live, led=False)
            del self._live[key]
        try:
            reply, led = await self._flight.run(
                key, lambda: next(request), landed=lambda reply: self._landed(key, reply)
            )
        except DeadlineExceeded:
            # The deadline of the call is that of whoever made it: those who can wait longer make another.
            if request.deadline is not None and request.deadline <= time.monotonic():
                raise
            return await self(request, next)
        if led and reply.stream is None:
            # From here to where the answer is stored nothing waits: who asks later is answered from there, or makes a call.
            self._forget(key, reply)
        return await self._share(request, next, key, reply, led=led)

    def _landed(self, key: bytes, reply: Reply) -> None:
        """Holds a live stream open for newcomers until it ends, and a whole reply until its leader resumes, to store it."""
        self._live[key] = reply
        if reply.stream is None:
            asyncio.get_running_loop().call_soon(self._forget, key, reply)
            return
        # Callers woken by the flight run before anything scheduled here: each takes a place of its own in the log before
        # this one is given up, and the one that stores the answer does so before newcomers stop finding the stream.
        loop = asyncio.get_running_loop()
        loop.call_soon(reply.stream.close)
        reply.stream.log.when_ended(lambda _ending: loop.call_soon(self._forget, key, reply))

    def _forget(self, key: bytes, reply: Reply) -> None:
        if self._live.get(key) is reply:
            del self._live[key]

    async def _share(self, request: Request, next: Next, key: bytes, reply: Reply, *, led: bool) -> Reply:  # noqa: A002
        """One caller's own reply: a place in the live stream, or its whole answer, or the reply as it is."""
        hit = reply.hit if led or reply.hit == "semantic" else "coalesced"
        oldest = request.cache_control.max_age
        if reply.hit == "semantic" and oldest is not None and reply.age > oldest:
            return await next(request)  # good enough for the one whose call it was
        if reply.stream is None:
            return msgspec.structs.replace(reply, hit=hit)
        assert request.inspection is not None  # noqa: S101 - for mypy; the caller has checked
        log: ReplyLog[Ending] = reply.stream.log
        if not log.headless:
            own = log.reader()
            if request.inspection.stream:
                return msgspec.structs.replace(reply, hit=hit, stream=own)
            try:
                ending = await own.ending()
            finally:
                own.close()
            if ending.body is not None:
                return msgspec.structs.replace(reply, hit=hit, stream=None, body=ending.body, summary=ending.summary)
        # The stream came to no whole answer. Those it leaves without one ask together, but for the one whose call it was.
        self._forget(key, reply)
        return await (next(request) if led else self(request, next))
