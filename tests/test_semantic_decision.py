"""The native decision: against a Python model of its learning, from many threads, with bad input, and under its bound."""

from __future__ import annotations

import math
import random
import threading

import pytest

from sparecall import _core
from sparecall.errors import InvalidArgument, InvalidDocument, UnknownName
from sparecall.semantic import Report

Profile, Decision = _core.SemanticProfile, _core.SemanticDecision

RESPELLINGS = [
    ("What's the capital of France?", "what is the capital of france"),
    ("I don't know", "I do not know!"),
    ("cannot log in", "CAN'T  LOG IN."),
    ("It costs $1,000.00", "it costs $1000"),
]
DIFFERENT = [
    ("lose 5 kg in 2 weeks", "lose 10 kg in 2 weeks", "numbers differ"),
    ("how do I enable 2FA", "how do I disable 2FA", "opposites: enable/disable"),
    ("turn the lights on", "turn the lights off", "opposites: on/off"),
    ("can I eat before surgery", "can I not eat before surgery", "negation"),
    ("flights from Paris to Rome", "flights from Rome to Paris", "order swapped"),
    ("is Python 3.11.2 out", "is Python 3.12.0 out", "codes differ"),
]


@pytest.mark.parametrize(("one", "other"), RESPELLINGS)
def test_a_respelling_is_served_before_any_verdict(one: str, other: str) -> None:
    decision = Decision(max_error=0.05, audit_share=0.0, embedder="minilm")
    verdict = decision.judge(Profile(one), Profile(other), 0.97)
    assert Profile(one).same(Profile(other))
    assert verdict.serve
    assert verdict.kind == "respelt"
    assert verdict.why == "respelling"


def test_respellings_are_trusted_at_once_and_lose_it_by_verdicts() -> None:
    one, other = Profile("What's the capital of France?"), Profile("what is the capital of france")
    for limit in (0.01, 0.02):
        strict = Decision(max_error=limit, audit_share=0.0)
        assert strict.judge(one, other, 0.97).serve
        for _ in range(20):
            strict.learn(strict.judge(one, other, 0.97), correct=False)
        assert not strict.judge(one, other, 0.97).serve


@pytest.mark.parametrize(("one", "other", "why"), DIFFERENT)
def test_what_differs_is_named_and_not_served(one: str, other: str, why: str) -> None:
    decision = Decision(max_error=0.05, audit_share=0.0, embedder="minilm")
    verdict = decision.judge(Profile(one), Profile(other), 0.97)
    assert why in verdict.guards
    assert verdict.kind == "guarded"
    assert not verdict.serve
    assert verdict.compare


def test_with_no_limit_the_best_candidate_is_always_served() -> None:
    decision = Decision(max_error=1.0, audit_share=1.0)
    assert all(decision.judge(Profile("enable 1"), Profile("disable 2"), -0.5).serve for _ in range(50))
    assert decision.report().open


@pytest.mark.parametrize(
    "arguments", [{"max_error": 0.0}, {"max_error": 1.5}, {"max_error": math.nan}, {"audit_share": -0.1}]
)
def test_arguments_outside_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument):
        Decision(**arguments)  # type: ignore[arg-type]


def test_bad_calls_are_refused_and_change_nothing() -> None:
    with pytest.raises(UnknownName, match="minilm"):
        Decision(embedder="unheard of")
    decision = Decision(embedder="static")
    before = decision.to_bytes()
    profile = Profile("a question")
    for cosine in (math.nan, math.inf, 3.0):
        with pytest.raises(InvalidArgument):
            decision.judge(profile, profile, cosine)
    with pytest.raises(InvalidArgument):
        decision.judge(profile, profile, 0.5, max_error=0.0)
    for data in (b"", b"x" * 40, before[:-1], before + b"\0"):
        with pytest.raises(InvalidDocument):
            decision.restore(data)
        with pytest.raises(InvalidDocument):
            Profile.from_bytes(data)
    assert decision.to_bytes() == before
    with pytest.raises(TypeError, match="text must be str"):
        Profile(b"bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", " \n", "\udc80", "\0" * 9, "日本語の質問", "x" * 1_000_000, "1 " * 300_000, "مرحبا بالعالم"]
)
def test_any_text_has_a_bounded_profile(text: str) -> None:
    data = Profile(text).to_bytes()
    assert len(data) < 6_000
    assert Profile.from_bytes(data) == Profile(text)
    decision = Decision(max_error=0.05, audit_share=0.0)
    assert not decision.judge(Profile(text), Profile("How do I reset it?"), 0.99).serve


def taught(
    decision: _core.SemanticDecision, draw: random.Random, rounds: int, *, noise: float = 0.0
) -> tuple[int, int]:
    """Candidates above a cosine of 0.8 are right 99 times in 100, others 3 times in 10; returns hits and wrong hits."""
    texts = [
        Profile(text)
        for text in ("how do I reset my router", "reset a router", "router reset steps", "restart the modem how")
    ]
    served = wrong = 0
    for _ in range(rounds):
        cosine = draw.uniform(0.5, 1.0)
        right = draw.random() < (0.99 if cosine > 0.8 else 0.3)
        verdict = decision.judge(texts[3], texts[draw.randrange(3)], cosine, second=0.3)
        if verdict.serve:
            served += 1
            wrong += not right
        elif verdict.compare:
            decision.learn(verdict, correct=right != (draw.random() < noise))
    return served, wrong


@pytest.mark.parametrize("limit", [0.05, 0.1])
def test_the_share_of_wrong_hits_stays_under_the_limit(limit: float) -> None:
    for seed in range(3):
        decision = Decision(max_error=limit, audit_share=0.1, seed=seed, embedder="minilm")
        served, wrong = taught(decision, random.Random(seed), 4_000, noise=0.005)
        assert wrong <= limit * served
        assert served > 500
        report = decision.report()
        assert report.served == served
        low, high = report.error_interval
        assert low <= report.error <= high


def test_the_interval_of_all_pools_is_wilson_s_of_their_sums() -> None:
    decisions = {}
    one, other = Profile("What's the capital of France?"), Profile("what is the capital of france")
    for pool in range(2):
        decision = Decision(max_error=0.1, audit_share=1.0)
        for number in range(20):
            decision.learn(decision.judge(one, other, 0.97), correct=number > pool)
        decisions[str(pool)] = decision.report()
    wrong, audits = (sum(getattr(pool, name) for pool in decisions.values()) for name in ("wrong", "audits"))
    report = Report(entries=0, lookups=0, hits=0, audits=0, audit_cost=0.0, refused=0, misses={}, refined={}, decisions=decisions)  # fmt: skip
    assert 0 < wrong < audits
    assert report.error_interval == _core.semantic_error_interval(wrong, audits)
    # Brown, Cai and DasGupta's middle and half width, by hand.
    assert _core.semantic_error_interval(5, 20) == pytest.approx((0.11186, 0.46870), abs=1e-5)
    assert _core.semantic_error_interval(0, 0) == (0.0, 1.0)


def test_what_was_learnt_survives_a_restart() -> None:
    one = Decision(max_error=0.1, audit_share=0.2, seed=5)
    taught(one, random.Random(1), 500)
    two = Decision(max_error=0.1, audit_share=0.2, seed=6)
    two.restore(one.to_bytes())
    assert taught(one, random.Random(2), 200) == taught(two, random.Random(2), 200)
    assert one.to_bytes() == two.to_bytes()


def test_threads_lose_no_verdict() -> None:
    decision = Decision(max_error=0.1, audit_share=0.1)
    profile, other = Profile("how do I reset my router"), Profile("how to reset a router quickly")

    def work() -> None:
        for _ in range(200):
            decision.learn(decision.judge(profile, other, 0.8), correct=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decision.report().verdicts == 800
    assert decision.report().judged == 800


def test_one_verdict_moves_the_probability_its_way_and_an_entry_s_most() -> None:
    def judged(decision: _core.SemanticDecision, entry: int) -> float:
        return decision.judge(
            Profile("reset my router"), Profile("how to reset a router"), 0.8, entry=entry
        ).probability

    decision = Decision()
    first = judged(decision, 1)
    for _ in range(5):
        decision.learn(
            decision.judge(Profile("reset my router"), Profile("how to reset a router"), 0.8, entry=1), correct=False
        )
    assert judged(decision, 1) < judged(decision, 2) < first
