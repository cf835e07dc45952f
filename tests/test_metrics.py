"""Counters, gauges, histograms: exact totals from threads, bounded series, refused names, Prometheus text."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sparecall import errors
from sparecall.metrics import Counter, Gauge, Histogram, Registry


def test_counters_gauges_and_histograms_count() -> None:
    registry = Registry()
    counter = registry.counter("calls_total", "Calls", ("model",)).labels("small")
    gauge = registry.gauge("open", "Open").labels()
    histogram = registry.histogram("seconds", "Seconds", buckets=(0.1, 1)).labels()
    assert (type(counter), type(gauge), type(histogram)) == (Counter, Gauge, Histogram)
    counter.add()
    counter.add(2.5)
    gauge.set(7)
    gauge.add(-3)
    gauge.add()
    for seconds in (0.1, 0.5, 2):
        histogram.observe(seconds)
    assert (counter.value, gauge.value, histogram.count, histogram.sum) == (3.5, 5.0, 3, 2.6)
    assert registry.render() == (
        "# HELP calls_total Calls\n# TYPE calls_total counter\n"
        'calls_total{model="small"} 3.5\n'
        "# HELP open Open\n# TYPE open gauge\nopen 5\n"
        "# HELP seconds Seconds\n# TYPE seconds histogram\n"
        'seconds_bucket{le="0.1"} 1\nseconds_bucket{le="1"} 2\nseconds_bucket{le="+Inf"} 3\n'
        "seconds_sum 2.6\nseconds_count 3\n"
    )


def test_the_same_values_are_the_same_series() -> None:
    family = Registry().counter("calls_total", "Calls", ["a", "b"])
    family.labels("1", "2").add()
    family.labels("1", "2").add()
    assert family.labels("1", "2").value == 2
    assert family.labels("2", "1").value == 0


def test_the_same_shape_again_is_the_same_family() -> None:
    registry = Registry()
    registry.counter("calls_total", "Calls", ("a",)).labels("x").add()
    assert registry.counter("calls_total", "Other words", ["a"]).labels("x").value == 1
    with pytest.raises(errors.InvalidArgument, match=r"calls_total.*another name"):
        registry.gauge("calls_total", "Calls", ("a",))
    with pytest.raises(errors.InvalidArgument, match=r"calls_total.*another name"):
        registry.counter("calls_total", "Calls", ("b",))


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "é", "a\n"])
def test_a_name_prometheus_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="metric is named"):
        Registry().counter(name, "")


@pytest.mark.parametrize("label", ["", "1a", "a-b", "__a", "é"])
def test_a_label_prometheus_does_not_allow_is_refused(label: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="label is named"):
        Registry().gauge("fine", "", [label])


@pytest.mark.parametrize("buckets", [(2, 1), (1, 1), (float("nan"),), (float("-inf"), 1)])
def test_buckets_that_do_not_ascend_are_refused(buckets: tuple[float, ...]) -> None:
    with pytest.raises(errors.InvalidArgument, match="buckets"):
        Registry().histogram("fine", "", buckets=buckets)


def test_what_no_number_can_hold_is_refused_and_counts_nothing() -> None:
    registry = Registry()
    counter = registry.counter("c", "").labels()
    histogram = registry.histogram("h", "", buckets=[]).labels()
    for n in (-1, float("nan")):
        with pytest.raises(errors.InvalidArgument, match="counter only grows"):
            counter.add(n)
    with pytest.raises(errors.InvalidArgument, match="NaN"):
        histogram.observe(float("nan"))
    assert (counter.value, histogram.count) == (0, 0)


def test_label_values_are_texts_one_for_each_label() -> None:
    registry = Registry()
    family = registry.counter("c", "", ["model", "hit"])
    number: Any = 200
    with pytest.raises(TypeError, match="label must be str, not int"):
        family.labels("a", number)
    with pytest.raises(errors.InvalidArgument, match="model, hit"):
        family.labels("a")
    family.labels("\ud800", "x").add()
    assert "\ufffd" in registry.render(), "counting does not fail on a text that has no UTF-8"


def test_series_are_bounded_in_number_and_in_size() -> None:
    registry = Registry(max_series=3)
    family = registry.counter("c", "", ["model"])
    for number in range(100):
        family.labels(f"model {number}").add()
    family.labels("x" * 257).add()
    lines = registry.render().splitlines()[2:]
    assert lines == ['c{model="model 0"} 1', 'c{model="model 1"} 1', 'c{model="model 2"} 1', 'c{model="other"} 98']
    assert family.labels("other").value == 98


def test_threads_lose_no_count() -> None:
    registry = Registry()
    family = registry.counter("c", "", ["a"])
    histogram = registry.histogram("h", "", buckets=[5]).labels()
    start = threading.Barrier(4)

    def count() -> None:
        mine = family.labels("shared")
        start.wait()
        for step in range(10_000):
            mine.add()
            histogram.observe(step % 10)
            if step % 1000 == 0:
                family.labels(str(step)).add()
                registry.render()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert family.labels("shared").value == 40_000
    assert family.labels("3000").value == 4
    assert (histogram.count, histogram.sum) == (40_000, 180_000)
    assert 'h_bucket{le="5"} 24000\n' in registry.render()


def test_reprs_tell_numbers_and_names() -> None:
    registry = Registry(max_series=5)
    family = registry.counter("c", "", ["a"])
    assert repr(registry) == "Registry(families=1, max_series=5)"
    assert repr(family) == 'Family(name="c", kind="counter", labels=["a"])'
    assert repr(family.labels("x")) == "Counter(value=0)"
    assert repr(registry.gauge("g", "").labels()) == "Gauge(value=0)"
    assert repr(registry.histogram("h", "", buckets=[]).labels()) == "Histogram(count=0, sum=0)"
