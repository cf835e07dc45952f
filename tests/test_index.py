"""`VectorIndex`: what it finds, what it refuses, when entries are gone, and that an event loop may await it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from sparecall import _core, errors, queue
from sparecall._core import _queue_hold, _queue_let_go
from sparecall.index import Matches, VectorIndex, VectorQuery

DIM = 96


def vectors(count: int, *, dim: int = DIM, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors whose leading coordinates vary most, as those of embeddings do along their main directions."""
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, dim)) * 0.96 ** np.arange(dim)).astype(np.float32)


def filled(count: int, **options: Any) -> tuple[VectorIndex, np.ndarray[Any, np.dtype[np.float32]]]:
    index, matrix = VectorIndex(DIM), vectors(count)
    index.add_many(np.arange(count), matrix, **options)
    return index, matrix


def cosines(matrix: Any, query: Any) -> Any:
    matrix, query = matrix.astype(np.float64), query.astype(np.float64)
    return matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)


def test_the_nearest_come_first_with_their_cosines() -> None:
    index, matrix = filled(3000)
    query = vectors(1, seed=1)[0]
    found = index.search(query, k=10)
    expected = cosines(matrix, query)
    assert list(found.ids) == list(np.argsort(-expected)[:10])
    assert found.similarities == pytest.approx(np.sort(expected)[::-1][:10], abs=1e-7)
    assert found.exact
    assert len(found) == 10
    assert repr(found).startswith("Matches(ids=[")


def test_nothing_below_the_threshold_and_everything_at_it() -> None:
    index, matrix = filled(2500)
    for row in range(0, 2500, 250):
        query = matrix[row] + vectors(1, seed=row)[0] * 0.3
        similarities = index.search(query, k=2500).similarities
        threshold = similarities[40]
        assert index.search(query, k=2500, min_similarity=threshold).similarities == similarities[:41]


@pytest.mark.usefixtures("cpu_level")
def test_every_level_finds_the_same() -> None:
    index, _matrix = filled(2000)
    prints = [(found.ids, found.similarities) for found in index.search_many(vectors(30, seed=2), k=5)]
    _core._set_cpu_level("scalar")
    plain, _matrix = filled(2000)
    assert prints == [(found.ids, found.similarities) for found in plain.search_many(vectors(30, seed=2), k=5)]


def test_an_entry_finds_itself_with_a_similarity_of_one() -> None:
    index, matrix = filled(2000)
    found = index.search(matrix[77], min_similarity=1.0)
    assert (found.ids, found.similarities) == ((77,), (1.0,))


def test_most_entries_are_proven_irrelevant_without_reading_them() -> None:
    index, matrix = filled(20_000)
    assert index.search(matrix[5], min_similarity=0.9).verified_fraction < 0.05


def test_an_inexact_search_reads_less_and_misses_next_to_nothing() -> None:
    index, matrix = filled(20_000)
    noise = vectors(200, seed=7)
    found: dict[bool, set[tuple[int, int]]] = {}
    price: dict[bool, float] = {}
    for exact in (True, False):
        answers = index.search_many(matrix[:200] + 0.6 * noise, k=1000, min_similarity=0.6, exact=exact)
        found[exact] = {(row, id_) for row, matches in enumerate(answers) for id_ in matches.ids}
        price[exact] = sum(matches.verified_fraction for matches in answers)
    assert found[False] <= found[True]
    assert len(found[False]) >= 0.99 * len(found[True]) > 150
    assert price[False] < 0.5 * price[True]


def test_an_inexact_search_says_so() -> None:
    index, matrix = filled(2000)
    found = index.search(matrix[3], min_similarity=0.9, exact=False)
    assert (found.ids, found.exact) == ((3,), False)


@pytest.mark.usefixtures("cpu_level")
def test_a_search_is_predicted_to_take_longer_on_a_lesser_processor() -> None:
    index, _matrix = filled(5000)
    fast = index.predict_seconds(min_similarity=0.9)
    _core._set_cpu_level("scalar")
    assert index.predict_seconds(min_similarity=0.9) >= fast > 0
    assert index.predict_seconds(min_similarity=0.9, queries=10) == 10 * index.predict_seconds(min_similarity=0.9)
    assert index.predict_seconds(namespace="nobody's") == 0


def test_predictions_follow_what_searches_have_read() -> None:
    index, matrix = filled(10_000)
    first, other = (index.predict_seconds(min_similarity=threshold) for threshold in (0.8, 0.7))
    found = index.search_many(matrix[:50], min_similarity=0.8)
    assert max(matches.verified_fraction for matches in found) < 0.005  # 0.01 was expected
    assert index.predict_seconds(min_similarity=0.8) < 0.8 * first
    assert index.predict_seconds(min_similarity=0.7) == other
    assert index.predict_seconds(min_similarity=0.8, k=20) == first


def test_predictions_tell_searches_apart_by_what_they_ask_for() -> None:
    index, matrix = filled(10_000)
    asked: list[dict[str, Any]] = [{}, {"k": 5}, {"k": 50}, {"exact": False}]
    before = [index.predict_seconds(**options) for options in asked]
    assert before[0] == before[1] == before[2] > before[3]
    for options in asked:
        index.search_many(matrix[:200], **options)
        times = [index.predict_seconds(**other) for other in asked]
        changed = [now != then for now, then in zip(times, before, strict=True)]
        assert changed == [at <= asked.index(options) for at in range(len(asked))]
    assert times[0] < times[1] < times[2]
    with pytest.raises(errors.InvalidArgument, match="k"):
        index.predict_seconds(k=0)


def test_an_id_added_again_moves_to_its_new_vector_and_namespace() -> None:
    index = VectorIndex(2)
    index.add(7, [1, 0], namespace="a")
    index.add(7, [0, 1], namespace="b")
    assert len(index) == 1
    assert index.search([1, 0], namespace="a").ids == ()
    assert index.search([0, 1], namespace="b").ids == (7,)
    index.add_many([7, 8, 7], [[1, 0], [1, 1], [1, 2]], namespace="b")
    assert len(index) == 2
    assert index.search([1, 2], namespace="b").similarities == (1.0,)


def test_namespaces_neither_see_nor_pay_for_each_other() -> None:
    index, matrix = filled(5000, namespace="theirs")
    index.add(1_000_000, matrix[0], namespace="mine")
    assert index.search(matrix[1], k=5, namespace="mine").ids == (1_000_000,)
    assert index.search(matrix[1], namespace="mine").verified_fraction == 1.0  # of one entry
    found = index.search(matrix[1], namespace="nobody's")
    assert (found.ids, found.verified_fraction) == ((), 0.0)


def test_removed_entries_are_not_found() -> None:
    index, matrix = filled(3000)
    assert index.remove(9)
    assert not index.remove(9)
    assert 9 not in index
    assert index.remove_many(range(10, 2990)) == 2980
    assert len(index) == 19
    assert index.search(matrix[9], k=50).ids == tuple(
        sorted([*range(9), *range(2990, 3000)], key=lambda id_: -cosines(matrix[id_ : id_ + 1], matrix[9])[0])
    )


def test_expired_entries_are_not_found_and_leave() -> None:
    now = 100.0
    index = VectorIndex(2, clock=lambda: now)
    index.add(1, [1, 0], expires_at=200)
    index.add_many([2, 3], [[1, 0], [1, 0.1]], expires_at=300.0)
    index.add(4, [1, 1])
    assert index.search([1, 0], k=9).ids == (1, 2, 3, 4)
    now = 200.0
    assert index.search([1, 0], k=9).ids == (2, 3, 4)
    now = 300.0
    assert index.search([1, 0], k=9).ids == (4,)
    for _ in range(3):
        index.add(4, [1, 1])
    assert len(index) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "list"])
def test_floats_of_any_width_and_lists_are_taken(dtype: Any) -> None:
    matrix = [[1.0, 0.5], [0.25, 2.0]]
    given: Any = matrix if dtype == "list" else np.array(matrix, dtype)
    index = VectorIndex(2)
    index.add_many([1, 2], given)
    index.add(3, given[1])
    assert index.search(given[0], min_similarity=1.0).ids == (1,)
    assert index.search_many(given, k=2, min_similarity=1.0)[1].ids == (2, 3)


def test_arrays_with_gaps_are_copied() -> None:
    index, matrix = filled(2100)
    wide = np.zeros((2100, 2 * DIM), np.float32)
    wide[:, ::2] = matrix
    other = VectorIndex(DIM)
    other.add_many(range(2100), wide[:, ::2])
    query = np.asfortranarray(wide)[5, ::2]
    assert other.search(query, k=7).ids == index.search(matrix[5], k=7).ids


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([1.0], "1 dimensions"),
        ([1.0, float("nan")], "NaN"),
        ([float("inf"), 0.0], "infinity"),
        ([0.0, 0.0], "zero"),
        (np.array([1e300, 1.0]), "infinity"),
        ([[1.0, 2.0]], "2 dimensions"),
        ([[1.0], [1.0, 2.0]], "ragged"),
    ],
)
def test_a_vector_without_a_direction_is_refused_and_nothing_changes(bad: Any, says: str) -> None:
    index = VectorIndex(2)
    index.add(1, [1, 0])
    for call in (lambda: index.add(2, bad), lambda: index.search(bad), lambda: index.prepare(bad)):
        with pytest.raises(errors.InvalidArgument, match=says):
            call()
    assert len(index) == 1


@pytest.mark.parametrize(
    "bad", [np.array([1, 2]), np.array([1j, 2]), np.array(["1", "2"]), "12", None, 5, {1: 2}, ["1", "2"]]
)
def test_what_is_no_vector_of_floats_is_a_type_error(bad: Any) -> None:
    index = VectorIndex(2)
    for call in (lambda: index.add(2, bad), lambda: index.search(bad)):
        with pytest.raises(TypeError):
            call()


def test_a_bad_row_is_named_and_no_row_is_stored() -> None:
    matrix = vectors(3000)
    matrix[2345, 7] = np.nan
    index = VectorIndex(DIM)
    with pytest.raises(errors.InvalidArgument, match="row 2345"):
        index.add_many(range(3000), matrix)
    with pytest.raises(errors.InvalidArgument, match="row 2345"):
        index.search_many(matrix)
    with pytest.raises(errors.InvalidArgument, match="width"):
        index.add_many(range(3000), matrix[:, :-1])
    with pytest.raises(errors.InvalidArgument, match="one id a row"):
        index.add_many(range(2999), matrix)
    assert len(index) == 0


def test_arguments_out_of_range_are_refused() -> None:
    index = VectorIndex(2)
    for k in (0, -1):
        with pytest.raises(errors.InvalidArgument, match="k is"):
            index.search([1, 0], k=k)
    for threshold in (1.001, -1.5, float("nan")):
        with pytest.raises(errors.InvalidArgument, match="min_similarity"):
            index.search([1, 0], min_similarity=threshold)
    for dim in (0, -1, 16_385, 2**70):
        with pytest.raises(errors.InvalidArgument, match="dim"):
            VectorIndex(dim)
    with pytest.raises(errors.InvalidArgument, match="id"):
        index.add(2**63, [1, 0])
    with pytest.raises(errors.InvalidArgument, match="expires_at"):
        index.add(1, [1, 0], expires_at=float("nan"))
    with pytest.raises(errors.InvalidArgument, match="dim"):
        index.search(VectorIndex(3).prepare([1, 0, 0]))


def test_no_entries_are_no_matches() -> None:
    index = VectorIndex(3)
    index.add_many([], np.empty((0, 3), np.float32))
    assert index.search_many(np.empty((0, 3), np.float32)) == []
    assert index.search([1, 0, 0]).ids == ()
    assert repr(index) == "VectorIndex(dim=3, entries=0, namespaces=0)"


def test_a_prepared_query_is_searched_for_as_its_vector_is() -> None:
    index, matrix = filled(100)
    query = index.prepare(matrix[4])
    assert isinstance(query, VectorQuery)
    assert query.dim == DIM
    assert index.search(query).ids == index.search_many([query, query])[1].ids == (4,)


def test_many_queries_find_what_each_finds_alone() -> None:
    index, _matrix = filled(5000)
    queries = vectors(21, seed=5)
    for k, threshold in ((1, 0.5), (7, -1.0)):
        many = index.search_many(queries, k=k, min_similarity=threshold)
        alone = [index.search(query, k=k, min_similarity=threshold) for query in queries]
        assert [found.similarities for found in many] == [found.similarities for found in alone]
        assert [found.ids for found in many] == [found.ids for found in alone]


def test_threads_that_add_remove_and_search_see_whole_entries() -> None:
    index, matrix = filled(4000)
    wrong: list[object] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            for row in range(0, 100, 9):
                found = index.search(matrix[row], k=2, min_similarity=0.999)
                if row not in found.ids or min(found.similarities) < 0.999:
                    wrong.append(found)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(3):
        index.add_many(range(100), matrix[:100])  # replaced by themselves: never absent
        index.add_many(range(10_000, 13_000), vectors(3000, seed=turn + 10))
        index.remove_many(range(10_000, 13_000))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index) == 4000


def test_an_index_that_its_own_clock_holds_is_collected() -> None:
    class Clock:
        index: VectorIndex

        def __call__(self) -> float:
            return 0.0

    clock = Clock()
    clock.index = VectorIndex(2, clock=clock)
    clock.index.add(1, [1, 0])
    gone = weakref.ref(clock)
    del clock
    gc.collect()
    assert gone() is None


@pytest.mark.anyio
async def test_searches_of_one_turn_of_the_loop_share_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    index, matrix = filled(300)
    calls: list[int] = []
    search = VectorIndex._search_or_work

    def counted(self: VectorIndex, queries: Any, *options: Any) -> Any:
        calls.append(len(queries))
        return search(self, queries, *options)

    monkeypatch.setattr(VectorIndex, "_search_or_work", counted)
    found = await asyncio.gather(*(index.search_async(vector) for vector in matrix[:20]))
    assert [matches.ids for matches in found] == [(row,) for row in range(20)]
    assert calls == [20]
    both = await asyncio.gather(index.search_async(matrix[0], k=2), index.search_async(matrix[0], namespace="other"))
    assert [len(matches) for matches in both] == [2, 0]
    assert calls == [20, 1, 1]


@pytest.mark.anyio
async def test_a_long_search_is_done_by_a_worker_and_called_off_when_nobody_awaits_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, matrix = filled(300)
    tickets: list[queue.WorkTicket] = []
    submit = queue.submit

    def noted(*args: Any, **options: Any) -> queue.WorkTicket:
        tickets.append(submit(*args, **options))
        return tickets[-1]

    monkeypatch.setattr(queue, "submit", noted)
    many = 3_000
    assert index.predict_seconds(queries=many) > 0.001
    found = await asyncio.gather(*(index.search_async(matrix[row % 300]) for row in range(many)))
    assert [matches.ids for matches in found] == [(row % 300,) for row in range(many)]
    assert len(tickets) == 1
    held = [asyncio.ensure_future(queue.run(_queue_hold(None), priority="critical")) for _ in range(queue.workers()[2])]
    await asyncio.sleep(0)
    while queue.workers()[0]:  # noqa: ASYNC110 - workers set no event
        await asyncio.sleep(0.001)
    tasks = [asyncio.ensure_future(index.search_async(vector)) for vector in np.repeat(matrix, 10, axis=0)]
    for _ in range(3):
        await asyncio.sleep(0)
    ticket = tickets[-1]
    assert len(tickets) == 2 + len(held)
    assert repr(ticket) == "WorkTicket(waiting)"
    for task in tasks[:-1]:
        task.cancel()
    await asyncio.wait(tasks[:-1])
    assert repr(ticket) == "WorkTicket(waiting)"
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert repr(ticket) != "WorkTicket(waiting)"
    _queue_let_go()
    await asyncio.gather(*held)


@pytest.mark.anyio
async def test_a_bad_query_fails_alone_and_bad_options_fail_those_who_gave_them() -> None:
    index, matrix = filled(300)
    results = await asyncio.gather(
        index.search_async(matrix[1]),
        index.search_async(matrix[1][:5]),
        index.search_async(matrix[1], k=0),
        index.search_async(matrix[1], namespace=5),  # type: ignore[arg-type]
        return_exceptions=True,
    )
    assert isinstance(results[0], Matches)
    assert [type(result) for result in results[1:]] == [errors.InvalidArgument, errors.InvalidArgument, TypeError]


@pytest.mark.anyio
async def test_a_cancelled_search_leaves_the_others_alone() -> None:
    index, matrix = filled(300)
    tasks = [asyncio.ensure_future(index.search_async(vector)) for vector in matrix[:3]]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert isinstance(results[0], Matches)
    assert isinstance(results[2], Matches)
    assert (await index.search_async(matrix[9])).ids == (9,)
