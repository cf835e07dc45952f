"""When a store is left alone, on an injected clock: permits from before a change count for nothing, and a lost probe blocks nobody."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest
import redis.exceptions

from sparecall.errors import StoreUnavailable
from sparecall.store.breaker import Breaker
from sparecall.store.verdicts import VERDICTS, verdict, word


class World:
    """A breaker with its clock and its dice."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.dice = 0.5
        self.breaker = Breaker("the store", clock=lambda: self.now, random=lambda: self.dice, **options)

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.breaker.failed(self.breaker.enter(), "no answer")


def test_it_opens_after_failures_in_a_row_and_refuses_at_once() -> None:
    world = World(failures=3)
    world.fail(2)
    world.breaker.succeeded(world.breaker.enter())
    world.fail(2)
    assert world.breaker.state == "closed"
    world.fail(1)
    assert world.breaker.state == "open"
    assert world.breaker.opened == 1
    with pytest.raises(StoreUnavailable, match=r"another 1\.0 s"):
        world.breaker.enter()


def test_one_call_finds_out_and_closes_it() -> None:
    world = World(failures=1)
    world.fail(1)
    world.now += 1.01
    permit = world.breaker.enter()
    assert permit.probe
    with pytest.raises(StoreUnavailable):
        world.breaker.enter()
    world.breaker.succeeded(permit)
    assert world.breaker.state == "closed"
    assert not world.breaker.enter().probe


def test_the_log_has_one_line_for_each_way_however_long_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sparecall.store")
    world = World(failures=2)
    for _ in range(2):
        world.fail(2)
        for _ in range(5):
            world.now += 60
            world.breaker.failed(world.breaker.enter(), "still")
        world.now += 60
        world.breaker.succeeded(world.breaker.enter())
    away, back = "the store is left alone for a while: no answer", "the store is used again"
    assert [record.getMessage() for record in caplog.records] == [away, back, away, back]
    assert world.breaker.opened == 2


def test_pauses_double_to_the_longest_and_begin_anew_after_success() -> None:
    world = World(failures=1, open_for=1.0, longest=5.0)
    world.fail(1)
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        world.now += pause - 0.01
        with pytest.raises(StoreUnavailable):
            world.breaker.enter()
        world.now += 0.02
        world.breaker.failed(world.breaker.enter(), "still")
    world.now += 5.01
    world.breaker.succeeded(world.breaker.enter())
    world.fail(1)
    world.now += 1.01
    assert world.breaker.enter().probe


def test_pauses_are_spread_by_half_either_way() -> None:
    for dice, pause in ((0.0, 0.5), (0.999, 1.499)):
        world = World(failures=1)
        world.dice = dice
        world.fail(1)
        world.now += pause - 0.01
        with pytest.raises(StoreUnavailable):
            world.breaker.enter()
        world.now += 0.02
        assert world.breaker.enter().probe


def test_a_probe_that_never_reports_back_blocks_nobody_for_long() -> None:
    world = World(failures=1, patience=5.0)
    world.fail(1)
    world.now += 1.01
    lost = world.breaker.enter()
    world.now += 4.99
    with pytest.raises(StoreUnavailable):
        world.breaker.enter()
    world.now += 0.02
    second = world.breaker.enter()
    assert second.probe
    world.breaker.succeeded(lost)  # too late
    assert world.breaker.state == "half_open"
    world.breaker.failed(lost, "late")
    world.breaker.succeeded(second)
    assert world.breaker.state == "closed"


def test_a_probe_let_go_makes_way_for_the_next() -> None:
    world = World(failures=1)
    world.fail(1)
    world.now += 1.01
    world.breaker.let_go(world.breaker.enter())
    assert world.breaker.enter().probe


def test_what_comes_back_late_changes_nothing() -> None:
    world = World(failures=2)
    late = [world.breaker.enter() for _ in range(4)]
    world.fail(2)
    for permit in late:
        world.breaker.failed(permit, "late")
    world.breaker.succeeded(late[0])
    assert world.breaker.state == "open"
    assert world.breaker.opened == 1
    world.now += 1.01
    world.breaker.succeeded(world.breaker.enter())
    world.breaker.failed(late[0], "very late", at_once=True)
    assert world.breaker.state == "closed"


def test_some_failures_open_it_at_once() -> None:
    world = World()
    world.breaker.failed(world.breaker.enter(), "wrong password", at_once=True)
    assert world.breaker.state == "open"


def test_refusing_costs_microseconds() -> None:
    world = World(failures=1)
    world.fail(1)
    start = time.thread_time()
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            world.breaker.enter()
    assert time.thread_time() - start < 0.1, "100 us each would be slow for anything"


EXCEPTIONS = [
    kind for _, kind in inspect.getmembers(redis.exceptions, inspect.isclass) if issubclass(kind, BaseException)
]


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_error_class_of_redis_py_has_a_verdict_of_its_own(kind: type[BaseException]) -> None:
    assert kind in VERDICTS, f"give {kind.__name__} a verdict in store/verdicts.py"


def test_the_table_names_no_class_that_is_gone() -> None:
    assert set(VERDICTS) == set(EXCEPTIONS)


def test_verdicts_on_what_is_not_in_the_table() -> None:
    class New(redis.exceptions.ReadOnlyError):
        pass

    assert verdict(New("")) == "unavailable"
    assert verdict(TimeoutError()) == verdict(ConnectionResetError()) == "unavailable"
    assert verdict(KeyError()) == "bug"
    parse = redis._parsers.BaseParser.parse_error
    said = {
        "BUSY Redis is busy running a script": ("unavailable", "BUSY"),
        "MISCONF Redis is configured to save RDB snapshots": ("refused", "MISCONF"),
        "OOM command not allowed when used memory > 'maxmemory'.": ("refused", "OOM"),
        "ERR unknown command 'GETT', with args beginning with: 'secret'": ("refused", "ERR"),
        "NOAUTH Authentication required.": ("credentials", "AuthenticationError"),
        "NOPERM this user has no permissions": ("credentials", "NOPERM"),
        "MOVED 3999 127.0.0.1:6381": ("cluster", "MOVED"),
        "LOADING Redis is loading the dataset in memory": ("unavailable", "BusyLoadingError"),
        "READONLY You can't write against a read only replica.": ("unavailable", "READONLY"),
        "WRONGTYPE Operation against a key": ("refused", "WRONGTYPE"),
        "secret": ("refused", "ResponseError"),
    }
    for text, (expected, code) in said.items():
        error = parse(text)
        assert (verdict(error), word(error)) == (expected, code), text
