"""semantic: `SemanticCache` with the static embedder from Python, and what it serves where the evaluation data is beside the checkout."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec

from sparecall._core import SemanticDecision, SemanticProfile
from sparecall.embed import StaticEmbedder
from sparecall.semantic import SemanticCache
from sparecall.semantic.entries import Entry

from .common import Benchmark
from .questions import questions

PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "gptcache" / "mock_pairs.json"


class Semantic(Benchmark):
    params = (1_000, 10_000, 100_000)
    param_names = ("entries",)
    timeout = 600

    def setup(self, entries: int) -> None:  # type: ignore[override]
        super().setup()
        self.loop = asyncio.new_event_loop()
        self.cache = SemanticCache(StaticEmbedder(), max_error=0.05, seed=1, audit_share=0.0, max_bytes=1 << 30)
        self.texts = questions(entries)
        self.fill()
        self.turn = 0

    def fill(self) -> None:
        """Put the entries in without the search of each `store`, which takes minutes for so many."""
        answer = msgspec.Raw(msgspec.msgpack.encode("An answer of some words."))
        rows = StaticEmbedder().embed(self.texts)
        for number, (text, row) in enumerate(zip(self.texts, rows, strict=True), 1):
            profile = SemanticProfile(text).to_bytes()
            entry = Entry(number, "team", b"", "", profile, answer, time.time(), (b"",))
            self.cache._entries.put(entry, row, ttl=None, cost=None, tags=())

    def teardown(self, *params: object) -> None:
        self.cache.close()
        self.loop.close()
        super().teardown(*params)

    def time_lookup_of_a_respelling(self, entries: int) -> None:
        self.turn = (self.turn + 7919) % entries
        self.loop.run_until_complete(self.cache.lookup(self.texts[self.turn].upper(), scope="team"))

    def time_lookup_of_what_is_new(self, entries: int) -> None:
        del entries
        self.turn += 1
        text = f"Which of the trains to the coast leaves before {self.turn} on a Sunday?"
        self.loop.run_until_complete(self.cache.lookup(text, scope="team"))

    def time_store_of_a_respelling(self, entries: int) -> None:
        self.turn = (self.turn + 7919) % entries
        self.loop.run_until_complete(self.cache.store(self.texts[self.turn].upper(), "Another answer.", scope="team"))


class Judge(Benchmark):
    def setup(self) -> None:
        super().setup()
        self.decision = SemanticDecision(max_error=0.05, audit_share=0.0, embedder="static")
        self.query = SemanticProfile("How can I change the address that my new card was sent to last week?")
        self.stored = SemanticProfile("Is it possible to send the new card to another address than last week?")

    def time_judge(self) -> None:
        self.decision.judge(self.query, self.stored, 0.83, second=0.7)


class Quality(Benchmark):
    """Of a thousand paraphrases: how many are served as respellings, how many after the verdicts on as many before them."""

    unit = "share"

    def setup(self) -> None:
        super().setup()
        if not PAIRS.exists():
            raise NotImplementedError("the evaluation data is not beside this checkout")
        self.pairs = [(pair["origin"], pair["similar"]) for pair in json.loads(PAIRS.read_text("utf-8"))]
        self.random.shuffle(self.pairs)

    async def served(self, texts: list[tuple[str, str]], *, learn: bool) -> float:
        cache = SemanticCache(
            StaticEmbedder(), max_error=0.05, seed=1, audit_share=0.05, judge=lambda one, other: one == other
        )
        for number, (origin, _) in enumerate(texts):
            await cache.store(origin, number, scope="team")
        hits = asked = 0
        for number, (_, similar) in enumerate(texts):
            found = await cache.lookup(similar, scope="team")
            asked += 1
            hits += found.match is not None and found.match.value == number
            if learn and found.compare:
                await cache.audit(found, number)
        cache.close()
        return hits / asked

    def track_respellings_served(self) -> float:
        respelt = [(origin, f"  {origin.upper().rstrip('.?!')} ") for origin, _ in self.pairs]
        return asyncio.run(self.served(respelt, learn=False))

    def track_paraphrases_served_from_a_cold_start(self) -> float:
        return asyncio.run(self.served(self.pairs, learn=True))
