"""`SymbolIndex` from Python: files, threads, loops, and results that are derived from its symbols."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from sparecall import errors
from sparecall.outline import IndexedSymbol, Subject, SymbolIndex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIB = "def helper(a):\n    return a\n\n\ndef other():\n    return 2\n"
APP = "from lib import helper\n\n\nclass App:\n    def run(self):\n        return helper(1)\n\n    def stop(self):\n        return 0\n"


def filled(**options: bool) -> SymbolIndex:
    index = SymbolIndex(**options)
    index.update("lib.py", LIB)
    index.update("app.py", APP)
    return index


def symbol(index: SymbolIndex, path: str, name_path: str) -> IndexedSymbol:
    return next(each for each in index.symbols(path) if each.name_path == name_path)


def test_an_update_says_what_changed() -> None:
    index = filled()
    assert (len(index), sorted(index.paths()), "lib.py" in index, "x.py" in index) == (
        7,
        ["app.py", "lib.py"],
        True,
        False,
    )
    run = symbol(index, "app.py", "App.run")
    assert (run.kind, run.name, run.signature, run.first_line, run.last_line) == (
        "method",
        "run",
        "def run(self)",
        5,
        6,
    )
    assert (run.path, run.language, run.parent, run.docstring) == ("app.py", "python", 1, None)
    assert index.text(run) == "def run(self):\n        return helper(1)"
    diff = index.update("app.py", APP.replace("helper(1)", "helper(2)"))
    [(before, after)] = diff.modified
    assert (before.name_path, before.first_line, after.name_path) == ("App.run", 5, "App.run")
    assert after.hash != run.hash
    assert [each.name_path for each in diff.enclosing] == ["", "App"]
    assert [each.name_path for each in diff.unchanged] == ["App.stop"]
    assert repr(diff) == "SymbolDiff(added=0, modified=1, enclosing=2, moved=0, removed=0, unchanged=1)"
    # A file that is gone, and what was asked for before.
    assert [each.name_path for each in index.remove("app.py").removed] == ["", "App", "App.run", "App.stop"]
    assert index.remove("app.py").removed == ()
    assert index.symbols("app.py") == ()
    with pytest.raises(errors.InvalidArgument, match="symbol is no longer in its file"):
        index.text(run)
    diff = index.update("new.py", LIB.replace("return 2", "return 3").replace("helper", "renamed"))
    assert {each.name_path for each in diff.added} == {"", "renamed", "other"}
    diff = index.update("moved.py", "def stop(self):\n        return 0\n")
    assert [(old.path, old.name_path) for old, _ in diff.moved] == [("app.py", "App.stop")]


@pytest.mark.parametrize("source", ["def f(", "\0" * 100, b"\xff\xfe\x00", "class A:\n  def f(self): pass\n def g"])
def test_half_typed_code_leaves_the_rest_alone(source: str | bytes) -> None:
    index = filled()
    index.update("app.py", source)
    assert len(index.symbols("lib.py")) == 3
    diff = index.update("app.py", APP)
    assert len(index.symbols("app.py")) == 4
    assert len(diff.added) + len(diff.modified) + len(diff.enclosing) + len(diff.moved) + len(diff.unchanged) == 4


def test_what_is_refused_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    index = filled()
    with pytest.raises(errors.UnknownName, match=r'unknown language "\.txt"; known: go'):
        index.update("a.txt", "x")
    with pytest.raises(errors.InvalidDocument, match="too long to parse"):
        index.update("app.py", "def f(x):\n" * 30_000, language="javascript", max_seconds=0.01)
    assert [each.name_path for each in index.symbols("app.py")] == ["", "App", "App.run", "App.stop"]
    index.save(tmp_path / "index")
    loaded = SymbolIndex.load(tmp_path / "index")
    assert isinstance(loaded, SymbolIndex)
    assert (len(loaded), sorted(loaded.paths())) == (7, ["app.py", "lib.py"])
    with pytest.raises(errors.InvalidArgument, match="update it again, or give the index more max_bytes"):
        loaded.text(symbol(loaded, "lib.py", "helper"))
    assert len(loaded.update("lib.py", LIB).unchanged) == 3
    (tmp_path / "index").write_bytes((tmp_path / "index").read_bytes()[:-1])
    with pytest.raises(errors.IndexFileError, match="it is cut short; nothing was loaded"):
        SymbolIndex.load(tmp_path / "index")
    with pytest.raises(FileNotFoundError):
        SymbolIndex.load(tmp_path / "absent")


def test_threads_may_update_and_ask_at_once() -> None:
    index = SymbolIndex(max_bytes=20_000)
    seen: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(60):
                path = f"{(number + i) % 5}.py"
                index.update(path, LIB + f"\nX{i} = {number}\n")
                for each in index.symbols(path):
                    assert each.path == path
                index.remove(f"{i % 7}.py")
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            seen.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not seen
    assert len(index) == sum(len(index.symbols(path)) for path in index.paths())


def test_loops_await_long_updates(tmp_path: Path) -> None:
    async def main() -> None:
        index = SymbolIndex()
        many = "".join(f"def f{i}():\n    return {i}\n\n" for i in range(3000))
        assert len((await index.update_async("a.py", many)).added) == 3001
        diff = await index.update_async("a.py", many.replace("return 7\n", "return 8\n"))
        assert [now.name for _, now in diff.modified] == ["f7"]
        with pytest.raises(errors.UnknownName):
            await index.update_async("a.txt", many)

    asyncio.run(main())


def described(seen: list[str]) -> Callable[[Subject], tuple[str, object]]:
    def describe(subject: Subject) -> tuple[str, object]:
        seen.append(subject.name_path)
        return subject.text, subject.names

    return describe


def test_derived_results_hold_until_the_symbol_or_a_signature_changes() -> None:
    index = filled()
    seen: list[str] = []
    derived = index.derived("summary", described(seen))

    def everything() -> dict[tuple[str, str], object]:
        return {(path, each.name_path): derived.get(each) for path in index.paths() for each in index.symbols(path)}

    first = everything()
    assert sorted(seen) == ["", "", "App", "App.run", "App.stop", "helper", "other"]
    assert first[("app.py", "App.run")] == ("def run(self):\n        return helper(1)", (("helper", "def helper(a)"),))
    assert first[("app.py", "App")] == ("class App:\ndef run(self)\ndef stop(self)", ())
    assert everything() == first
    assert len(seen) == 7
    # A body: nobody else sees it.
    index.update("lib.py", LIB.replace("return a", "return a + 1"))
    everything()
    assert seen[7:] == ["helper"]
    # A signature: who names it does, and nobody else.
    index.update("lib.py", LIB.replace("helper(a)", "helper(a, b=1)"))
    everything()
    assert sorted(seen[8:]) == ["", "", "App.run", "helper"]
    # A change undone brings all back.
    index.update("lib.py", LIB)
    assert everything() == first
    assert len(seen) == 12
    assert derived.stats().computed == 12
    assert 0.5 < derived.stats().spared < 0.8
    with pytest.raises(errors.InvalidArgument, match='of is \'all\'; give "own" or "whole"'):
        index.derived("x", described(seen), of="all")  # type: ignore[arg-type]


def test_derived_results_are_bounded_and_failures_are_not_kept() -> None:
    index = filled()
    calls: list[str] = []

    def fails(subject: Subject) -> str:
        calls.append(subject.name_path)
        if len(calls) == 1:
            raise ValueError("once")
        return subject.name_path

    derived = index.derived("name", fails, max_entries=2)
    helper, other = index.symbols("lib.py")[1:]
    with pytest.raises(ValueError, match="once"):
        derived.get(helper)
    assert [derived.get(helper), derived.get(helper), derived.get(other)] == ["helper", "helper", "other"]
    derived.get(index.symbols("app.py")[1])
    assert (len(derived), derived.stats().entries) == (2, 2)
    assert repr(derived) == "Derived('name', entries=2, of='own')"
    derived.clear()
    assert len(derived) == 0


def test_who_asks_at_the_same_time_shares_a_computation() -> None:
    index = filled()
    helper = symbol(index, "lib.py", "helper")
    started, go = threading.Event(), threading.Event()
    calls: list[str] = []

    def slow(subject: Subject) -> str:
        calls.append(subject.name_path)
        started.set()
        assert go.wait(30)
        return subject.name_path

    derived = index.derived("slow", slow)
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(derived.get(helper))) for _ in range(3)]
    threads[0].start()
    assert started.wait(30)
    [thread.start() for thread in threads[1:]]
    while derived.stats().shared < 2:
        pass
    go.set()
    [thread.join() for thread in threads]
    assert (results, calls) == (["helper"] * 3, ["helper"])


def test_a_cancelled_computation_is_taken_over() -> None:
    async def main() -> None:
        index = filled()
        helper = symbol(index, "lib.py", "helper")
        calls = 0
        hold, again = asyncio.Event(), asyncio.Event()

        async def slow(subject: Subject) -> str:
            nonlocal calls
            calls += 1
            if calls == 2:
                again.set()
            await hold.wait()
            return subject.name_path

        derived = index.derived("slow", slow)
        tasks = [asyncio.create_task(derived.get_async(helper)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await again.wait()
        hold.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == ["helper", "helper"]
        assert calls == 2
        assert await derived.get_async(helper) == "helper"
        # A waiter's own cancellation is its own.
        hold.clear()
        index.update("lib.py", LIB.replace("return a", "return b"))
        tasks = [asyncio.create_task(derived.get_async(symbol(index, "lib.py", "helper"))) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        hold.set()
        assert await tasks[0] == "helper"
        assert tasks[1].cancelled()

    asyncio.run(main())
