"""The compiled `Gcra` and `Window` and plain ones agree to the last bit, whatever is taken, given back, told and counted."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from gcra_model import Gcra as Model
from sparecall._core import Gcra, Window
from window_model import Window as WindowModel

_SEEN = ("limit", "per", "interval", "tolerance", "tat", "taken", "passed", "mark", "ceiling", "ceiling_until")
amounts = st.floats(0, 1e6) | st.integers(0, 5000).map(float)
maybe = st.none() | st.floats(-10, 1e6) | st.sampled_from([0.0, 1.0, 60.0, 600.0])
steps = st.one_of(
    st.tuples(st.just("take"), amounts),
    st.tuples(st.just("give_back"), amounts, st.floats(-1, 1e7), st.floats(-5, 300)),
    st.tuples(st.just("refused")),
    st.tuples(st.just("learned"), st.floats(0.5, 1e4), st.floats(0.5, 1e4), st.floats(0, 1e4)),
    st.tuples(st.just("lower"), st.floats(0.5, 1)),
    # A server that is what it says, and counts by a log, in windows or as time goes by.
    st.tuples(st.just("server"), st.sampled_from([60.0, 600.0]), st.floats(0, 1), st.sampled_from([1.0, 60.0, 300.0])),
    st.tuples(st.just("hold"), st.floats(-10, 100)),
    st.tuples(st.just("told"), maybe, maybe, maybe, st.floats(0, 1), st.none() | st.floats(-5, 100)),
    st.tuples(st.just("pass"), st.floats(-5, 100)),
    st.tuples(st.just("spent")),
)


def do(gcra: Gcra | Model, what: object, numbers: list[float], passed: float, now: float) -> None:
    if what == "take":
        gcra.take(numbers[0], now)
    elif what == "give_back":
        gcra.give_back(numbers[0], numbers[1], now - numbers[2])
    elif what == "hold":
        gcra.hold(now + numbers[0])
    elif what == "refused":
        gcra.refused(now)
    elif what == "learned":
        gcra.learned(numbers[0], per=numbers[1], used=numbers[2], now=now)
    elif what == "lower":
        gcra.lower(numbers[0])
    elif what == "server":
        limit_, used, period = numbers
        gcra.told(
            limit=limit_,
            remaining=limit_ * (1 - used),
            reset=period,
            rounded=0.0,
            mark=passed,
            sent=now - 0.1,
            now=now,
        )
    elif what == "told":
        sent = -math.inf if numbers[4] is None else now - numbers[4]
        gcra.told(
            limit=numbers[0], remaining=numbers[1], reset=numbers[2], rounded=0.001, mark=passed * numbers[3],
            sent=sent, now=now,
        )  # fmt: skip


@example(limit=None, per=None, burst=1.0, play=[("told", 2.3e-309, None, None, 0.0, None)])  # no number for an interval
@given(
    limit=st.none() | st.floats(0.1, 1e9),
    per=st.none() | st.floats(0.1, 1e5),
    burst=st.floats(0.001, 1),
    play=st.lists(steps, max_size=40),
)
def test_it_agrees_with_the_model(
    limit: float | None, per: float | None, burst: float, play: list[tuple[object, ...]]
) -> None:
    now = 1000.0
    ours, model = Gcra(limit, per=per, burst=burst, now=now), Model(limit, per=per, burst=burst, now=now)
    passed = 0.0
    for what, *values in play:
        numbers: list[float] = values  # type: ignore[assignment]
        mark = model.passed
        for gcra in (ours, model):
            do(gcra, what, numbers, mark, now)
        if what == "pass":
            now += numbers[0]
        elif what == "spent":
            assert ours.spent(now) == model.spent(now)
        assert {name: getattr(ours, name) for name in _SEEN} == {name: getattr(model, name) for name in _SEEN}
        for amount in (0.0, 1.0, 1e5):
            assert ours.ready_at(amount, now) == model.ready_at(amount, now)
        assert ours.passed >= passed  # it never shrinks
        passed = ours.passed


@given(
    seconds=st.floats(0.01, 1e4),
    play=st.lists(
        st.tuples(st.floats(0, 50), st.integers(0, 2), st.booleans(), st.booleans(), st.booleans()), max_size=60
    ),
)
def test_a_window_agrees_with_the_model(seconds: float, play: list[tuple[float, int, bool, bool, bool]]) -> None:
    now = 1000.0
    ours, model = Window(seconds), WindowModel(seconds)
    for passed, calls, failed, slow, only in play:
        now += passed * seconds / 25
        for window in (ours, model):
            if only:
                window.pass_to(now)
            else:
                # What is slow or failed was a call, counted now or before.
                window.add(now, calls=max(calls, 1), failed=failed, slow=slow)
        assert (ours.calls, ours.failed, ours.slow) == (model.calls, model.failed, model.slow)
