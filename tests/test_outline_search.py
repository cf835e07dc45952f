"""`sparecall.outline.SymbolSearch`: what is found, and that after any updates it is what a fresh index finds."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparecall.errors import InvalidArgument, UnknownName
from sparecall.outline import SearchUpdate, SymbolSearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AUTH = '''class Session:
    def verify_token(self, token: str) -> bool:
        """Whether the signature holds."""
        return check(token)


def expire(session: Session) -> None:
    session.end()
'''
FILES = "def read_file(path):\n    return open(path).read()\n\n\ndef removeTree(folder):\n    ...\n"


def filled() -> SymbolSearch:
    search = SymbolSearch()
    search.update("auth.py", AUTH)
    search.update("files.py", FILES.encode())
    return search


def test_a_question_finds_the_symbol_that_answers_it() -> None:
    search = filled()
    found = search.search("where are tokens verified?", k=2)
    assert (found[0].path, found[0].name_path, found[0].kind) == ("auth.py", "Session.verify_token", "method")
    assert (found[0].first_line, found[0].last_line) == (2, 4)
    assert found[0].signature == "def verify_token(self, token: str) -> bool"
    assert search.search("delete a directory tree")[0].name_path == "removeTree"
    assert len(search) == 5
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert search.search("?") == [] or all(one.score > 0 for one in search.search("?"))
    assert "verify" not in repr(search)


def test_only_what_changed_is_read_again() -> None:
    search = filled()
    calls: list[int] = []

    class Counting:
        dim = 4

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            calls.append(len(texts))
            return np.ones((len(texts), 4), np.float32)

    search = SymbolSearch(embedder=Counting())
    assert search.update("auth.py", AUTH) == SearchUpdate(3, 0, 0)
    assert search.update("auth.py", AUTH) == SearchUpdate(0, 3, 0)
    # The class holds its method: both are others now.
    assert search.update("auth.py", "import os\n" + AUTH.replace("holds", "is true")) == SearchUpdate(2, 1, 2)
    assert calls == [3, 2]
    assert search.search("expire the session", k=1)[0].first_line == 8
    assert search.remove("auth.py") == 3
    assert search.remove("auth.py") == len(search) == 0
    assert search.search("expire") == []


def test_what_is_refused_leaves_the_index_as_it_was() -> None:
    search = SymbolSearch(max_symbols=4)
    search.update("auth.py", AUTH)
    with pytest.raises(InvalidArgument, match="the limit is 4"):
        search.update("files.py", FILES)
    with pytest.raises(UnknownName):
        search.update("a.cobol", "x")
    assert len(search) == 3
    for wrong in (0, -1):
        with pytest.raises(InvalidArgument):
            search.search("x", k=wrong)
        with pytest.raises(InvalidArgument):
            SymbolSearch(max_symbols=wrong)
    with pytest.raises(TypeError):
        search.search(5)  # type: ignore[arg-type]

    class Failing:
        dim = 4

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            raise OSError("no model")

    failing = SymbolSearch(embedder=Failing())
    with pytest.raises(OSError, match="no model"):
        failing.update("auth.py", AUTH)
    assert len(failing) == 0


@pytest.mark.anyio
async def test_threads_and_tasks_search_while_files_change() -> None:
    search = filled()
    failed: list[BaseException] = []

    def change(number: int) -> None:
        try:
            for turn in range(20):
                search.update(f"{number}.py", f"def token_{turn}():\n    return {number}\n")
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        found, _update = await asyncio.gather(
            search.search_async("verify token", k=3), search.update_async("files.py", FILES)
        )
        assert found[0].name_path == "Session.verify_token"
    for thread in threads:
        thread.join()
    assert not failed
    assert len(search) == 8
    assert search.search("token_19", k=1)[0].name_path == "token_19"


SOURCES = st.sampled_from(["", AUTH, FILES, AUTH + FILES, FILES + FILES, "def verify(): ...\n", "x = ("])


@given(st.lists(st.tuples(st.sampled_from(["a.py", "b.py", "c.py"]), st.none() | SOURCES), max_size=8))
def test_after_any_updates_it_finds_what_a_fresh_one_finds(steps: list[tuple[str, str | None]]) -> None:
    search, files = SymbolSearch(words_only=True), dict[str, str]()
    for path, source in steps:
        if source is None:
            search.remove(path)
            files.pop(path, None)
        else:
            search.update(path, source)
            files[path] = source
    fresh = SymbolSearch(words_only=True)
    for path, source in files.items():
        fresh.update(path, source)
    for question in ("verify a token", "read file", "session"):
        expected = fresh.search(question, k=50)
        assert {(one.path, one.name_path, one.first_line) for one in search.search(question, k=50)} == {
            (one.path, one.name_path, one.first_line) for one in expected
        }
    assert len(search) == len(fresh)
