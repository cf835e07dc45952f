"""Judges what lies near a question: by the vectors it was found with, and, where these leave it open, by slower and better ones.

The slower vectors stand in the entries themselves, 2 bytes a number; they are compared, never searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from sparecall._core import SemanticProfile
from sparecall.errors import InvalidDocument
from sparecall.semantic.embedding import NoVectorError
from sparecall.semantic.entries import is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sparecall._core import SemanticVerdict
    from sparecall.semantic.decisions import Decisions
    from sparecall.semantic.embedding import Embedding
    from sparecall.semantic.entries import Found
    from sparecall.semantic.lookup import Lookup, Rule

# Entries at most so far below the best count as its neighbours.
WITHIN = 0.05
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode


class Judged(NamedTuple):
    """An entry, its similarity, and what was decided about it by which decisions."""

    found: Found
    verdict: SemanticVerdict
    refined: bool = False
    first: SemanticVerdict | None = None
    """Where the verdict is refined: what the first vectors said of the same entry."""
    slow: NDArray[np.float32] | None = None
    """The question's slower vector, where it was made."""


class Refinement(NamedTuple):
    """A slower and better embedder, and what is decided by its vectors."""

    embedding: Embedding
    decisions: Decisions


class Judging:
    """The decisions, and the slower embedder where there is one. Not for several threads at once."""

    __slots__ = ("_clock", "decisions", "refinement")

    def __init__(self, decisions: Decisions, *, refinement: Refinement | None, clock: Callable[[], float]) -> None:
        self.decisions = decisions
        self.refinement = refinement
        self._clock = clock

    async def judge(
        self, text: str, profile: SemanticProfile, near: Sequence[Found], *, rule: Rule, scope: str, category: str
    ) -> Judged:
        """Judge the best of those near, of which there is one at least, best first: a respelling before all others."""
        # Long texts that share most of their words lie closer to each other than vectors can tell.
        same = next((at for at, found in enumerate(near) if is_same(profile, found.entry)), 0)
        if same:
            near = [near[same], *near[:same], *near[same + 1 :]]

        def by(decisions: Decisions, found: Sequence[Found]) -> SemanticVerdict:
            entry, similarity = found[0]
            return decisions.of(scope).judge(
                profile,
                SemanticProfile.from_bytes(entry.profile),
                max(-1.0, min(1.0, similarity)),
                second=found[1].similarity if len(found) > 1 else -2.0,
                density=float(len(found)),
                age=max(0.0, self._clock() - entry.stored_at),
                scope=scope,
                category=category,
                entry=entry.id,
                max_error=rule.max_error,
            )

        first = by(self.decisions, near)
        decided = Judged(near[0], first)
        if self.refinement is None or first.serve or first.audit or not first.compare:
            return decided
        try:
            vector = await self.refinement.embedding.of(text)
        except NoVectorError:
            return decided
        again = _ranked(near, vector)
        if not again:
            return decided._replace(slow=vector)
        verdict = by(self.refinement.decisions, again)
        agreed = again[0].entry.id == near[0].entry.id
        return Judged(again[0], verdict, refined=True, first=first if agreed else None, slow=vector)

    async def slow_bytes(self, text: str, known: Lookup | None) -> bytes:
        """What an entry keeps of a question's slower vector; nothing without the embedder, or where it fails."""
        if self.refinement is None:
            return b""
        made = None if known is None or known.judged is None else known.judged.slow
        try:
            vector = await self.refinement.embedding.of(text) if made is None else made
        except NoVectorError:
            return b""
        return (vector / np.linalg.norm(vector)).astype(np.float16).tobytes()

    def learn(self, judged: Judged, *, scope: str, correct: bool, weight: float = 1.0) -> None:
        """Learn whether the entry's answer was right: whoever has judged it does."""
        decisions = self.refinement.decisions if judged.refined and self.refinement is not None else self.decisions
        decisions.of(scope).learn(judged.verdict, correct=correct, weight=weight)
        if judged.first is not None:
            self.decisions.of(scope).learn(judged.first, correct=correct, weight=weight)

    def stored(self, profile: SemanticProfile, scope: str) -> None:
        """A question was stored: its words are a little less rare."""
        self.decisions.of(scope).stored(profile)
        if self.refinement is not None:
            self.refinement.decisions.of(scope).stored(profile)

    def to_bytes(self) -> bytes:
        """All that was learnt, for `restore`."""
        learnt = self.decisions.to_bytes()
        return learnt if self.refinement is None else _encode((learnt, self.refinement.decisions.to_bytes()))

    def restore(self, data: bytes) -> None:
        """Take over what others had learnt. Raises `InvalidDocument`, and changes nothing, for other bytes."""
        if self.refinement is None:
            return self.decisions.take(self.decisions.read(data))
        try:
            learnt, refined = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise InvalidDocument("the saved decisions are damaged, or those of one embedder alone") from None
        slower = self.refinement.decisions
        first, second = self.decisions.read(learnt), slower.read(refined)
        self.decisions.take(first)
        return slower.take(second)


def _ranked(near: Sequence[Found], vector: NDArray[np.float32]) -> list[Found]:
    """Those that have a slower vector of this length, by their similarity in it, none further than `WITHIN` below the best."""
    having = [found for found in near if len(found.entry.refined) == 2 * len(vector)]
    if not having:
        return []
    rows = np.frombuffer(b"".join(found.entry.refined for found in having), np.float16).reshape(len(having), -1)
    similar = rows.astype(np.float32) @ (vector / np.linalg.norm(vector))
    again = [found._replace(similarity=float(one)) for found, one in zip(having, similar, strict=True)]
    again.sort(key=lambda found: (found.similarity, found.entry.stored_at, found.entry.id), reverse=True)
    return [found for found in again if found.similarity >= again[0].similarity - WITHIN]
