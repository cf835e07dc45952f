"""`VectorIndex(originals=False)`: intervals that hold the similarity of the original, and nothing at the threshold missed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparecall.index import VectorIndex

DIM, COUNT = 128, 6000
Matrix = np.ndarray[Any, np.dtype[np.float32]]


def vectors(count: int, *, seed: int) -> Matrix:
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, DIM)) * 0.96 ** np.arange(DIM)).astype(np.float32)


def cosines(matrix: Matrix, query: Matrix) -> Any:
    wide, asked = matrix.astype(np.float64), query.astype(np.float64)
    return (wide @ asked / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked)).astype(np.float32)


@pytest.fixture(scope="module")
def entries() -> Matrix:
    """Entries with a long coordinate among them, which bytes hold the rest of badly."""
    matrix = vectors(COUNT, seed=0)
    matrix[::50, 3] = 40.0
    matrix[7] = np.eye(DIM, dtype=np.float32)[5]
    return matrix


@pytest.fixture(scope="module")
def index(entries: Matrix) -> VectorIndex:
    index = VectorIndex(DIM, originals=False)
    index.add_many(np.arange(COUNT), entries)
    return index


def queries(entries: Matrix) -> Matrix:
    noise = vectors(24, seed=1)
    return np.concatenate([entries[:12], entries[12:24] + 0.4 * noise[:12], noise[12:], entries[100:101]])


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.6, 0.8, 0.95, 1.0])
def test_intervals_hold_the_truth_and_nothing_at_the_threshold_is_missed(
    index: VectorIndex, entries: Matrix, threshold: float
) -> None:
    for query in queries(entries):
        truth = cosines(entries, query)
        found = index.search(query, k=COUNT, min_similarity=threshold)
        assert found.exact
        assert set(np.flatnonzero(truth >= threshold)) <= set(found.ids)
        low, high, similarities = np.array([found.low, found.high, found.similarities])
        assert np.all(low <= truth[list(found.ids)])
        assert np.all(truth[list(found.ids)] <= high)
        assert np.all((low <= similarities) & (similarities <= high) & (high >= threshold))
        assert list(similarities) == sorted(similarities, reverse=True)


def test_an_entry_that_may_be_below_the_threshold_says_so(index: VectorIndex, entries: Matrix) -> None:
    query = entries[20] + 0.4 * vectors(1, seed=3)[0]
    found = index.search(query)
    low, similarity, high = found.low[0], found.similarities[0], found.high[0]
    assert low < similarity < high < low + 0.03
    between = (similarity + high) / 2
    assert index.search(query, min_similarity=between).ids == found.ids
    assert index.search(query, min_similarity=high).ids == found.ids
    assert index.search(query, min_similarity=high + 1e-6).ids == ()


def test_a_repeat_is_found_as_one(index: VectorIndex, entries: Matrix) -> None:
    found = index.search(entries[1234], min_similarity=0.99)
    assert found.ids == (1234,)
    assert found.high == (1.0,)
    assert found.low[0] > 0.999


def test_most_entries_are_still_proven_irrelevant() -> None:
    matrix = vectors(20_000, seed=4)
    index = VectorIndex(DIM, originals=False)
    index.add_many(range(20_000), matrix)
    assert index.search(matrix[5], min_similarity=0.9).verified_fraction < 0.08


def test_entries_added_one_by_one_moved_and_replaced_keep_their_intervals(entries: Matrix) -> None:
    index = VectorIndex(DIM, originals=False)
    for row in range(2500):
        index.add(row, entries[row])
    for row in range(0, 2500, 2):
        index.add(row, entries[row + 2500])
    assert index.remove_many(range(1, 2500, 3)) > 0
    held = {row: row + 2500 if row % 2 == 0 else row for row in range(2500) if row % 3 != 1}
    assert len(index) == len(held)
    query = entries[2500]
    found = index.search(query, k=5000)
    truth = cosines(entries, query)
    assert set(found.ids) == set(held)
    for id_, low, high in zip(found.ids, found.low, found.high, strict=True):
        assert low <= truth[held[id_]] <= high


def test_with_originals_a_similarity_is_certain() -> None:
    index = VectorIndex(DIM)
    index.add_many(range(100), vectors(100, seed=5))
    found = index.search(vectors(1, seed=6)[0], k=100)
    assert index.originals
    assert not VectorIndex(DIM, originals=False).originals
    assert found.low == found.similarities == found.high


@pytest.mark.usefixtures("cpu_level")
def test_every_level_gives_the_same_intervals(index: VectorIndex, entries: Matrix) -> None:
    from sparecall import _core

    def found() -> list[Any]:
        return [(m.ids, m.low, m.high) for m in index.search_many(queries(entries), k=20, min_similarity=0.5)]

    first = found()
    _core._set_cpu_level("scalar")
    assert found() == first
