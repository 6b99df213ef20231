"""Submissions: ``submissions_archive/<id>/record.json``, the vectors that were sent and, until pruned, the file."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kaggle_kit.archive.fields import Field, Number
from kaggle_kit.archive.ids import timestamp
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.archive.records import Record, RecordStore, hold_lock
from kaggle_kit.archive.runs import inside
from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import DataError, DuplicateError, InterruptedWork, MissingError, UsageError
from kaggle_kit.files import atomic_writer, sha256_of
from kaggle_kit.submission import WritingFormat, WrittenFile, vectors_sha256, write_submission
from kaggle_kit.submission.writer import member_name

SUBMISSION_MIGRATIONS = Migrations("submission")

NEXT_STATES: dict[str, tuple[str, ...]] = {
    "built": ("valid", "failed"),
    "valid": ("sending", "failed"),
    # back to valid: Kaggle was asked and knows nothing of it
    "sending": ("sent", "scored", "failed", "valid"),
    "sent": ("scored", "failed"),
    "scored": ("failed",),
    # a submission thought lost may turn up, a failed upload may be tried again
    "failed": ("sending", "sent", "scored"),
}
"""Which states may follow a state; staying in one is always allowed."""

VECTORS_NAME, IDS_NAME = "vectors.npy", "ids.npy"
FOREIGN_FORMAT = "foreign"
"""Format of a file that our writer did not make: it cannot be written again from the vectors."""
SAME_DIRECTION = 1e-6

SUBMISSION_FIELDS = {
    "id": Field(str, "the folder's name", required=True),
    "competition": Field(str, "slug", required=True),
    "rehearsal": Field(bool, "sent to a rehearsal server, not to Kaggle", False, required=True),
    "created": Field(str, "ISO 8601, UTC", required=True),
    "state": Field(str, " | ".join(NEXT_STATES), "built", required=True),
    "message": Field(str, "what the user said about it", ""),
    "description": Field(str, "what Kaggle was told", ""),
    "members": Field(list, "runs averaged: run and weight each", []),
    "translator": Field((str, dict), "name, or name and options"),
    "folds": Field((int, dict), "number of folds, or count, digest, seed"),
    "seeds": Field((list, int), "seeds trained with"),
    "cv": Field(Number, "out-of-fold MRR"),
    "cv_error": Field(Number, "its standard error"),
    "file": Field(dict, "name, sha256, size, format, content_sha256, columns", {}),
    "vectors": Field(dict, "sha256, rows, dimension", {}),
    "ref": Field((int, str), "Kaggle's reference"),
    "kaggle_status": Field(str, "Kaggle's own status"),
    "public_score": Field(Number, "as Kaggle scored it"),
    "private_score": Field(Number, "known after the deadline"),
    "error_description": Field(str, "Kaggle's reason when it failed"),
    "history": Field(list, "state, at (UTC), note", []),
    "provenance": Field(dict, "git, versions, argv, config and data hashes", {}),
    "upload": Field(dict, "what is needed to find out what became of an upload", {}),
    "pruned": Field(list, "what was dropped to save space, and when", []),
}


class SubmissionStore(RecordStore):
    """The submissions of a project."""

    kind: ClassVar[str] = "submission"
    file_name: ClassVar[str] = "record.json"
    command: ClassVar[str] = "kk leaderboard"
    fields: ClassVar = SUBMISSION_FIELDS
    migrations: ClassVar[Migrations] = SUBMISSION_MIGRATIONS

    def _how_to_make_one(self) -> str:
        return "kk submit makes one"

    # --- making submissions

    def create(self, record_id: str, record: Mapping[str, Any]) -> Record:
        """As in the base; the state that it begins in is the first entry of its history."""
        state = record.get("state", "built")
        first = {"state": state, "at": timestamp(self.clock()), "note": ""}
        return super().create(record_id, {"history": [first], **record, "state": state})

    def build(
        self,
        name: str,
        ids: Sequence[Any] | np.ndarray,
        vectors: np.ndarray,
        record: Mapping[str, Any],
        *,
        columns: SubmissionFormat,
        digits: int | None = None,
        compress: str | None = None,
    ) -> Record:
        """A new submission in state built: vectors and file first, the record when both are whole.

        Args:
            name: for people; becomes part of the id.
            ids: (n,) integers or texts.
            vectors: (n, d) float32, in the order of ``ids``.
            record: the other fields; ``competition`` at least.
            columns: names of the file's columns.
            digits, compress: as in :func:`kaggle_kit.submission.write_submission`.
        """
        record_id = self.reserve(name, vectors_sha256(vectors))
        kept = self.save_vectors(record_id, ids, vectors)
        target = self.folder_of(record_id) / ("submission.csv" + (f".{compress}" if compress else ""))
        written = write_submission(target, ids, vectors, columns, digits=digits, compress=compress)
        return self.create(record_id, {**record, "vectors": kept, "file": _file_fields(written, columns)})

    def build_from_file(
        self,
        name: str,
        path: Path,
        ids: Sequence[Any] | np.ndarray,
        vectors: np.ndarray,
        record: Mapping[str, Any],
        *,
        columns: SubmissionFormat,
    ) -> Record:
        """A new submission in state built from a file made elsewhere, which is kept byte for byte.

        Args:
            path: the file: csv, zip or gz.
            vectors: (n, d) float32: what :func:`kaggle_kit.submission.read_vectors` read from it.
        """
        record_id = self.reserve(name, vectors_sha256(vectors))
        kept = self.save_vectors(record_id, ids, vectors)
        suffix = path.suffix.lower() if path.suffix.lower() in (".zip", ".gz") else ""
        target = self.folder_of(record_id) / f"submission.csv{suffix}"
        with open(path, "rb") as source, atomic_writer(target) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        facts = self._format_of(target, ids, vectors, columns)
        return self.create(record_id, {**record, "vectors": kept, "file": facts})

    def _format_of(
        self, path: Path, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray, columns: SubmissionFormat
    ) -> dict[str, Any]:
        """The facts of a file: as our writer's when that makes the same bytes, else as a foreign one."""
        trial = path.with_name(f".trial.{secrets.token_hex(4)}{path.suffix}")
        compress = path.suffix[1:] if path.suffix in (".zip", ".gz") else None
        try:
            written = write_submission(trial, ids, vectors, columns, compress=compress, member=member_name(path.name))
        finally:
            with suppress(FileNotFoundError):
                trial.unlink()
        facts = {**_file_fields(written, columns), "name": path.name}
        digest = sha256_of(path)
        if digest == written.sha256:
            return facts
        return facts | {"sha256": digest, "content_sha256": None, "size": path.stat().st_size, "format": FOREIGN_FORMAT}

    def advance(
        self, record: Record | str, state: str, *, note: str = "", changes: Mapping[str, Any] | None = None
    ) -> Record:
        """Bring a submission to ``state`` and write that down, with the time and a ``note``, in its history.

        Raises:
            UsageError: the state cannot follow the one that it is in.
            RecordChanged: another process wrote the record since it was read.
        """
        record_id = record if isinstance(record, str) else record.id
        with self.locked(record_id):
            current = self._checked(record)
            if state != current.state and state not in NEXT_STATES.get(current.state, ()):
                raise UsageError(f"submission {record_id} is {current.state}: it cannot become {state}")
            entry = {"state": state, "at": timestamp(self.clock()), "note": note}
            fields = {**current, **(changes or {}), "id": record_id, "state": state}
            return self._write(record_id, {**fields, "history": [*current["history"], entry]})

    @contextmanager
    def sending(self, competition: str, *, timeout_s: float = 0.0) -> Iterator[None]:
        """Hold the competition's one lock, from pre-flight until Kaggle's answer.

        Raises:
            DuplicateError: another process is submitting to ``competition``.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.folder / f"sending-{competition}.lock", timeout_s, competition))
            except InterruptedWork:
                raise DuplicateError(
                    f"another kk submit to {competition} is under way",
                    "wait until it has ended; kk leaderboard shows what became of it",
                ) from None
            yield

    # --- vectors and file

    def save_vectors(self, record_id: str, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray) -> dict[str, Any]:
        """Keep ids and (n, d) float32 vectors in a record's folder; returns the facts for the record's ``vectors``."""
        folder = self.folder_of(record_id)
        for name, array in (
            (VECTORS_NAME, np.ascontiguousarray(vectors, dtype=np.float32)),
            (IDS_NAME, np.asarray(ids)),
        ):
            with atomic_writer(folder / name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        return {"sha256": vectors_sha256(vectors), "rows": len(vectors), "dimension": int(vectors.shape[1])}

    def vectors(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """The ids (n,) and the vectors (n, d) float32, read-only and mapped from the disk.

        Raises:
            MissingError: they were pruned, or never kept.
            DataError: the file is damaged.
        """
        arrays = []
        for name, mode in ((IDS_NAME, None), (VECTORS_NAME, "r")):
            try:
                arrays.append(np.load(record.folder / name, mmap_mode=mode, allow_pickle=False))  # type: ignore[arg-type]
            except FileNotFoundError:
                raise MissingError(f"the vectors of submission {record.id} are not kept any more ({name})") from None
            except (ValueError, EOFError, OSError) as error:
                raise DataError(f"{record.folder / name} is damaged: {error}") from None
        if arrays[1].ndim != 2 or len(arrays[0]) != len(arrays[1]):
            raise DataError(f"{record.folder}: {arrays[0].shape} ids and {arrays[1].shape} vectors do not fit")
        return arrays[0], arrays[1]

    def file_of(self, record: Record) -> Path:
        """Where the submission's file lies, or lay before it was pruned.

        Raises:
            MissingError: the record knows of no file.
        """
        if not record["file"].get("name"):
            raise MissingError(f"submission {record.id} has no file: it was made elsewhere")
        return inside(record.folder, record["file"]["name"])

    def rebuild_submission_csv(self, name: str | None, target: Path | None = None) -> Path:
        """Write a submission's file again from its vectors: the very same bytes, or nothing.

        Args:
            name: the submission, as in :meth:`load`.
            target: where to; None: where it was.

        Raises:
            MissingError: no such submission, or its vectors are gone.
            DataError: the bytes cannot be made again: a foreign file, or vectors that changed.
        """
        record = self.load(name)
        file = record["file"]
        writing = WritingFormat.from_id(file.get("format") or "")
        if writing is None:
            raise DataError(
                f"the file of submission {record.id} was not written by this kaggle_kit ({file.get('format')})"
            )
        ids, vectors = self.vectors(record)
        target = target or self.file_of(record)
        columns = SubmissionFormat(**file["columns"])
        trial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            # the name inside a zip comes from the file's own
            written = write_submission(
                trial,
                ids,
                vectors,
                columns,
                digits=writing.digits,
                compress=writing.compress,
                member=member_name(file["name"]),
            )
            if written.sha256 != file["sha256"]:
                raise DataError(
                    f"submission {record.id}: the file made from the vectors has SHA-256 {written.sha256[:12]}…, "
                    f"the one sent had {file['sha256'][:12]}…",
                    "another zlib packs differently" if writing.compress else "the vectors were changed on disk",
                )
            os.replace(trial, target)
        finally:
            with suppress(FileNotFoundError):
                trial.unlink()
        return target

    # --- looking for submissions

    def by_ref(self, ref: int | str) -> Record | None:
        """The submission that Kaggle knows as ``ref``; None when there is none."""
        return next((record for record in self.list() if str(record["ref"]) == str(ref)), None)

    def duplicate_of(
        self,
        competition: str,
        *,
        vectors_sha256: str | None = None,
        vectors: np.ndarray | None = None,
        rehearsal: bool = False,
        but: str | None = None,
    ) -> Record | None:
        """An earlier submission of the same vectors that has, or may have, reached Kaggle; None when there is none.

        Args:
            competition: only submissions to this one count.
            vectors_sha256: hash of the vectors.
            vectors: (n, d) float32; finds the same vectors written with fewer digits or another length too.
            rehearsal: whether to look among rehearsals instead.
            but: id of the submission that is itself being sent.
        """
        rivals = self.list(
            where=lambda one: (
                one["competition"] == competition
                and one["rehearsal"] == rehearsal
                and one.id != but
                and may_have_been_sent(one)
            )
        )
        if vectors_sha256:
            same = next((one for one in rivals if one["vectors"].get("sha256") == vectors_sha256), None)
            if same:
                return same
        return next((one for one in rivals if vectors is not None and self._same_direction(one, vectors)), None)

    def _same_direction(self, record: Record, vectors: np.ndarray) -> bool:
        """Whether every row points where the record's does; the first rows decide in nearly every case."""
        if (record["vectors"].get("rows"), record["vectors"].get("dimension")) != vectors.shape:
            return False
        try:
            _, kept = self.vectors(record)
        except (MissingError, DataError):
            return False
        blocks = [slice(0, 4), *(slice(start, start + 256) for start in range(4, len(vectors), 256))]
        return kept.shape == vectors.shape and all(_aligned(kept[block], vectors[block]) for block in blocks)


def may_have_been_sent(record: Record) -> bool:
    """Whether Kaggle has, or may have, a submission: sending it again could cost a second one."""
    return record.state in ("sending", "sent", "scored") or record["ref"] is not None


def _aligned(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return bool(((one * other).sum(axis=1) >= (1 - SAME_DIRECTION) * norms).all())


def _file_fields(written: WrittenFile, columns: SubmissionFormat) -> dict[str, Any]:
    names = {"id_column": columns.id_column, "embedding_column": columns.embedding_column}
    return {**written.to_dict(), "columns": names}
