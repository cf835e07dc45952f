"""The SQLite file behind `SqliteStore`: its schema, the statements, its size. Synchronous; each connection stays in one thread."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from sparecall.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_APPLICATION, _FORMAT = 0x5370_6172, 1
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CHANGES_KEPT = 10_000
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, dead REAL NOT NULL, data BLOB NOT NULL);
CREATE INDEX entries_dead ON entries (dead);
CREATE TABLE versions (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE leases (name TEXT PRIMARY KEY, token TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX records_stream ON records (stream, id);
CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, message BLOB NOT NULL);
"""


def is_damaged(error: BaseException) -> bool:
    """Whether the error says that the file is no database, or one with holes."""
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


class File:
    """One connection to the file, which is made where there is none, and set aside as ``<path>.damaged`` where it is damaged.

    ``seen`` is the greatest version that this process knows of. Raises ``sqlite3.Error``, ``OSError``, and `StoreUnavailable` where the file is
    another program's, or of another version of this one.
    """

    __slots__ = ("_connection", "_inode", "_path")

    def __init__(self, path: Path, *, busy: float, seen: int) -> None:
        self._path = path
        with contextlib.suppress(FileExistsError):  # answers are nobody else's to read
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._inode = path.stat().st_ino
        self._connection = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
        until = time.monotonic() + busy
        try:
            while True:
                try:
                    self._prepare(seen)
                    break
                except sqlite3.OperationalError as error:
                    # To make the journal a log SQLite does not wait for others who are about to do the same.
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
                    time.sleep(0.005)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def moved(self) -> bool:
        """Whether another file, or none, stands at the path by now."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def set_aside(self) -> None:
        """Close the file, and rename it unless another process has done so."""
        self.close()
        if not self.moved():
            self.rename(self._path)

    @staticmethod
    def rename(path: Path) -> None:
        """Rename a file that nobody here has open."""
        with contextlib.suppress(OSError):
            path.replace(f"{path}.damaged")
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(f"{path}{suffix}")

    @contextlib.contextmanager
    def transaction(self, *, write: bool, durable: bool = False) -> Iterator[None]:
        """All statements inside happen at once or not at all; ``durable``: they outlive the machine's sudden end, too."""
        if write:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @property
    def epoch(self) -> int:
        """The version of every name that was never invalidated."""
        return self._meta("epoch")

    @property
    def born(self) -> int:
        """When the file was made: positions in its streams mean nothing in another."""
        return self._meta("born")

    def data_version(self) -> int:
        """A number that differs once another connection has changed the file."""
        return self._number("PRAGMA data_version")

    def get(self, name: str) -> bytes | None:
        """The bytes stored under a digest."""
        row = self._connection.execute("SELECT data FROM entries WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set(self, name: str, dead: float, data: bytes) -> None:
        """Store bytes; what is written last counts as youngest."""
        self._connection.execute(
            "INSERT OR REPLACE INTO entries (name, dead, data) VALUES (?, ?, ?)", (name, dead, data)
        )

    def delete(self, name: str) -> None:
        """Remove what is stored under a digest."""
        self._connection.execute("DELETE FROM entries WHERE name = ?", (name,))

    def versions(self, names: Sequence[str]) -> list[int]:
        """The version of each digest of a name, the epoch where it has none."""
        select = "SELECT version FROM versions WHERE name = ?"
        rows = [self._connection.execute(select, (name,)).fetchone() for name in names]
        epoch = self.epoch
        return [epoch if row is None else row[0] for row in rows]

    def bump(self, names: Sequence[str], *, seen: int, most: int) -> int:
        """Give the digests of names a new version; beyond `most` names everything else gets one, too."""
        version = max(time.time_ns() // 1000, seen + 1, self._meta("last") + 1)
        if self._number("SELECT count(*) FROM versions") > most:
            version = self._start(version) + 1
        insert = "INSERT OR REPLACE INTO versions (name, version) VALUES (?, ?)"
        self._connection.executemany(insert, [(name, version) for name in names])
        self._set_meta("last", version)
        return version

    def acquire(self, name: str, token: str, *, now: float, seconds: float) -> bool:
        """Take a lease that nobody holds."""
        row = self._connection.execute("SELECT until FROM leases WHERE name = ?", (name,)).fetchone()
        if row is not None and now < row[0]:
            return False
        self._connection.execute("DELETE FROM leases WHERE until <= ?", (now,))
        self._connection.execute(
            "INSERT OR REPLACE INTO leases (name, token, until) VALUES (?, ?, ?)", (name, token, now + seconds)
        )
        return True

    def release(self, name: str, token: str) -> None:
        """Give a lease back."""
        self._connection.execute("DELETE FROM leases WHERE name = ? AND token = ?", (name, token))

    def append(self, stream: str, record: bytes, keep: int) -> int:
        """Add a record, drop those before the newest `keep`."""
        cursor = self._connection.execute("INSERT INTO records (stream, data) VALUES (?, ?)", (stream, record))
        select = "SELECT id FROM records WHERE stream = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        self._connection.execute(f"DELETE FROM records WHERE stream = ? AND id <= ({select})", (stream, stream, keep))  # noqa: S608
        return cursor.lastrowid or 0

    def read(self, stream: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Records behind a number."""
        select = "SELECT id, data FROM records WHERE stream = ? AND id > ? ORDER BY id LIMIT ?"
        return self._connection.execute(select, (stream, after, limit)).fetchall()

    def tell(self, version: int, message: bytes) -> None:
        """Leave a message for all who poll."""
        cursor = self._connection.execute("INSERT INTO changes (version, message) VALUES (?, ?)", (version, message))
        number = cursor.lastrowid or 0
        if number % 256 == 0:
            self._connection.execute("DELETE FROM changes WHERE id <= ?", (number - _CHANGES_KEPT,))

    def last_change(self) -> int:
        """The number of the last message."""
        return self._number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'")

    def changes(self, after: int) -> list[tuple[int, int, bytes]]:
        """Number, version and message of each change behind a number."""
        return self._connection.execute(
            "SELECT id, version, message FROM changes WHERE id > ? ORDER BY id", (after,)
        ).fetchall()

    def size(self) -> int:
        """The bytes in use; what was freed inside of the file is not."""
        return (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * self._number(
            "PRAGMA page_size"
        )

    def shrink(self, most: int, now: float) -> int:
        """Bring what is in use under `most` bytes: first goes what is dead, then what was written longest ago. How many entries went."""
        if self.size() <= most:
            return 0
        gone = self._connection.execute("DELETE FROM entries WHERE dead <= ?", (now,)).rowcount
        while self.size() > most * 0.9 and (count := self._number("SELECT count(*) FROM entries")):
            oldest = "SELECT id FROM entries ORDER BY id LIMIT ?"
            gone += self._connection.execute(f"DELETE FROM entries WHERE id IN ({oldest})", (count // 16 + 1,)).rowcount  # noqa: S608
        return gone

    def give_back(self, most: int) -> None:
        """Cut a file that is longer than `most` bytes to what it holds; outside of a transaction."""
        if self._number("PRAGMA page_count") * self._number("PRAGMA page_size") > most:
            self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(PASSIVE)")

    def clean(self, now: float) -> None:
        """Remove some of what is dead."""
        self._connection.execute(
            "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE dead <= ? LIMIT 512)", (now,)
        )

    def _prepare(self, seen: int) -> None:
        run = self._connection.execute
        run("PRAGMA journal_size_limit = 4194304").fetchall()
        if not self._number("SELECT count(*) FROM sqlite_master"):
            run("PRAGMA auto_vacuum = INCREMENTAL")  # before all else: afterwards it has no effect
            run("PRAGMA journal_mode = WAL").fetchall()
            with self.transaction(write=True):
                if not self._number("SELECT count(*) FROM sqlite_master"):  # another process may have been first
                    for statement in _SCHEMA.strip().split(";\n"):
                        run(statement)
                    run(f"PRAGMA application_id = {_APPLICATION}")
                    run(f"PRAGMA user_version = {_FORMAT}")
                    self._set_meta("born", self._start(max(time.time_ns() // 1000, seen + 1)))
        application, version = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if application != _APPLICATION:
            raise StoreUnavailable(f"{self._path} is another program's database; give the store a path of its own")
        if version != _FORMAT:
            raise StoreUnavailable(
                f"{self._path} has format {version}, this version writes {_FORMAT}; remove it or give another path"
            )
        if self._meta("last") < seen:  # an older copy of the file: what was invalidated since then is in it
            with self.transaction(write=True, durable=True):
                self._start(max(time.time_ns() // 1000, seen + 1))

    def _start(self, epoch: int) -> int:
        self._connection.execute("DELETE FROM versions")
        self._set_meta("epoch", epoch)
        self._set_meta("last", epoch)
        return epoch

    def _meta(self, name: str) -> int:
        return self._number("SELECT value FROM meta WHERE name = ?", name)

    def _set_meta(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

    def _number(self, query: str, *arguments: str) -> int:
        return int(self._connection.execute(query, arguments).fetchone()[0])
