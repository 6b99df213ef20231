"""A folder of records: one sub-folder each, with a JSON file that is written atomically and never half."""

from __future__ import annotations

import builtins
import copy
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from kaggle_kit.archive.fields import Field, completed
from kaggle_kit.archive.ids import NEWEST, new_id, resolve, timestamp, utc_now
from kaggle_kit.archive.index import Index, Stamp, stamp_of
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.cells import facts_table
from kaggle_kit.errors import (
    DataError,
    DuplicateError,
    InterruptedWork,
    KaggleKitError,
    MissingError,
    UsageError,
    storage_errors,
)
from kaggle_kit.files import OWNER_ONLY, read_json, write_json
from kaggle_kit.version import VERSION

if TYPE_CHECKING:  # the history of thousands must open at once
    from kaggle_kit.competition import Competition

CLOCKS_APART = timedelta(hours=1)
"""How far the clocks of two machines may be apart before a record of one counts as dated in the future on the other."""

INDEX_NAME = "index.sqlite"


class RecordChanged(InterruptedWork):
    """Another process changed a record between reading and writing it; nothing was written."""

    kind = "record_changed"


_SHOWN = ("id", "created", "state", "message", "run", "ref", "public_score", "private_score", "error_description")


class Record(Mapping[str, Any]):
    """One record as it was read: a mapping of its fields, and the folder that it describes, which lies in ``archive``."""

    def __init__(self, fields: dict[str, Any], archive: Path) -> None:
        self._fields, self._archive = fields, archive

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.state!r})"

    def get(self, name: str, default: Any = None) -> Any:
        """A field; ``default`` where there is none."""
        return self._fields.get(name, default)

    @property
    def folder(self) -> Path:
        """Where the record's files lie."""
        return self._archive / self.id

    @property
    def id(self) -> str:
        """The record's id, which is its folder's name."""
        return self._fields["id"]

    @property
    def state(self) -> str:
        """How far it got."""
        return self._fields["state"]

    @property
    def created(self) -> str:
        """When it was made: ISO 8601, UTC."""
        return self._fields["created"]

    @property
    def cv(self) -> float | None:
        """Out-of-fold MRR: of a run's scores, or as a submission names it; None where there is none."""
        cv = self._fields.get("cv")
        return cv.get("mrr") if isinstance(cv, dict) else cv

    @property
    def cv_error(self) -> float | None:
        """Standard error of ``cv``."""
        cv = self._fields.get("cv")
        return cv.get("error") if isinstance(cv, dict) else self._fields.get("cv_error")

    @property
    def gallery_size(self) -> int | None:
        """Images in the galleries that ``cv`` was measured in; None where it is not known."""
        cv = self._fields.get("cv")
        about = cv if isinstance(cv, dict) else self._fields.get("basis") or {}
        return about.get("gallery_size")

    def comparable(self, gallery_size: int) -> bool:
        """Whether ``cv`` can stand beside others measured in galleries of ``gallery_size``: of that size, and from folds without leaks.

        The fewer images a gallery holds the easier it is: one of a single image scores 1.0 whatever is predicted.
        """
        return self.gallery_size in (gallery_size, None) and not self._fields.get("leaks")

    def standing(self, gallery_size: int) -> tuple[bool, int, float]:
        """What records are ranked by, the highest the best: those that are comparable first, then by the galleries' size, then by CV."""
        score = float("-inf") if self.cv is None else self.cv
        comparable = self.comparable(gallery_size)
        return comparable, 0 if comparable else self.gallery_size or 0, score

    @property
    def revision(self) -> int:
        """How often it was written; tells whether someone else wrote it meanwhile."""
        return self._fields.get("revision", 0)

    def belongs_to(self, competition: Competition) -> bool:
        """Whether it is of this competition, and as real or rehearsed as it."""
        return bool(self["competition"] == competition.slug and self["rehearsal"] == competition.rehearsal)

    def _repr_html_(self) -> str:
        """The record for a notebook: what a person asks for first."""
        return facts_table({name: self._fields.get(name) for name in _SHOWN})

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields, as plain data."""
        return copy.deepcopy(self._fields)


def largest_gallery(records: Iterable[Record]) -> int:
    """Images in the largest galleries that a CV was measured in; 0 where none are known."""
    return max((one.gallery_size or 0 for one in records), default=0)


@dataclass(frozen=True)
class Broken:
    """A record that cannot be read; it is left where it is."""

    id: str
    path: Path
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Listing:
    """Everything in an archive, newest first, and what could not be read."""

    records: list[Record]
    broken: list[Broken]


@contextmanager
def hold_lock(path: Path, timeout_s: float, what: str) -> Iterator[None]:
    """Hold a lock between processes; the system gives it back when the process dies.

    Raises:
        InterruptedWork: another process held it for ``timeout_s`` seconds.
    """
    import filelock

    with storage_errors(path, "locking"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=timeout_s)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InterruptedWork(
                f"another process has been writing {what} for {timeout_s:g} s",
                "run the command again when it has ended",
            ) from None
    try:
        yield
    finally:
        lock.release()


class RecordStore:
    """Base of the two archives.

    Args:
        folder: the archive's folder; made when the first record is.
        clock: gives the time, aware.
        lock_timeout_s: seconds to wait for another process that writes the same record.
    """

    kind: ClassVar[str] = "record"
    file_name: ClassVar[str] = "record.json"
    command: ClassVar[str] = "kk leaderboard"
    fields: ClassVar[Mapping[str, Field]] = {}
    listed: ClassVar[tuple[str, ...]] = ()
    """What tables of records show, beside id, created and state; ``data.captions`` is one entry of the table ``data``."""
    migrations: ClassVar[Migrations] = Migrations("record")

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        lock_timeout_s: float = 30.0,
    ) -> None:
        self.folder, self.clock, self.lock_timeout_s = Path(folder), clock, lock_timeout_s
        self.index = Index(
            self.folder / INDEX_NAME,
            shorten=self._shortened,
            maker=f"{VERSION} {self.migrations.current} {self.listed} {self.fields}",
        )

    # --- making records

    def reserve(self, name: str, content_hash: str) -> str:
        """A new id whose folder exists from now on and is nobody else's.

        Args:
            name: for people; becomes part of the id.
            content_hash: hexadecimal hash of what the record is about.
        """
        with storage_errors(self.folder, "making a record in"):
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                record_id = new_id(name, self.clock(), content_hash)
                try:
                    self.folder_of(record_id).mkdir()
                except FileExistsError:
                    content_hash = hashlib.sha256(content_hash.encode()).hexdigest()
                else:
                    return record_id

    def create(self, record_id: str, record: Mapping[str, Any]) -> Record:
        """Write a new record; ``schema``, ``id``, ``created`` and defaults are filled in.

        Raises:
            DuplicateError: there is a record of that id.
            DataError: a field of the wrong type.
        """
        with self.locked(record_id):
            if self._path(record_id).exists():
                raise DuplicateError(f"there is a {self.kind} {record_id} already", f"{self.command} shows them")
            head = {"schema": self.migrations.current, "id": record_id, "revision": 0}
            created = {"created": timestamp(self.clock())}
            return self._write(record_id, created | dict(record) | head)

    def update(self, record: Record | str, changes: Mapping[str, Any] | None = None, **more: Any) -> Record:
        """Change fields of a record and write it.

        Args:
            record: the record as it was read, which must still be what is on disk; or an id, to change whatever is there.
            changes, more: the fields' new values.

        Raises:
            RecordChanged: another process wrote the record since it was read.
            MissingError: no such record.
            DataError: a field of the wrong type, or a record that cannot be read.
        """
        record_id = record if isinstance(record, str) else record.id
        with self.locked(record_id):
            current = self._checked(record)
            return self._write(record_id, {**current, **(changes or {}), **more, "id": record_id})

    def _checked(self, record: Record | str) -> Record:
        """What is on disk now, which must be what ``record`` was read as."""
        current = self.read(record if isinstance(record, str) else record.id)
        if isinstance(record, Record) and record.revision != current.revision:
            raise RecordChanged(
                f"{self.kind} {record.id} was changed by another process meanwhile (state {current.state})",
                "look at it, then run the command again",
            )
        return current

    def _write(self, record_id: str, record: dict[str, Any]) -> Record:
        record = {**record, "revision": record.get("revision", 0) + 1, "written_by": VERSION}
        whole = completed(record, self.fields)
        write_json(self._path(record_id), whole, mode=OWNER_ONLY)
        return Record(whole, self.folder)

    @contextmanager
    def locked(self, record_id: str) -> Iterator[None]:
        """Hold the lock of one record; the system gives it back when the process dies.

        Raises:
            InterruptedWork: another process held it for ``lock_timeout_s`` seconds.
        """
        with hold_lock(self.folder_of(record_id) / ".lock", self.lock_timeout_s, f"{self.kind} {record_id}"):
            yield

    # --- finding records

    def folder_of(self, record_id: str) -> Path:
        """The folder of one record.

        Raises:
            UsageError: the id is no plain name.
        """
        if record_id in ("", ".", "..") or record_id != os.path.basename(record_id) or "\0" in record_id:
            raise UsageError(f"{record_id!r} cannot be the id of a {self.kind}")
        return self.folder / record_id

    def _path(self, record_id: str) -> Path:
        return self.folder_of(record_id) / self.file_name

    def read(self, record_id: str) -> Record:
        """The record of exactly this id, from its file.

        Raises:
            MissingError: no such record.
            DataError: the file is broken, or of a newer version.
        """
        path = self._path(record_id)
        try:
            return self._record(record_id, read_json(path))
        except MissingError:
            raise MissingError(f"no {self.kind} {record_id!r}", f"{self.command} shows them") from None
        except DataError as error:
            raise DataError(f"{path}: {error.message}", error.hint) from None

    def _record(self, record_id: str, fields: Any) -> Record:
        if not isinstance(fields, dict):
            raise DataError(f"the {self.kind} record is no JSON object")
        whole = completed(self.migrations.upgrade(fields), self.fields)
        if whole.get("id") != record_id:
            raise DataError(f"the record is of {whole.get('id')!r} but lies in the folder {record_id!r}")
        return Record(whole, self.folder)

    def load(self, name: str | None = None, *, where: Callable[[Record], bool] | None = None) -> Record:
        """One record, read from its file.

        Args:
            name: its id, the beginning of the id, or the id's closing hash; None or ``newest``: the newest one.
            where: among which records to look; None: all.

        Raises:
            MissingError: none of that name, or none at all.
            UsageError: several begin like that.
            DataError: the record is broken.
        """
        if name not in (None, NEWEST):
            with suppress(MissingError, UsageError):
                return self.read(name)  # type: ignore[arg-type]
        listing = self.scan()
        records = [record for record in listing.records if where is None or where(record)]
        if name in (None, NEWEST):
            if not records:
                raise MissingError(f"there is no {self.kind} yet in {self.folder}", self._how_to_make_one())
            return records[0]
        ids = [record.id for record in records] + [broken.id for broken in listing.broken]
        return self.read(resolve(name, ids, self.kind, self.command))  # type: ignore[arg-type]

    def _how_to_make_one(self) -> str:
        return ""

    def list(self, *, where: Callable[[Record], bool] | None = None) -> builtins.list[Record]:
        """The readable records, newest first; those for which ``where`` is true."""
        return [record for record in self.scan().records if where is None or where(record)]

    def scan(self) -> Listing:
        """Every record, newest first, and every record file that cannot be read."""
        contents = self.index.contents(self._stamps(), self._content)
        records, broken = [], []
        for record_id, content in contents.items():
            try:
                records.append(self._parse(record_id, content))
            except KaggleKitError as error:
                broken.append(Broken(record_id, self._path(record_id), error.message, error.hint))
        records.sort(key=self._by_age(), reverse=True)
        return Listing(records, sorted(broken, key=lambda one: one.id))

    def overview(self) -> Listing:
        """As :meth:`scan`, but each record has its ``listed`` fields only, which is many times faster for thousands."""
        rows = self._shorts()
        broken = [
            Broken(row["id"], self._path(row["id"]), row["broken"], row["hint"]) for row in rows if "broken" in row
        ]
        whole = [row for row in rows if "broken" not in row] if broken else rows
        whole.sort(key=self._by_age(), reverse=True)
        return Listing([Record(row, self.folder) for row in whole], sorted(broken, key=lambda one: one.id))

    def _shorts(self) -> builtins.list[dict[str, Any]]:
        """The short forms; an index that holds something else is made anew."""
        for _ in range(2):
            shorts = self.index.contents(self._stamps(), self._content, short=True)
            with suppress(orjson.JSONDecodeError, TypeError):
                return orjson.loads(b"[" + b",".join(shorts.values()) + b"]")  # type: ignore[no-any-return]
            self.index.drop()
        return []

    def _shortened(self, record_id: str, content: bytes) -> bytes:
        """The listed fields of a record as JSON; of a broken one, what is wrong with it."""
        try:
            record = self._parse(record_id, content)
        except KaggleKitError as error:
            return orjson.dumps({"id": record_id, "broken": error.message, "hint": error.hint})
        return orjson.dumps({name: _part(record, name) for name in ("id", "created", "state", *self.listed)})

    def _by_age(self) -> Callable[[Mapping[str, Any]], tuple[bool, str, str]]:
        """What newest first goes by: one dated in the future, by a clock that was wrong, must not stand before all that come after it."""
        latest = timestamp(self.clock() + CLOCKS_APART)
        return lambda record: (record["created"] <= latest, record["created"], record["id"])

    def reindex(self) -> Listing:
        """Make the index anew from the records, and list them."""
        self.index.drop()
        return self.scan()

    def _parse(self, record_id: str, content: bytes) -> Record:
        try:
            fields = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise DataError(f"not valid JSON: {error}", "restore the file or move it away") from None
        return self._record(record_id, fields)

    def _stamps(self) -> dict[str, Stamp]:
        try:
            with storage_errors(self.folder, "reading"):
                names = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        except FileNotFoundError:
            return {}
        stamps = {name: stamp_of(f"{self.folder}/{name}/{self.file_name}") for name in names}
        return {name: stamp for name, stamp in stamps.items() if stamp}

    def _content(self, record_id: str) -> bytes | None:
        try:
            return self._path(record_id).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            return b""  # unreadable: reported as broken


def _part(record: Mapping[str, Any], name: str) -> Any:
    """A field, or the entry of a field that is a table."""
    name, _, inner = name.partition(".")
    value = record.get(name)
    return (value.get(inner) if isinstance(value, dict) else None) if inner else value
