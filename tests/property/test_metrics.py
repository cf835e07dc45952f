"""The Prometheus text, read back by a small parser of its own, gives the label values and numbers that went in."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from sparecall.metrics import Registry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text('\\"\n,={} a', max_size=8)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def unescape(value: str) -> str:
    return re.sub(r'\\[\\"n]', lambda found: UNESCAPED[found[0]], value)


def parse(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Samples by name, in order. Refuses lines that are not of the format."""
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            continue
        sample = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line, re.DOTALL)
        assert sample, line
        labels, rest = {}, sample[2] or ""
        while rest:
            label = LABEL.match(rest)
            assert label, rest
            labels[label[1]] = unescape(label[2])
            rest = rest[label.end() :]
        samples.setdefault(sample[1], []).append((labels, float(sample[3])))
    return samples


@given(st.dictionaries(st.tuples(TEXT, TEXT), st.floats(allow_nan=False), max_size=6), TEXT)
def test_every_label_value_and_number_reads_back(values: dict[tuple[str, str], float], words: str) -> None:
    registry = Registry()
    family = registry.gauge("g", words, ["one", "two"])
    for pair, number in values.items():
        family.labels(*pair).set(number)
    text = registry.render()
    expected = [({"one": one, "two": two}, values[one, two]) for one, two in sorted(values)]
    assert parse(text).get("g", []) == expected


@given(
    st.lists(st.integers(-20, 20), unique=True, max_size=6).map(sorted),
    st.dictionaries(TEXT, st.lists(st.integers(-25, 25), min_size=1, max_size=20), max_size=4),
)
def test_a_histograms_lines_agree_with_each_other(bounds: list[int], values: dict[str, list[int]]) -> None:
    registry = Registry()
    family = registry.histogram("h", "help", ["who"], buckets=bounds)
    for who, observed in values.items():
        for value in observed:
            family.labels(who).observe(value)
    samples = parse(registry.render())
    for who, observed in values.items():
        buckets = [(labels["le"], count) for labels, count in samples["h_bucket"] if labels["who"] == who]
        expected = [(str(bound), sum(value <= bound for value in observed)) for bound in bounds]
        assert buckets == [*expected, ("+Inf", len(observed))]
        assert ({"who": who}, len(observed)) in samples["h_count"]
        assert ({"who": who}, sum(observed)) in samples["h_sum"]


@given(st.lists(TEXT, max_size=30), st.integers(0, 5))
def test_series_never_exceed_the_bound_and_no_count_is_lost(names: list[str], max_series: int) -> None:
    registry = Registry(max_series=max_series)
    family = registry.counter("c", "", ["name"])
    for name in names:
        family.labels(name).add()
    samples = parse(registry.render()).get("c", [])
    assert len([labels for labels, _ in samples if labels["name"] != "other"]) <= max_series
    assert sum(count for _, count in samples) == len(names)
