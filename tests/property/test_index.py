"""`VectorIndex` from Python against a comparison with every entry: adds, replacements, removals, expiries, thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparecall.index import VectorIndex

DIM = 5
COORDINATE = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
VECTOR = st.lists(COORDINATE, min_size=DIM, max_size=DIM).filter(any)
NAMESPACE = st.sampled_from(["", "a"])
STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(-3, 12), VECTOR, NAMESPACE, st.sampled_from([None, 5.0, 9.0])),
    st.tuples(st.just("remove"), st.integers(-3, 12)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
    st.tuples(st.just("search"), VECTOR, NAMESPACE, st.integers(1, 15), st.floats(-1, 1)),
)


def cosine(a: Any, b: Any) -> float:
    a, b = np.array(a), np.array(b)
    return float(np.float32(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


@settings(max_examples=200)
@given(st.lists(STEP, max_size=40), st.booleans())
def test_a_search_finds_what_a_comparison_with_every_entry_finds(
    steps: list[tuple[Any, ...]],
    originals: bool,
) -> None:
    now = 0.0
    index = VectorIndex(DIM, originals=originals, clock=lambda: now)
    entries: dict[int, tuple[Any, str, float]] = {}
    for step in steps:
        match step:
            case ("add", id_, vector, namespace, expires_at):
                index.add(id_, vector, namespace=namespace, expires_at=expires_at)
                entries[id_] = (vector, namespace, np.inf if expires_at is None else expires_at)
            case ("remove", id_):
                there = id_ in entries
                live = there and entries.pop(id_)[2] > now
                assert index.remove(id_) in ({True} if live else {there, False})
            case ("wait", seconds):
                now += seconds
            case (_, query, namespace, k, threshold):
                live = {id_: v for id_, (v, name, end) in entries.items() if name == namespace and end > now}
                near = sorted((-cosine(vector, query), id_) for id_, vector in live.items())
                found = index.search(query, k=k, namespace=namespace, min_similarity=threshold)
                assert set(found.ids) <= set(live)
                if not originals:
                    whole = index.search(query, k=len(live) + 1, namespace=namespace, min_similarity=threshold)
                    assert {id_ for similarity, id_ in near if -similarity >= threshold + 1e-6} <= set(whole.ids)
                    assert found.ids == whole.ids[:k]
                    for id_, low, high in zip(whole.ids, whole.low, whole.high, strict=True):
                        assert low - 1e-7 <= cosine(live[id_], query) <= high + 1e-7
                        assert high >= threshold
                    continue
                # Plain sums of these few round otherwise in the last bit at most.
                sure = [-similarity for similarity, _ in near if -similarity >= threshold + 1e-6][:k]
                possible = [-similarity for similarity, _ in near if -similarity >= threshold - 1e-6][:k]
                assert len(sure) <= len(found) <= len(possible)
                np.testing.assert_allclose(found.similarities, possible[: len(found)], atol=1e-6)
