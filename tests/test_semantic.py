"""`SemanticCache`: what it serves and to whom, what goes wrong around it, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loop_steps import no_complaints, turns
from sparecall.embed import StaticEmbedder
from sparecall.errors import InvalidArgument, UnknownName
from sparecall.semantic import Lookup, Match, Rule, SemanticCache, same_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

pytestmark = pytest.mark.anyio
QUESTION, AGAIN = "How do I reset my router?", "how do i RESET my router"


class Toy:
    """Vectors made of letters: the same for the same bag of letters."""

    dim = 32

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for letter in text.lower():
                if letter.isalnum():
                    row[ord(letter) % self.dim] += 1
        return rows


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Faulty:
    """An embedder that does whatever it is told."""

    dim = 4

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def embed(self, texts: Sequence[str]) -> Any:
        del texts
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Slow:
    """An awaited embedder that ends when it is told to, and may refuse to be cancelled."""

    dim = 2

    def __init__(self, *, stubborn: bool = False) -> None:
        self.free = asyncio.Event()
        self.stubborn = stubborn
        self.cancelled = 0

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self.stubborn:
                    raise
        return np.ones((len(texts), 2), np.float32)


def opened(**options: Any) -> SemanticCache:
    """A cache that serves its best candidate always."""
    return SemanticCache(options.pop("embedder", None) or Toy(), **{"max_error": 1.0, "seed": 1} | options)


def matched(found: Lookup) -> Match:
    assert found.match is not None, found.why
    return found.match


def adds_up(cache: SemanticCache) -> bool:
    report = cache.report()
    return report.lookups == report.hits + report.audits + sum(report.misses.values())


# --- what is served ------------------------------------------------------------------------------


async def test_a_respelling_is_served_before_anything_was_learnt() -> None:
    cache = SemanticCache(StaticEmbedder(), max_error=0.05, seed=1, audit_share=0.0)
    missed = await cache.lookup(QUESTION, scope="team")
    assert missed.why == "nothing_near"
    number = await cache.store(QUESTION, {"answer": ["hold the button", 10]}, scope="team", lookup=missed)
    match = matched(await cache.lookup(AGAIN, scope="team"))
    assert (match.id, match.value) == (number, {"answer": ["hold the button", 10]})
    match.value["answer"].clear()
    assert matched(await cache.lookup(AGAIN, scope="team")).value == {"answer": ["hold the button", 10]}
    assert adds_up(cache)


@pytest.mark.parametrize("other", ["How do I not reset my router?", "How do I reset my 2 routers?"])
async def test_what_may_be_another_question_is_held_back(other: str) -> None:
    cache = SemanticCache(StaticEmbedder(), seed=1)
    await cache.store(QUESTION, "hold the button", scope="team")
    found = await cache.lookup(other, scope="team")
    assert found.match is None
    assert cache.report().misses == {"held_back": 1}


async def test_a_limit_of_one_serves_the_best_candidate() -> None:
    cache = opened(embedder=StaticEmbedder(), min_similarity=-1.0)
    for text in ("weather in Rome", "weather in Paris", "reset the router"):
        await cache.store(text, text, scope="team")
    assert matched(await cache.lookup("the weather today in Paris", scope="team")).value == "weather in Paris"
    assert matched(await cache.lookup("restart a router", scope="team")).value == "reset the router"


async def test_the_text_is_embedded_once_for_lookup_and_store() -> None:
    toy = Toy()
    cache = opened(embedder=toy)
    await cache.store(QUESTION, 1, scope="team", lookup=await cache.lookup(QUESTION, scope="team"))
    assert toy.texts == [QUESTION]


async def test_a_lookup_of_another_text_is_no_help_to_store() -> None:
    cache = opened(min_similarity=0.95)
    await cache.store("weather in Rome", "sun", scope="team", lookup=await cache.lookup(QUESTION, scope="team"))
    assert (await cache.lookup(QUESTION, scope="team")).match is None
    assert matched(await cache.lookup("weather in Rome", scope="team")).value == "sun"


async def test_a_respelling_replaces_the_answer_and_keeps_the_id() -> None:
    cache = opened()
    numbers = {await cache.store(text, text, scope="team") for text in (QUESTION, AGAIN, QUESTION.upper()) * 50}
    assert len(numbers) == len(cache) == 1
    assert len(cache._entries._ids) == len(cache._entries.index) == 1
    assert matched(await cache.lookup(AGAIN, scope="team")).value == QUESTION.upper()


# --- scope and context ---------------------------------------------------------------------------

PLACES = [
    ("a", b""), ("a/b", b""), ("b", b"a"), ("a b", b""), ("b", b""), ("61 a", b""), ("a", b"a"), ("digest-", b""),
    ("a", b"x" * 65), ("a", b"x" * 66), (" a", b""), ("a/b", b"/"),
]  # fmt: skip


async def test_nobody_sees_an_answer_of_another_place() -> None:
    cache = opened(min_similarity=-1.0)
    for number, (scope, context) in enumerate(PLACES):
        assert (await cache.lookup(QUESTION, scope=scope, context=context)).match is None
        await cache.store(QUESTION, number, scope=scope, context=context)
    for number, (scope, context) in enumerate(PLACES):
        assert matched(await cache.lookup(QUESTION, scope=scope, context=context)).value == number


async def test_two_tenants_and_a_poisoner() -> None:
    """Who may write in another scope only changes nothing of what this one is told."""
    cache = SemanticCache(StaticEmbedder(), max_error=0.05, seed=1, audit_share=0.0, write_quota=50)
    questions = [QUESTION, "Where is my card?", "What's the limit of a transfer?"]
    for text in questions:
        await cache.store(text, f"right: {text}", scope="victim", principal="honest")
    before = [matched(await cache.lookup(text.upper(), scope="victim")).value for text in questions]
    ids = [matched(await cache.lookup(text, scope="victim")).id for text in questions]
    for turn in range(60):
        for text in questions:
            scope = ("attacker", "victim/below", "victim2", "victim ", "/victim")[turn % 5]
            found = await cache.lookup(text, scope=scope, principal="attacker")
            assert found.match is None or found.match.value == "poison"
            await cache.store(text, "poison", scope=scope, principal="attacker", lookup=found, tags=["victim"])
            await cache.audit(found, "poison")
    for number in (*ids, 0, -1, 1 << 70):
        with pytest.raises(UnknownName):
            cache.feedback(number, correct=False, scope="attacker")
    assert [matched(await cache.lookup(text.upper(), scope="victim")).value for text in questions] == before
    assert cache.report().refused > 100


@pytest.mark.parametrize("scope", ["", "x" * 1025, "/" * 32])
async def test_a_scope_that_will_not_do(scope: str) -> None:
    cache = opened()
    with pytest.raises(InvalidArgument, match="scope"):
        await cache.lookup(QUESTION, scope=scope)
    with pytest.raises(InvalidArgument, match="scope"):
        await cache.store(QUESTION, 1, scope=scope)
    assert cache.report().lookups == 0


# --- texts and values ----------------------------------------------------------------------------

ODD = [
    "",
    " \n",
    "?!",
    "\0" * 99,
    "x" * 1_000_000,
    "\udc80",
    "日本語の質問",
    "abc العربية где",
    "\x7fELF\x02\x01 \ufffd",
    "1 " * 4000,
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
async def test_any_text_is_a_hit_of_its_own_or_a_counted_miss(text: str) -> None:
    cache = opened(embedder=StaticEmbedder())
    await cache.store("How do I reset it?", "other", scope="team")
    number = await cache.store(text, "own", scope="team")
    found = await cache.lookup(text, scope="team")
    if number is None:
        assert found.match is None
        assert found.why in {"empty", "too_long", "bad_vector"}
        assert cache.report().refused == 1
    else:
        assert matched(found).value == "own"
    assert adds_up(cache)


@pytest.mark.parametrize("value", [None, True, -5, 1.5, "text", b"\0\xff", [1, [2]], {"a": {"b": None}}])
async def test_plain_data_comes_back_equal(value: Any) -> None:
    cache = opened()
    await cache.store(QUESTION, value, scope="team")
    assert matched(await cache.lookup(QUESTION, scope="team")).value == value


async def test_what_cannot_be_encoded_changes_nothing() -> None:
    cache = opened()
    await cache.store(QUESTION, "old", scope="team")
    loop: list[Any] = []
    loop.append(loop)
    for value in (1 << 70, "\udc80", loop):
        with pytest.raises(InvalidArgument, match="plain data"):
            await cache.store(QUESTION, value, scope="team")
    with pytest.raises(TypeError):
        await cache.store(QUESTION, object(), scope="team")
    assert matched(await cache.lookup(QUESTION, scope="team")).value == "old"


# --- embedders that fail -------------------------------------------------------------------------

GOOD = [1.0, 0.0, 0.0, 0.0]
BAD = [
    (RuntimeError("secret prompt"), "embedder_failed"), (None, "bad_vector"), (["x"], "embedder_failed"),
    (np.ones((1, 5)), "bad_vector"), (np.ones(4), "bad_vector"), (np.ones((2, 4)), "bad_vector"),
    ([[0.0] * 4], "bad_vector"), ([[np.nan, 1, 1, 1]], "bad_vector"), ([[np.inf, 1, 1, 1]], "bad_vector"),
    ([[1e300, 1, 1, 1]], "bad_vector"), ([[1e30] * 4], "bad_vector"), (np.empty((0, 4)), "bad_vector"),
    (MemoryError(), "embedder_failed"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "why"), BAD, ids=range(len(BAD)))
async def test_a_bad_embedder_makes_a_counted_miss(answer: Any, why: str) -> None:
    cache = opened(embedder=Faulty([GOOD]), min_similarity=-1.0)
    await cache.store(QUESTION, "right", scope="team")
    cache._embedding.embedder.answer = answer  # type: ignore[union-attr]
    found = await cache.lookup(QUESTION, scope="team")
    assert (found.match, found.why) == (None, why)
    assert await cache.store(AGAIN, "wrong", scope="team") is None
    assert cache.report().misses == {why: 1}
    cache._embedding.embedder.answer = np.array([GOOD], np.float64)  # type: ignore[union-attr]
    assert matched(await cache.lookup(QUESTION, scope="team")).value == "right"
    cache.close()


async def test_a_hanging_embedder_is_a_timeout_then_busy_and_holds_two_threads() -> None:
    free, running = threading.Event(), []

    class Hanging:
        dim = 2

        def embed(self, texts: Sequence[str]) -> Any:
            running.append(threading.get_ident())
            free.wait(30)
            return np.ones((len(texts), 2))

    cache = opened(embedder=Hanging(), timeout=0.02)
    try:
        whys = [found.why for found in await asyncio.gather(*(cache.lookup(f"q {n}", scope="t") for n in range(80)))]
        assert whys.count("embedder_timeout") == 64
        assert whys.count("embedder_busy") == 16
        assert len(set(running)) == 2
        assert adds_up(cache)
    finally:
        free.set()
    while cache._embedding._waiting:  # noqa: ASYNC110 - threads set no event
        await asyncio.sleep(0.005)
    await cache.store(QUESTION, 1, scope="t")
    cache._embedding._timeout = 30.0
    assert (await cache.lookup(QUESTION, scope="t")).why != "embedder_busy"
    cache.close()


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_awaited_embedder_that_never_ends_is_a_timeout(stubborn: bool) -> None:
    slow = Slow(stubborn=stubborn)
    cache = opened(embedder=slow, timeout=0.01)
    async with no_complaints():
        assert (await asyncio.wait_for(cache.lookup("q", scope="t"), 10)).why == "embedder_timeout"
        await turns(3)
        assert slow.cancelled == 1
        assert cache._embedding._waiting == (1 if stubborn else 0)
        slow.free.set()
        await turns(3)
        assert cache._embedding._waiting == 0


async def test_an_embedder_that_cancels_itself_does_not_cancel_who_asked() -> None:
    class Cancelling:
        dim = 2

        async def aembed(self, texts: Sequence[str]) -> Any:
            del texts
            raise asyncio.CancelledError

    assert (await opened(embedder=Cancelling()).lookup("q", scope="t")).why == "embedder_failed"


async def test_an_embedder_may_use_its_rows_again() -> None:
    class Reusing:
        dim = 32
        rows = np.zeros((1, 32), np.float32)

        def embed(self, texts: Sequence[str]) -> Any:
            self.rows[:] = Toy().embed(texts)
            return self.rows

    cache = opened(embedder=Reusing())
    first = await cache.lookup(QUESTION, scope="t")
    await cache.lookup("zzz", scope="t")
    await cache.store(QUESTION, "right", scope="t", lookup=first)
    assert (await cache.lookup("zzz", scope="t")).match is None
    assert matched(await cache.lookup(QUESTION, scope="t")).value == "right"
    cache.close()


@pytest.mark.parametrize("at", range(6))
async def test_cancelled_at_any_point_nothing_is_half_done(at: int) -> None:
    """Cancelled after so many turns of the loop, a lookup is not counted and a store has stored all or nothing."""
    slow = Slow()
    cache = opened(embedder=slow)
    async with no_complaints():
        tasks = [
            asyncio.ensure_future(work) for work in (cache.lookup("a b", scope="t"), cache.store("a b", 1, scope="t"))
        ]
        await turns(at)
        if at == 3:
            slow.free.set()
            await turns(1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await turns(3)
        assert cache._embedding._waiting == 0
        assert adds_up(cache)
        slow.free.set()
        assert len(cache) == len(cache._entries.index)
        await cache.store("a b", 2, scope="t")
        assert matched(await cache.lookup("a b", scope="t")).value == 2
        assert adds_up(cache)


async def test_a_cancelled_search_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparecall.semantic.entries._ALONE", -1.0)  # every search is awaited
    cache = opened(embedder=StaticEmbedder())
    await cache.store(QUESTION, "right", scope="t")
    async with no_complaints():
        tasks = [
            asyncio.ensure_future(work) for work in (cache.lookup(AGAIN, scope="t"), cache.store(AGAIN, 2, scope="t"))
        ]
        await turns(1)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(done, asyncio.CancelledError) for done in await asyncio.gather(*tasks, return_exceptions=True)
        )
    assert matched(await cache.lookup(AGAIN, scope="t")).value == "right"
    assert adds_up(cache)


# --- rules, promotion, quotas --------------------------------------------------------------------


async def test_rules_by_category() -> None:
    clock = Clock()
    rules = {"off": Rule(enabled=False), "news": Rule(ttl=10.0), "strict": Rule(max_error=0.01)}
    cache = opened(rules=rules, clock=clock)
    assert await cache.store(QUESTION, 1, scope="t", category="off") is None
    assert (await cache.lookup(QUESTION, scope="t", category="off")).why == "disabled"
    await cache.store(QUESTION, 1, scope="t", category="news")
    assert matched(await cache.lookup(QUESTION + " now", scope="t", category="news")).value == 1
    strict = await cache.lookup(QUESTION + " now", scope="t", category="strict")
    assert strict.match is None
    assert strict.max_error == 0.01
    clock.now += 11
    assert (await cache.lookup(QUESTION, scope="t", category="news")).why == "nothing_near"
    for broken in ({"max_error": 0.0}, {"ttl": -1.0}, {"max_error": float("nan")}):
        with pytest.raises(InvalidArgument, match="of a rule"):
            Rule(**broken)


async def test_an_answer_is_seen_by_others_once_several_have_stored_it() -> None:
    cache = opened(promote_after=2)
    await cache.store(QUESTION, "hold the button", scope="t", principal="ann")
    assert matched(await cache.lookup(QUESTION, scope="t", principal="ann")).value == "hold the button"
    assert (await cache.lookup(QUESTION, scope="t", principal="bob")).why == "unproven"
    await cache.store(QUESTION, "press the switch and pray", scope="t", principal="eve")  # disagrees: stands apart
    assert (await cache.lookup(QUESTION, scope="t", principal="bob")).why == "unproven"
    await cache.store(AGAIN, "Hold the button!", scope="t", principal="dan")
    assert matched(await cache.lookup(QUESTION, scope="t", principal="bob")).value == "hold the button"
    assert matched(await cache.lookup(QUESTION, scope="t", principal="eve")).value in {
        "hold the button",
        "press the switch and pray",
    }


async def test_the_write_quota_is_per_principal_and_window() -> None:
    clock = Clock()
    cache = opened(write_quota=2, quota_window=60.0, clock=clock)
    stored = [await cache.store(f"{letter} question", 1, scope="t", principal="\udc80eve") for letter in "abc"]
    assert [number is not None for number in stored] == [True, True, False]
    assert await cache.store("d question", 1, scope="t", principal="ann") is not None
    clock.now += 61
    assert await cache.store("e question", 1, scope="t", principal="\udc80eve") is not None
    assert cache.report().refused == 1


@pytest.mark.parametrize(
    "options",
    [{"min_similarity": 2.0}, {"max_characters": 0}, {"timeout": 0.0}, {"promote_after": 0}, {"write_quota": -1}, {"quota_window": 0.0},
     {"max_error": 0.0}, {"audit_share": 2.0}, {"embedder": Faulty.__new__(Faulty), "dim": 0}, {"embedder": object(), "dim": 3}, {"ttl": -1.0}],
)  # fmt: skip
async def test_options_outside_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        opened(**options)


async def test_the_default_judge_compares_texts() -> None:
    assert same_answer({"a": 1}, {"a": 1}) == (True, 1.0)
    assert same_answer("Yes, it is.", "yes it is") == (True, 1.0)
    other = same_answer("Paris is the capital", "restart your router twice")
    assert other is not None
    assert other[0] is False
    assert same_answer({"a": 1}, {"a": 2}) is None
    assert same_answer("x" * 40_000, "y") is None
    assert same_answer(np.ones(3), np.ones(3)) is None


async def test_a_lookup_does_not_hold_the_loop_for_a_long_text() -> None:
    cache = opened(embedder=StaticEmbedder(), max_characters=2_000_000)
    longest = before = 0.0
    task = asyncio.ensure_future(cache.lookup("how long is this? " * 50_000, scope="t"))
    steps = 0
    while not task.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
        steps += 1
    assert steps > 2  # it went to a thread; how long a step took depends on the machine
    assert (await task).why == "nothing_near"
    cache.close()
