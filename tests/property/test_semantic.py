"""`SemanticCache` against a small Python model: never another's answer, never one past its life, replaced, purged or found wrong."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sparecall.semantic import SemanticCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORDS = ("red", "green", "blue", "fast", "slow")
SCOPES, CONTEXTS = ("a", "a/b", "ab", "b"), (b"", b"a", b"x" * 70)
NOW = 1_000_000.0
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
places = st.tuples(st.sampled_from(SCOPES), st.sampled_from(CONTEXTS))


class Toy:
    """One number for each word, the first word counting double: few texts, many ties, no two places of one text alike."""

    dim = len(WORDS)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for weight, word in zip((2, 1.1, 1), text.lower().split(), strict=False):
                row[WORDS.index(word)] += weight
        return rows


class Kept(NamedTuple):
    """What the model knows of an answer."""

    text: str
    place: tuple[str, bytes]
    stored_at: float
    ends_at: float
    tag: str
    writer: str


class Semantic(RuleBasedStateMachine):
    """Every stored value is a number of its own; the model says of each whether it may still be served, and where."""

    max_bytes = 1 << 20

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.folder = Path(tempfile.mkdtemp())
        self.cache = self.make()
        self.live: dict[int, Kept] = {}
        self.saved: dict[int, Kept] | None = None
        self.since = self.saved_since = -1.0
        self.values = 0

    def make(self) -> SemanticCache:
        return SemanticCache(
            Toy(), max_error=1.0, min_similarity=-1.0, seed=1, max_bytes=self.max_bytes, clock=lambda: self.now
        )

    def teardown(self) -> None:
        self.cache.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, work: Any) -> Any:
        """Drive a coroutine that has nothing to wait for but its embedder's thread."""
        return asyncio.run(work)

    @rule(text=texts, place=places, ttl=st.sampled_from([None, 5.0, 50.0]), tag=st.sampled_from("xy"), writer=st.sampled_from(["ann", "bob"]))  # fmt: skip
    def store(self, text: str, place: tuple[str, bytes], ttl: float | None, tag: str, writer: str) -> None:
        self.values += 1
        scope, context = place
        number = self.run(
            self.cache.store(text, self.values, scope=scope, context=context, ttl=ttl, tags=[tag], principal=writer)
        )
        assert number is not None
        self.live = {
            v: kept for v, kept in self.live.items() if (kept.text.lower(), kept.place) != (text.lower(), place)
        }
        ends_at = float("inf") if ttl is None else self.now + ttl
        self.live[self.values] = Kept(text, place, self.now, ends_at, tag, writer)

    @rule(text=texts, place=places, loud=st.booleans(), wrong=st.booleans())
    def lookup(self, text: str, place: tuple[str, bytes], loud: bool, wrong: bool) -> None:
        asked = text.upper() if loud else text
        found = self.run(self.cache.lookup(asked, scope=place[0], context=place[1]))
        here = {v: kept for v, kept in self.live.items() if kept.place == place and kept.ends_at > self.now}
        if found.match is None:
            self.missed(here)
            return
        assert found.match.value in here
        self.served(text, here[found.match.value], here)
        if wrong:
            self.cache.feedback(found.match.id, correct=False, scope=place[0])
            del self.live[found.match.value]

    def missed(self, here: dict[int, Kept]) -> None:
        assert not here

    def served(self, text: str, kept: Kept, here: dict[int, Kept]) -> None:
        query, *rows = (
            row / np.linalg.norm(row) for row in Toy().embed([text, kept.text, *(k.text for k in here.values())])
        )
        similarities = [float(query @ row) for row in rows]
        assert similarities[0] >= max(similarities) - 1e-6

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(scope=st.sampled_from(SCOPES))
    def purge_scope(self, scope: str) -> None:
        self.cache.purge(scope=scope)
        self.keep(lambda kept: not (kept.place[0] + "/").startswith(scope + "/"))

    @rule(tag=st.sampled_from("xy"))
    def purge_tag(self, tag: str) -> None:
        self.cache.purge(tag=tag)
        self.keep(lambda kept: kept.tag != tag)

    @rule(writer=st.sampled_from(["ann", "bob", "eve"]))
    def purge_writer(self, writer: str) -> None:
        self.cache.purge(writer=writer)
        self.keep(lambda kept: kept.writer != writer)

    @rule(age=st.sampled_from([0.0, 5.0, 30.0]))
    def purge_old(self, age: float) -> None:
        self.cache.purge(older_than=age)
        self.since = max(self.since, self.now - age)
        self.keep(lambda kept: kept.stored_at >= self.since)

    def keep(self, fits: Any) -> None:
        self.live = {value: kept for value, kept in self.live.items() if fits(kept)}

    @rule()
    def save(self) -> None:
        self.cache.save(self.folder)
        self.saved, self.saved_since = dict(self.live), self.since

    @precondition(lambda self: self.saved is not None)
    @rule(fresh=st.booleans())
    def load(self, fresh: bool) -> None:
        if fresh:
            self.cache.close()
            self.cache = self.make()
            self.since = -1.0
        self.cache.load(self.folder)
        assert self.saved is not None
        self.live, self.since = dict(self.saved), max(self.since, self.saved_since)
        self.keep(lambda kept: kept.stored_at >= self.since)

    @rule()
    def count(self) -> None:
        report = self.cache.report()
        assert report.lookups == report.hits + report.audits + sum(report.misses.values())


class Evicting(Semantic):
    """The same with room for a few: anything may be gone, nothing may be wrong, and the index stays small."""

    max_bytes = 1_500

    def missed(self, here: dict[int, Kept]) -> None:
        del here

    def served(self, text: str, kept: Kept, here: dict[int, Kept]) -> None:
        del text, kept, here

    @rule()
    def bounded(self) -> None:
        assert len(self.cache._entries.index) <= len(self.cache._entries._ids) <= 30


TestSemantic = Semantic.TestCase
TestSemantic.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestEvicting = Evicting.TestCase
TestEvicting.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
