"""Bounds of estimates: by a family's margins at first, by what was observed later, at the stated level or better."""

from __future__ import annotations

import itertools
import random
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sparecall import tokens
from sparecall.errors import InvalidArgument
from sparecall.tokens.calibration import LEVEL, WINDOW, Calibrator

if TYPE_CHECKING:
    from collections.abc import Callable

PROSE = (
    "The quick brown fox jumps over the lazy dog while nobody watches; internationalisation is harder than it looks. "
    * 4
)
CODE = "def find(self, path: str) -> int | None:\n    return self._index.get(path, {}).get('line_number')\n" * 5
WIDE = "東京都は日本の首都であり、人口は約千四百万人です。Москва является столицей России. " * 4
DIGITS = "3.14159 26535 89793 23846 0x7fffab12 2026-11-21T10:41:19Z " * 6


def conversation(random: random.Random) -> list[dict[str, Any]]:
    """Some messages of mixed kinds, of a size that varies a hundredfold."""
    texts = [PROSE, CODE, WIDE, DIGITS]
    size = random.choice((1, 3, 10, 40))
    return [
        {"role": "user" if i % 2 == 0 else "assistant", "content": random.choice(texts)[: random.randrange(20, 400)]}
        for i in range(random.randrange(size, 2 * size))
    ]


def by_characters(messages: list[dict[str, Any]]) -> int:
    """One token for each 3.1 characters, and 9 a request."""
    return 9 + sum(4 + round(len(message["content"]) / 3.1) for message in messages)


def by_bytes(messages: list[dict[str, Any]]) -> int:
    """A vocabulary that knows little but English: each character of another script costs its bytes."""
    return 350 + sum(6 + len(message["content"].encode()) // 3 for message in messages)


def by_other_encoding(messages: list[dict[str, Any]]) -> int:
    """Another real tokenizer, a third dearer."""
    return 3 + sum(5 + tokens.count(message["content"], "cl100k_base") * 4 // 3 for message in messages)


@pytest.mark.parametrize("truth", [by_characters, by_bytes, by_other_encoding])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gemini-2.5-pro", "somebody-s-model"])
def test_measured_bounds_hold_at_least_as_often_as_stated(
    truth: Callable[[list[dict[str, Any]]], int], model: str
) -> None:
    choose = random.Random(7)
    counter = tokens.Counter(model)
    for _ in range(300):
        messages = conversation(choose)
        counter.observe(counter.messages(messages), truth(messages))
    strata = counter.calibration.strata
    assert sum(stratum.is_measured for stratum in strata) >= 2
    held, widths, errors = [], [], []
    for _ in range(400):
        messages = conversation(choose)
        count, actual = counter.messages(messages), truth(messages)
        held.append(count.low <= actual <= count.high)
        widths.append(count.high / count.low)
        errors.append(abs(count.total / actual - 1))
    # 400 draws: two standard deviations of chance are 0.03.
    assert sum(held) / len(held) >= LEVEL - 0.03
    assert sorted(widths)[200] < 3
    assert sorted(errors)[200] < 0.2


def test_bounds_tighten_with_what_is_observed_and_the_estimate_moves_to_it() -> None:
    messages = [{"role": "user", "content": PROSE * 10}]
    counter = tokens.Counter("claude-sonnet-4-5")
    before = counter.messages(messages)
    truth = round(before.total * 1.3)
    for i in range(40):
        counter.observe(counter.messages(messages), truth + i % 3)
    after = counter.messages(messages)
    assert abs(after.total - truth) <= 3
    assert after.low <= truth <= after.high
    assert after.high - after.low < (before.high - before.low) / 20
    assert not after.exact


def test_before_there_are_nineteen_observations_bounds_only_widen() -> None:
    messages = [{"role": "user", "content": PROSE}]
    counter = tokens.Counter("claude-sonnet-4-5")
    before = counter.messages(messages)
    for n in range(1, 20):
        counter.observe(before, before.high * 2)
        now = counter.messages(messages)
        stratum = counter.calibration.strata[0]
        assert stratum.observations == n
        assert stratum.is_measured == (n == 19)
        if not stratum.is_measured:
            assert now.low == before.low
            assert now.high >= before.high * 2
    assert counter.messages(messages).low > before.high


def test_requests_of_one_size_say_nothing_of_another() -> None:
    counter = tokens.Counter("claude-sonnet-4-5")
    long = [{"role": "user", "content": PROSE * 30}]
    before = counter.messages(long)
    for _ in range(30):
        counter.observe([{"role": "user", "content": "hi"}], 400)
    assert counter.messages(long) == before
    assert [stratum.observations for stratum in counter.calibration.strata] == [30, 0, 0]


def test_what_is_used_is_bounded_and_the_oldest_goes_first() -> None:
    calibrator = Calibrator()
    for i in range(WINDOW * 2):
        calibrator.observe(100, 300 if i < WINDOW else 150)
    stratum = calibrator.stratum(100)
    assert (stratum.observations, stratum.ratio, stratum.low, stratum.high) == (WINDOW, 1.5, 1.5, 1.5)
    assert calibrator.state("x").observations == WINDOW * 2


def test_the_ranks_are_those_of_split_conformal_prediction() -> None:
    calibrator = Calibrator()
    for i in range(1, 40):
        calibrator.observe(100, 100 + i)
    stratum = calibrator.stratum(100)
    # n = 39: the 2nd and the 38th of 39 leave 5 % on either side.
    assert (stratum.low, stratum.high, stratum.ratio) == (1.02, 1.38, 1.2)


def test_one_odd_report_alone_does_not_move_the_estimate_all_the_way() -> None:
    counter = tokens.Counter("claude-sonnet-4-5")
    before = counter.messages([{"role": "user", "content": PROSE}])
    counter.observe(before, before.total * 100)
    after = counter.messages([{"role": "user", "content": PROSE}])
    assert after.total < before.total * 60
    assert after.high >= before.total * 99


def test_a_calibration_says_what_it_rests_on() -> None:
    counter = tokens.Counter("gemini-2.5-pro")
    start = counter.calibration
    assert (start.prior, start.observations, start.level, start.contradicted) == ("gemini", 0, LEVEL, 0)
    assert not any(stratum.is_measured for stratum in start.strata)
    counter.observe([{"role": "user", "content": "hello"}], 9)
    assert counter.calibration.observations == 1
    assert start.observations == 0, "a calibration is a snapshot"


def test_an_exact_count_is_never_corrected_but_a_contradiction_is_told() -> None:
    counter = tokens.Counter("gpt-4o")
    hello = [{"role": "user", "content": "hello"}]
    counter.observe(counter.messages(hello), 8)
    assert counter.calibration.contradicted == 0
    counter.observe(counter.messages(hello), 11)
    assert (counter.calibration.contradicted, counter.calibration.observations) == (1, 0)
    assert counter.messages(hello).total == 8


@pytest.mark.parametrize(
    "usage",
    [
        20,
        {"prompt_tokens": 20, "completion_tokens": 5},
        {"input_tokens": 20, "output_tokens": 5},
        {"input_tokens": 4, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 6},
        {"input_tokens": 20, "cache_read_input_tokens": None},
        SimpleNamespace(prompt_tokens=20),
        SimpleNamespace(input_tokens=15, cache_read_input_tokens=5),
    ],
    ids=str,
)
def test_usage_is_read_as_each_provider_reports_it(usage: Any) -> None:
    counter = tokens.Counter("claude-sonnet-4-5")
    counter.observe(tokens.TokenCount(10, 5, 20, exact=False, basis=10.0), usage)
    assert counter.calibration.strata[0].high == 2.0


@pytest.mark.parametrize(
    ("usage", "error"),
    [
        (0, InvalidArgument),
        (-5, InvalidArgument),
        (2**60, InvalidArgument),
        ({"prompt_tokens": 0}, InvalidArgument),
        (True, TypeError),
        (1.5, TypeError),
        ("20", TypeError),
        (None, TypeError),
        ({}, TypeError),
        ({"prompt_tokens": "20"}, TypeError),
        ({"input_tokens": True}, TypeError),
        (SimpleNamespace(), TypeError),
    ],
    ids=str,
)
def test_a_usage_that_is_no_count_is_refused_and_teaches_nothing(usage: Any, error: type[Exception]) -> None:
    counter = tokens.Counter("claude-sonnet-4-5")
    with pytest.raises(error, match="usage"):
        counter.observe([{"role": "user", "content": "hello"}], usage)
    assert counter.calibration.observations == 0


def test_the_same_observations_give_the_same_bounds() -> None:
    def run() -> list[tokens.TokenCount]:
        choose = random.Random(3)
        counter = tokens.Counter("grok-4")
        counts = []
        for _ in range(60):
            messages = conversation(choose)
            counts.append(counter.messages(messages))
            counter.observe(counts[-1], by_characters(messages))
        return counts

    assert run() == run()


def test_threads_that_observe_at_once_lose_nothing() -> None:
    counter = tokens.Counter("claude-sonnet-4-5")
    count = counter.messages([{"role": "user", "content": "hello"}])
    numbers = itertools.count(1)

    def work() -> None:
        for _ in range(200):
            counter.observe(count, next(numbers))
            assert (now := counter.messages([{"role": "user", "content": "hello"}])).low <= now.total <= now.high

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.calibration.observations == 800
