"""A cache of all records of a folder in one SQLite file, so that listing thousands does not open thousands of files.

Never the truth: an entry counts only while its record file has the inode, time and size that it was read with, and the whole file is made
anew when it is damaged. Nothing here can fail in a way that the caller must know of; without an index, records are read one by one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_VERSION = 1
_RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may have changed again within the clock's tick: such entries are read again."""


@dataclass(frozen=True)
class Stamp:
    """What tells one state of a record file from another."""

    inode: int
    mtime_ns: int
    size: int


@dataclass(frozen=True)
class _Entry:
    stamp: Stamp
    read_ns: int
    content: bytes

    def is_of(self, stamp: Stamp) -> bool:
        return self.stamp == stamp and stamp.mtime_ns + _RACY_NS < self.read_ns


class Index:
    """The index file of one archive folder.

    Args:
        path: the SQLite file.
        busy_timeout_s: seconds to wait for another process that writes it.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        self.path, self.busy_timeout_s = path, busy_timeout_s

    def contents(self, stamps: dict[str, Stamp], read: Callable[[str], bytes | None]) -> dict[str, bytes]:
        """The content of every record file, from the index where it is current, read and remembered where not.

        Args:
            stamps: id to the stamp that its file has now.
            read: reads the file of an id; None when it is gone meanwhile.
        """
        known: dict[str, _Entry] = {}
        with suppress(sqlite3.Error, OSError):
            known = self._load()
        fresh: dict[str, _Entry] = {}
        result: dict[str, bytes] = {}
        for record_id, stamp in stamps.items():
            entry = known.get(record_id)
            if entry is None or not entry.is_of(stamp):
                now, content = time.time_ns(), read(record_id)
                if content is None:
                    continue
                entry = fresh[record_id] = _Entry(stamp, now, content)
            result[record_id] = entry.content
        changed = {
            one: entry for one, entry in fresh.items() if entry.content != getattr(known.get(one), "content", None)
        }
        # unchanged entries of files that are old enough by now are stored again too, to be trusted from here on
        settled = {one: entry for one, entry in fresh.items() if entry.is_of(entry.stamp)}
        gone = known.keys() - stamps.keys()
        if changed or settled or gone:
            with suppress(sqlite3.Error, OSError):
                self._store(changed | settled, gone)
        return result

    def drop(self) -> None:
        """Remove the index; the next listing makes it anew."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).unlink()

    def _load(self) -> dict[str, _Entry]:
        try:
            return self._read_all()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self.drop()
            return {}

    def _read_all(self) -> dict[str, _Entry]:
        if not self.path.exists():
            return {}
        with self._open() as database:
            rows = database.execute("SELECT id, inode, mtime_ns, size, read_ns, content FROM records").fetchall()
        return {row[0]: _Entry(Stamp(*row[1:4]), row[4], row[5]) for row in rows}

    def _store(self, entries: dict[str, _Entry], gone: set[str]) -> None:
        rows = [
            (one, entry.stamp.inode, entry.stamp.mtime_ns, entry.stamp.size, entry.read_ns, entry.content)
            for one, entry in entries.items()
        ]
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.executemany("DELETE FROM records WHERE id = ?", [(one,) for one in gone])
            database.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=self.busy_timeout_s, isolation_level=None)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                _create(database)
            yield database


def _create(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("BEGIN IMMEDIATE")
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:  # another process may have been first
        database.execute("DROP TABLE IF EXISTS records")
        database.execute(
            "CREATE TABLE records (id TEXT PRIMARY KEY, inode INTEGER, mtime_ns INTEGER, size INTEGER, read_ns INTEGER, content BLOB)"
        )
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.execute("COMMIT")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is broken, rather than busy or not permitted."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in str(error)


def stamp_of(path: Path | str) -> Stamp | None:
    """The stamp of a file; None when there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
