"""`VectorIndex.save` and `load`: what comes back, what is refused, and that no moment of a save harms the file before it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparecall import errors
from sparecall.index import VectorIndex

if TYPE_CHECKING:
    from pathlib import Path

DIM = 64


def vectors(count: int, *, dim: int = DIM, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng(seed)
    return (random.standard_normal((count, dim)) * 0.96 ** np.arange(dim)).astype(np.float32)


def filled(count: int, **options: Any) -> VectorIndex:
    index = VectorIndex(DIM)
    index.add_many(np.arange(count), vectors(count), **options)
    return index


def answers(index: VectorIndex, *namespaces: str) -> list[Any]:
    found = [
        index.search(query, k=k, min_similarity=threshold, namespace=namespace)
        for namespace in namespaces or [""]
        for query in vectors(20, dim=index.dim, seed=1)
        for k, threshold in [(1, 0.85), (5, 0.3), (50, -1.0)]
    ]
    return [(matches.ids, matches.similarities, matches.verified_fraction) for matches in found]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 1023, 1024, 1025, 3000])
def test_a_loaded_index_finds_what_the_saved_one_did_to_the_last_bit(count: int, tmp_path: Path) -> None:
    index = filled(count)
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    assert isinstance(loaded, VectorIndex)
    assert repr(loaded) == repr(index)
    assert answers(loaded) == answers(index)


@pytest.mark.usefixtures("cpu_level")
def test_every_level_finds_the_same_in_a_loaded_index(tmp_path: Path) -> None:
    index = filled(1500)
    index.save(tmp_path / "index")
    assert answers(VectorIndex.load(tmp_path / "index")) == answers(index)


@pytest.mark.parametrize("dim", [1, 3, 65, 1001])
def test_namespaces_expiries_and_removals_come_back(dim: int, tmp_path: Path) -> None:
    now = 100.0
    index = VectorIndex(dim, clock=lambda: now)
    for first, namespace in enumerate(["", "team/a", "é"]):
        ids = np.arange(first, 600, 3)
        index.add_many(ids, vectors(len(ids), dim=dim, seed=first), namespace=namespace)
    index.add(1000, vectors(1, dim=dim, seed=1)[0], expires_at=160)
    index.remove_many(range(0, 600, 7))
    index.save(str(tmp_path / "index"))
    loaded = VectorIndex.load(str(tmp_path / "index"), clock=lambda: now)
    names = ["", "team/a", "é", "none"]
    assert answers(loaded, *names) == answers(index, *names)
    assert 7 not in loaded
    query = vectors(1, dim=dim, seed=1)[0]
    assert 1000 in loaded.search(query, k=600).ids
    now = 160.0
    assert 1000 not in loaded.search(query, k=600).ids


def test_a_loaded_index_lives_on_and_is_saved_over_the_file_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = filled(2500)
    index.save(path)
    for turn in range(3):
        loaded = VectorIndex.load(path)
        for either in (index, loaded):
            either.remove_many(range(turn, 2500, 9))
            either.add_many(np.arange(3000, 4100), vectors(1100, seed=5 + turn), namespace="b")
            either.add(turn, vectors(1, seed=2)[0])
        loaded.save(path)
        assert [found[:2] for found in answers(loaded, "", "b")] == [found[:2] for found in answers(index, "", "b")]
    assert [found[:2] for found in answers(VectorIndex.load(path), "", "b")] == [
        found[:2] for found in answers(index, "", "b")
    ]


def test_an_index_without_originals_comes_back_with_its_intervals(tmp_path: Path) -> None:
    index = VectorIndex(DIM, originals=False)
    index.add_many(np.arange(1500), vectors(1500))
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    assert not loaded.originals
    assert answers(loaded) == answers(index)
    for query in vectors(5, seed=1):
        one, other = index.search(query, k=3), loaded.search(query, k=3)
        assert (one.low, one.high) == (other.low, other.high)
    loaded.add(0, vectors(1)[0])
    assert len(loaded) == 1500


def test_an_index_outlives_the_name_of_its_file(tmp_path: Path) -> None:
    index = filled(1500)
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    (tmp_path / "index").unlink()
    assert answers(loaded) == answers(index)


def test_a_loaded_index_answers_event_loops_and_subclasses_load_themselves(tmp_path: Path) -> None:
    class Mine(VectorIndex):
        __slots__ = ()

    filled(200).save(tmp_path / "index")
    loaded = Mine.load(tmp_path / "index")
    assert type(loaded) is Mine
    query = vectors(1)[0]
    assert asyncio.run(loaded.search_async(query)).ids == loaded.search(query).ids == (0,)


def test_every_save_beside_writers_is_a_whole_index(tmp_path: Path) -> None:
    index = filled(3000)
    matrix = vectors(64, seed=3)
    done = threading.Event()

    def churn(first: int) -> None:
        turn = 0
        while not done.is_set():
            ids = np.arange(first + turn % 40 * 64, first + (turn % 40 + 1) * 64)
            index.add_many(ids, matrix)
            index.remove_many(ids)
            turn += 1

    writers = [threading.Thread(target=churn, args=(10_000 * (1 + at),)) for at in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(10):
            index.save(tmp_path / "index")
            loaded = VectorIndex.load(tmp_path / "index")
            assert all(row in loaded for row in range(3000))
            assert len(loaded) <= 3000 + 2 * 64
            assert loaded.search(vectors(1)[0]).ids == (0,)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["index"]


def test_damage_anywhere_is_told_and_leaves_the_index_alone(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = VectorIndex(3)
    index.add_many([1, 2], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    index.save(path)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole + b"x", whole + whole]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(errors.IndexFileError, match=r"the index file cannot be loaded: .*; nothing was loaded"):
            VectorIndex.load(path)
    assert index.search([1.0, 0.0, 0.0]).ids == (1,)
    index.save(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a saved index"),
        (b"SPARECSH" + bytes(200), "not a saved index"),
        (b"\x80\x04N.", "not a saved index"),
        (b"SPARECIX\x02" + bytes(200), "another version"),
        (b"SPARECIX\x01\0\0\0", "cut short"),
    ],
)
def test_foreign_files_and_other_versions_are_named(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(errors.IndexFileError, match=match):
        VectorIndex.load(tmp_path / "foreign")


def test_file_trouble_is_an_os_error_that_names_the_file(tmp_path: Path) -> None:
    index = filled(3)
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileNotFoundError, match="absent"):
        VectorIndex.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="folder"):
        index.save(tmp_path / "folder" / "index")
    with pytest.raises(IsADirectoryError, match="taken"):
        index.save(tmp_path / "taken")
    with pytest.raises(IsADirectoryError, match="taken"):
        VectorIndex.load(tmp_path / "taken")
    for path in (5, None):
        with pytest.raises(TypeError):
            index.save(path)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            VectorIndex.load(path)  # type: ignore[arg-type]
    index.save(tmp_path / "index")
    with pytest.raises(TypeError, match="clock"):
        VectorIndex.load(tmp_path / "index", clock=5)  # type: ignore[arg-type]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["index", "taken"]


def test_a_file_is_for_its_owners_eyes(tmp_path: Path) -> None:
    filled(3).save(tmp_path / "index")
    assert (tmp_path / "index").stat().st_mode & 0o077 == 0


KILLED = """
import os, resource, signal, sys
import numpy as np
from sparecall.index import VectorIndex

path = sys.argv[1]
matrix = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


def of(first, names):
    index = VectorIndex(8)
    for at, name in enumerate(names):
        index.add_many(range(first + 300 * at, first + 300 * (at + 1)), matrix, namespace=name)
    return index


def child(work):
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
        os._exit(0)
    return process


def outcome(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


old, new = of(0, "a"), of(10_000, "abc")
new.save(path)
size = os.path.getsize(path)
old.save(path)


# Killed by the system in the middle of the write that passes the limit: each write of the save, at its start and within.
def limited(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    new.save(path)


for limit in sorted({*range(0, size, 997), *range(0, 1024, 64), size - 80, size - 1}):
    assert outcome(child(lambda: limited(limit))) == -signal.SIGXFSZ, limit
    loaded = VectorIndex.load(path)
    assert len(loaded) == 300 and 0 in loaded, limit
assert outcome(child(lambda: limited(size))) == 0
assert len(VectorIndex.load(path)) == 900


# Killed at any moment: as soon as so much of a file beside is there.
def endless():
    while True:
        new.save(path)
        old.save(path)


folder = os.path.dirname(path)


def beside(least):
    for entry in os.scandir(folder):
        try:
            if entry.name.endswith(".tmp") and entry.name not in known and entry.stat().st_size >= least:
                return True
        except FileNotFoundError:
            pass
    return False


for least in [0, 64, 1000, 10_000, size // 2, size - 80, size] * 3:
    known = set(os.listdir(folder))
    process = child(endless)
    while not beside(least):
        pass
    os.kill(process, signal.SIGKILL)
    assert outcome(process) == -signal.SIGKILL
    loaded = VectorIndex.load(path)
    assert (len(loaded), 0 in loaded) in [(300, True), (900, False)]
    assert loaded.search(matrix[5], namespace="a").ids in [(5,), (10_005,)]
print("whole")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and signals as on Linux")
def test_a_process_killed_at_any_write_of_a_save_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "index")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "whole\n", done.stderr


def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    script = """
import errno, os, resource, signal, sys
from sparecall.index import VectorIndex

index = VectorIndex(2)
index.add(1, [1.0, 0.0])
index.save(sys.argv[1])
index.add(2, [1.0, 0.5])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 64, 100, 300):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        index.save(sys.argv[1])
    except OSError as error:
        assert error.errno == errno.EFBIG and str(error.filename) == sys.argv[1]
    else:
        raise AssertionError
    assert os.listdir(os.path.dirname(sys.argv[1])) == ["index"]
    assert len(VectorIndex.load(sys.argv[1])) == 1
    assert index.search([1.0, 0.5]).ids == (2,)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
index.save(sys.argv[1])
print(len(VectorIndex.load(sys.argv[1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "index")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "2\n", done.stderr
