"""Stage `embeddings`: answers `/v1/embeddings` input by input.

Each vector is stored once, as float32; only missing ones are asked for, those of several requests together.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

import msgspec

from sparecall.digest import scope_of_key
from sparecall.errors import UpstreamError
from sparecall.flight import Flight
from sparecall.pipeline import vectors
from sparecall.pipeline.answer import Summary
from sparecall.pipeline.batch import Batches, Fetched, Part, Refused, merged
from sparecall.pipeline.reply import Reply, no_call
from sparecall.pipeline.vectors import SLICE_BYTES, SLICE_INPUTS, Question, Vector, in_slices
from sparecall.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sparecall.batch import BatchEvent
    from sparecall.cache import BytesCache
    from sparecall.config import Embeddings as EmbeddingsConfig
    from sparecall.pipeline.reply import Hit
    from sparecall.pipeline.request import Request
    from sparecall.pipeline.stage import Next

# From here on `join` lets other threads run.
_INLINE_BYTES = 1024 * 1024

_encode_vector = msgspec.msgpack.encode
_decode_vector = msgspec.msgpack.Decoder(Vector).decode


class Embeddings:
    """Answers requests of the embeddings wire.

    Vectors share `cache` with other answers. An input that another request is asking for is waited for, not asked for again. With
    `batch`, requests that come while many calls run go out together, and `on_batch` is called with each batch (`Batches`).
    `settings` are all that shapes answers beside the request. `clock` gives seconds since the epoch. A vector is stored with its
    share of what the call cost: dollars by `prices` (the shipped ones by default), and seconds.
    """

    __slots__ = ("_clock", "_fetching", "_flight", "_lookups", "_prices", "_suffix", "_version", "batches", "cache")
    wires = frozenset({"embeddings"})

    def __init__(
        self,
        cache: BytesCache,
        *,
        version: int = 0,
        settings: tuple[str, ...] = (),
        prices: Prices | None = None,
        clock: Callable[[], float] = time.time,
        batch: EmbeddingsConfig | None = None,
        on_batch: Callable[[BatchEvent], None] | None = None,
    ) -> None:
        self.cache = cache
        self.batches = None if batch is None else Batches(self._call, batch, on_event=on_batch)
        self._prices = Prices() if prices is None else prices
        self._version = version
        self._suffix = "|embeddings|" + scope_of_key(msgspec.json.encode(settings).decode())
        self._clock = clock
        self._flight: Flight[object, Fetched] = Flight()
        self._fetching: dict[bytes, object] = {}
        self._lookups: dict[int, set[bytes]] = {}

    def __len__(self) -> int:
        """How many inputs are being asked for."""
        return len(self._fetching)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.batches is not None:
            await self.batches.close()

    async def __call__(self, request: Request, next: Next) -> Reply:  # noqa: A002
        """Answers from memory what is there, and asks for the rest."""
        control = request.cache_control
        if request.scope is None or (control.no_store and not control.only_if_cached):
            why = "no_scope" if request.scope is None else "no_store"
            return await next(msgspec.structs.replace(request, bypass=request.bypass or why))
        question = await self._question(request)
        if question is None:
            return await next(msgspec.structs.replace(request, bypass=request.bypass or "not_embeddings"))
        known = {} if control.no_cache else await self._known(question.keys, request)
        missing = [key for key in dict.fromkeys(question.keys) if key not in known]
        hit: Hit = "exact"
        reply = None
        if missing:
            if control.only_if_cached:
                return no_call("absent", request.wire)
            hit, reply = await self._fetch(question, request, next, known, missing)
            if reply is not None and (reply.status != 200 or any(key not in known for key in missing)):
                return reply
        return await self._answer(question, request, known, hit=hit, reply=reply)

    async def _question(self, request: Request) -> Question | None:
        body = request.body
        parts = vectors.parts_of(body) if len(body) <= SLICE_BYTES else await asyncio.to_thread(vectors.parts_of, body)
        if parts is None:
            return None
        keys = parts.keys(scope=f"{request.scope}{self._suffix}", version=self._version)
        return Question(parts, await in_slices(keys, len(body) // len(parts.inputs)))

    async def _known(self, keys: Sequence[bytes], request: Request) -> dict[bytes, Vector]:
        """The vectors in memory.

        Others land while the loop has its turns: such inputs are looked up again, so that what is missing at the return
        may be claimed, before the next await, without asking for anything twice.
        """
        known: dict[bytes, Vector] = {}
        landed: set[bytes] = set()
        self._lookups[id(landed)] = landed
        try:
            while keys:
                for count, key in enumerate(keys, 1):
                    if (vector := self._find(key, request)) is not None:
                        known[key] = vector
                    if count % SLICE_INPUTS == 0:
                        await asyncio.sleep(0)
                keys = [key for key in keys if key in landed and key not in known]
                landed.clear()
        finally:
            del self._lookups[id(landed)]
        return known

    def _find(self, key: bytes, request: Request) -> Vector | None:
        value = self.cache.get(key)
        if value is None:
            return None
        try:
            vector = _decode_vector(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # a snapshot of other contents
        max_age = request.cache_control.max_age
        young = max_age is None or self._clock() - vector.stored_at <= max_age
        return vector if young and vector.digest == key and vector.scope == request.scope else None

    async def _fetch(
        self,
        question: Question,
        request: Request,
        next: Next,  # noqa: A002
        known: dict[bytes, Vector],
        missing: Sequence[bytes],
    ) -> tuple[Hit, Reply | None]:
        """Completes `known`. Gives the reply of its own call, if it made one, which may say why something is missing still."""
        if request.cache_control.no_cache:
            (fetched,) = await self._call([_part(question, request, next, missing)])
            known.update(fetched.vectors)
            return "bypass", fetched.reply
        hit: Hit = "coalesced"
        reply = None
        while missing := [key for key in missing if key not in known]:
            own = [key for key in missing if self._fetching.get(key) not in self._flight]
            others = {self._fetching[key] for key in missing if key not in set(own)}
            joined = [asyncio.ensure_future(self._join(batch)) for batch in others]
            try:
                if own:
                    fetched = await self._own(question, request, next, own)
                    hit, reply = "miss", fetched.reply
                    if not fetched.vectors:
                        break
                    known.update(fetched.vectors)
                for vectors_of_others in await asyncio.gather(*joined):
                    known.update(vectors_of_others)
            finally:
                for join in joined:
                    join.cancel()
            # A call that landed before it could be joined has stored what it got.
            known.update(await self._known([key for key in missing if key not in known], request))
        return hit, reply

    async def _own(
        self,
        question: Question,
        request: Request,
        next: Next,  # noqa: A002
        keys: list[bytes],
    ) -> Fetched:
        """A call for these inputs, which others find from its first step on."""
        batch = object()
        self._fetching.update(dict.fromkeys(keys, batch))

        async def work() -> Fetched:
            try:
                part = _part(question, request, next, keys)
                return (await self._call([part]))[0] if self.batches is None else await self.batches.ask(part)
            finally:
                for key in keys:
                    self._fetching.pop(key, None)
                for landed in self._lookups.values():
                    landed.update(keys)

        fetched, _ = await self._flight.run(batch, work)
        return fetched

    async def _join(self, batch: object) -> dict[bytes, Vector]:
        """What another's call gives; nothing where it fails, perhaps for its other inputs: what is missing is then asked for."""
        try:
            return (await self._flight.run(batch, _gone))[0].vectors
        except Exception:  # noqa: BLE001 - that of another caller, who gets it
            return {}

    async def _call(self, parts: list[Part]) -> list[Fetched]:
        """Asks the provider for the inputs of these parts in one call, and stores what it gives.

        Raises `Refused` where the call was refused and one of several parts may be the reason.
        """
        first, together = parts[0], len(parts) > 1
        request = merged(parts) if together else msgspec.structs.replace(first.request, body=first.body())
        asked_at = self._clock()
        reply = await first.below(request)
        if together:
            for part in parts:
                part.request.trace.update(request.trace)
        if reply.status != 200 or reply.body is None:
            if together and reply.status in {400, 413, 422}:
                raise Refused
            return [Fetched({}, reply)] * len(parts)
        inputs = {key: each for part in parts for key, each in part.inputs.items()}
        made = await self._stored(inputs, first.request.scope or "", reply, asked_at)
        if not together:
            if not made and len(inputs) < len(first.question.keys):
                raise UpstreamError(
                    f"{reply.served_by} sent embeddings that do not fit their inputs; call again", code="broken"
                )
            return [Fetched(made, reply)]  # without any it is odd, but a whole reply to what the client asked
        if not made:
            raise Refused
        return [_share(part, made, reply) for part in parts]

    async def _stored(
        self, inputs: dict[bytes, vectors.Input], scope: str, reply: Reply, asked_at: float
    ) -> dict[bytes, Vector]:
        """The vectors of a reply, put into the cache; none where they do not fit their inputs."""
        body, texts = reply.body or b"", list(inputs.values())
        found = vectors.found_in(body, len(inputs))
        if found is None:
            return {}
        numbers = await in_slices(vectors.numbers_of(found), len(body) // len(inputs))
        data = [each for each in numbers if each]
        if len(data) != len(inputs) or len({len(each) for each in data}) != 1:
            return {}
        counts = await in_slices(vectors.counts_of(found, texts), sum(map(len, texts)) // len(texts))
        now = self._clock()
        made = {
            key: Vector(key, scope, now, reply.served_by, found.model, count, each)
            for key, count, each in zip(inputs, vectors.shares(found.tokens, counts, texts), data, strict=True)
        }
        dollars = 0.0 if reply.summary is None else reply.summary.cost(self._prices) or 0.0
        cost = (dollars / len(inputs), max(0.0, now - asked_at) / len(inputs))
        stored = (self.cache.set(key, _encode_vector(vector), cost=cost) for key, vector in made.items())
        await in_slices(stored, len(data[0]))
        return made

    async def _answer(
        self, question: Question, request: Request, known: dict[bytes, Vector], *, hit: Hit, reply: Reply | None
    ) -> Reply:
        chosen = [known[key] for key in question.keys]
        size = len(chosen[0].data)
        pieces = await in_slices(vectors.render(chosen, as_base64=question.parts.as_base64), size)
        small = size * len(chosen) <= _INLINE_BYTES
        body = b"".join(pieces) if small else await asyncio.to_thread(b"".join, pieces)
        reason = "" if hit in {"exact", "coalesced"} else "no_cache" if hit == "bypass" else "absent"
        summary = None if reply is None else reply.summary  # what was paid for, not what was spared
        return Reply(
            status=200,
            hit=hit,
            wire="embeddings",
            reason=reason,
            body=body,
            summary=summary or Summary(chosen[0].model, sum(vector.tokens for vector in chosen), 0, storable=False),
            headers={} if reply is None else reply.headers,
            age=max(0.0, self._clock() - min(vector.stored_at for vector in chosen)),
            served_by=chosen[0].served_by,
            trace=request.trace,
        )


def _part(question: Question, request: Request, below: Next, keys: Sequence[bytes]) -> Part:
    return Part(question, request, below, dict(zip(keys, question.inputs_of(keys), strict=True)))


def _share(part: Part, made: dict[bytes, Vector], reply: Reply) -> Fetched:
    """A part's own of what a call gave to several: its vectors, and their tokens, which add up to the provider's total."""
    own = {key: made[key] for key in part.inputs}
    summary = reply.summary
    if summary is not None:
        counted = sum(vector.tokens for vector in own.values())
        summary = msgspec.structs.replace(summary, prompt_tokens=counted)
    return Fetched(own, msgspec.structs.replace(reply, summary=summary, trace=part.request.trace))


async def _gone() -> Fetched:
    raise UpstreamError("the call that was to be joined has ended", code="broken")
