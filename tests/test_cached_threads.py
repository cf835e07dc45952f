"""@cached between threads: one run for those who come together, no lock, and nobody who waits for himself."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from dict_cache import DictCache
from sparecall.cache import BytesCache
from sparecall.cached import cached, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture(autouse=True)
def nobody_waits_in_the_end() -> Iterator[None]:
    yield
    assert threads._waits == {}


def waiting(count: int) -> None:
    """Returns when that many threads wait for another one's run, or are about to."""
    while len(threads._waits) < count:
        time.sleep(0)  # lets them go on


def test_threads_that_come_together_share_one_run(pool: ThreadPoolExecutor) -> None:
    go, runs = Event(), 0
    result = object()

    @cached(DictCache())
    def function(x: int) -> object:
        nonlocal runs
        runs += 1
        go.wait()
        return result

    calls = [pool.submit(function, 1) for _ in range(8)]
    waiting(7)
    go.set()
    assert [call.result() for call in calls] == [result] * 8
    assert runs == 1


def test_those_who_wait_are_answered_even_if_the_result_is_not_stored(pool: ThreadPoolExecutor) -> None:
    go, runs = Event(), 0

    @cached(DictCache(), when=lambda value: False)
    def function() -> None:
        nonlocal runs
        runs += 1
        go.wait()

    calls = [pool.submit(function) for _ in range(4)]
    waiting(3)
    go.set()
    assert [call.result() for call in calls] == [None] * 4
    assert runs == 1


def test_different_keys_do_not_wait_for_each_other(pool: ThreadPoolExecutor) -> None:
    together = Barrier(4, timeout=30)
    function = cached(DictCache())(lambda x: together.wait() is None)
    assert [call.result() for call in [pool.submit(function, x) for x in range(4)]] == [False] * 4


def test_an_exception_reaches_those_who_waited_for_that_run_and_no_later_call(pool: ThreadPoolExecutor) -> None:
    go, runs = Event(), 0

    @cached(DictCache())
    def function() -> int:
        nonlocal runs
        runs += 1
        if runs > 1:
            return runs
        go.wait()
        raise LookupError

    calls = [pool.submit(function) for _ in range(4)]
    waiting(3)
    go.set()
    assert [type(call.exception()) for call in calls] == [LookupError] * 4
    assert function() == 2


def test_an_exception_is_freed_without_the_garbage_collector(pool: ThreadPoolExecutor) -> None:
    class Failure(Exception):
        pass

    go = Event()

    @cached(DictCache())
    def function() -> None:
        go.wait()
        raise Failure

    def seen() -> weakref.ref[BaseException]:
        try:
            function()
        except Failure as error:
            return weakref.ref(error)
        raise AssertionError

    gc.disable()
    try:
        calls = [pool.submit(seen) for _ in range(3)]
        waiting(2)
        go.set()
        seen_by_all = [call.result() for call in calls]
        assert [failure() for failure in seen_by_all] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_where_the_run_was_interrupted_another_thread_takes_over(pool: ThreadPoolExecutor, interruption: Any) -> None:
    go, runs = Event(), 0

    @cached(DictCache())
    def function() -> str:
        nonlocal runs
        runs += 1
        if runs > 1:
            return "value"
        go.wait()
        raise interruption

    calls = [pool.submit(function) for _ in range(4)]
    waiting(3)
    go.set()
    outcomes = [call.exception() or call.result() for call in calls]
    assert sorted(map(str, outcomes)) == ["", "value", "value", "value"]
    assert runs == 2


def test_a_recursive_function_is_computed_once_for_each_argument() -> None:
    runs = 0

    @cached(DictCache())
    def fib(n: int) -> int:
        nonlocal runs
        runs += 1
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert (fib(150), runs) == (9969216677189303386214405760200, 151)


def test_a_recursion_may_be_a_third_as_deep_as_that_of_the_function_itself() -> None:
    depth = sys.getrecursionlimit() // 3 - 50
    function = cached(DictCache())(lambda n: n and function(n - 1) + 1)
    assert function(depth) == depth


def test_a_function_that_asks_for_its_own_key_computes_it_itself() -> None:
    depth = 0

    @cached(DictCache())
    def function() -> int:
        nonlocal depth
        depth += 1
        return function() + 1 if depth < 3 else 0

    assert (function(), depth) == (2, 3)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_circle_of_threads_never_waits_for_itself(pool: ThreadPoolExecutor, size: int) -> None:
    together = Barrier(size, timeout=30)
    inside = threading.local()
    functions = [cached(DictCache())(lambda x: compute(x)) for _ in range(2)]  # a circle may lead through several

    def compute(x: int) -> str:
        if getattr(inside, "depth", 0):
            return "inner"
        inside.depth = 1
        together.wait()  # now each of the threads computes its own, and wants its neighbour's
        neighbour = (x + 1) % size
        return "outer of " + functions[neighbour % 2](neighbour)

    calls = [pool.submit(functions[x % 2], x) for x in range(size)]
    found = [call.result() for call in calls]
    assert all(answer.startswith("outer of ") and answer.endswith("inner") for answer in found)


def test_those_who_wait_outside_a_circle_are_answered_with_it(pool: ThreadPoolExecutor) -> None:
    go, inside_both = Event(), Barrier(3, timeout=30)
    inside = threading.local()

    @cached(DictCache())
    def function(x: int) -> str:
        if getattr(inside, "depth", 0):
            return "inner"
        inside.depth = 1
        inside_both.wait()
        go.wait()
        return "outer of " + function(1 - x)

    calls = [pool.submit(function, x) for x in (0, 1)]
    inside_both.wait()
    outside = [pool.submit(function, x) for x in (0, 1)]
    waiting(2)
    go.set()
    assert all(call.result().startswith("outer of ") for call in [*calls, *outside])


def runs_of(function: Any) -> dict[Any, Any]:
    """The table of a decorated function's runs under way."""
    for name, value in function.__globals__.items():
        if name.endswith("flight") and isinstance(value, threads.ThreadFlight):
            return value._runs
    raise AssertionError


def test_a_key_s_comparisons_may_call_the_function_again(pool: ThreadPoolExecutor) -> None:
    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            function(-1)
            return 1

        def __eq__(self, other: object) -> bool:
            function(-2)
            return isinstance(other, Key) and self.number == other.number

    @cached(DictCache())
    def function(x: Any) -> int:
        return x.number if isinstance(x, Key) else x

    calls = [pool.submit(function, Key(number % 3)) for number in range(60)]
    assert [call.result() for call in calls] == [number % 3 for number in range(60)]


@pytest.mark.parametrize("moment", range(12))
@pytest.mark.parametrize("act", ["cache_delete", "__call__"])
def test_a_call_may_be_interrupted_at_any_moment_by_another_for_the_same_key(moment: int, act: str) -> None:
    class Key:
        looks = -1

        def __hash__(self) -> int:
            self.looks += 1
            if self.looks == moment:
                getattr(function, act)(self)
            return 1

    function = cached(DictCache(), key=lambda key: key)(lambda key: "value")
    key = Key()
    assert [function(key), function(key)] == ["value"] * 2
    assert runs_of(function) == {}


def test_a_key_that_stops_working_in_the_middle_leaves_no_old_result_behind() -> None:
    class Key:
        works = True

        def __hash__(self) -> int:
            if not self.works:
                raise RuntimeError("no hash")
            return 1

    key, runs = Key(), 0

    @cached(DictCache(), key=lambda key: key, when=lambda value: False)
    def function(key: Key) -> int:
        nonlocal runs
        runs += 1
        Key.works = runs > 1
        return runs

    with pytest.raises(RuntimeError, match="no hash"):
        function(key)
    Key.works = True
    assert [function(key), function(key)] == [2, 3]
    assert runs_of(function) == {}


def test_a_finalizer_may_call_the_function_at_any_moment() -> None:
    class Finalized:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            answers.append(function(-1))

    @cached(DictCache(), when=lambda value: False)
    def function(x: int) -> int:
        [Finalized() for _ in range(x)]
        return x

    answers: list[int] = []
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert [function(3) for _ in range(50)] == [3] * 50
    finally:
        gc.set_threshold(*before)
        gc.collect()
    assert answers == [-1] * 150


def test_a_run_whose_entry_is_deleted_meanwhile_is_neither_stored_nor_joined(pool: ThreadPoolExecutor) -> None:
    started, go = Event(), Event()
    data = "old"

    @cached(BytesCache(1000), key=lambda: "key")
    def function() -> bytes:
        read = data.encode()
        if data == "old":
            started.set()
            go.wait()
        return read

    old = pool.submit(function)
    started.wait()
    data = "new"
    assert function.cache_delete() is False
    assert function() == b"new"
    go.set()
    assert (old.result(), function()) == (b"old", b"new")


def test_who_missed_just_before_a_run_ended_looks_again_and_does_not_compute() -> None:
    runs = 0

    class Late(DictCache):
        """Its first miss reaches the caller only after another call has been answered."""

        def get(self, key: Any, default: Any = None) -> Any:
            found = super().get(key, default)
            if self.asked == 1:
                function()
            return found

    @cached(Late())
    def function() -> int:
        nonlocal runs
        runs += 1
        return runs

    assert (function(), runs) == (1, 1)


FORKS = """
import os, threading
from dict_cache import DictCache
from sparecall.cached import cached

started, go = threading.Event(), threading.Event()

@cached(DictCache())
def function():
    if threading.current_thread() is not threading.main_thread():
        started.set()
        go.wait()
    return "value"

threading.Thread(target=function, daemon=True).start()
started.wait()
child = os.fork()
if not child:
    os._exit(function() != "value")
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go.set()
assert (code, function()) == (0, "value")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_wait_for_threads_it_does_not_have() -> None:
    # In a process of its own, which may be ended with its child if they wait for ever.
    subprocess.run([sys.executable, "-c", FORKS], cwd=Path(__file__).parent, check=True, timeout=30)


def test_threads_that_hammer_a_small_cache_get_right_answers() -> None:
    cache = BytesCache(600)  # a handful of entries: it forgets all the time

    @cached(cache, key=str)
    def chain(n: int) -> bytes:
        return str(n).encode() if n < 2 else chain(n - 1)[:1] + str(n).encode()

    wrong: list[tuple[int, bytes]] = []
    start = Barrier(8, timeout=30)

    def hammer(seed: int) -> None:
        start.wait()
        for step in range(1500):
            n = (seed * 7 + step * 13) % 12
            answer = chain(n)
            if not answer.endswith(str(n).encode()):
                wrong.append((n, answer))
            if step % 50 == 0:
                chain.cache_delete(n)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        everybody = [Thread(target=hammer, args=(seed,)) for seed in range(8)]
        for thread in everybody:
            thread.start()
        for thread in everybody:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert runs_of(chain) == {}


def test_random_circles_between_threads_always_come_to_an_end() -> None:
    """Every function wants others, in every order, to a depth of four: without a check of circles this stops at once."""
    depth = threading.local()
    cache = DictCache()
    wants: Callable[[int], list[int]] = lambda x: [(x * 3 + 1) % 7, (x * 5 + 2) % 7, (x + 1) % 7]  # noqa: E731

    @cached(cache, when=lambda value: False)
    def function(x: int) -> int:
        depth.now = getattr(depth, "now", 0) + 1
        try:
            if depth.now <= 4:
                for other in wants(x):
                    assert function(other) == other
            return x
        finally:
            depth.now -= 1

    start = Barrier(6, timeout=30)

    def thread(first: int) -> None:
        start.wait()
        for step in range(8):
            assert function((first + step) % 7) == (first + step) % 7

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for call in [pool.submit(thread, first) for first in range(6)]:
                call.result()
    finally:
        sys.setswitchinterval(interval)
