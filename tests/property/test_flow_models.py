"""The compiled `Gcra` and `Window` and plain ones agree to the last bit, whatever is taken, given back, told and counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcra_model import Gcra as Model
from sparecall._core import Gcra, Window
from window_model import Window as WindowModel

_SEEN = ("limit", "interval", "tolerance", "tat", "taken", "passed", "mark", "ceiling", "ceiling_until")
amounts = st.floats(0, 1e6) | st.integers(0, 5000).map(float)
maybe = st.none() | st.floats(-10, 1e6) | st.sampled_from([0.0, 1.0, 60.0, 600.0])
steps = st.one_of(
    st.tuples(st.just("take"), amounts),
    st.tuples(st.just("give_back"), amounts, st.floats(-1, 1e7)),
    st.tuples(st.just("hold"), st.floats(-10, 100)),
    st.tuples(st.just("told"), maybe, maybe, maybe, st.floats(0, 1)),
    st.tuples(st.just("pass"), st.floats(-5, 100)),
    st.tuples(st.just("spent")),
)


@given(
    limit=st.none() | st.floats(0.1, 1e9),
    per=st.floats(0.1, 1e5),
    burst=st.floats(0.001, 1),
    play=st.lists(steps, max_size=40),
)
def test_it_agrees_with_the_model(
    limit: float | None, per: float, burst: float, play: list[tuple[object, ...]]
) -> None:
    now = 1000.0
    ours, model = Gcra(limit, per=per, burst=burst, now=now), Model(limit, per=per, burst=burst, now=now)
    passed = 0.0
    for what, *values in play:
        numbers: list[float] = values  # type: ignore[assignment]
        for gcra in (ours, model):
            if what == "take":
                gcra.take(numbers[0], now)
            elif what == "give_back":
                gcra.give_back(numbers[0], numbers[1])
            elif what == "hold":
                gcra.hold(now + numbers[0])
            elif what == "told":
                gcra.told(
                    limit=numbers[0], remaining=numbers[1], reset=numbers[2], mark=model.passed * numbers[3], now=now
                )
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
