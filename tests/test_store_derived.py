"""`DerivedCache`: what is remembered is found while files, globs, symbols and keys are as they were, and never after."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_store import Shared
from sparecall.errors import InvalidArgument
from sparecall.store import DerivedCache, File, Glob, Key, Symbol
from sparecall.store.fingerprints import Fingerprints, digest_of
from tiers import SCOPE, tiered

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())  # files are read in threads: time is real, and nothing depends on it


class Count:
    """A plain function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        return f"result {self.calls}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    for name in ("a.py", "b.py", "note.txt"):
        (tmp_path / "src" / name).write_text(name)
    return tmp_path


def test_a_result_lasts_until_a_file_changes(root: Path) -> None:
    async def scenario() -> None:
        fn, shared = Count(), Shared()
        async with tiered(shared.connect()) as cache, tiered(shared.connect()) as elsewhere:
            derived, other = (DerivedCache(at, scope=SCOPE, root=root) for at in (cache, elsewhere))
            path = Path("src/a.py")

            async def get(at: DerivedCache = derived, **inputs: Any) -> str:
                return await at.get_or_compute("lint", inputs, fn, depends_on=[path, File("src/none.py")])

            assert [await get(), await get()] == ["result 1"] * 2
            await asyncio.sleep(0.05)
            assert await get(other) == "result 1"
            assert await get(strict=True) == "result 2"
            (root / path).write_text("b.py")
            assert await get() == "result 3"
            (root / path).write_text("a.py")
            assert await get() == "result 1", "as it was, so what was made of it holds"
            (root / "src/none.py").write_text("")
            assert await get() == "result 4"
            (root / path).unlink()
            assert await get() == "result 5"

    run(scenario)


def test_globs_follow_their_listing_and_the_contents(root: Path) -> None:
    async def scenario() -> None:
        fn = Count()
        async with tiered() as cache:
            derived = DerivedCache(cache, scope=SCOPE, root=root)

            async def get(contents: bool) -> str:
                return await derived.get_or_compute("tests", None, fn, depends_on=[Glob("src/**/*.py", contents)])

            assert [await get(True), await get(False), await get(True)] == ["result 1", "result 2", "result 1"]
            (root / "src" / "a.py").write_text("changed")
            assert [await get(True), await get(False)] == ["result 3", "result 2"]
            (root / "src" / "note.txt").write_text("changed")
            assert [await get(True), await get(False)] == ["result 3", "result 2"]
            (root / "src" / "c.py").write_text("")
            assert [await get(True), await get(False)] == ["result 4", "result 5"]

    run(scenario)


def test_symbols_keys_and_operations_are_invalidated_by_name() -> None:
    async def scenario() -> None:
        fn, shared = Count(), Shared()
        long = "x" * 1000
        async with tiered(shared.connect()) as cache:
            derived = DerivedCache(cache, scope=SCOPE)

            async def get() -> str:
                return await derived.get_or_compute("outline/2", [1], fn, depends_on=[Symbol("pkg.f"), Key(long)])

            assert [await get(), await get()] == ["result 1"] * 2
            for number, what in enumerate(
                [{"symbols": ["pkg.f"]}, {"keys": [str(n) for n in range(100)] + [long]}, {"operations": ["outline/2"]}]
            ):
                await derived.changed(**what)  # type: ignore[arg-type]
                assert [await get(), await get()] == [f"result {number + 2}"] * 2
            await derived.changed(symbols=["pkg"], keys=["pkg.f"])
            assert await get() == "result 4"
            assert await derived.fragment("header", {"user": "ann"}, fn) == "result 5"
            assert await derived.fragment("header", {"user": "ann"}, fn) == "result 5"
            assert await derived.fragment("header", {"user": "bob"}, fn) == "result 6"
            assert await derived.fragment("footer", {"user": "ann"}, fn) == "result 7"
            assert await derived.fragment("header", {"user": "ann"}, fn, scope="other") == "result 8"

    run(scenario)


def test_what_is_made_while_a_file_changes_is_not_kept(root: Path) -> None:
    async def scenario() -> None:
        async with tiered() as cache:
            derived = DerivedCache(cache, scope=SCOPE, root=root)
            calls = 0

            async def fn() -> int:
                nonlocal calls
                calls += 1
                (root / "src" / "a.py").write_text("changed" * calls)
                return calls

            async def get() -> int:
                return await derived.get_or_compute("op", None, fn, depends_on=[root / "src" / "a.py"])

            assert await get() == 1
            (root / "src" / "a.py").write_text("a.py")
            assert await get() == 2

    run(scenario)


def test_files_are_read_again_only_if_they_may_have_changed(root: Path) -> None:
    path = root / "src" / "a.py"
    now = path.stat().st_ctime_ns
    prints = Fingerprints(root, clock=lambda: now)
    first = prints.of([File("src/a.py")])
    assert (prints.of([File("src/a.py")]), prints.read) == (first, 2), "too fresh to be sure"
    now += 3_000_000_000
    for _ in range(3):
        assert prints.of([File("src/a.py")]) == first
    assert prints.read == 3
    os.utime(path, ns=(now, now))
    now += 10_000_000_000
    assert (prints.of([File("src/a.py")]), prints.read) == (first, 4)
    old = path.stat()
    path.write_text("b.py")  # as long, and its time set back: its ctime tells
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert prints.of([File("src/a.py")]) != first


def test_another_root_with_the_same_files_is_the_same(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "src").mkdir()
    for name in ("a.py", "b.py"):
        (other / "src" / name).write_text(name)
    for dependencies in ([File("src/a.py"), Glob("**/*.py")], [Glob("none")]):
        assert Fingerprints(root).of(dependencies) == Fingerprints(other).of(dependencies)
    assert Fingerprints(root).of([File(root / "src/a.py")]) == Fingerprints(other).of([File("src/a.py")])


def test_bad_dependencies_are_refused(root: Path) -> None:
    async def scenario() -> None:
        async with tiered() as cache:
            derived = DerivedCache(cache, scope=SCOPE, root=root)
            for inputs, depends_on, message in (
                (None, ["src/a.py"], "depends_on has a str"),
                (None, [Path("src")], "no regular file"),
                ({"when": [datetime.datetime(2026, 1, 1)]}, [], r"inputs\['when'\]\[0\] is a datetime"),
                (object(), [], "inputs is a object, which is no plain data"),
            ):
                with pytest.raises(InvalidArgument, match=message):
                    await derived.get_or_compute("op", inputs, Count(), depends_on=depends_on)
            with pytest.raises(InvalidArgument, match="operation is empty"):
                await derived.get_or_compute("", None, Count())
            with pytest.raises(InvalidArgument, match="more than 2 files"):
                Fingerprints(root, most=2).of([Glob("**/*")])
            with pytest.raises(InvalidArgument, match="scope is empty"):
                DerivedCache(cache, scope="")

    run(scenario)


class Point(msgspec.Struct):
    x: int
    y: Any = None


@dataclasses.dataclass
class Place:
    x: int
    y: Any = None


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -1.0]) | st.text("ab:", max_size=3) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def typed(value: Any) -> Any:
    """A comparable that differs where values or their types do."""
    if isinstance(value, list):
        return ("list", [typed(item) for item in value])
    if isinstance(value, dict):
        return ("dict", {key: typed(item) for key, item in value.items()})
    return (type(value), repr(value))


@given(plain, plain)
def test_digests_are_equal_exactly_where_values_and_types_are(one: Any, other: Any) -> None:
    assert (digest_of(one) == digest_of(other)) is (typed(one) == typed(other))


def test_digests_of_more_kinds() -> None:
    values: list[Any] = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        "None",
        [1],
        [[1]],
        {1},
        {"x": 1},
        Point(1),
        Place(1),
        Point(1, 2),
        "\ud800",
    ]
    digests = [digest_of(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digest_of({"a": 1, "b": {3, 1, 2}}) == digest_of({"b": {2, 3, 1}, "a": 1})
    assert digest_of((1, 2)) == digest_of([1, 2])
    deep: Any = None
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InvalidArgument, match="deeper than 100"):
        digest_of(deep)
