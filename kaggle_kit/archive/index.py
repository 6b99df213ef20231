"""A cache of all records of a folder in one SQLite file, so that listing thousands does not open thousands of files.

Beside each record's content stands its short form, what tables of records show: thousands of them are read without parsing the whole.

Never the truth: an entry counts only while its record file has the inode, time and size that it was read with, and the whole file is made
anew when it is damaged. Nothing here can fail in a way that the caller must know of; without an index, records are read one by one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_LAYOUT = 2
BUSY_TIMEOUT_S = 5.0
"""Seconds to wait for another process that writes the index."""
_RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may have changed again within the clock's tick: such entries are read again."""


class Stamp(NamedTuple):
    """What tells one state of a record file from another."""

    inode: int
    mtime_ns: int
    size: int


class _Entry(NamedTuple):
    inode: int
    mtime_ns: int
    size: int
    read_ns: int
    content: bytes
    """The whole, or its short form."""

    def is_of(self, stamp: Stamp) -> bool:
        return self[:3] == stamp and self.mtime_ns + _RACY_NS < self.read_ns


class Index:
    """The index file of one archive folder.

    Args:
        path: the SQLite file.
        shorten: an id and the content of its file to the short form.
        maker: what the short form depends on; an index made otherwise is made anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        shorten: Callable[[str, bytes], bytes] = lambda _, content: content,
        maker: str = "",
    ) -> None:
        self.path, self.shorten = path, shorten
        self.version = crc32(f"{_LAYOUT} {maker}".encode()) & 0x7FFFFFFF

    def contents(
        self, stamps: dict[str, Stamp], read: Callable[[str], bytes | None], *, short: bool = False
    ) -> dict[str, bytes]:
        """The content of every record file, from the index where it is current, read and remembered where not.

        Args:
            stamps: id to the stamp that its file has now.
            read: reads the file of an id; None when it is gone meanwhile.
            short: the short forms instead.
        """
        known: dict[str, _Entry] = {}
        with suppress(sqlite3.Error, OSError):
            known = self._load("short" if short else "content")
        fresh: dict[str, _Entry] = {}
        changed: set[str] = set()
        result: dict[str, bytes] = {}
        for record_id, stamp in stamps.items():
            entry = known.get(record_id)
            if entry is None or not entry.is_of(stamp):
                now, content = time.time_ns(), read(record_id)
                if content is None:
                    continue
                fresh[record_id] = _Entry(*stamp, now, content)
                entry = _Entry(*stamp, now, self.shorten(record_id, content) if short else content)
                if entry.content != getattr(known.get(record_id), "content", None):
                    changed.add(record_id)
            result[record_id] = entry.content
        # unchanged entries of files that are old enough by now are stored again too, to be trusted from here on
        worth_it = {one: entry for one, entry in fresh.items() if one in changed or entry.is_of(Stamp(*entry[:3]))}
        gone = known.keys() - stamps.keys()
        if worth_it or gone:
            with suppress(sqlite3.Error, OSError):
                self._store(worth_it, gone)
        return result

    def drop(self) -> None:
        """Remove the index; the next listing makes it anew."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):  # also one that cannot be removed: records are then read one by one
                self.path.with_name(self.path.name + suffix).unlink()

    def _load(self, form: str) -> dict[str, _Entry]:
        try:
            return self._read_all(form)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self.drop()
            return {}

    def _read_all(self, form: str) -> dict[str, _Entry]:
        if not self.path.exists():
            return {}
        source = "shorts" if form == "short" else "shorts JOIN contents USING (id)"
        with self._open() as database:
            rows = database.execute(f"SELECT id, inode, mtime_ns, size, read_ns, {form} FROM {source}").fetchall()
        return {row[0]: _Entry._make(row[1:]) for row in rows}

    def _store(self, entries: dict[str, _Entry], gone: set[str]) -> None:
        shorts = [(one, *entry[:4], self.shorten(one, entry.content)) for one, entry in entries.items()]
        contents = [(one, entry.content) for one, entry in entries.items()]
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO shorts VALUES (?, ?, ?, ?, ?, ?)", shorts)
            database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", contents)
            for table in ("shorts", "contents"):
                database.executemany(f"DELETE FROM {table} WHERE id = ?", [(one,) for one in gone])
            database.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != self.version:
                self._create(database)
            yield database

    def _create(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone()[0] != self.version:  # another process may have been first
            for table in ("records", "shorts", "contents"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            database.execute(
                "CREATE TABLE shorts (id TEXT PRIMARY KEY, inode INTEGER, mtime_ns INTEGER, size INTEGER, read_ns INTEGER, short BLOB)"
            )
            database.execute("CREATE TABLE contents (id TEXT PRIMARY KEY, content BLOB)")
            database.execute(f"PRAGMA user_version = {self.version}")
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
    except (
        OSError
    ):  # a link that leads to itself, a folder that may not be read: there is something, which cannot be read
        return Stamp(0, 0, 0)
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
