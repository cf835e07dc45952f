"""`SemanticCache`: embed, search, judge; store, audit, learn. Each part is elsewhere; here is the order of things."""

from __future__ import annotations

import collections
import functools
import math
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sparecall import queue
from sparecall._core import SemanticDecision, SemanticProfile
from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument, InvalidDocument, SnapshotError
from sparecall.semantic.answers import same_answer
from sparecall.semantic.decisions import Decisions
from sparecall.semantic.embedding import Embedding, NoVectorError, name_of
from sparecall.semantic.entries import Entries, Entry, Found, digest_of, encoded, prefixes_of
from sparecall.semantic.judging import WITHIN, Judging, Refinement
from sparecall.semantic.learning import Learning
from sparecall.semantic.lookup import Lookup, Match, Report, Rule, check, check_scope
from sparecall.semantic.quota import Quota

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sparecall.semantic.embedding import AsyncEmbedder, Embedder
    from sparecall.semantic.learning import Judge

# Neighbours looked at.
_NEIGHBOURS = 8
# Below, hardly a pair means the same (of those that do, 1.7 % with static vectors: GPTCache's), and a search reads much more.
_LEAST_STATIC, _LEAST = 0.7, 0.6
# A profile of so many characters takes a third of a millisecond; longer ones are made in a thread.
_INLINE_CHARACTERS = 8192
_NO_RULE = Rule()
_decode = msgspec.msgpack.decode


class SemanticCache:
    """Answers by meaning, with at most a share of `max_error` wrong. For one event loop.

    ``embedder``: `StaticEmbedder()`, `MiniLMEmbedder(folder)`, `RemoteEmbedder(...)`, or anything with ``embed`` (called in
    one of two threads) or ``aembed`` (awaited): texts to float rows. Static vectors are made at once, in microseconds.
    ``refine``: a slower and better embedder, as `MiniLMEmbedder(folder)` beside static vectors, asked of what the first leaves
    open; its vectors stand with the answers, 2 bytes a number. ``dim``, ``refine_dim``: the numbers in a vector, where an
    embedder has no ``dim`` of its own.
    ``max_error``: the greatest share of wrong answers among those served, in (0, 1]. At 1.0 the best candidate is always served.
    ``audit_share``: the share of hits, 0 to 1, that are held back once so that a fresh answer can be compared with them.
    ``seed``: of the draw of audits; None for another each time.
    ``min_similarity``: the cosine, -1 to 1, below which nothing is looked at. None: 0.7 for static vectors, else 0.6.
    ``max_bytes``: of all stored answers. Vectors come on top: ``4.5 * dim + 300`` bytes each, for up to a third more than are held.
    ``ttl``: seconds that an answer lives where `store` or a rule says nothing; None for no end.
    ``max_characters``: longer texts are neither looked up nor stored.
    ``timeout``: seconds that a call waits for the embedder.
    ``rules``: what holds for categories instead; see `Rule`.
    ``judge``: told the stored value and the fresh one, returns whether the stored one is right, or that and a weight in (0, 1],
    or None; may be a coroutine function.
    ``pool``: from a scope the name of those that learn together; None: all do, which is for scopes that trust each other.
    ``promote_after``: so many principals, 1 to 64, have to store an answer before others than these may see it.
    ``write_quota``: answers that one principal may store in ``quota_window`` seconds; None for no limit.
    ``clock``: returns seconds since the epoch, for tests.

    Raises `InvalidArgument` for a value outside these. Whatever goes into a lookup and out of it stays in this process.
    Lookups and stores are O(entries of the scope and context): about a nanosecond each.
    """

    __slots__ = (
        "_audit_cost", "_clock", "_counts", "_embedding", "_entries", "_judging", "_learning", "_max_characters", "_max_error",
        "_min_similarity", "_promote_after", "_quota", "_rules",
    )  # fmt: skip

    def __init__(
        self,
        embedder: Embedder | AsyncEmbedder,
        *,
        refine: Embedder | AsyncEmbedder | None = None,
        max_error: float = 0.02,
        audit_share: float = 0.05,
        seed: int | None = None,
        dim: int | None = None,
        refine_dim: int | None = None,
        min_similarity: float | None = None,
        max_bytes: int = 256 * 1024 * 1024,
        ttl: float | None = None,
        max_characters: int = 8192,
        timeout: float = 1.0,
        rules: Mapping[str, Rule] | None = None,
        judge: Judge = same_answer,
        pool: Callable[[str], str] | None = None,
        promote_after: int = 1,
        write_quota: int | None = None,
        quota_window: float = 3600.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if min_similarity is None:
            min_similarity = _LEAST_STATIC if isinstance(embedder, StaticEmbedder) else _LEAST
        check("min_similarity", min_similarity, -1 <= min_similarity <= 1, "-1 to 1")
        check("max_characters", max_characters, max_characters > 0, "1 or more")
        check("timeout", timeout, 0 < timeout < math.inf, "more than 0 seconds")
        check("promote_after", promote_after, 1 <= promote_after <= 64, "1 to 64 principals")
        check("write_quota", write_quota, write_quota is None or write_quota >= 0, "0 or more, or None")
        check("quota_window", quota_window, 0 < quota_window < math.inf, "more than 0 seconds")
        drawn = secrets.randbits(63) if seed is None else seed
        make = functools.partial(SemanticDecision, max_error=max_error, audit_share=audit_share, seed=drawn)
        make()  # raises for what is outside, though the first may be needed later
        self._clock = time.time if clock is None else clock
        self._embedding = Embedding(embedder, dim=_dim(embedder, dim, "dim"), timeout=timeout)
        refinement = None
        if refine is not None:
            refinement = Refinement(
                Embedding(refine, dim=_dim(refine, refine_dim, "refine_dim"), timeout=timeout),
                Decisions(functools.partial(make, embedder=name_of(refine)), pool),
            )
        decisions = Decisions(functools.partial(make, embedder=name_of(embedder)), pool)
        self._judging = Judging(decisions, refinement=refinement, clock=self._clock)
        self._entries = Entries(self._embedding.dim, max_bytes=max_bytes, ttl=ttl, clock=clock)
        self._learning = Learning(self._judging, judge)
        self._min_similarity = min_similarity
        self._max_characters = max_characters
        self._max_error = max_error
        self._rules = dict(rules or {})
        self._promote_after = promote_after
        self._quota = Quota(write_quota, window=quota_window, clock=self._clock)
        self._counts: collections.Counter[str] = collections.Counter()
        self._audit_cost = 0.0

    def __len__(self) -> int:
        """How many answers are held, those included that are over but have not been met yet."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<SemanticCache of {len(self)} answers by {type(self._embedding.embedder).__name__}>"

    # --- asking ----------------------------------------------------------------------------------

    async def lookup(
        self, text: str, *, scope: str, context: bytes = b"", category: str = "", principal: str = ""
    ) -> Lookup:
        """Look for a stored answer to the same question in the same scope and context.

        ``context`` stands for all that must be equal: model, parameters, what was said before; a digest of it will do.
        ``category`` names a rule, and what the decision learns apart; ``principal`` whoever asks, where answers are promoted.
        A text or an embedder that cannot be worked with makes a miss, which says why and is counted. A lookup that is
        cancelled is not counted. Raises `InvalidArgument` for a scope that is empty, over 1,024 characters or 32 parts.
        """
        check_scope(scope)
        found = await self._lookup(text, scope, context, category, principal)
        if found.match is not None:
            self._counts["hits"] += 1
        elif found.audit:
            self._counts["audits"] += 1
        else:
            self._counts[f"miss {found.why if found.verdict is None else 'held_back'}"] += 1
        self._counts["lookups"] += 1
        return found

    async def _lookup(self, text: str, scope: str, context: bytes, category: str, principal: str) -> Lookup:
        rule = self._rules.get(category, _NO_RULE)
        if not rule.enabled:
            return Lookup(why="disabled")
        if len(text) > self._max_characters:
            return Lookup(why="too_long")
        profile = await _profile(text)
        if profile.empty:
            return Lookup(why="empty")
        try:
            vector = await self._embedding.of(text)
        except NoVectorError as error:
            return Lookup(why=error.why, profile=profile)
        near = await self._near(vector, scope, context)
        usable = [found for found in near if self._is_proven(found.entry, principal)]
        if not usable:
            return Lookup(why="unproven" if near else "nothing_near", vector=vector, profile=profile)
        judged = await self._judging.judge(text, profile, usable, rule=rule, scope=scope, category=category)
        (entry, similarity), verdict = judged.found, judged.verdict
        match = None
        if verdict.serve:
            self._learning.served(entry.id, judged, scope)
            match = Match(entry.id, _decode(entry.value), similarity, verdict.probability, verdict.why)
        return Lookup(
            match=match,
            audit=verdict.audit,
            why="" if verdict.serve else verdict.why,
            vector=vector,
            max_error=self._max_error if rule.max_error is None else rule.max_error,
            profile=profile,
            judged=judged,
        )

    async def _near(self, vector: NDArray[np.float32], scope: str, context: bytes) -> list[Found]:
        return await self._entries.near(
            vector, scope=scope, context=context, min_similarity=self._min_similarity, within=WITHIN, k=_NEIGHBOURS
        )

    def _is_proven(self, entry: Entry, principal: str) -> bool:
        enough = self._promote_after == 1 or len(entry.principals) >= self._promote_after
        return enough or digest_of(principal) in entry.principals

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
        With the ``lookup`` of the same text that missed, it is not embedded again. A respelling of a stored question replaces its
        answer and keeps its id. ``ttl`` in seconds; ``cost`` what the answer cost, in dollars or dollars and seconds: the costly
        stay longest. ``tags`` and ``model`` are for `purge`. Cancelled, it has stored nothing. Raises `InvalidArgument` as
        `lookup` does, and for a value that cannot be encoded; ``TypeError`` for one that is no plain data.
        """
        check_scope(scope)
        data = encoded(value)
        rule = self._rules.get(category, _NO_RULE)
        read = await self._read(text, lookup, principal=principal) if rule.enabled else None
        if read is not None:
            profile, vector, slow = read
            near = await self._near(vector, scope, context)
            entry = Entry(
                id=0, scope=scope, context=context, category=category, profile=profile.to_bytes(), value=data,
                stored_at=self._clock(), principals=(digest_of(principal),), refined=slow,
            )  # fmt: skip
            entry, is_new = self._entries.placed(entry, profile, near, promote_after=self._promote_after)
            marks = [*(f"tag {tag}" for tag in tags), f"model {model}", *prefixes_of(scope)]
            marks += (f"writer {writer.hex()}" for writer in entry.principals)
            life = rule.ttl if ttl is None else ttl
            if self._entries.put(entry, vector, ttl=life, cost=cost, tags=marks):
                if is_new:
                    self._judging.stored(profile, scope)
                return entry.id
        self._counts["refused"] += 1
        return None

    async def _read(
        self, text: str, lookup: Lookup | None, *, principal: str
    ) -> tuple[SemanticProfile, NDArray[np.float32], bytes] | None:
        """Profile and vectors of a text that may be stored; None for any other."""
        if len(text) > self._max_characters:
            return None
        profile = await _profile(text)
        if profile.empty or not self._quota.take(principal):
            return None
        known = lookup if lookup is not None and lookup.vector is not None and lookup.profile == profile else None
        try:
            vector = await self._embedding.of(text) if known is None or known.vector is None else known.vector
        except NoVectorError:
            return None
        return profile, vector, await self._judging.slow_bytes(text, known)

    # --- learning --------------------------------------------------------------------------------

    async def audit(
        self, lookup: Lookup, fresh_value: Any, *, cost: float | None = None, read: Callable[[Any], Any] | None = None
    ) -> bool | None:
        """Compare a fresh answer with the stored one that the lookup found, and learn from it.

        Returns whether the stored one is right; None where there is nothing to compare, or the judge does not know.
        ``cost`` is what the call cost in dollars; it counts where the lookup was an audit. ``read`` makes of the stored value what
        the judge compares with ``fresh_value``. Once for each lookup, before the fresh answer is stored. Raises what the judge
        raises, and `InvalidArgument` where it returns anything else; then nothing is learnt.
        """
        if lookup.audit and cost is not None:
            self._audit_cost += cost
        entry = None if lookup.candidate is None else self._entries.get(lookup.candidate)
        if entry is None or lookup.judged is None:
            return None
        stored = _decode(entry.value)
        values = (stored if read is None else read(stored), fresh_value)
        return await self._learning.compare(lookup.judged, *values, scope=entry.scope)

    def feedback(self, id: int, *, correct: bool, scope: str | None = None) -> None:  # noqa: A002 - a public name of the design
        """Say whether the answer served last from that entry was right. A wrong one is evicted.

        Where whoever says it is not trusted with every scope, give the ``scope`` that is theirs. Raises `UnknownName` for an id
        that no entry has, or has had lately, or of another scope; then nothing has changed.
        """
        entry = self._entries.get(id) if isinstance(id, int) and 0 < id < 1 << 63 else None
        held = entry is not None and scope in (None, entry.scope)
        self._learning.feedback(id, correct=correct, held=held, scope=scope)
        if held and not correct:
            self._entries.remove(id)

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
            decisions=self._judging.decisions.reports(),
            refined={} if self._judging.refinement is None else self._judging.refinement.decisions.reports(),
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

        None of it is returned from now on; memory is given back as it is met. O(1). Raises `InvalidArgument` where nothing is given.
        """
        wrote = None if writer is None else digest_of(writer).hex()
        below = scope if scope is None else scope.rstrip("/")
        given = {"scope": below, "tag": tag, "writer": wrote, "model": model}
        if older_than is None and not any(value is not None for value in given.values()):
            raise InvalidArgument("purge was told nothing; give a scope, tag, writer, model or older_than")
        if older_than is not None:
            check("older_than", older_than, older_than >= 0, "0 seconds or more")
        for kind, value in given.items():
            if value is not None:
                self._entries.cache.invalidate_tag(f"{kind} {value}")
        if older_than is not None:
            self._entries.since = max(self._entries.since, self._clock() - older_than)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write answers, vectors and all that was learnt to a folder of its own, made where there is none.

        A process killed meanwhile leaves the old content or the new. Readable by its owner alone; holds answers, and of questions
        their words. Synchronous, O(bytes): call it in a thread (``asyncio.to_thread``) while the loop goes on. Raises ``OSError``;
        then what was there is as it was.
        """
        self._entries.save(Path(folder), self._judging.to_bytes(), embedder=self._identity)

    def load(self, folder: str | os.PathLike[str]) -> int:
        """Take what `save` wrote in place of all that is held and was learnt; return how many answers are held.

        Synchronous, O(bytes), in the loop's thread: before serving begins. Raises ``OSError`` where there is none, and
        `SnapshotError` where it is damaged or by another embedder; then nothing has changed.
        """
        try:
            self._entries.load(Path(folder), self._judging.restore, embedder=self._identity)
        except InvalidDocument as error:
            raise SnapshotError(f"{folder} holds no state of a semantic cache; remove it") from error
        self._learning.forget()
        return len(self)

    @property
    def _identity(self) -> str:
        slower = self._judging.refinement
        return (
            self._embedding.identity if slower is None else f"{self._embedding.identity}, {slower.embedding.identity}"
        )

    def close(self) -> None:
        """Give the embedders' threads up."""
        self._embedding.close()
        if self._judging.refinement is not None:
            self._judging.refinement.embedding.close()


def _dim(embedder: object, given: int | None, name: str) -> int:
    size = getattr(embedder, "dim", None) if given is None else given
    if not isinstance(size, int):
        raise InvalidArgument(f"{name} is None and the embedder has none of its own; give the length of its vectors")
    return size


async def _profile(text: str) -> SemanticProfile:
    if len(text) <= _INLINE_CHARACTERS:
        return SemanticProfile(text)
    return await queue.run(SemanticProfile._work(text), priority="high")
