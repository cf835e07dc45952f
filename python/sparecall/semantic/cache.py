"""`SemanticCache`: embed, search, judge; store, audit, learn. Each part is elsewhere; here is the order of things."""

from __future__ import annotations

import collections
import inspect
import math
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall._core import SemanticDecision, SemanticProfile, SemanticVerdict
from sparecall.errors import InvalidArgument, InvalidDocument, SnapshotError, UnknownName
from sparecall.semantic.answers import same_answer
from sparecall.semantic.embedding import Embedding, NoVectorError, name_of
from sparecall.semantic.entries import Entries, Entry, Found, digest_of, prefixes_of
from sparecall.semantic.lookup import Lookup, Match, Report, Rule
from sparecall.semantic.quota import Quota

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sparecall.semantic.embedding import AsyncEmbedder, Embedder

    Judgement = bool | tuple[bool, float] | None
    Judge = Callable[[Any, Any], Judgement | Awaitable[Judgement]]

# Entries at most so far below the best count as its neighbours, and at most so many are looked at.
_WITHIN, _NEIGHBOURS = 0.05, 8
# Served and audited answers whose verdicts are remembered, so that feedback can teach.
_REMEMBERED = 10_000
_NO_RULE = Rule()


class _State(msgspec.Struct, frozen=True, array_like=True):
    """What is saved beside the entries."""

    decision: bytes
    since: float


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode
_decode_state = msgspec.msgpack.Decoder(_State).decode


class SemanticCache:
    """Answers by meaning, within `max_error`. For one event loop; see docs/semantic.md for what may be set and why."""

    __slots__ = (
        "_audit_cost", "_clock", "_counts", "_decision", "_embedding", "_entries", "_judge", "_max_characters",
        "_max_error", "_min_similarity", "_promote_after", "_quota", "_rules", "_verdicts",
    )  # fmt: skip

    def __init__(
        self,
        embedder: Embedder | AsyncEmbedder,
        *,
        max_error: float = 0.02,
        audit_share: float = 0.05,
        seed: int | None = None,
        dim: int | None = None,
        min_similarity: float = 0.6,
        max_bytes: int = 256 * 1024 * 1024,
        ttl: float | None = None,
        max_characters: int = 8192,
        timeout: float = 1.0,
        rules: Mapping[str, Rule] | None = None,
        judge: Judge = same_answer,
        promote_after: int = 1,
        write_quota: int | None = None,
        quota_window: float = 3600.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        size = getattr(embedder, "dim", None) if dim is None else dim
        if not isinstance(size, int):
            raise InvalidArgument("dim is None and the embedder has none of its own; give the length of its vectors")
        _check("min_similarity", min_similarity, -1 <= min_similarity <= 1, "-1 to 1")
        _check("max_characters", max_characters, max_characters > 0, "1 or more")
        _check("timeout", timeout, 0 < timeout < math.inf, "more than 0 seconds")
        _check("promote_after", promote_after, 1 <= promote_after <= 64, "1 to 64 principals")
        _check("write_quota", write_quota, write_quota is None or write_quota >= 0, "0 or more, or None")
        _check("quota_window", quota_window, 0 < quota_window < math.inf, "more than 0 seconds")
        self._decision = SemanticDecision(
            max_error=max_error,
            audit_share=audit_share,
            seed=secrets.randbits(63) if seed is None else seed,
            embedder=name_of(embedder),
        )
        self._embedding = Embedding(embedder, dim=size, timeout=timeout)
        self._entries = Entries(size, max_bytes=max_bytes, ttl=ttl, clock=clock)
        self._clock = time.time if clock is None else clock
        self._min_similarity = min_similarity
        self._max_characters = max_characters
        self._max_error = max_error
        self._rules = dict(rules or {})
        self._judge = judge
        self._promote_after = promote_after
        self._quota = Quota(write_quota, window=quota_window, clock=self._clock)
        self._verdicts: collections.OrderedDict[int, SemanticVerdict] = collections.OrderedDict()
        self._counts: collections.Counter[str] = collections.Counter()
        self._audit_cost = 0.0

    def __len__(self) -> int:
        """How many answers are held."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<SemanticCache of {len(self)} answers by {type(self._embedding.embedder).__name__}>"

    # --- asking ----------------------------------------------------------------------------------

    async def lookup(
        self, text: str, *, scope: str, context: bytes = b"", category: str = "", principal: str = ""
    ) -> Lookup:
        """Look for a stored answer to the same question in the same scope and context.

        ``context`` stands for all that must be equal: model, parameters, what was said before; a digest of it will do.
        A text or an embedder that cannot be worked with makes a miss, which says why and is counted. Raises
        `InvalidArgument` for an empty scope.
        """
        _check_scope(scope)
        self._counts["lookups"] += 1
        found = await self._lookup(text, scope, context, category, principal)
        if found.match is not None:
            self._counts["hits"] += 1
        elif found.audit:
            self._counts["audits"] += 1
        else:
            judged = found.verdict is not None and found.why == found.verdict.why
            self._counts[f"miss {'held_back' if judged else found.why}"] += 1
        return found

    async def _lookup(self, text: str, scope: str, context: bytes, category: str, principal: str) -> Lookup:
        rule = self._rules.get(category, _NO_RULE)
        if not rule.enabled:
            return Lookup(why="disabled")
        if len(text) > self._max_characters:
            return Lookup(why="too_long")
        profile = SemanticProfile(text)
        if profile.empty:
            return Lookup(why="empty")
        try:
            vector = await self._embedding.of(text)
        except NoVectorError as error:
            return Lookup(why=error.why, profile=profile)
        near = self._near(vector, scope, context)
        usable = [found for found in near if self._is_proven(found.entry, principal)]
        if not usable:
            return Lookup(why="unproven" if near else "nothing_near", vector=vector, profile=profile)
        best = usable[0]
        entry = best.entry
        age = max(0.0, self._clock() - entry.stored_at)
        verdict = self._decision.judge(
            profile,
            SemanticProfile.from_bytes(entry.profile),
            min(1.0, best.similarity),
            second=usable[1].similarity if len(usable) > 1 else -2.0,
            density=float(len(usable)),
            age=age,
            scope=scope,
            category=category,
            entry=entry.id,
            max_error=rule.max_error,
        )
        self._remember(entry.id, verdict)
        match = None
        if verdict.serve:
            match = Match(entry.id, _decode(entry.value), best.similarity, verdict.probability, verdict.why)
        return Lookup(
            match=match,
            audit=verdict.audit,
            why="" if verdict.serve else verdict.why,
            vector=vector,
            candidate=entry.id,
            similarity=best.similarity,
            verdict=verdict,
            max_error=self._max_error if rule.max_error is None else rule.max_error,
            profile=profile,
        )

    def _near(self, vector: NDArray[np.float32], scope: str, context: bytes) -> list[Found]:
        return self._entries.near(
            vector, scope=scope, context=context, min_similarity=self._min_similarity, within=_WITHIN, k=_NEIGHBOURS
        )

    def _is_proven(self, entry: Entry, principal: str) -> bool:
        enough = self._promote_after == 1 or len(entry.principals) >= self._promote_after
        return enough or digest_of(principal) in entry.principals

    def _remember(self, number: int, verdict: SemanticVerdict) -> None:
        self._verdicts[number] = verdict
        self._verdicts.move_to_end(number)
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)

    # --- storing ---------------------------------------------------------------------------------

    async def store(
        self,
        text: str,
        value: Any,
        *,
        scope: str,
        context: bytes = b"",
        ttl: float | None = None,
        tags: Iterable[str] = (),
        cost: Any = None,
        lookup: Lookup | None = None,
        category: str = "",
        principal: str = "",
        model: str = "",
    ) -> int | None:
        """Store an answer and return its id; None where it is not kept, and why is counted.

        ``value`` is plain data: ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, lists and dicts of these; a hit returns an equal copy.
        With the ``lookup`` that missed, the text is not embedded again. A respelling of a stored question replaces its answer and keeps
        its id. Raises `InvalidArgument` for an empty scope, ``TypeError`` for a value that is no plain data.
        """
        _check_scope(scope)
        rule = self._rules.get(category, _NO_RULE)
        profile = SemanticProfile(text) if lookup is None or lookup.profile is None else lookup.profile
        writer = digest_of(principal)
        entry = Entry(
            id=0,
            scope=scope,
            context=context,
            category=category,
            profile=profile.to_bytes(),
            value=msgspec.Raw(_encode(value)),
            stored_at=self._clock(),
            principals=(writer,),
        )
        number = None
        if rule.enabled and not profile.empty and len(text) <= self._max_characters and self._quota.take(principal):
            vector = await self._vector(text, lookup)
            if vector is not None:
                marks = [*(f"tag {tag}" for tag in tags), f"model {model}", *prefixes_of(scope)]
                number = self._put(entry, profile, vector, ttl=rule.ttl if ttl is None else ttl, cost=cost, tags=marks)
        if number is None:
            self._counts["refused"] += 1
        return number

    async def _vector(self, text: str, lookup: Lookup | None) -> NDArray[np.float32] | None:
        if lookup is not None and lookup.vector is not None:
            return lookup.vector
        try:
            return await self._embedding.of(text)
        except NoVectorError:
            return None

    def _put(
        self,
        entry: Entry,
        profile: SemanticProfile,
        vector: NDArray[np.float32],
        *,
        ttl: float | None,
        cost: Any,
        tags: list[str],
    ) -> int | None:
        near = self._near(vector, entry.scope, entry.context)
        entry, is_new = self._entries.placed(entry, profile, near, promote_after=self._promote_after)
        tags += (f"writer {writer.hex()}" for writer in entry.principals)
        if not self._entries.put(entry, vector, ttl=ttl, cost=cost, tags=tags):
            return None
        if is_new:
            self._decision.stored(profile)
        return entry.id

    # --- learning --------------------------------------------------------------------------------

    async def audit(
        self, lookup: Lookup, fresh_value: Any, *, cost: float | None = None, read: Callable[[Any], Any] | None = None
    ) -> bool | None:
        """Compare a fresh answer with the stored one that the lookup found, and learn from it.

        Returns whether the stored one is right; None where there is nothing to compare, or the judge does not know.
        ``cost`` is what the call cost in dollars; it counts where the lookup was an audit. ``read`` makes of the stored value what
        the judge compares with ``fresh_value``. Raises what the judge raises.
        """
        if lookup.audit and cost is not None:
            self._audit_cost += cost
        if lookup.verdict is None or lookup.candidate is None:
            return None
        entry = self._entries.get(lookup.candidate)
        if entry is None:
            return None
        stored = _decode(entry.value)
        judged: Any = self._judge(stored if read is None else read(stored), fresh_value)
        if inspect.isawaitable(judged):
            judged = await judged
        if judged is None:
            return None
        correct, weight = judged if isinstance(judged, tuple) else (judged, 1.0)
        self._decision.learn(lookup.verdict, correct=bool(correct), weight=weight)
        return bool(correct)

    def feedback(self, id: int, *, correct: bool, scope: str | None = None) -> None:  # noqa: A002 - a public name of the design
        """Say whether a served answer was right. A wrong one is evicted.

        Raises `UnknownName` for an id that no entry has, or has had lately; with a ``scope``, for one that no entry of that has.
        """
        entry = None if scope is None else self._entries.get(id)
        if scope is not None and (entry is None or entry.scope != scope):
            raise UnknownName(f"no entry {id} is held in that scope; give the id of an answer that was served there")
        verdict = self._verdicts.pop(id, None)
        held = self._entries.get(id) is not None if correct else self._entries.remove(id)
        if verdict is None and not held:
            raise UnknownName(f"no entry {id} is held, nor was one served lately; give Match.id of an answer")
        if verdict is not None:
            self._decision.learn(verdict, correct=correct)

    def report(self) -> Report:
        """Return what happened since the cache was made."""
        counts = self._counts
        misses = {name.removeprefix("miss "): count for name, count in counts.items() if name.startswith("miss ")}
        return Report(
            entries=len(self),
            lookups=counts["lookups"],
            hits=counts["hits"],
            audits=counts["audits"],
            audit_cost=self._audit_cost,
            refused=counts["refused"],
            misses=misses,
            decision=self._decision.report(),
        )

    # --- keeping house ---------------------------------------------------------------------------

    def purge(
        self,
        *,
        scope: str | None = None,
        tag: str | None = None,
        writer: str | None = None,
        model: str | None = None,
        older_than: float | None = None,
    ) -> None:
        """Remove what fits any of those given: in a scope or below it, with a tag, of a principal, of a model, older than so many seconds.

        O(1). Raises `InvalidArgument` where nothing is given.
        """
        wrote = None if writer is None else digest_of(writer).hex()
        given = {"scope": scope, "tag": tag, "writer": wrote, "model": model}
        if older_than is None and not any(value is not None for value in given.values()):
            raise InvalidArgument("purge was told nothing; give a scope, tag, writer, model or older_than")
        for kind, value in given.items():
            if value is not None:
                self._entries.cache.invalidate_tag(f"{kind} {value}")
        if older_than is not None:
            self._entries.since = max(self._entries.since, self._clock() - older_than)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write entries, vectors and all that was learnt to a folder. Raises ``OSError``; then what was there is as it was."""
        self._entries.save(Path(folder), _encode(_State(self._decision.to_bytes(), self._entries.since)))

    def load(self, folder: str | os.PathLike[str]) -> int:
        """Take in what `save` wrote; return how many answers are held. Raises ``OSError`` and `SnapshotError`; then nothing has changed.

        The embedder must be the one whose vectors were saved.
        """
        before, since = self._decision.to_bytes(), self._entries.since

        def accept(data: bytes) -> None:
            state = _decode_state(data)
            self._decision.restore(state.decision)
            self._entries.since = state.since

        try:
            self._entries.load(Path(folder), accept)
        except BaseException as error:
            self._decision.restore(before)
            self._entries.since = since
            if isinstance(error, (InvalidDocument, msgspec.MsgspecError)):
                raise SnapshotError(f"{folder} holds no state of a semantic cache; remove it") from error
            raise
        return len(self)

    def close(self) -> None:
        """Give the embedder's threads up."""
        self._embedding.close()


def _check(name: str, value: object, holds: bool, limit: str) -> None:
    if not holds:
        raise InvalidArgument(f"{name} is {value}; allowed: {limit}")


def _check_scope(scope: str) -> None:
    if not scope:
        raise InvalidArgument("scope is empty; give the tenant whose answers these are, such as team/user")
