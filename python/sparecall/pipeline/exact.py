"""Stage `exact`: answers a request whose digest was answered before, and stores complete answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import msgspec

from sparecall.pipeline.answer import Answer
from sparecall.pipeline.reply import from_memory, no_call, when_whole
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sparecall.cache import BytesCache
    from sparecall.pipeline.answer import Summary, Trimmed
    from sparecall.pipeline.reply import Reply
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.shared import Shared
    from sparecall.pipeline.stage import Next

_encode_answer = msgspec.msgpack.encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Exact:
    """The exact cache. What is stored: status 200, complete, finished, of at most `max_reply_bytes`.

    `clock` gives seconds since the epoch; it dates answers, so that their age survives a restart. An answer is stored with
    what it cost: dollars by `prices` (the shipped ones by default), and seconds. What `cache` does not have `shared` is asked
    for; such a reply's reason is `shared`. An answer that another model gave in place of the one asked for is stored with
    `other_models` only, one to a context that lost something with `store_optimized` only.
    """

    __slots__ = ("_clock", "_max_reply_bytes", "_other_models", "_prices", "_shared", "_store_optimized", "cache")

    def __init__(
        self,
        cache: BytesCache,
        *,
        max_reply_bytes: int = 8 * 1024 * 1024,
        prices: Prices | None = None,
        shared: Shared | None = None,
        other_models: bool = False,
        store_optimized: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cache = cache
        self._shared = shared
        self._other_models = other_models
        self._store_optimized = store_optimized
        self._prices = Prices() if prices is None else prices
        self._max_reply_bytes = max_reply_bytes
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shared is not None:
            await self._shared.close()

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Answers from the cache, or passes the request on and stores what comes back."""
        control = request.cache_control
        if request.bypass or request.inspection is None or request.scope is None:
            return await next(request)
        if control.no_store and not control.only_if_cached:
            return await next(msgspec.structs.replace(request, bypass="no_store"))
        reason = "no_cache"
        if not control.no_cache:
            found, reason = self._find(request)
            if reason == "absent" and self._shared is not None:
                # Read as it came: the memory's copy may be gone again, where a message about its writing came late.
                value = await self._shared.fetch(request.scope, request.inspection.digest)
                if value is not None:
                    found, reason = self._read(request, value)
                if found is not None:
                    return msgspec.structs.replace(found, reason="shared")
            if found is not None:
                return found
        if control.only_if_cached:
            return no_call(reason, request.wire)
        if control.no_cache:
            # Wants an answer made after it asked: merged with no earlier call, but good for later ones.
            request = msgspec.structs.replace(request, bypass="no_cache")
        asked_at = self._clock()
        reply = await next(request)
        if reply.hit == "miss" or control.no_cache:
            self._keep(request, reply, asked_at)
        return msgspec.structs.replace(reply, reason=reason) if reply.hit == "miss" else reply

    def _find(self, request: Request) -> tuple[Reply | None, str]:
        assert request.inspection is not None  # noqa: S101 - for mypy; the caller has checked
        digest = request.inspection.digest
        value = self.cache.get(digest)
        return (None, "absent") if value is None else self._read(request, value)

    def _read(self, request: Request, value: bytes) -> tuple[Reply | None, str]:
        assert request.inspection is not None  # noqa: S101 - for mypy; the caller has checked
        digest = request.inspection.digest
        try:
            answer = _decode_answer(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.cache.delete(digest)  # a snapshot of other contents
            return None, "unreadable"
        if answer.digest != digest or answer.scope != request.scope:
            return None, "mismatch"
        reply = from_memory(answer, request, hit="exact", now=self._clock())
        return reply, "max_age" if reply is None else ""

    def _keep(self, request: Request, reply: Reply, asked_at: float) -> None:
        """Stores a complete reply now, or a stream's answer when it ends."""
        if (reply.substitute and not self._other_models) or (reply.lossy and not self._store_optimized):
            return
        served_by, optimized = reply.served_by, reply.optimized if reply.lossy else None
        when_whole(reply, lambda body, summary: self._store(request, body, summary, served_by, optimized, asked_at))

    def _store(
        self,
        request: Request,
        body: bytes | None,
        summary: Summary | None,
        served_by: str,
        optimized: Trimmed | None,
        asked_at: float,
    ) -> None:
        if body is None or summary is None or not summary.storable or len(body) > self._max_reply_bytes:
            return
        assert request.inspection is not None  # noqa: S101 - for mypy; the caller has checked
        assert request.scope is not None  # noqa: S101
        digest = request.inspection.digest
        now = self._clock()
        answer = Answer(digest, request.scope, now, served_by, summary, body, optimized)
        cost = (summary.cost(self._prices) or 0.0, max(0.0, now - asked_at))
        value = _encode_answer(answer)
        self.cache.set(digest, value, cost=cost)
        if self._shared is not None:
            self._shared.keep(request.scope, digest, value, cost)
