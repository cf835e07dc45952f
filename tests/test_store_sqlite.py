"""SqliteStore's file: it outlives restarts and kills, keeps its size, is shared by processes, and when damaged is set aside."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sparecall.errors import InvalidArgument, StoreUnavailable
from sparecall.store import SqliteStore
from sparecall.store.entries import entry_digests
from stores import Heard, entry, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One loop: what is tested here is the file; `test_store.py` runs on both."""
    return "asyncio"


def made(path: Path, **options: Any) -> tuple[SqliteStore, Heard]:
    heard = Heard()
    store = SqliteStore(path, **{"timeout": 5.0, "interval": 0.02} | options)
    store.listen(heard)
    return store, heard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, timeout=5.0) as store:
        yield store


async def value(store: SqliteStore, key: str) -> Any:
    (found,) = await store.get_many([key], scope="team")
    return found.value if found else None


async def test_a_restart_keeps_answers_versions_leases_and_records(path: Path) -> None:
    async with SqliteStore(path, timeout=5.0) as store:
        await store.set_many([entry("key", marks=await store.versions(["tag"])), entry("short", life=0.01)])
        versions = await store.versions(["tag"]) + await store.bump(["other"])
        lease = await store.acquire("work", seconds=60)
        position = await store.append("news", b"record", keep=5)
    await asyncio.sleep(0.01)
    async with SqliteStore(path, timeout=5.0) as store:
        (found,) = await store.get_many(["key"], scope="team")
        assert found is not None
        assert await store.versions(["tag", "other"]) == versions
        assert found.marks == versions[:1]
        assert await value(store, "short") is None
        assert await store.acquire("work", seconds=60) is None
        assert lease is not None
        await store.release(lease)
        assert await store.read("news", after="", limit=5) == [(position, b"record")]
        assert await store.read("news", after=position, limit=5) == []


WRITER = """
import asyncio, sys, time
from sparecall.store import Entry, SqliteStore

async def main():
    store = SqliteStore(sys.argv[1], timeout=30.0)
    for n in range(100_000):
        now = time.time()
        await store.set_many([Entry(scope="team", key=str(n), value=n, created=now, expires=now + 60, dead=now + 60)])
        await store.bump([f"name {n}"])
        print(n, flush=True)

asyncio.run(main())
"""


async def test_killed_at_any_moment_it_has_what_was_done_and_other_processes_go_on(path: Path) -> None:
    store, heard = made(path)
    async with store:
        await until(lambda: store.coherent)
        for _ in range(2):
            command = [sys.executable, "-c", WRITER, str(path)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            last = -1
            for line in iter(process.stdout.readline, ""):
                last = int(line)
                if last == 20:
                    process.kill()
            process.wait()
            process.stdout.close()
            assert last >= 20
            assert await store.get_many([str(last)], scope="team") != [None]
            assert (await store.versions([f"name {last}"]))[0] > (await store.versions(["never"]))[0]
            assert ("dropped", "team", str(last)) in heard.all
            await value(store, "0")
            await until(lambda last=last: any(each[:2] == ("changed", f"name {last}") for each in heard.all))
            await store.set_many([entry("mine", "mine")])
            assert await value(store, "mine") == "mine"


async def test_the_file_keeps_within_its_size_and_what_is_oldest_goes_first(path: Path) -> None:
    limit = 1024 * 1024
    async with SqliteStore(path, timeout=5.0, max_bytes=limit) as store:
        await store.set_many([entry(f"dead {n}", os.urandom(10_000), life=0.001) for n in range(20)])
        for n in range(300):
            await store.set_many([entry(f"key {n}", os.urandom(10_000))])
        assert path.stat().st_size <= limit * 1.1
        kept = [n for n in range(300) if await value(store, f"key {n}") is not None]
        assert kept == list(range(kept[0], 300)), "the youngest, without a gap"
        assert len(kept) >= 60
        assert store.stats().evicted == 300 - len(kept)
        await store.set_many([entry("larger than all", os.urandom(2 * limit))])
        assert await value(store, "larger than all") is None
        assert await value(store, "key 299") is not None, "it pushes nothing out"
        await store.set_many([entry("key 299", os.urandom(2 * limit))])
        assert await value(store, "key 299") is None, "what it was before is no longer what it is"
        await store.set_many([entry("small", "small")])
        assert await value(store, "small") == "small"
        assert path.stat().st_size <= limit * 1.1
    async with SqliteStore(path, timeout=5.0, max_bytes=64 * limit) as store:
        await store.set_many([entry(f"key {n}", os.urandom(10_000)) for n in range(300)])
    async with SqliteStore(path, timeout=5.0, max_bytes=limit) as store:
        await store.set_many([entry("one more", "small")])
        assert path.stat().st_size <= limit * 1.1, "a smaller limit shrinks a larger file"


async def test_what_is_dead_is_cleaned_away_in_time(path: Path, store: SqliteStore) -> None:
    await store.set_many([entry(f"dead {n}", life=0.001) for n in range(50)])
    await asyncio.sleep(0.01)
    for n in range(130):
        await store.set_many([entry("key", n)])
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    other.close()


async def test_junk_under_a_key_is_a_counted_miss_and_is_written_over(path: Path, store: SqliteStore) -> None:
    await store.set_many([entry("good"), entry("other", "another key's value")])
    good, other_name = entry_digests("team", ["good", "other"])
    other = sqlite3.connect(path)
    (whole,) = other.execute("SELECT data FROM entries WHERE name = ?", (good,)).fetchone()
    (foreign,) = other.execute("SELECT data FROM entries WHERE name = ?", (other_name,)).fetchone()
    junk = [b"", b"junk", whole[:-1], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:], foreign]
    for count, data in enumerate(junk, 1):
        with other:
            other.execute("UPDATE entries SET data = ? WHERE name = ?", (data, good))
        assert await value(store, "good") is None
        assert store.stats().junk == count
    other.close()
    await store.set_many([entry("good", "again")])
    assert await value(store, "good") == "again"


async def test_keys_and_errors_and_the_file_s_mode_give_nothing_away(path: Path, store: SqliteStore) -> None:
    secret = "my secret question"
    await store.bump([secret])
    await store.acquire(secret, seconds=10)
    await store.append(secret, b"", keep=10)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = sqlite3.connect(path)
    for table in ("versions", "leases", "records"):
        assert "secret" not in str(other.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
    other.close()
    assert "secret" not in repr(store)


def tear(path: Path) -> None:
    """Damages the pages in the middle of a file that nobody has open."""
    data = bytearray(path.read_bytes())
    for offset in range(4096, len(data) - 100, 4096):
        data[offset : offset + 100] = os.urandom(100)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["torn", "no database", "cut", "empty"])
async def test_a_damaged_file_is_set_aside_and_another_begun(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteStore(path, timeout=5.0) as store:
        await store.set_many([entry(f"key {n}", os.urandom(5000)) for n in range(50)])
    whole = path.read_bytes()
    if damage == "torn":
        tear(path)
    else:
        path.write_bytes({"no database": b"no database " * 1000, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    before = path.read_bytes()
    async with SqliteStore(path, timeout=5.0) as store:
        for n in range(50):
            try:
                assert await value(store, f"key {n}") is None or damage == "cut"
            except StoreUnavailable:
                pytest.fail("a damaged file is the store's own affair")
        await store.set_many([entry("new", "new")])
        assert await value(store, "new") == "new"
        if damage != "empty":
            aside = Path(f"{path}.damaged")
            assert aside.exists()
            if damage != "cut":
                assert aside.read_bytes()[:5000] == before[:5000]
            assert store.stats().set_aside >= 1
            assert [record.levelname for record in caplog.records] == ["WARNING"] * store.stats().set_aside
    async with SqliteStore(path, timeout=5.0) as store:
        assert await value(store, "new") == "new"


async def test_damage_while_it_is_open_is_noticed_by_all_and_versions_begin_anew(path: Path) -> None:
    store, heard = made(path)
    other, also = made(path)
    async with store, other:
        await store.set_many([entry(f"key {n}", os.urandom(5000)) for n in range(200)])
        (before,) = await store.bump(["tag"])
        await until(lambda: store.coherent and other.coherent)
        heard.all.clear()
        also.all.clear()
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        raw.close()
        with path.open("r+b") as file:
            for offset in range(4096, path.stat().st_size, 4096):
                file.seek(offset)
                file.write(os.urandom(200))
        for each in (store, other):
            for n in range(200):
                await value(each, f"key {n}")
            await each.set_many([entry("new", "new")])
        await until(lambda: ("lost",) in heard.all and ("lost",) in also.all)
        assert await value(other, "new") == await value(store, "new") == "new"
        versions = await store.versions(["tag"])
        assert versions == await other.versions(["tag"])
        assert versions[0] > before


async def test_a_file_that_is_removed_or_replaced_is_noticed(path: Path, tmp_path: Path) -> None:
    store, heard = made(path)
    async with store:
        await store.set_many([entry("key", marks=await store.versions(["tag"]))])
        await until(lambda: store.coherent)
        copy = sqlite3.connect(tmp_path / "copy")
        original = sqlite3.connect(path)
        original.backup(copy)
        copy.close()
        original.close()
        (bumped,) = await store.bump(["tag"])
        heard.all.clear()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        await until(lambda: ("lost",) in heard.all)
        assert await value(store, "key") is None
        await store.set_many([entry("new", "new")])
        assert await value(store, "new") == "new"
        assert (await store.versions(["tag"]))[0] > bumped
        # An older copy comes back, with the entry and without what invalidated it.
        heard.all.clear()
        (tmp_path / "copy").replace(path)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        await until(lambda: ("lost",) in heard.all)
        (found,) = await store.get_many(["key"], scope="team")
        assert found is not None
        assert found.marks != await store.versions(["tag"])


async def test_another_program_s_database_is_left_alone(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE accounts (name)")
    foreign.commit()
    foreign.close()
    async with SqliteStore(path, timeout=5.0) as store:
        with pytest.raises(StoreUnavailable, match="another program"):
            await store.set_many([entry("key")])
        assert store.state == "open"
    assert not Path(f"{path}.damaged").exists()
    check = sqlite3.connect(path)
    assert check.execute("SELECT name FROM sqlite_master").fetchall() == [("accounts",)]
    check.close()


async def test_another_version_s_file_is_left_alone(path: Path) -> None:
    async with SqliteStore(path, timeout=5.0) as store:
        await store.set_many([entry("key")])
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 7")
    raw.close()
    async with SqliteStore(path, timeout=5.0) as store:
        with pytest.raises(StoreUnavailable, match="format 7"):
            await store.get_many(["key"], scope="team")


async def test_a_folder_that_is_not_there_is_an_outage_with_one_line_each_way(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    folder = path.parent / "later"
    async with SqliteStore(folder / "store.db", timeout=5.0, monotonic=lambda: now[0]) as store:
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await store.get_many(["key"], scope="team")
        assert store.state == "open"
        assert store.stats().left_alone == 5
        now[0] += 60
        with pytest.raises(StoreUnavailable):
            await store.get_many(["key"], scope="team")
        folder.mkdir()
        now[0] += 60
        assert await store.get_many(["key"], scope="team") == [None]
        assert store.state == "closed"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_file_locked_by_others_keeps_writers_waiting_so_long_and_readers_not_at_all(path: Path) -> None:
    async with SqliteStore(path, timeout=0.2) as store:
        await store.set_many([entry("key", "value")])
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await store.set_many([entry("other")])
        assert await value(store, "key") == "value"
        locker.execute("ROLLBACK")
        locker.close()
        await store.set_many([entry("other", "later")])
        assert await value(store, "other") == "later"


async def test_the_loop_is_not_held_while_the_disk_is(path: Path) -> None:
    """What the loop's own thread spends on a call: the rest is the threads'."""
    async with SqliteStore(path, timeout=30.0) as store:
        big = [entry(f"key {n}", "x" * 50_000) for n in range(100)]
        await store.set_many(big)
        spent: list[float] = []
        for _ in range(10):
            task = asyncio.ensure_future(store.get_many([each.key for each in big], scope="team"))
            start = time.thread_time()
            while not task.done():
                spent.append(time.thread_time() - start)
                await asyncio.sleep(0)
                start, last = time.thread_time(), start
                spent.append(start - last)
        assert sorted(spent)[len(spent) // 2] < 0.001


@pytest.mark.parametrize(
    "options",
    [{"max_bytes": 1000}, {"timeout": 0.0}, {"interval": float("nan")}, {"longest": float("inf")}, {"most_names": 0}],
)
async def test_what_cannot_be_meant_is_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        SqliteStore(path, **options)


async def test_a_position_of_another_store_is_refused_and_one_of_an_older_file_begins_anew(store: SqliteStore) -> None:
    position = await store.append("news", b"record", keep=5)
    for odd in ("1", "-1", "x-y", "1-", "1-2-3"):
        with pytest.raises(InvalidArgument):
            await store.read("news", after=odd, limit=5)
    assert await store.read("news", after="12-9999", limit=5) == [(position, b"record")]
